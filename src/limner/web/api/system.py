"""What there is: the API itself, bases, back ends, the doctor's report, and the vendors' accounts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import Field, StrictBool

from limner._version import __version__
from limner.errors import NotFound
from limner.records import Account, DoctorReport, Job, Verification
from limner.types import BackEnd, Base
from limner.web.api.path_parameters import BaseId, VendorName, api_router, started
from limner.web.api.shapes import Body
from limner.web.visit import StudioOf, Visit

__all__ = ["router"]

router = api_router("setup")

AskVendors = Annotated[bool, Query(description="Ask the vendors too.")]


@dataclass(frozen=True, slots=True)
class Index:
    """The API: the version of Limner, and where the parts are."""

    version: str
    openapi: str
    docs: str
    resources: list[str]


@dataclass(frozen=True, slots=True)
class BackEnds:
    """The back ends that are installed, by what they are."""

    back_ends: dict[str, list[BackEnd]]


class VendorToken(Body):
    """A vendor's token, to be kept in the keyring of the system that Limner runs on."""

    token: str = Field(min_length=1, max_length=1_000)


class VerifyWish(Body):
    """What a verification should do. ``remove_stray``: delete files that belong to nothing."""

    remove_stray: StrictBool = False


@router.get("", operation_id="get_index", summary="See what there is")
def index(request: Request, visit: Visit) -> Index:  # noqa: ARG001 - closed to strangers
    """The version, and the addresses of the lists."""
    paths = request.app.openapi()["paths"]
    lists = sorted(path for path, at in paths.items() if "get" in at and "{" not in path and path != "/api/v1")
    return Index(version=__version__, openapi="/api/v1/openapi.json", docs="/api", resources=lists)


@router.get("/bases", operation_id="list_bases", summary="List the bases")
def bases(studio: StudioOf) -> list[Base]:
    """The models that loras belong to, by the catalog."""
    return studio.maintenance.bases()


@router.get("/bases/{base}", operation_id="get_base", summary="See a base")
def base(studio: StudioOf, base: BaseId) -> Base:
    """One row of the catalog."""
    for one in studio.maintenance.bases():
        if one.id == base:
            return one
    raise NotFound(f"There is no base '{base}'.", remedy="List them: GET /api/v1/bases.", thing=base)


@router.get("/back-ends", operation_id="list_back_ends", summary="List the back ends")
def back_ends(studio: StudioOf) -> BackEnds:
    """Trainers, hubs, generators and captioners that are installed, with what each needs."""
    return BackEnds({kind: list(ends) for kind, ends in studio.maintenance.back_ends().items()})


@router.get("/doctor", operation_id="get_doctor", summary="See what is installed and what is missing")
def doctor(studio: StudioOf, live: AskVendors = False) -> DoctorReport:
    """With what mends it. For admins."""
    return studio.maintenance.doctor(live=live)


@router.post("/system/verification", operation_id="verify_home", status_code=202, summary="Verify the home")
def verify(response: Response, studio: StudioOf, wish: VerifyWish) -> Job:
    """A job that reads every file again and holds rows and files against each other. For admins."""
    return started(response, studio.maintenance.verify(remove_stray=wish.remove_stray))


@router.get("/system/verification", operation_id="get_verification", summary="See what the last verification found")
def verification(studio: StudioOf) -> Verification:
    """Of the last one that came to its end. For admins."""
    found = studio.maintenance.verification()
    if found is None:
        raise NotFound(
            "The home was not verified yet.", remedy="Do it: POST /api/v1/system/verification.", thing="verification"
        )
    home = str(studio.settings.home)
    hidden = [replace(one, name=one.name.replace(home, "HOME")) for one in found.findings]
    return replace(found, findings=tuple(hidden))


@router.get("/accounts", operation_id="list_accounts", summary="List the vendors' accounts", tags=["accounts"])
def accounts(studio: StudioOf, live: AskVendors = False) -> list[Account]:
    """Where each token was found; never the token. For admins."""
    return studio.accounts.all(live=live)


@router.get("/accounts/{vendor}", operation_id="get_account", summary="See an account", tags=["accounts"])
def account(studio: StudioOf, vendor: VendorName) -> Account:
    """Where its token was found. For admins."""
    return _one(studio.accounts.all(), vendor)


@router.post("/accounts/{vendor}/test", operation_id="test_account", summary="Try an account", tags=["accounts"])
def test(studio: StudioOf, vendor: VendorName) -> Account:
    """Asks the vendor, by a call that costs nothing, whether the token is good and whose it is. For admins."""
    _one(studio.accounts.all(), vendor)
    return _one(studio.accounts.all(live=True), vendor)


@router.put("/accounts/{vendor}", operation_id="connect_account", summary="Connect an account", tags=["accounts"])
def connect(studio: StudioOf, vendor: VendorName, given: VendorToken) -> Account:
    """The token is tried and then kept in the keyring of the system. For admins."""
    return studio.accounts.login(vendor, given.token)


@router.delete("/accounts/{vendor}", operation_id="disconnect_account", summary="Forget a token", tags=["accounts"])
def disconnect(studio: StudioOf, vendor: VendorName) -> Account:
    """One in the environment stays. For admins."""
    return studio.accounts.logout(vendor)


def _one(accounts: list[Account], vendor: str) -> Account:
    for one in accounts:
        if one.vendor == vendor:
            return one
    known = ", ".join(one.vendor for one in accounts)
    raise NotFound(f"There is no vendor '{vendor}'.", remedy=f"One of {known}.", thing=vendor)
