"""What erasing takes of webhooks: the events of a subject's jobs that are on their way."""

from __future__ import annotations

from limner.operations.home.holding import Holding
from limner.store.web_models import DeliveryRow, WebhookRow

__all__ = ["HOLDING"]

HOLDING = Holding(rows=(WebhookRow, DeliveryRow))
