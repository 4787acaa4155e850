"""Fetching what a user names by address: only what the whole internet may see, so that no address leads inside.

https only; every host is resolved here, refused where it is private, and connected to at that very address, through
redirects too. An address of this machine (loopback) may be named by the user, but no redirect leads to one.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from limner.blocking import run_now
from limner.errors import AccountRefused, InputRefused, LimnerError, NotFound, StorageFailed, VendorBusy, VendorFailed
from limner.vendors.http.backoff import retry_delay
from limner.vendors.http.partial_file import PartialFile
from limner.vendors.secrets.tokens import Secret, redact

if TYPE_CHECKING:
    import httpx2

__all__ = ["PublicWeb", "Start", "origin_of"]

ATTEMPTS = 5
MOST_REDIRECTS = 8
MOST_WAIT = 60.0
PAUSE = time.sleep
START_SECONDS = 20.0
"""How long the start of a file may take in all, with every attempt: somebody waits for it."""
HEAD_SECONDS = 60.0
"""How long one server may take to answer at all."""
PATIENCE_SECONDS = 60.0
LEAST_BYTES = 256 * 2**10
"""An attempt ends when fewer bytes came in so many seconds: a server that drips would hold it for ever."""
LONGEST_SIZE = 15
"""Digits of a size that can be meant."""

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# Named here because what the standard library knows of them differs by its version.
_INSIDE = tuple(
    map(ipaddress.ip_network, ("64:ff9b:1::/48", "192.0.0.0/24", "100.64.0.0/10", "fec0::/10", "5f00::/16"))
)
"""Networks of one house: a local NAT64, carriers' own addresses, site-local ones, segments of routers."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first bytes of a file, its size (0: not told), and the answer's headers with lower-case names."""

    data: bytes
    size: int
    headers: Mapping[str, str]


class PublicWeb:
    """Reads from addresses. ``trusted`` are origins that may be anywhere, with the token that each of them gets.

    ``loopback``: whoever names an address sits at this machine, and may name one of it.
    """

    def __init__(self, trusted: Mapping[str, Secret | None] | None = None, *, loopback: bool = True) -> None:
        self._trusted = dict(trusted or {})
        self._loopback = loopback

    def start(self, url: str, count: int, *, begin: int = 0, most: int = 0) -> Start:
        """Read ``count`` bytes of a file from ``begin`` on, whether or not its server can give a part.

        It ends within ``START_SECONDS``. InputRefused: the address may not be used. StorageFailed: the file is said to
        be larger than ``most`` (0: whatever it is). NotFound, AccountRefused, VendorBusy, VendorFailed.
        """
        until = time.monotonic() + START_SECONDS
        for attempt in range(ATTEMPTS):
            try:
                return run_now(self._start(url, count, begin, most, until))
            except Exception as failure:
                self._again(failure, url, attempt, until)
        raise AssertionError("unreachable")

    async def _start(self, url: str, count: int, begin: int, most: int, until: float) -> Start:
        wanted = {"range": f"bytes={begin}-{begin + count - 1}"}
        async with asyncio.timeout(until - time.monotonic()), self._open(url, wanted) as response:
            headers = {key.lower(): value for key, value in response.headers.items()}
            size = _whole_size(url, response.status_code, headers)
            if most and size > most:
                raise _too_large(url, most)
            skip = 0 if response.status_code == 206 else begin
            data = b""
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) >= skip + count:
                    break
            return Start(data[skip : skip + count], size, headers)

    def download(
        self,
        url: str,
        into: Path,
        *,
        most: int,
        sha256: str = "",
        kept: bool = False,
        told: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Fetch a file whole, taken up where it broke off; StorageFailed: it is larger than ``most`` or not the digest.

        Other errors as ``start``. A file that is not whole does not stay, unless it is ``kept``: then a later call goes
        on with it, where the server says that it is still the same. ``told`` hears how many bytes are here and how many
        it will be (0: unknown), before each attempt and as they come; what it raises ends the download.
        """
        part = PartialFile(into, url, kept=kept)
        say = told or (lambda *_: None)
        try:
            for attempt in range(ATTEMPTS):
                try:
                    say(part.have, part.size)
                    run_now(self._fetch(url, part, most, say))
                    break
                except Exception as failure:
                    if isinstance(failure, _Past):
                        part.drop()
                    self._again(failure, url, attempt)
            with into.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 and found != sha256:
                raise StorageFailed(
                    f"What {_host(url)} gave is not the file that it names: the digest differs.",
                    remedy="Try again.",
                    thing=url[:200],
                )
        except BaseException as failure:
            if not kept or isinstance(failure, OSError | StorageFailed):
                part.drop()
            if isinstance(failure, OSError):
                raise StorageFailed(
                    f"What {_host(url)} gives cannot be written: {failure.strerror or failure}.",
                    remedy="Free some space, then try again.",
                    thing=str(into),
                ) from failure
            raise
        return into

    async def _fetch(self, url: str, part: PartialFile, most: int, say: Callable[[int, int], None]) -> None:
        """Fetch what is not there yet."""
        have = part.have
        if have and have == part.size:
            return
        wanted = {"range": f"bytes={have}-", "if-range": part.etag} if have else {}
        async with self._open(url, wanted) as response:
            headers = {key.lower(): value for key, value in response.headers.items()}
            size = _whole_size(url, response.status_code, headers)
            if size > most:
                raise _too_large(url, most)
            if response.status_code != 206:
                have = 0
                part.begin(headers.get("etag", ""), size)
            elif not headers.get("content-range", "").startswith(f"bytes {have}-"):
                part.drop()
                raise _Cut("another part came than was asked for")
            fresh = 0
            with part.path.open("r+b" if have else "wb") as file:
                file.seek(have)
                async with asyncio.timeout(PATIENCE_SECONDS) as patience:
                    # as it comes: what waited for a full chunk would be lost where the line breaks
                    async for chunk in response.aiter_raw():
                        have += len(chunk)
                        if have > most:
                            raise _too_large(url, most)
                        file.write(chunk)
                        say(have, size)
                        fresh += len(chunk)
                        if fresh >= LEAST_BYTES:
                            fresh = 0
                            patience.reschedule(asyncio.get_running_loop().time() + PATIENCE_SECONDS)
        if size and have < size:
            raise _Cut(f"{have} of {size} bytes came")

    def check(self, url: str) -> None:
        """InputRefused: the address may not be used. VendorFailed: its host cannot be found."""
        _parsed(url)
        self._target(url, self._loopback and _is_loopback(url), {})

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
        """Send a body once and give the status of the answer, whatever it is; no redirect is followed.

        InputRefused: the address may not be used. VendorFailed: no answer came within so many seconds.
        """
        import httpx2

        from limner._version import __version__

        sent = {"user-agent": f"limner/{__version__}", **headers}
        _parsed(url)
        inside = self._loopback and _is_loopback(url)
        try:
            async with asyncio.timeout(seconds):
                target, extensions = await asyncio.to_thread(self._target, url, inside, sent)
                async with (
                    httpx2.AsyncClient(timeout=seconds, follow_redirects=False) as client,
                    client.stream("POST", target, content=body, headers=sent, extensions=extensions) as response,
                ):
                    # What it says beside the status is nobody's business, and may be without end.
                    return response.status_code
        except (httpx2.HTTPError, TimeoutError) as failure:
            raise VendorFailed(
                f"{_host(url)} cannot be reached ({type(failure).__name__}).",
                remedy="Check the address and try again.",
                thing=url[:200],
            ) from failure

    @asynccontextmanager
    async def _open(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx2.Response]:
        """Follow an address to an answer below 300."""
        import httpx2

        from limner._version import __version__

        _parsed(url)
        inside, first = self._loopback and _is_loopback(url), origin_of(url)
        async with httpx2.AsyncClient(timeout=httpx2.Timeout(60.0, connect=10.0), follow_redirects=False) as client:
            for _ in range(MOST_REDIRECTS):
                sent = {"user-agent": f"limner/{__version__}", "accept-encoding": "identity", **headers}
                if origin_of(url) == first and (token := self._trusted.get(first)) is not None:
                    sent["authorization"] = f"Bearer {token.reveal()}"
                target, extensions = await asyncio.to_thread(self._target, url, inside, sent)
                request = client.build_request("GET", target, headers=sent, extensions=extensions)
                async with asyncio.timeout(HEAD_SECONDS):
                    response = await client.send(request, stream=True)
                try:
                    if response.status_code in (301, 302, 303, 307, 308):
                        url = _followed(url, response.headers.get("location", ""))
                        continue
                    if response.status_code == 416 and headers.get("if-range"):
                        raise _Past("there is nothing behind what is here")
                    if response.status_code >= 400:
                        raise _refusal(url, response)
                    yield response
                    return
                finally:
                    await response.aclose()
        raise VendorFailed(f"{_host(url)} redirects without end.", remedy="Check the address.", thing=url[:200])

    def _target(self, url: str, inside: bool, headers: dict[str, str]) -> tuple[httpx2.URL, dict[str, str]]:
        """Where to connect to: the address that was looked at; the server and its certificate hear the host's name."""
        target = _parsed(url)
        if origin_of(url) in self._trusted:
            return target, {}
        if target.userinfo:
            raise _forbidden(url, "holds a name or password")
        if target.scheme != "https" and not (inside and target.scheme == "http" and _is_loopback(url)):
            raise _forbidden(url, "is not https")
        # as it is written in DNS, headers and certificates: international names have their own letters there
        host = target.raw_host.decode("ascii")
        address = _resolve(host, url, inside)
        headers["host"] = target.netloc.decode("ascii")
        return target.copy_with(host=address), {"sni_hostname": host} if target.scheme == "https" else {}

    def _again(self, failure: Exception, url: str, attempt: int, until: float = float("inf")) -> None:
        """Wait before another attempt, or raise what is to be told; ``until`` is the end of all of them."""
        import httpx2

        wait = retry_delay(0, {}, None, attempt)
        told: LimnerError | None = None
        if isinstance(failure, _Busy):
            wait, told = failure.wait, failure.told
        elif isinstance(failure, httpx2.HTTPError | _Cut | TimeoutError):
            what = "it is too slow" if isinstance(failure, TimeoutError) else type(failure).__name__.lstrip("_")
            told = VendorFailed(
                f"{_host(url)} cannot be read ({what}).", remedy="Check the address and try again.", thing=url[:200]
            )
        if told is None:
            raise failure
        if attempt + 1 == ATTEMPTS or wait > MOST_WAIT or time.monotonic() + wait >= until:
            raise told from None
        PAUSE(wait)


class _Cut(Exception):
    """An answer ended before it was whole."""


class _Past(_Cut):
    """A server has no more of a file of which it told no size: what is here is fetched again, to be sure."""


class _Busy(Exception):
    """A server that says later."""

    def __init__(self, told: LimnerError, wait: float) -> None:
        super().__init__(told.message)
        self.told, self.wait = told, wait


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or url)[:120]
    except ValueError:
        return url[:120]


def _parsed(url: str) -> httpx2.URL:
    """An address taken apart, its host as DNS writes it. InputRefused: it is none."""
    import httpx2

    try:
        parts, found = urlsplit(url), httpx2.URL(url)
        if (parts.hostname or parts.scheme not in ("https", "http")) and parts.port != 0:
            return found
    except (ValueError, httpx2.InvalidURL):
        pass
    raise InputRefused(
        f"'{redact(url)[:160]}' is no address that can be asked.", remedy="Check how it is written.", thing=url[:200]
    )


def _followed(url: str, location: str) -> str:
    """The address that a server sends to."""
    try:
        found = urljoin(url, location)
        _parsed(found)
    except (ValueError, InputRefused):
        raise VendorFailed(
            f"{_host(url)} redirects to what is no address.", remedy="Check the address.", thing=url[:200]
        ) from None
    return found


def _whole_size(url: str, status: int, headers: Mapping[str, str]) -> int:
    told = headers.get("content-range", "").rpartition("/")[2] if status == 206 else headers.get("content-length", "")
    if len(told) > LONGEST_SIZE and told.isdecimal():
        raise VendorFailed(f"{_host(url)} tells a size that no file has.", remedy="Check the address.", thing=url[:200])
    return int(told) if told.isdecimal() else 0


def _is_loopback(url: str) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _resolve(host: str, url: str, inside: bool) -> str:
    """One address of a host. InputRefused: one of its addresses is not on the public internet."""
    try:
        port = urlsplit(url).port or 443
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as failure:
        raise VendorFailed(
            f"There is no host {_host(url)} to be found.", remedy="Check the address.", thing=url[:200]
        ) from failure
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        ip = _meant(ipaddress.ip_address(address.partition("%")[0]))
        if not (ip.is_loopback if inside else _is_public(ip)):
            raise _forbidden(url, "leads to an address inside a network")
    return addresses[0]


def _meant(ip: _Ip) -> _Ip:
    """The address that is reached in the end: the one of IPv4 that is written inside one of IPv6."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64 or ip in _COMPATIBLE:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if int(ip) > 1 else ip
    return ip.ipv4_mapped or ip.sixtofour or ip


def _is_public(ip: _Ip) -> bool:
    """Whether it is an address of one machine that the whole internet may see."""
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in net for net in _INSIDE))


def _forbidden(url: str, why: str) -> InputRefused:
    parts = urlsplit(url)
    shown = redact(f"{parts.scheme}://{parts.hostname or ''}{parts.path}")[:160]
    return InputRefused(
        f"The address {shown} {why}, so it is not fetched.",
        remedy="Give a public https address, or download the file yourself and name it.",
        thing=_host(url),
    )


def _too_large(url: str, most: int) -> StorageFailed:
    return StorageFailed(
        f"The file at {_host(url)} is larger than {most / 1e9:.1f} GB.",
        remedy="Download it yourself if that is right.",
        thing=url[:200],
    )


def _refusal(url: str, response: httpx2.Response) -> Exception:
    status, host = response.status_code, _host(url)
    headers = {key.lower(): value for key, value in response.headers.items()}
    if status == 429 or status >= 500:
        kind = VendorBusy if status in (429, 503) else VendorFailed
        told = kind(f"{host} answered {status}.", remedy="Try again later.", thing=url[:200])
        return _Busy(told, retry_delay(status, headers, None, 1))
    if status in (401, 403):
        gated = headers.get("x-error-code") == "GatedRepo"
        return AccountRefused(
            f"{host} lets only some accounts read that file{' (the repo is gated)' if gated else ''}.",
            remedy="Accept its terms on its page with the account of your token, or download it yourself."
            if gated
            else "Use a token that may read it, or download the file yourself and name it.",
            thing=url[:200],
        )
    if status in (404, 410):
        return NotFound(f"There is no file at {redact(url)[:200]}.", remedy="Check the address.", thing=url[:200])
    return VendorFailed(f"{host} answered {status}.", remedy="Check the address.", thing=url[:200])
