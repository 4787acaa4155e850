"""Signatures of webhooks: what is signed is believed; what is changed, old or unsigned is not, and why is told."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import InputRefused
from limner.vendors.http.standard_webhooks import WebhookRefused, sign, verify
from limner.vendors.secrets.redaction import Secret

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
NOW = 1_795_000_000
BODY = b'{"id": "abc", "status": "succeeded"}'
IDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789_-", min_size=1, max_size=40)


def refused(headers: dict[str, str], body: bytes = BODY, secret: object = SECRET, now: float = NOW) -> str:
    with pytest.raises(WebhookRefused) as caught:
        verify(secret, headers, body, now=now)  # type: ignore[arg-type]
    assert caught.value.message
    assert caught.value.status == 401
    return caught.value.reason


def test_it_is_the_published_scheme() -> None:
    # Worked out here by the words of the standard, not by the code under test.
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    right = base64.b64encode(
        hmac.new(key, b"msg_1." + str(NOW).encode() + b"." + BODY, hashlib.sha256).digest()
    ).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": f"v1,{right}"}
    assert verify(SECRET, headers, BODY, now=NOW).id == "msg_1"
    assert sign(SECRET, "msg_1", NOW, BODY) == headers


def test_the_example_of_the_standard_holds() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    found = verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, b'{"test": 2432232314}', now=1614265330)
    assert found.id == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@given(st.binary(min_size=16, max_size=64), IDS, st.integers(1, 4_000_000_000), st.binary(max_size=300))
def test_what_is_signed_is_believed(key: bytes, name: str, at: int, body: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = sign(secret, name, at, body)
    found = verify(Secret(secret), {header.upper(): value for header, value in headers.items()}, body, now=at)
    assert (found.id, found.at) == (name, at)


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_changed_bit_is_noticed(body: bytes, data: st.DataObject) -> None:
    headers = sign(SECRET, "msg", NOW, body)
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    changed = bytearray(body)
    changed[bit // 8] ^= 1 << bit % 8
    assert refused(headers, bytes(changed)) == "signature"


@given(IDS, IDS)
def test_another_id_or_time_is_noticed(name: str, other: str) -> None:
    headers = sign(SECRET, name, NOW, BODY)
    if other != name:
        assert refused({**headers, "webhook-id": other}) == "signature"
    assert refused({**headers, "webhook-timestamp": str(NOW + 1)}) == "signature"


@given(st.integers(-1000, 1000))
def test_old_and_early_messages_are_refused(late: int) -> None:
    headers = sign(SECRET, "msg", NOW, BODY)
    if abs(late) <= 300:
        assert verify(SECRET, headers, BODY, now=NOW + late).at == NOW
    else:
        assert refused(headers, now=NOW + late) == ("old" if late > 0 else "early")


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text(max_size=40)))
def test_no_headers_can_break_it(headers: dict[str, str]) -> None:
    with pytest.raises(WebhookRefused):
        verify(SECRET, headers, BODY, now=NOW)


def test_several_signatures_and_secrets_while_one_is_exchanged() -> None:
    old, new = SECRET, "whsec_" + base64.b64encode(b"n" * 24).decode()
    first, second = sign(old, "m", NOW, BODY), sign(new, "m", NOW, BODY)
    both = {**first, "webhook-signature": f"v1a,xxx {first['webhook-signature']} {second['webhook-signature']}"}
    assert verify(new, both, BODY, now=NOW)
    assert verify([new, old], first, BODY, now=NOW)
    assert refused(first, secret=new) == "signature"


def test_the_reasons() -> None:
    good = sign(SECRET, "m", NOW, BODY)
    assert refused({}) == "unsigned"
    assert refused({**good, "webhook-signature": ""}) == "unsigned"
    assert refused({**good, "webhook-timestamp": "soon"}) == "time"
    assert refused({**good, "webhook-timestamp": "9" * 30}) == "time"
    assert refused({**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}) == "version"
    assert refused({**good, "webhook-signature": "v1,not-base64!"}) == "version"
    assert refused({**good, "webhook-signature": "v1," + base64.b64encode(b"short").decode()}) == "signature"


def test_a_secret_that_is_none_is_our_fault_and_not_the_senders() -> None:
    for secret in ("", "whsec_", "whsec_!!!"):
        with pytest.raises(InputRefused, match="whsec_"):
            verify(secret, sign(SECRET, "m", NOW, BODY), BODY, now=NOW)
    with pytest.raises(InputRefused):
        sign(SECRET, "a.b", NOW, BODY)
