"""What erasing takes of webhooks: the events of a subject's jobs that are on their way."""

from __future__ import annotations

from limner.operations.home.erasure_scope import ErasureScope
from limner.store.web_models import DeliveryRow, WebhookRow

__all__ = ["SCOPE"]

SCOPE = ErasureScope(rows=(WebhookRow, DeliveryRow))
