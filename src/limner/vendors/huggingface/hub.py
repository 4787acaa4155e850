"""The Hugging Face Hub through its own client: our token, our address, time-outs, errors in one sentence.

huggingface_hub reads its environment when it is imported, so it is imported here only, and only when it is used.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

from limner.errors import (
    AccountRefused,
    Conflict,
    LimnerError,
    NotFound,
    NotReady,
    OutOfCredit,
    VendorBusy,
    VendorFailed,
    VendorRefused,
)
from limner.settings import Settings
from limner.vendors.http.backoff import retry_delay
from limner.vendors.secrets.tokens import Secret, find_token, has_token, redact

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

__all__ = ["OFFICIAL", "TOKEN_PAGE", "HubAccount", "HubLost", "as_limner_error", "hub_token", "repo_at", "router_url"]

OFFICIAL = "https://huggingface.co"
TOKEN_PAGE = "https://huggingface.co/settings/tokens"  # noqa: S105 (an address)
ATTEMPTS = 5
MOST_WAIT = 90.0
"""Seconds that the hub may ask us to wait; beyond it the user is told instead."""
PAUSE = time.sleep
_TIMEOUT = (10.0, 60.0, 300.0)  # seconds to connect, to read, to write
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_FULL = re.compile(r"storage|quota|limit reached|billing|payment|credit", re.IGNORECASE)
_loading = threading.Lock()

Given = ParamSpec("Given")
Result = TypeVar("Result")


class HubLost(VendorFailed):
    """The hub may have done what was asked of it, though no answer came: look before asking again."""


class HubAccount:
    """The Hub as the user's account sees it, or as anybody does where there is no token or ``anonymous`` is set."""

    def __init__(self, settings: Settings, *, anonymous: bool = False) -> None:
        self.endpoint = settings.huggingface_url.rstrip("/")
        self._settings, self._anonymous = settings, anonymous
        self._made: tuple[Secret | None, HfApi] | None = None
        self._named: tuple[Secret, str] | None = None

    @property
    def token(self) -> Secret | None:
        """The user's token as it is now, None for whoever has none."""
        return None if self._anonymous else hub_token(self._settings)

    @property
    def api(self) -> HfApi:
        """huggingface_hub's client for this account, anew for another token; call it through ``ask``."""
        token = self.token
        if self._made is not None and self._made[0] == token:
            return self._made[1]
        load_client(self.endpoint)
        from huggingface_hub import HfApi

        from limner._version import __version__

        api = HfApi(
            endpoint=self.endpoint,
            token=token.reveal() if token else False,
            library_name="limner",
            library_version=__version__,
        )
        self._made = token, api
        return api

    def ask(self, function: Callable[Given, Result], *args: Given.args, **options: Given.kwargs) -> Result:
        """Call a method of ``api`` that is harmless to repeat; sent again where the hub was busy or the line broke."""
        for attempt in range(ATTEMPTS):
            try:
                return function(*args, **options)
            except Exception as failure:
                again = _wait_before_again(failure, attempt)
                if again is None or attempt + 1 == ATTEMPTS or again > MOST_WAIT:
                    raise as_limner_error(failure, self.endpoint) from None
            PAUSE(again)
        raise AssertionError("unreachable")

    def tell(self, function: Callable[Given, Result], *args: Given.args, **options: Given.kwargs) -> Result:
        """Call a method of ``api`` that must not be repeated blindly: again only where it surely was not taken.

        HubLost: it may have been done.
        """
        for attempt in range(ATTEMPTS):
            try:
                return function(*args, **options)
            except Exception as failure:
                lost = _may_be_done(failure)
                again = None if lost else _wait_before_again(failure, attempt)
                if again is None or attempt + 1 == ATTEMPTS or again > MOST_WAIT:
                    raise as_limner_error(failure, self.endpoint, lost=lost) from None
            PAUSE(again)
        raise AssertionError("unreachable")

    @property
    def name(self) -> str:
        """The account's name. AccountRefused: there is no token, or it is none of the hub's."""
        token = self.token
        if token is None:
            raise AccountRefused(
                "There is no token for the Hugging Face Hub.",
                remedy=f"Make one that may write at {TOKEN_PAGE}, then: limner login huggingface",
                thing="huggingface",
            )
        if self._named is None or self._named[0] != token:
            self._named = token, str(self.ask(self.api.whoami)["name"])
        return self._named[1]


def load_client(endpoint: str) -> None:
    """Import huggingface_hub, with plain uploads for a hub that is not the official one, and with time-outs."""
    with _loading:
        if not is_official(endpoint):
            # Xet is chosen by the client alone; a hub that lacks it then fails every upload.
            os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        from huggingface_hub import constants

        if not is_official(endpoint):
            constants.HF_HUB_DISABLE_XET = True
        _bound_the_waiting()


@cache
def _bound_the_waiting() -> None:
    """The client waits for ever by default, and as long as a 429 says; make both end."""
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from limner.vendors.http.decompression_limit import bound

    connect, read, write = _TIMEOUT

    def make() -> httpx2.Client:
        client = default_client_factory()
        client.headers["accept-encoding"] = "identity"
        client.timeout = httpx2.Timeout(read, connect=connect, write=write)
        hooks = client.event_hooks
        hooks["response"] = [*hooks["response"], _refuse_long_waits, bound]
        client.event_hooks = hooks
        return client

    set_client_factory(make)
    disable_progress_bars()


def _refuse_long_waits(response: httpx2.Response) -> None:
    if response.status_code in (429, 503):
        headers = {key.lower(): value for key, value in response.headers.items()}
        if retry_delay(response.status_code, headers, None, 0) > MOST_WAIT:
            raise VendorBusy(
                "The Hugging Face Hub limits our rate and asks to wait long.",
                remedy="Try again in some minutes.",
                thing="huggingface",
            )


def is_official(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname == "huggingface.co"


def repo_at(url: str, endpoint: str) -> str:
    """The repo of a page or file of the hub, ``owner/name``; "" for any other address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    segments = [unquote(part) for part in parts.path.split("/") if part]
    hosts = (urlsplit(endpoint).netloc.lower(), "huggingface.co", "hf.co")
    sound = len(segments) == 2 or (len(segments) > 3 and segments[2] in ("resolve", "blob", "tree"))
    return "/".join(segments[:2]) if sound and parts.netloc.lower() in hosts else ""


def router_url(settings: Settings) -> str:
    """Where inference providers answer: the router of the official hub, or ``/router`` of any other."""
    endpoint = settings.huggingface_url.rstrip("/")
    return "https://router.huggingface.co" if is_official(endpoint) else f"{endpoint}/router"


def hub_token(settings: Settings) -> Secret | None:
    """The user's token, None if there is none."""
    return find_token("huggingface", settings) if has_token("huggingface", settings) else None


# --- failures -------------------------------------------------------------------------------------------------------


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """A failure and those below it: the client wraps what happens while uploading."""
    seen: BaseException | None = failure
    while seen is not None:
        yield seen
        # what was being handled when the call was made is no cause of it
        around = None if seen.__suppress_context__ or isinstance(seen.__context__, LimnerError) else seen.__context__
        seen = seen.__cause__ or around


def _status(failure: BaseException) -> tuple[int, dict[str, str]]:
    """The hub's status and headers, 0 where no answer came."""
    for one in _causes(failure):
        response = getattr(one, "response", None)
        status = getattr(response, "status_code", None)
        if isinstance(status, int):
            return status, {key.lower(): value for key, value in response.headers.items()}  # type: ignore[union-attr]
    return 0, {}


def _broken_line(failure: BaseException) -> BaseException | None:
    import httpx2

    return next((one for one in _causes(failure) if isinstance(one, httpx2.TransportError)), None)


def _wait_before_again(failure: Exception, attempt: int) -> float | None:
    """Seconds to wait before asking again, None where that would not help."""
    if any(isinstance(one, LimnerError) for one in _causes(failure)):
        return None
    status, headers = _status(failure)
    if status in _AGAIN or (not status and (_broken_line(failure) or _no_json(failure))):
        return retry_delay(status, headers, None, attempt)
    return None


def _no_json(failure: BaseException) -> bool:
    return any(isinstance(one, JSONDecodeError) for one in _causes(failure))


def _may_be_done(failure: Exception) -> bool:
    import httpx2

    status, _ = _status(failure)
    line = _broken_line(failure)
    if line is not None and not status:
        return not isinstance(line, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return status >= 500 or status == 408 or (not status and _no_json(failure))


def as_limner_error(failure: Exception, endpoint: str, *, lost: bool = False) -> LimnerError:
    """What huggingface_hub raised, as one sentence with its remedy; no token is in it."""
    for one in _causes(failure):
        if isinstance(one, LimnerError):
            return one
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    from limner.vendors.http.decompression_limit import Swells

    status, _ = _status(failure)
    if any(isinstance(one, OfflineModeIsEnabled) for one in _causes(failure)):
        return NotReady("HF_HUB_OFFLINE forbids to reach the hub.", remedy="Unset it.", thing="huggingface")
    if any(isinstance(one, LocalTokenNotFoundError) for one in _causes(failure)):
        return AccountRefused("There is no token for the Hub.", remedy="limner login huggingface", thing="huggingface")
    if status:
        return _answered(failure, status, lost)
    if any(isinstance(one, Swells) for one in _causes(failure)):
        return VendorRefused(
            f"The Hugging Face Hub answered at {endpoint} with what cannot be read: {_words(failure)}.",
            remedy="Check LIMNER_HUGGINGFACE_URL; if it is right, try again later.",
            thing="huggingface",
        )
    line = _broken_line(failure)
    if line is not None or _no_json(failure):
        kind = HubLost if lost else VendorFailed
        why = type(line).__name__ if line is not None else "an answer that is no JSON"
        return kind(
            f"The Hugging Face Hub cannot be reached at {endpoint} ({why}).",
            remedy="Check the connection and try again.",
            thing="huggingface",
        )
    return VendorRefused(
        f"The Hugging Face Hub's client refuses: {_words(failure)}.", remedy="Correct that.", thing="huggingface"
    )


def _answered(failure: Exception, status: int, lost: bool) -> LimnerError:
    from huggingface_hub import errors

    chain = list(_causes(failure))

    def any_of(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in chain)

    said = _words(failure)
    words = f" ({said})" if said else ""
    hub, thing = "The Hugging Face Hub", "huggingface"
    if any_of(errors.GatedRepoError):
        return AccountRefused(
            f"The repo is gated, and this account may not read it{words}.",
            remedy="Accept its terms on its page, with the account of your token.",
            thing=thing,
        )
    if any_of(errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError):
        return NotFound(
            f"{hub} has no such repo, revision or file, or hides it from this account{words}.",
            remedy="Check the name; for a private repo use a token that may read it.",
            thing=thing,
        )
    if status == 402 or (status == 403 and _FULL.search(said)):
        return OutOfCredit(
            f"{hub} has no room for this account{words}.", remedy="Free storage there, or change the plan.", thing=thing
        )
    if status in (401, 403):
        return AccountRefused(
            f"{hub} refuses the token{words}.",
            remedy=f"Make one that may write to your repos at {TOKEN_PAGE}, then: limner login huggingface",
            thing=thing,
        )
    if status == 404:
        return NotFound(f"{hub} does not know that{words}.", remedy="Check the name.", thing=thing)
    if status in (409, 412):
        return Conflict(f"{hub} says that it changed meanwhile{words}.", remedy="Try again.", thing=thing)
    if status == 429:
        return VendorBusy(f"{hub} limits our rate{words}.", remedy="Try again in some minutes.", thing=thing)
    if status < 500 and status != 408:
        return VendorRefused(f"{hub} refuses the request{words}.", remedy="Change it.", thing=thing)
    kind = HubLost if lost else VendorBusy if status == 503 else VendorFailed
    return kind(f"{hub} answered {status}{words}.", remedy="Try again later.", thing=thing)


def _words(failure: BaseException) -> str:
    """The hub's own words, on one line, without secrets and addresses."""
    chain = list(_causes(failure))
    said = next(filter(None, (getattr(one, "server_message", None) for one in chain)), None)
    header = next((_header(one) for one in chain if _header(one)), "")
    text: Any = said or header or ("" if _status(failure)[0] else str(failure))
    words = re.sub(r"<[^<>]*>", " ", str(text))  # a gateway's page, or a bucket's XML
    return redact(" ".join(words.split())[:300]).rstrip(".")


def _header(failure: BaseException) -> str:
    response = getattr(failure, "response", None)
    return str(response.headers.get("x-error-message", "")) if response is not None else ""
