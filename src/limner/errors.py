"""One tree of errors. Each says what happened, to what, and what to do next.

Every error carries an exit code for the CLI and a status and type for an HTTP problem (RFC 9457).

    LimnerError
    ├── InputRefused       the user's input cannot be used            exit 2, 422
    │   ├── PhotoRefused   ├── CaptionRefused  ├── RecipeRefused
    │   ├── LoraRefused    ├── NameRefused
    │   │   └── BaseUnclear  it fits several bases: say which
    │   ├── VendorRefused  a vendor cannot use the request
    │   └── ContentRefused a vendor's content filter said no
    ├── NotFound           no such subject, photo, lora ...           exit 3, 404
    ├── Conflict           already there, or in a state that forbids  exit 4, 409
    │   ├── Undecided      nobody can tell whether it was paid        exit 10, 409
    │   ├── StillDoing     the same request is being done now         exit 4, 409
    │   └── ChangedMeanwhile  it is not what the request takes it for  exit 4, 412
    ├── AccessRefused      who asks may not do this               exit 11, 403
    │   ├── LoginNeeded    nobody is logged in                    exit 11, 401
    │   └── TooManyTries   too many wrong passwords               exit 11, 429
    ├── NotReady           a need is not met (program, account, GPU)  exit 5, 424
    │   ├── AccountRefused the token is missing, wrong or too weak
    │   └── OutOfCredit    the vendor's account has no credit
    ├── SpendingRefused    a budget forbids it                        exit 9, 402
    │   └── ConsentNeeded  it costs more than goes without asking
    ├── Cancelled          the user stopped it                        exit 6, 409
    ├── StorageFailed      disk full, database locked, blob damaged   exit 7, 507
    └── WorkFailed         a trainer, hub or generator failed         exit 8, 502
        ├── VendorBusy     a vendor is overloaded or limits our rate
        ├── VendorFailed   a vendor cannot be reached, or failed
        └── AnswerLost     a paid call was sent, its answer is lost
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

__all__ = [
    "AccessRefused",
    "AccountRefused",
    "AnswerLost",
    "BaseUnclear",
    "Cancelled",
    "CaptionRefused",
    "ChangedMeanwhile",
    "Conflict",
    "ConsentNeeded",
    "ContentRefused",
    "InputRefused",
    "LimnerError",
    "LoginNeeded",
    "LoraRefused",
    "NameRefused",
    "NotFound",
    "NotReady",
    "OutOfCredit",
    "PhotoRefused",
    "RecipeRefused",
    "SpendingRefused",
    "StillDoing",
    "StorageFailed",
    "TooManyAtOnce",
    "TooManyTries",
    "Undecided",
    "VendorBusy",
    "VendorFailed",
    "VendorRefused",
    "WorkFailed",
    "WorkerFailed",
]


class LimnerError(Exception):
    """The root: ``message`` says what happened and to what, ``remedy`` what to do next."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "", thing: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.thing = thing

    @classmethod
    def of_code(
        cls, code: str, message: str, *, remedy: str = "", thing: str = "", candidates: Sequence[str] = ()
    ) -> LimnerError:
        """An error that was kept or sent as its code and words; of this class where the code is not known."""
        known = [one for one in globals().values() if isinstance(one, type) and issubclass(one, LimnerError)]
        failure = next((one for one in known if one.code == code), cls)(message, remedy=remedy, thing=thing)
        if isinstance(failure, BaseUnclear):
            failure.candidates = tuple(candidates)
        return failure

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def as_problem(self) -> dict[str, object]:
        """The RFC 9457 problem: type, title, status, detail, and our ``code``, ``remedy`` and ``thing``."""
        return {
            "type": f"urn:limner:{self.code}",
            "code": self.code,
            "title": self.code.replace("-", " "),
            "status": self.status,
            "detail": self.message,
            "remedy": self.remedy,
            "thing": self.thing,
        }


class InputRefused(LimnerError):
    """The user's input cannot be used."""

    exit_code = 2
    status = 422
    code = "input-refused"


class PhotoRefused(InputRefused):
    """A file cannot become a photo, or too few of them did."""

    code = "photo-refused"


class CaptionRefused(InputRefused):
    """A caption, captions file or caption template cannot be used."""

    code = "caption-refused"


class RecipeRefused(InputRefused):
    """A training setting is unknown or out of its range. ``fields`` says of each setting what is wrong with it."""

    code = "recipe-refused"
    fields: Mapping[str, str] = MappingProxyType({})

    def as_problem(self) -> dict[str, object]:
        """The problem, with what is wrong with each setting."""
        return {**super().as_problem(), **({"fields": dict(self.fields)} if self.fields else {})}


class LoraRefused(InputRefused):
    """A file is not a lora, or not one for the named base."""

    code = "lora-refused"


class BaseUnclear(LoraRefused):
    """A lora fits several bases, and nothing says which: ``candidates`` are their ids, the likeliest first."""

    code = "base-unclear"

    def __init__(self, message: str, *, remedy: str = "", thing: str = "", candidates: Sequence[str] = ()) -> None:
        super().__init__(message, remedy=remedy, thing=thing)
        self.candidates = tuple(candidates)

    def as_problem(self) -> dict[str, object]:
        """The problem, with the ``candidates``."""
        return {**super().as_problem(), "candidates": list(self.candidates)}


class NameRefused(InputRefused):
    """A slug, trigger or repo name has a form that cannot be used."""

    code = "name-refused"


class VendorRefused(InputRefused):
    """A vendor understood the request and cannot use it; nothing was paid."""

    code = "vendor-refused"


class ContentRefused(InputRefused):
    """A vendor's content filter refused the prompt, a photo or the picture; not a failure of ours."""

    code = "content-refused"


class NotFound(LimnerError):
    """There is no such thing here."""

    exit_code = 3
    status = 404
    code = "not-found"


class Conflict(LimnerError):
    """It is there already, or is in a state that forbids this."""

    exit_code = 4
    status = 409
    code = "conflict"


class Undecided(Conflict):
    """A paid call was sent and nobody can tell whether it was paid: the user decides, nothing is sent again."""

    exit_code = 10
    code = "undecided"


class StillDoing(Conflict):
    """The first request with the same key is still being done: wait, then send the same again."""

    code = "still-doing"


class ChangedMeanwhile(Conflict):
    """Somebody changed it since it was looked at, so what was asked for was not done."""

    status = 412
    code = "changed-meanwhile"


class AccessRefused(LimnerError):
    """Who asks may not do this: another user's business, a scope that is missing, a request that a page forged."""

    exit_code = 11
    status = 403
    code = "access-refused"


class LoginNeeded(AccessRefused):
    """Nobody is logged in, or the session or token has ended."""

    status = 401
    code = "login-needed"


class TooManyTries(AccessRefused):
    """Too many wrong passwords: the next try has to wait."""

    status = 429
    code = "too-many-tries"


class TooManyAtOnce(AccessRefused):
    """One address has so many requests under way that another has to wait."""

    status = 429
    code = "too-many-at-once"


class NotReady(LimnerError):
    """Something that the work needs is missing: a program, an account, a GPU, an extra."""

    exit_code = 5
    status = 424
    code = "not-ready"


class AccountRefused(NotReady):
    """A vendor's token is missing, wrong, revoked, or may not do this."""

    code = "account-refused"


class OutOfCredit(NotReady):
    """The vendor's account has no credit left, or reached a limit set there."""

    code = "out-of-credit"


class SpendingRefused(LimnerError):
    """A budget of the user's forbids the step; nothing was sent."""

    exit_code = 9
    status = 402
    code = "spending-refused"


class ConsentNeeded(SpendingRefused):
    """The step costs more than goes without asking; nothing was sent."""

    code = "consent-needed"


class Cancelled(LimnerError):
    """The user stopped it; what was done so far is kept."""

    exit_code = 6
    status = 409
    code = "cancelled"


class StorageFailed(LimnerError):
    """The disk, the database or a blob failed."""

    exit_code = 7
    status = 507
    code = "storage-failed"


class WorkFailed(LimnerError):
    """A back end started the work and could not finish it."""

    exit_code = 8
    status = 502
    code = "work-failed"


class WorkerFailed(WorkFailed):
    """The worker, which does the jobs, could not be started; the jobs that waited for it have failed."""

    status = 503
    code = "worker-failed"


class VendorBusy(WorkFailed):
    """A vendor is overloaded or limits our rate, still after waiting as it asked; nothing was paid."""

    code = "vendor-busy"


class VendorFailed(WorkFailed):
    """A vendor cannot be reached, failed, or answered what cannot be understood."""

    code = "vendor-failed"


class AnswerLost(WorkFailed):
    """A paid call was sent and its answer never came whole: it may have been done, and paid."""

    code = "answer-lost"
