"""One HTTP client for all vendors: token, rate limit, time-outs, our own retries, errors in one sentence.

A paid call is sent again only where the vendor surely did not take it: no connection, or a refusal in the vendor's own
words. Where it may have been taken (time-out, reset, a gateway's error page, half an answer) it raises AnswerLost.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx2

from limner._version import __version__
from limner.errors import LimnerError, VendorBusy, VendorFailed
from limner.vendors.http import errors as vendor_errors
from limner.vendors.http.answers import Answer, message_of, read_json
from limner.vendors.http.backoff import retry_delay
from limner.vendors.http.decompression_limit import Swells, refuse_swelling
from limner.vendors.http.limiter import Limiter, Turn, limiter_for
from limner.vendors.http.rate_headers import read_told
from limner.vendors.secrets.redaction import Secret
from limner.vendors.vendor import Vendor

__all__ = ["Answer", "VendorClient", "message_of", "pause"]

MOST_WAIT = 90.0
"""Seconds that a vendor may ask us to wait; beyond it the user is told instead."""
PATIENCE = 240.0
"""Seconds for which one call is held back by rate limits before it is given up."""
MOST_BYTES = 600_000_000
"""An answer that is longer is no answer."""
DEADLINE = 6
"""An answer that drips takes at most so many time-outs in all."""
LONGEST_SENDING = 6 * 3600.0
"""Seconds that a large body and the head of its answer may take."""
REDIRECTS = 5
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


async def pause(seconds: float) -> None:
    """Wait before the next attempt or turn. Tests put another in its place."""
    await asyncio.sleep(seconds)


class VendorClient:
    """Talks to one vendor with one token. Open it with ``async with``; all clients of an account share one limiter.

    Several tasks of one event loop may use it at once. ``token`` is asked once, when it is first needed.
    """

    def __init__(
        self,
        vendor: Vendor,
        base_url: str,
        token: Callable[[], Secret] | None,
        *,
        timeout: float = 60.0,
        attempts: int | None = None,
    ) -> None:
        self.vendor = vendor
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.attempts = vendor.attempts if attempts is None else attempts
        self._token = token
        self._secret: Secret | None = None
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout, connect=10.0),
            # A limit of connections below the vendor's rate times its slowness would hold turns back.
            limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=32, keepalive_expiry=4.0),
            headers={"user-agent": f"limner/{__version__}"},
            follow_redirects=False,
            verify=_trust(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def limiter(self) -> Limiter:
        """The limiter that all tasks of this process share for this vendor and address."""
        return limiter_for(f"{self.vendor.name} {self.base_url}", self.vendor.rate, self.vendor.burst)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        paid: bool = False,
        authorised: bool = True,
        timeout: float | None = None,
        expect_json: bool = True,
        describe: Callable[[Answer], LimnerError | None] | None = None,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        """Send, wait as told, send again where that is safe; give the answer of a status below 400.

        ``path`` is below the base URL, or a whole URL of the vendor's: the token goes there too unless
        ``authorised=False``. ``describe`` may turn a refusal into an error of its own; redirects are followed for GET
        where JSON is expected.
        ``before`` is called when the turn has come, right before each sending; what it raises keeps it from being sent.
        AccountRefused (401, 403), OutOfCredit (402), NotFound (404, 410), VendorRefused (other 4xx), VendorBusy,
        VendorFailed; for a paid call AnswerLost.
        """
        bodies = {"json": json, "data": data, "files": files, "params": params, "content": content}
        call = _Call(
            method=method.upper(),
            url=path if "://" in path else f"{self.base_url}/{path.lstrip('/')}",
            headers=headers or {},
            body={name: value for name, value in bodies.items() if value is not None},
            paid=paid,
            authorised=authorised,
            expect_json=expect_json,
            describe=describe,
            before=before,
            wait=timeout or self.timeout,
            small=files is None and content is None,
        )
        attempt, first, again = 0, -1.0, False
        while True:
            turn = await self._turn(again)
            first = turn.at if first < 0 else first
            answer, error = await self._attempt(call, turn)
            if error is None and answer is not None:
                return answer
            if not isinstance(error, VendorBusy | VendorFailed):
                raise error or AssertionError("an attempt without an outcome")
            said = answer or Answer(0, {}, None)
            delay = retry_delay(said.status, said.headers, said.json, attempt)
            if delay > MOST_WAIT:
                raise vendor_errors.asks_too_long(self.vendor, delay)
            again = answer is not None and answer.status == 429
            if again and turn.at - first < PATIENCE:
                # The limiter waits, for this call and all others; a held call is no failed one.
                continue
            attempt += 1
            if again or attempt >= self.attempts:
                raise error
            await pause(delay)

    @asynccontextmanager
    async def stream(self, url: str, *, headers: Mapping[str, str] | None = None) -> AsyncIterator[httpx2.Response]:
        """Open a download of a whole URL; the token is never sent unless it is in ``headers``.

        Redirects are followed, an ``authorization`` header only on the same host. httpx2's own errors come through.
        """
        async with self._http.stream("GET", url, headers=dict(headers or {}), follow_redirects=True) as response:
            yield response

    async def download(
        self,
        url: str,
        into: Path,
        *,
        authorised: bool = False,
        size: int | None = None,
        sha256: str = "",
        most: int = 6 * 10**9,
    ) -> Path:
        """Fetch a file whole or not at all; taken up again where it broke off if the server can, else from the start.

        ``authorised``: the token is sent, but only to the vendor's own host. ``most`` bytes are taken, not more.
        VendorFailed: it cannot be had whole, or its digest differs. NotFound: the address has expired. StorageFailed.
        """
        from limner.vendors.http.download import Wanted, fetch

        own = authorised and _same_host(self.base_url, url)
        wanted = Wanted(url, into, size, sha256.removeprefix("sha256:").lower(), most)
        return await fetch(self._http, self.vendor, wanted, self._authorisation(own), lambda seconds: pause(seconds))

    async def _turn(self, again: bool) -> Turn:
        asked = self.limiter.paused_for
        if asked > MOST_WAIT:
            raise vendor_errors.asks_too_long(self.vendor, asked)
        return await self.limiter.turn(again=again, pause=lambda seconds: pause(seconds))

    async def _attempt(self, call: _Call, turn: Turn) -> tuple[Answer | None, LimnerError | None]:
        """Send once, and follow redirects: the answer, and the error if it is none to be given."""
        url, authorised = call.url, call.authorised
        if call.before is not None:
            await call.before()
        for _ in range(REDIRECTS):
            try:
                answer = await self._exchange(call, url, authorised)
            except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as failure:
                return None, self._unanswered(call, url, failure)
            told = read_told(answer.headers, answer.json, refused=answer.status == 429)
            self.limiter.learn(answer.status, answer.headers, turn=turn, told=told)
            location = answer.headers.get("location", "")
            if not (300 <= answer.status < 400 and location and call.expect_json):
                return answer, self._verdict(call, answer)
            if call.method not in ("GET", "HEAD") or call.paid:
                sure = not call.paid or vendor_errors.surely_refused(self.vendor, answer)
                failed = vendor_errors.moved(self.vendor, answer)
                return None, failed if sure else vendor_errors.lost(self.vendor, f"it answered {answer.status}")
            following = urljoin(url, location)
            authorised = authorised and _same_host(url, following)
            url = following
        return None, vendor_errors.moved(self.vendor, answer)

    def _unanswered(self, call: _Call, url: str, failure: Exception) -> LimnerError:
        """What a request without a whole answer means."""
        if isinstance(failure, _NOT_SENT):
            return vendor_errors.unreachable(self.vendor, url, failure)
        if isinstance(failure, httpx2.InvalidURL):
            return vendor_errors.no_address(self.vendor, url)
        if call.paid:
            return vendor_errors.lost(
                self.vendor, str(failure) if isinstance(failure, Swells) else type(failure).__name__
            )
        if isinstance(failure, Swells):
            return vendor_errors.too_much(self.vendor, url, failure)
        return vendor_errors.unreachable(self.vendor, url, failure)

    async def _exchange(self, call: _Call, url: str, authorised: bool) -> Answer:
        """One request and its answer, read within DEADLINE; for a large request that begins with the answer's head."""
        headers = {**self._authorisation(authorised), **call.headers}
        async with (
            asyncio.timeout(DEADLINE * call.wait if call.small else LONGEST_SENDING) as patience,
            self._http.stream(
                call.method,
                url,
                headers=headers,
                timeout=httpx2.Timeout(call.wait, connect=10.0),
                **call.body,
            ) as response,
        ):
            if not call.small:
                patience.reschedule(asyncio.get_running_loop().time() + DEADLINE * call.wait)
            content = bytearray()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > MOST_BYTES:
                    raise Swells("it is too long")
                refuse_swelling(response, len(content))
        names = {name.lower(): value for name, value in response.headers.items()}
        parsed = read_json(bytes(content), names.get("content-type", ""))
        return Answer(response.status_code, names, parsed, bytes(content))

    def _verdict(self, call: _Call, answer: Answer) -> LimnerError | None:
        """What is wrong with an answer; None: nothing."""
        if answer.status < 400:
            if not call.expect_json or answer.json is not None or answer.status == 204:
                return None
            if call.paid:
                return vendor_errors.lost(self.vendor, "it cannot be read")
            return vendor_errors.not_understood(self.vendor, answer)
        if call.paid and not vendor_errors.surely_refused(self.vendor, answer):
            return vendor_errors.lost(self.vendor, f"it answered {answer.status}")
        return (call.describe(answer) if call.describe else None) or vendor_errors.refusal(self.vendor, answer)

    def _authorisation(self, authorised: bool) -> dict[str, str]:
        if not authorised or self._token is None:
            return {}
        if self._secret is None:
            self._secret = self._token()
        return {"authorization": f"{self.vendor.scheme} {self._secret.reveal()}"}


@dataclass(frozen=True, slots=True)
class _Call:
    """A request as it was asked for. ``small``: its body is, so that its time can be limited as a whole."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    paid: bool
    authorised: bool
    expect_json: bool
    describe: Callable[[Answer], LimnerError | None] | None
    before: Callable[[], Awaitable[None]] | None
    wait: float
    small: bool


def _same_host(one: str, other: str) -> bool:
    """Whether two addresses have scheme, host and port in common: a token for one may then go to the other."""
    try:
        first, second = urlsplit(one), urlsplit(other)
        return (first.scheme, first.hostname, first.port or _PORTS.get(first.scheme)) == (
            second.scheme,
            second.hostname,
            second.port or _PORTS.get(second.scheme),
        )
    except ValueError:
        return False


_PORTS = {"http": 80, "https": 443}


@cache
def _trust() -> ssl.SSLContext:
    """Whom to trust; reading it takes longer than a call, so all clients share it."""
    return httpx2.create_ssl_context()
