"""Webhooks, settings and the worker's log: for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import PlainTextResponse, Response

from limner.web.access import require
from limner.web.api.named import all_of
from limner.web.api.route import ApiRoute
from limner.web.api.schemas.plain import MOST_INT
from limner.web.api.schemas.webhooks import (
    Delivery,
    NewWebhook,
    SettingChanges,
    Settings,
    Webhook,
    WebhookChange,
    WebhookSecret,
    WebhookTest,
    WebhookWanted,
)
from limner.web.visit import StudioOf

__all__ = ["router"]

router = APIRouter(tags=["webhooks"], route_class=ApiRoute, dependencies=[Depends(require("admin"))])

WebhookId = Annotated[str, Path(min_length=1, max_length=80, description="The webhook's id.")]


@router.get("/webhooks", operation_id="list_webhooks", summary="List the webhooks")
def webhooks(studio: StudioOf) -> list[Webhook]:
    """Oldest first. For admins."""
    return all_of(Webhook, studio.webhooks.all())


@router.post("/webhooks", status_code=201, operation_id="create_webhook", summary="Tell an address of events")
def add(response: Response, studio: StudioOf, wanted: WebhookWanted) -> NewWebhook:
    """Messages are signed as Standard Webhooks says. Private addresses are refused. For admins."""
    made = studio.webhooks.add(wanted.url, *([wanted.events] if wanted.events else ()))
    response.headers["Location"] = f"/api/v1/webhooks/{made.webhook.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewWebhook.model_validate(made)


@router.get("/webhooks/{webhook}", operation_id="get_webhook", summary="See a webhook")
def show(studio: StudioOf, webhook: WebhookId) -> Webhook:
    """For admins."""
    return Webhook.model_validate(studio.webhooks.get(webhook))


@router.patch("/webhooks/{webhook}", operation_id="update_webhook", summary="Switch a webhook off or on")
def change(studio: StudioOf, webhook: WebhookId, wanted: WebhookChange) -> Webhook:
    """For admins."""
    return Webhook.model_validate(studio.webhooks.set_active(webhook, wanted.active))


@router.delete("/webhooks/{webhook}", operation_id="delete_webhook", summary="Forget a webhook")
def remove(studio: StudioOf, webhook: WebhookId) -> Webhook:
    """What waits for it is not delivered. For admins."""
    return Webhook.model_validate(studio.webhooks.remove(webhook))


@router.get("/webhooks/{webhook}/secret", operation_id="get_webhook_secret", summary="See a webhook's secret")
def secret(response: Response, studio: StudioOf, webhook: WebhookId) -> WebhookSecret:
    """What its messages are signed with. For admins."""
    response.headers["Cache-Control"] = "no-store"
    return WebhookSecret(secret=studio.webhooks.secret(webhook))


@router.get("/webhooks/{webhook}/deliveries", operation_id="list_deliveries", summary="See what became of messages")
def deliveries(
    studio: StudioOf,
    webhook: WebhookId,
    limit: Annotated[int, Query(ge=1, le=500, description="The most messages.")] = 50,
) -> list[Delivery]:
    """Newest first. For admins."""
    return all_of(Delivery, studio.webhooks.deliveries(webhook, limit=limit))


@router.post(
    "/webhooks/{webhook}/deliveries/{delivery}/again",
    operation_id="deliver_again",
    summary="Deliver a message once more",
)
def again(
    studio: StudioOf,
    webhook: WebhookId,
    delivery: Annotated[int, Path(ge=0, le=MOST_INT, description="The delivery's number.")],
) -> Delivery:
    """As if it were new. For admins."""
    return Delivery.model_validate(studio.webhooks.again(webhook, delivery))


@router.post("/webhooks/{webhook}/test", operation_id="test_webhook", summary="Send a test message")
def test(studio: StudioOf, webhook: WebhookId) -> WebhookTest:
    """Now, once, and say what it was answered. For admins."""
    return WebhookTest.model_validate(studio.webhooks.test(webhook))


@router.get("/settings", operation_id="get_settings", summary="See the settings", tags=["settings"])
def settings(studio: StudioOf) -> Settings:
    """What each is for, its value, and where that comes from. For admins."""
    return Settings.model_validate(studio.settings_file.report())


@router.patch("/settings", operation_id="update_settings", summary="Change settings", tags=["settings"])
def change_settings(studio: StudioOf, wanted: SettingChanges) -> Settings:
    """All or none, in limner.toml; what the environment sets is a conflict. For admins."""
    return Settings.model_validate(studio.settings_file.change(wanted.values, seen=wanted.seen))


@router.get(
    "/system/log",
    operation_id="get_worker_log",
    summary="Read the end of the worker's log",
    tags=["setup"],
    response_class=PlainTextResponse,
)
def log(studio: StudioOf, lines: Annotated[int, Query(ge=1, le=5_000, description="The most lines.")] = 200) -> str:
    """Text, without secrets. For admins."""
    return studio.maintenance.log_tail(lines).replace(str(studio.settings.home), "HOME")
