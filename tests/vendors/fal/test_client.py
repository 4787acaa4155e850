"""What fal answers is read leniently, and told in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import ContentRefused, LimnerError, NotFound, OutOfCredit, VendorFailed, VendorRefused, WorkFailed
from limner.vendors.fal.answers import State, failure_of, read_listed, read_status
from limner.vendors.fal.client import FalClient
from limner.vendors.secrets.tokens import Secret

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("status", "queue_position", "logs", "error", "error_type", "metrics", "detail", "request_id", "sent_at")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON)
def test_any_answer_is_survived(body: Any) -> None:
    assert read_status(body).state in State
    read_listed(body)
    read_listed([body])
    for status in (400, 404, 422, 500):
        failure = failure_of(status, {}, body)
        assert failure is None or (isinstance(failure, LimnerError) and failure.message and failure.remedy)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("IN_QUEUE", State.QUEUED),
        ("IN_PROGRESS", State.RUNNING),
        ("COMPLETED", State.COMPLETED),
        ("CANCELED", State.CANCELLED),
        ("FAILED", State.FAILED),
        ("PONDERING", State.UNKNOWN),
        (None, State.UNKNOWN),
    ],
)
def test_states(word: Any, state: State) -> None:
    assert read_status({"status": word}).state is state


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            422,
            {"detail": [{"loc": ["body", "steps"], "msg": "too many.", "type": "x"}]},
            VendorRefused,
            "steps: too many.",
        ),
        (422, {"detail": [{"msg": "a"}, {"loc": ["body", "b", 0], "msg": "c"}]}, VendorRefused, "a; b.0: c."),
        (422, {"detail": [{"msg": "no", "type": "content_policy_violation"}]}, ContentRefused, "content filter"),
        (400, {"detail": "NSFW content"}, ContentRefused, "NSFW content."),
        (403, {"detail": "User is locked. Reason: Exhausted balance."}, OutOfCredit, "no credit"),
        (404, {"detail": "Request not found"}, NotFound, "Request not found"),
        (500, {"detail": [{"msg": "died", "type": "internal_server_error"}]}, WorkFailed, "died"),
    ],
)
def test_refusals_are_one_sentence(status: int, body: Any, kind: type[LimnerError], said: str) -> None:
    failure = failure_of(status, {}, body)
    assert type(failure) is kind
    assert said in failure.message
    assert ".." not in failure.message


def test_disturbances_are_left_to_the_client() -> None:
    assert failure_of(502, {}, None) is None
    assert failure_of(500, {}, {"detail": "Internal Server Error"}) is None
    assert isinstance(failure_of(500, {}, {"detail": "Internal Server Error"}, final=True), WorkFailed)
    assert failure_of(401, {}, {"detail": "no"}) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run.evil.example/a",
        "http://queue.fal.run/a",
        "https://queue.fal.run@evil.example/a",
        "https://evil.example/queue.fal.run",
        "https://queue.fal.run:444/a",
        "//evil.example/a",
        "nonsense",
    ],
)
def test_the_key_stays_on_the_queues_host(url: str) -> None:
    fal = FalClient("https://queue.fal.run", "https://rest", "https://api", lambda: Secret("planted-key"))
    with pytest.raises(VendorFailed, match="your key is not sent"):
        fal._on_queue(url)
    assert fal._on_queue("https://QUEUE.fal.run/fal-ai/flux/requests/1/status")


def test_addresses_are_built_as_fals_own_client_does() -> None:
    from fal_client.client import AppId, SyncRequestHandle

    fal = FalClient("https://queue.fal.run", "https://rest", "https://api", None)
    for model in ("fal-ai/flux-2/lora", "fal-ai/flux-lora", "fal-ai/flux-2/klein/9b/base/lora"):
        theirs = SyncRequestHandle.from_request_id(None, model, "1")  # type: ignore[arg-type]
        ours = fal.job(model, "1")
        assert (ours.status_url, ours.response_url, ours.cancel_url) == (
            theirs.status_url,
            theirs.response_url,
            theirs.cancel_url,
        )
        assert AppId.from_endpoint_id(model).alias in ours.status_url
