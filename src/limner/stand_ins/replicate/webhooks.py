"""Webhooks of the Replicate stand-in: signed as the vendor signs them, sent in order by a thread of their own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["SentWebhook", "WebhookSender", "sign"]

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class SentWebhook:
    """What was sent where, kept so that tests can send it again."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    event: str


def sign(key: str, message: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove a body's sender."""
    secret = base64.b64decode(key.removeprefix("whsec_"))
    digest = hmac.new(secret, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class WebhookSender:
    """Sends what it is given, in order. ``sent`` are the answered ones, ``failed`` those that nobody took."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.sent: list[SentWebhook] = []
        self.failed: list[SentWebhook] = []
        self._queue: queue.Queue[SentWebhook] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    def send(self, url: str, event: str, body: Mapping[str, Any]) -> None:
        """Send soon."""
        data = json.dumps(body).encode()
        headers = sign(self.key, f"msg_{uuid.uuid4().hex}", int(time.time()), data)
        self._queue.put(SentWebhook(url, {**headers, "content-type": "application/json"}, data, event))
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        import httpx2

        with httpx2.Client(timeout=5.0, follow_redirects=False) as client:
            while True:
                one = self._queue.get()
                for _ in range(ATTEMPTS):
                    try:
                        if client.post(one.url, content=one.body, headers=dict(one.headers)).status_code < 300:
                            self.sent.append(one)
                            break
                    except httpx2.HTTPError:
                        pass
                    time.sleep(0.05)
                else:
                    self.failed.append(one)
