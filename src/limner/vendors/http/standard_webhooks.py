"""Signatures of webhooks, as Standard Webhooks defines them and Replicate sends them.

Headers ``webhook-id``, ``webhook-timestamp`` (Unix seconds) and ``webhook-signature`` (``v1,<base64>``, several of them
parted by spaces); HMAC-SHA256 over ``id.timestamp.body`` with the bytes that the secret holds behind ``whsec_``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limner.errors import InputRefused
from limner.vendors.secrets.redaction import Secret

__all__ = ["Signed", "WebhookRefused", "sign", "verify"]

TOLERANCE = 300.0
"""Seconds that a message may be old, or early where the clocks differ."""
MOST_SIGNATURES = 20
PREFIX = "whsec_"


class WebhookRefused(InputRefused):
    """A message is not from the one who knows the secret, or is too old; ``reason`` is one short word for counting."""

    code = "webhook-refused"
    status = 401

    def __init__(self, message: str, *, reason: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy, thing="webhook")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Signed:
    """A message whose signature holds: its id (the same in each repetition) and when it was sent (Unix seconds)."""

    id: str
    at: int


def sign(secret: str | Secret, id: str, at: int, body: bytes) -> dict[str, str]:  # noqa: A002 - the standard's word
    """The three headers for a message. InputRefused: the secret has no usable form, or the id holds a full stop."""
    if not id or "." in id or not id.isascii() or not id.isprintable() or " " in id:
        raise InputRefused("The id of a webhook is empty or has characters that it must not have.", thing="webhook")
    signature = base64.b64encode(_digest(_key(secret), id, str(int(at)), body)).decode()
    return {"webhook-id": id, "webhook-timestamp": str(int(at)), "webhook-signature": f"v1,{signature}"}


def verify(
    secret: str | Secret | Sequence[str | Secret],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> Signed:
    """Check a message as it came: the raw bytes of its body and its headers in any case.

    Several secrets may be given while one is exchanged for another. WebhookRefused says why it is not to be believed.
    """
    named = {name.lower(): value for name, value in headers.items()}
    id, stamp, signatures = (named.get(f"webhook-{name}", "").strip() for name in ("id", "timestamp", "signature"))  # noqa: A001
    if not id or not stamp or not signatures:
        missing = ", ".join(
            f"webhook-{name}"
            for name, value in (("id", id), ("timestamp", stamp), ("signature", signatures))
            if not value
        )
        raise WebhookRefused(
            f"The message is not signed: it has no {missing}.",
            reason="unsigned",
            remedy="Send it as Standard Webhooks describes.",
        )
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise WebhookRefused("The message's time is no whole number of seconds.", reason="time")
    _check_age(int(stamp), tolerance, time.time() if now is None else now)
    given = [
        raw
        for version, _, coded in (part.partition(",") for part in signatures.split()[:MOST_SIGNATURES])
        if version == "v1" and (raw := _decoded(coded)) is not None
    ]
    if not given:
        raise WebhookRefused("The message has no signature of version 1.", reason="version")
    secrets = [secret] if isinstance(secret, str | Secret) else list(secret)
    right = [_digest(_key(one), id, stamp, body) for one in secrets]
    # Every pair is compared, so that the time taken tells nothing.
    if not sum(hmac.compare_digest(one, other) for one in given for other in right):
        raise WebhookRefused(
            "The message's signature does not hold.",
            reason="signature",
            remedy="If the vendor's signing secret was exchanged, fetch it anew; else it is not the vendor's message.",
        )
    return Signed(id, int(stamp))


def _check_age(at: int, tolerance: float, now: float) -> None:
    if now - at > tolerance:
        raise WebhookRefused(
            f"The message is {now - at:.0f} s old, more than {tolerance:.0f}.",
            reason="old",
            remedy="If all messages seem old, set the clock of this machine.",
        )
    if at - now > tolerance:
        raise WebhookRefused(
            f"The message is from {at - now:.0f} s in the future, more than {tolerance:.0f}.",
            reason="early",
            remedy="If all messages seem early, set the clock of this machine.",
        )


def _key(secret: str | Secret) -> bytes:
    text = (secret.reveal() if isinstance(secret, Secret) else secret).strip().removeprefix(PREFIX)
    key = _decoded(text)
    if not key:
        raise InputRefused(
            "The signing secret for webhooks is not whsec_ and base64.",
            remedy="Take it from the vendor as it is.",
            thing="webhook",
        )
    return key


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _digest(key: bytes, id: str, stamp: str, body: bytes) -> bytes:  # noqa: A002
    return hmac.new(key, b".".join((id.encode(errors="surrogatepass"), stamp.encode(), body)), hashlib.sha256).digest()
