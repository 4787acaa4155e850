"""What went wrong with a call, as one sentence with its remedy: never a page of HTML, never a secret."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from limner.errors import (
    AccountRefused,
    AnswerLost,
    LimnerError,
    NotFound,
    OutOfCredit,
    VendorBusy,
    VendorFailed,
    VendorRefused,
)
from limner.vendors.http.answers import Answer, VendorFacts, message_of
from limner.vendors.secrets.redaction import redact

__all__ = [
    "asks_too_long",
    "lost",
    "moved",
    "no_address",
    "not_understood",
    "place_of",
    "refusal",
    "surely_refused",
    "unreachable",
]

SETTINGS = {
    "replicate": "LIMNER_REPLICATE_URL",
    "together": "LIMNER_TOGETHER_URL",
    "huggingface": "LIMNER_HUGGINGFACE_URL",
    "fal": "LIMNER_FAL_QUEUE_URL",
}


def surely_refused(facts: VendorFacts, answer: Answer) -> bool:
    """Whether a refusal proves that a paid call was not taken: the vendor's own words, or a gate before it."""
    if 400 <= answer.status < 500:
        return answer.status not in (408, 499)
    if answer.status in (307, 308):
        return True
    return answer.status in facts.refusals and answer.json is not None


def place_of(url: str) -> str:
    """The host of an address; path and query may be keys by themselves."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname}{port}" if parts.hostname else "an address without a host"
    except ValueError:
        return "an address that cannot be read"


def refusal(facts: VendorFacts, answer: Answer) -> LimnerError:
    """A status from 400 up."""
    title, thing, status = facts.title, facts.name, answer.status
    said = redact(message_of(answer.json)).rstrip(".")
    words = f": {said}" if said else ""
    if answer.is_page and status != 429:
        return _page(facts, answer)
    if status == 401:
        page = f"Make a new one at {facts.token_page}, then: " if facts.token_page else ""
        return AccountRefused(
            f"{title} does not accept the token{words}.", remedy=f"{page}limner login {thing}", thing=thing
        )
    if status == 403:
        return AccountRefused(
            f"{title} does not allow this with your token{words}.",
            remedy=f"Check at {facts.token_page or title} what the token may do, then: limner login {thing}",
            thing=thing,
        )
    if status == 402:
        return OutOfCredit(
            f"The account at {title} has no credit for this{words}.",
            remedy="Add credit there, then try again.",
            thing=thing,
        )
    if status in (404, 410):
        return NotFound(
            f"{title} does not know that{words}.", remedy="Check the name; it may have been deleted there.", thing=thing
        )
    if status == 429:
        return VendorBusy(
            f"{title} limits how often it may be called{words}.", remedy="Try again in a few minutes.", thing=thing
        )
    if status == 413:
        return VendorRefused(
            f"{title} refuses so large a request{words}.", remedy="Send fewer or smaller files.", thing=thing
        )
    if status < 500 and status not in (408, 425):
        return VendorRefused(
            f"{title} refuses the request (status {status}){words}.",
            remedy="Change what the message names.",
            thing=thing,
        )
    kind = VendorBusy if status in (503, 529) else VendorFailed
    what = "is overloaded" if kind is VendorBusy else "failed"
    return kind(f"{title} {what} (status {status}){words}.", remedy="Try again in a few minutes.", thing=thing)


def _page(facts: VendorFacts, answer: Answer) -> LimnerError:
    title, thing, status = facts.title, facts.name, answer.status
    if status in (401, 403, 407, 451):
        return AccountRefused(
            f"Something before {title} refuses access with a web page (status {status}).",
            remedy=f"Check your network, proxy or VPN, and {_setting(facts)}.",
            thing=thing,
        )
    if 400 <= status < 500 and status != 408:
        return NotFound(
            f"{title} answered with a web page where its interface was expected (status {status}).",
            remedy=f"Check {_setting(facts)}: it must be the address of the interface, not of the site.",
            thing=thing,
        )
    return VendorFailed(
        f"A gateway of {title} answered with an error page (status {status}).",
        remedy="Try again in a few minutes; the vendor may have a disturbance.",
        thing=thing,
    )


def not_understood(facts: VendorFacts, answer: Answer) -> VendorFailed:
    """A success whose body is no JSON, or broken JSON."""
    if not answer.content:
        what = "with nothing"
    elif answer.is_page:
        what = "with a web page"
    elif "json" in answer.kind:
        what = "with damaged JSON"
    else:
        what = f"with {answer.kind[:60] or 'something unnamed'}"
    return VendorFailed(
        f"{facts.title} answered {what} where JSON was expected.",
        remedy=f"Try again in a few minutes; if it stays so, check {_setting(facts)}.",
        thing=facts.name,
    )


def moved(facts: VendorFacts, answer: Answer) -> VendorFailed:
    """A redirect that is not followed."""
    where = place_of(answer.headers.get("location", ""))
    return VendorFailed(
        f"{facts.title} points elsewhere ({where}) instead of answering, and the call is not sent there.",
        remedy=f"If the vendor has moved, set {_setting(facts)}.",
        thing=facts.name,
    )


def lost(facts: VendorFacts, why: str) -> AnswerLost:
    """A paid call that may have been taken."""
    return AnswerLost(
        f"A paid call was sent to {facts.title} and its answer is lost ({redact(why)}).",
        remedy="It is looked up there before anything is sent again.",
        thing=facts.name,
    )


def unreachable(facts: VendorFacts, url: str, failure: BaseException) -> VendorFailed:
    """No answer at all: says why in words, as far as the system knows."""
    why, remedy = _reason(failure)
    return VendorFailed(
        f"{facts.title} cannot be reached at {place_of(url)} ({why}).",
        remedy=f"{remedy} {_setting(facts)} says where it is looked for.",
        thing=facts.name,
    )


def too_much(facts: VendorFacts, url: str, failure: BaseException) -> VendorRefused:
    """An answer that is far too large: it is not asked for again."""
    return VendorRefused(
        f"{facts.title} answered at {place_of(url)} with far too much: {failure}.",
        remedy=f"Try again later; if it stays so, {_setting(facts)} leads to something else.",
        thing=facts.name,
    )


def no_address(facts: VendorFacts, url: str) -> VendorRefused:
    """An address that cannot be called at all."""
    return VendorRefused(
        f"{facts.title} cannot be called at {place_of(url)}: that is no address.",
        remedy=f"Check {_setting(facts)}.",
        thing=facts.name,
    )


def asks_too_long(facts: VendorFacts, seconds: float) -> VendorBusy:
    """The vendor asks to wait for longer than is waited for."""
    wait = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return VendorBusy(
        f"{facts.title} limits how often it may be called and asks to wait for {wait}.",
        remedy=f"Try again in {wait}.",
        thing=facts.name,
    )


def _setting(facts: VendorFacts) -> str:
    return SETTINGS.get(facts.name, "the address in the settings")


def _reason(failure: BaseException) -> tuple[str, str]:
    chain = list(_causes(failure))
    if any(isinstance(cause, socket.gaierror) for cause in chain) or "Name or service" in str(failure):
        return "its name is not found", "Check the connection to the internet."
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return "its certificate is not trusted, or TLS fails", "Check the date of this machine and any proxy."
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return "nobody listens there", "Try again later."
    name = type(failure).__name__
    if "Timeout" in name:
        return "no answer in time", "Check the connection, then try again."
    if name == "ProxyError":
        return "the proxy refuses", "Check HTTPS_PROXY."
    return {"ConnectError": "no connection", "RemoteProtocolError": "it hung up without an answer"}.get(
        name, f"the connection broke: {name}"
    ), "Check the connection, then try again."


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while failure is not None and seen < 12:
        yield failure
        failure, seen = failure.__cause__ or failure.__context__, seen + 1
