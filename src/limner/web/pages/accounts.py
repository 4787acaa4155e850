"""Accounts: the vendors that Limner can use, and the token of each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from limner.errors import Conflict, LimnerError, NotFound
from limner.records import Account
from limner.studio import Studio
from limner.vendors.vendor import Vendor, vendors
from limner.web.access import require
from limner.web.visit import Notice, StudioOf, back, is_partial, page

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(require("admin"))])


def _about(studio: Studio, vendor: str, *, live: bool = False) -> tuple[Account, Vendor]:
    for account in studio.accounts.all(live=live):
        if account.vendor == vendor:
            return account, vendors()[vendor]
    raise NotFound(f"There is no vendor '{vendor[:40]}'.", remedy="Go back to the accounts.", thing=vendor[:40])


@router.get("/accounts")
def accounts(request: Request, studio: StudioOf) -> Response:
    """All vendors, connected or not."""
    return _page(request, studio)


def _page(
    request: Request,
    studio: Studio,
    *,
    tested: Account | None = None,
    refusal: LimnerError | None = None,
    vendor: str = "",
) -> Response:
    found = [tested if tested and tested.vendor == one.vendor else one for one in studio.accounts.all()]
    return page(
        request,
        "pages/accounts.html",
        status=refusal.status if refusal else 200,
        accounts=[(one, vendors()[one.vendor]) for one in found],
        refusal=refusal,
        refused=vendor,
        nav="settings",
    )


@router.post("/accounts/{vendor}/test")
def test(request: Request, studio: StudioOf, vendor: str) -> Response:
    """Ask the vendor, by a call that costs nothing, whether the token is good."""
    account, about = _about(studio, vendor, live=True)
    if is_partial(request):
        return page(request, "fragments/account.html", account=account, about=about)
    return _page(request, studio, tested=account)


@router.post("/accounts/{vendor}/connect")
def connect(
    request: Request, studio: StudioOf, vendor: str, token: Annotated[str, Form(max_length=10_000)] = ""
) -> Response:
    """Try a token, and keep it in the keyring of the system."""
    _, about = _about(studio, vendor)
    try:
        made = studio.accounts.login(vendor, token)
    except LimnerError as refusal:
        return _page(request, studio, refusal=refusal, vendor=vendor)
    who = f" as {made.who}" if made.who else ""
    if made.problem:
        return back("/accounts", Notice("warning", made.problem, made.remedy))
    return back("/accounts", Notice("note", f"{about.title} is connected{who}. The token is kept in {made.where}."))


@router.post("/accounts/{vendor}/disconnect")
def disconnect(studio: StudioOf, vendor: str) -> Response:
    """Forget the token that was kept."""
    _, about = _about(studio, vendor)
    try:
        left = studio.accounts.logout(vendor)
    except Conflict as refusal:
        return back("/accounts", Notice("refusal", refusal.message, refusal.remedy))
    words = f"{about.title} is disconnected. {left.problem}".strip()
    return back("/accounts", Notice("warning" if left.problem else "note", words, left.remedy))
