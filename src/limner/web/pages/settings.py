"""Settings, and the webhooks beneath them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from limner.errors import ChangedMeanwhile, Conflict, InputRefused, LimnerError, NotFound, VendorFailed
from limner.records import NewWebhook, WebhookTest
from limner.studio import Studio
from limner.web.access import require
from limner.web.visit import Notice, Sent, StudioOf, back, is_partial, page

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(require("admin"))])

EVENTS = (
    ("job.waiting", "A job was made"),
    ("job.running", "A job began"),
    ("job.done", "A job is done"),
    ("job.failed", "A job failed"),
    ("job.cancelled", "A job was cancelled"),
)
USUAL = ("job.done", "job.failed", "job.cancelled")


@router.get("/settings")
def settings(request: Request, studio: StudioOf) -> Response:
    """All settings by their groups."""
    return _page(request, studio)


def _page(
    request: Request,
    studio: Studio,
    *,
    typed: dict[str, str] | None = None,
    refusal: LimnerError | None = None,
) -> Response:
    report = studio.settings_file.report()
    return page(
        request,
        "pages/settings.html",
        status=refusal.status if refusal else 200,
        report=report,
        typed=typed or {},
        wrong=getattr(refusal, "fields", {}),
        refusal=refusal,
        nav="settings",
    )


@router.post("/settings")
def change(request: Request, studio: StudioOf, sent: Sent) -> Response:
    """Change settings, all of the form or none."""
    typed = {name: str(value).strip() for name, value in sent.items() if name not in ("csrf_token", "seen")}
    now = {one.name: one for one in studio.settings_file.report().settings}
    # What is as it was is not written: a default that nobody chose may change with the next version.
    wanted = {name: value for name, value in typed.items() if name not in now or value != now[name].value}
    try:
        studio.settings_file.change(wanted, seen=str(sent.get("seen", "")))
    except (InputRefused, Conflict, ChangedMeanwhile) as refusal:
        return _page(request, studio, typed=typed, refusal=refusal)
    if not wanted:
        return back("/settings", Notice("note", "Nothing was changed."))
    later = [now[name].title for name in wanted if now[name].restart]
    remedy = f"Start the server again for: {', '.join(later)}." if later else ""
    return back("/settings", Notice("note", "The settings are changed.", remedy))


# --- webhooks -------------------------------------------------------------------------------------------------------


@router.get("/settings/webhooks")
def webhooks(request: Request, studio: StudioOf, show: str = "") -> Response:
    """The addresses that are told of jobs; with the messages of the one that is shown."""
    return _webhooks(request, studio, show=show)


def _webhooks(
    request: Request,
    studio: Studio,
    *,
    status: int = 200,
    show: str = "",
    made: NewWebhook | None = None,
    secret: str = "",
    tested: WebhookTest | None = None,
    url: str = "",
    chosen: list[str] | None = None,
    refusal: LimnerError | None = None,
) -> Response:
    found = studio.webhooks.all()
    shown = next((one for one in found if one.id == show), None)
    return page(
        request,
        "pages/webhooks.html",
        status=refusal.status if refusal else status,
        webhooks=found,
        shown=shown,
        deliveries=studio.webhooks.deliveries(shown.id) if shown else [],
        made=made,
        secret=secret,
        tested=tested,
        url=url,
        chosen=USUAL if chosen is None else chosen,
        events=EVENTS,
        refusal=refusal,
        nav="settings",
    )


@router.post("/settings/webhooks")
def add_webhook(
    request: Request,
    studio: StudioOf,
    url: Annotated[str, Form(max_length=4_000)] = "",
    events: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Add an address."""
    try:
        made = studio.webhooks.add(url, events or [])
    except (InputRefused, Conflict, VendorFailed) as refusal:
        return _webhooks(request, studio, url=url, chosen=events or [], refusal=refusal)
    # Shown by the answer itself: after a redirect it would have to be kept somewhere.
    return _webhooks(request, studio, status=201, made=made)


@router.post("/settings/webhooks/{webhook}/secret")
def secret(request: Request, studio: StudioOf, webhook: str) -> Response:
    """Show the secret again."""
    return _webhooks(request, studio, show=webhook, secret=studio.webhooks.secret(webhook))


@router.post("/settings/webhooks/{webhook}/test")
def test_webhook(request: Request, studio: StudioOf, webhook: str) -> Response:
    """Send a test message now."""
    tested = studio.webhooks.test(webhook)
    if is_partial(request):
        return page(request, "fragments/webhook_tested.html", tested=tested)
    return _webhooks(request, studio, show=webhook, tested=tested)


@router.post("/settings/webhooks/{webhook}/{action}")
def change_webhook(studio: StudioOf, webhook: str, action: str, delivery: Annotated[int, Form()] = 0) -> Response:
    """Switch an address on or off, forget it, or deliver a message once more."""
    place = f"/settings/webhooks?show={studio.webhooks.get(webhook).id}"
    if action == "remove":
        gone = studio.webhooks.remove(webhook)
        return back("/settings/webhooks", Notice("note", f"{gone.url} is forgotten."))
    if action in ("on", "off"):
        changed = studio.webhooks.set_active(webhook, action == "on")
        words = "is told again" if changed.active else "is told nothing more"
        return back(place, Notice("note", f"{changed.url} {words}."))
    if action == "again":
        try:
            studio.webhooks.again(webhook, delivery)
        except (Conflict, NotFound) as refusal:
            return back(place, Notice("refusal", refusal.message, refusal.remedy))
        return back(place, Notice("note", "The message is on its way once more."))
    raise NotFound("That cannot be done with a webhook.", remedy="Go back.", thing=action[:40])
