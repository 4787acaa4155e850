"""Stopped in the midst: what is paid is kept, what runs at a vendor is stopped there, going on is paid if agreed.

And the other way round: a vendor's webhook makes a sleeping job look at once.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from limner.errors import Conflict, ConsentNeeded
from limner.operations.generations import job as drawing_stage
from limner.operations.jobs.vendor_webhooks import listening
from limner.operations.trainings import job as training_job
from limner.stand_ins.replicate.webhooks import sign
from limner.store.models import IntentRow
from limner.training.replicate import trainer as replicate_trainer
from limner.types import JobState
from tests.servers.quick_engine import quick_lora
from tests.servers.services_bench import SMALL, TINY, ServicesBench, open_bench
from tests.waiting import PATIENCE, until


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    with open_bench(tmp_path, monkeypatch) as opened:
        opened.run(opened.studio.photos.add(opened.subject(), [opened.photos]))
        yield opened


def slow_down(bench: ServicesBench, seconds: float) -> None:
    bench.vendors.together.seconds = seconds
    bench.vendors.replicate.pace = seconds
    if seconds:
        bench.fault("fal", "slow", "GET", "/status$", times=0, seconds=seconds)
    else:
        bench.faulty["fal"].clear()


@pytest.mark.parametrize("generator", ["together", "fal", "replicate"])
def test_every_paid_picture_of_a_cancelled_fan_out_is_kept(
    bench: ServicesBench, generator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.generation.hosted.HostedGenerator.pictures_at_once", 3)
    name = bench.import_lora("ink", quick_lora("limner-tiny", 4, b"ink"))
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public"))
    slow_down(bench, 0.3)
    job = bench.studio.generate(
        "a drawing of {trigger}", loras=[name], generator=generator, count=24, yes=True, **SMALL
    )
    with bench.running(job):
        until(lambda: bench.studio.generations.get(job.target).images)
        bench.studio.cancel(job)
    ended = bench.studio.jobs.get(job.id)
    assert ended.state is JobState.CANCELLED
    kept = bench.studio.generations.get(job.target)
    assert kept.state is JobState.CANCELLED
    assert 0 < len(kept.images) < 24
    assert len(kept.images) == len(bench.paid[generator])
    assert bench.studio.payments.open() == []
    assert {entry.state for entry in bench.studio.payments.costs().entries if entry.amount} == {"settled"}
    slow_down(bench, 0.0)
    again = bench.run(bench.studio.resume(ended))
    assert again.error is None
    assert [image.seed for image in bench.studio.generations.get(job.target).images] == list(range(7, 31))
    assert len(bench.paid[generator]) == 24


def test_a_stopped_fan_out_is_not_resumed_twice_and_nothing_under_way_is_decided(
    bench: ServicesBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs at one generation would take what the other has bought for lost, and ask whether to buy it again."""
    monkeypatch.setattr("limner.generation.hosted.HostedGenerator.pictures_at_once", 3)
    name = bench.import_lora("ink", quick_lora("limner-tiny", 4, b"ink"))
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public"))
    slow_down(bench, 0.3)
    job = bench.studio.generate(
        "a drawing of {trigger}", loras=[name], generator="together", count=24, yes=True, **SMALL
    )
    with bench.running(job):
        until(lambda: bench.studio.generations.get(job.target).images)
        bench.studio.cancel(job)
    slow_down(bench, 0.0)
    again = bench.studio.resume(job.id)
    with pytest.raises(Conflict, match=again.id):
        bench.studio.resume(job.id)
    # Fetched, and not kept yet: the moment at which another job would find a purchase that nobody holds.
    fetched, go_on = threading.Event(), threading.Event()
    keep = drawing_stage._keep

    def slowly(*given: Any) -> None:
        fetched.set()
        assert go_on.wait(PATIENCE)
        keep(*given)

    monkeypatch.setattr(drawing_stage, "_keep", slowly)
    with bench.running(again):
        assert fetched.wait(PATIENCE)
        with pytest.raises(Conflict, match=again.id):
            bench.studio.resume(job.id)
        until(lambda: answered(bench))
        for tag in answered(bench):
            with pytest.raises(Conflict, match="is being bought"):
                bench.studio.payments.decide(tag, "again")
        go_on.set()
    assert bench.studio.jobs.get(again.id).error is None
    assert len(bench.studio.generations.get(job.target).images) == 24 == len(bench.paid["together"])
    assert bench.studio.payments.open() == []


@pytest.mark.parametrize("generator", ["together", "fal", "replicate"])
def test_going_on_does_without_what_was_deleted_meanwhile(
    bench: ServicesBench, generator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.generation.hosted.HostedGenerator.pictures_at_once", 3)
    name = bench.import_lora("ink", quick_lora("limner-tiny", 4, b"ink"))
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public"))
    slow_down(bench, 0.3)
    job = bench.studio.generate(
        "a drawing of {trigger}", loras=[name], generator=generator, count=16, yes=True, **SMALL
    )
    with bench.running(job):
        until(lambda: len(bench.studio.generations.get(job.target).images) >= 2)
        bench.studio.cancel(job)
    bad = bench.studio.generations.get(job.target).images[:2]
    bench.studio.gallery.delete([image.id for image in bad])
    slow_down(bench, 0.0)
    again = bench.run(bench.studio.resume(job.id))
    assert again.error is None
    made = bench.studio.generations.get(job.target)
    assert made.state is JobState.DONE
    assert sorted(image.seed for image in made.images) == [
        seed for seed in range(7, 23) if seed not in {image.seed for image in bad}
    ]
    assert len(bench.paid[generator]) == 16
    assert bench.studio.payments.open() == []


def answered(bench: ServicesBench) -> list[str]:
    """The purchases that are paid and not stored yet."""
    with bench.studio._workspace.database.read() as session:
        return list(session.scalars(select(IntentRow.tag).where(IntentRow.state == "answered")))


@pytest.mark.parametrize("trainer", ["replicate", "fal"])
def test_a_cancelled_training_is_stopped_at_the_vendor_and_begun_anew_only_if_agreed(
    bench: ServicesBench, trainer: str
) -> None:
    bench.vendors.replicate.held = "processing"
    bench.vendors.fal.pace = 0.2
    job = bench.studio.train("zib", trainer=trainer, yes=True, **TINY)
    with bench.running(job):
        until(lambda: bench.paid)
        bench.studio.cancel(job)
    assert bench.studio.jobs.get(job.id).state is JobState.CANCELLED
    training = bench.studio.trainings.get(job.target)
    assert training.state is JobState.CANCELLED
    at_vendor = bench.vendors.replicate.trainings if trainer == "replicate" else bench.vendors.fal.requests
    [remote] = at_vendor.values()
    assert remote.cancelled is True or remote.cancelled.is_set()
    assert bench.studio.loras.all() == []
    bench.vendors.replicate.held, bench.vendors.fal.pace = "", 0.0
    for go_on in (
        lambda yes: bench.studio.resume(job.id, yes=yes),
        lambda yes: bench.studio.trainings.resume(training.id, yes=yes),
    ):
        with pytest.raises(ConsentNeeded):
            go_on(False)
        assert len(at_vendor) == 1
    assert bench.studio.trainings.get(training.id).state is JobState.CANCELLED
    again = bench.run(bench.studio.resume(job.id, yes=True))
    assert again.error is None
    assert bench.studio.trainings.get(training.id).lora == "zib@v1"
    assert len(at_vendor) == 2
    entries = bench.studio.payments.costs().entries
    assert len({entry.tag for entry in entries}) == len(entries) == 2
    # a request that fal stops is not charged there; that is not known here, so that the estimate stands
    assert len(bench.paid[trainer]) == (2 if trainer == "replicate" else 1)


def test_a_training_that_went_on_meanwhile_is_not_paid_again(bench: ServicesBench) -> None:
    """The worker ended, the training did not: who goes on finds it."""
    bench.fault("replicate", "html-500", "GET", r"/trainings/[^/]+$", times=0)
    job = bench.studio.train("zib", trainer="replicate", yes=True, **TINY)
    ended = bench.run(job)
    assert ended.state is JobState.FAILED
    bench.faulty["replicate"].clear()
    again = bench.run(bench.studio.resume(ended, yes=True))
    assert again.error is None
    assert bench.paid == {"replicate": ["training"]}


# --- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    """A bench whose own listener is at its public address, and that otherwise looks every minute only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open_bench(tmp_path, monkeypatch, public_url=f"http://127.0.0.1:{port}", webhook_port=port) as opened:
        monkeypatch.setattr(replicate_trainer, "FIRST_LOOK", 900.0)
        monkeypatch.setattr(replicate_trainer, "LAST_LOOK", 900.0)
        monkeypatch.setattr(training_job, "GLANCE_SECONDS", 900.0)
        with listening(opened.settings):
            until(lambda: answers(opened))
            opened.run(opened.studio.photos.add(opened.subject(), [opened.photos]))
            yield opened


def answers(bench: ServicesBench) -> bool:
    try:
        return httpx2.get(bench.settings.public_url).status_code == 404
    except httpx2.HTTPError:
        return False


def looks(bench: ServicesBench) -> int:
    """How often the training was looked at."""
    asked = bench.heard["replicate"].requests
    return sum(one.method == "GET" and "/v1/trainings/" in one.path for one in asked)


def test_a_webhook_makes_the_job_look_at_once_and_a_forged_one_does_nothing(listener: ServicesBench) -> None:
    bench = listener
    bench.vendors.replicate.held = "starting"
    job = bench.studio.train("zib", trainer="replicate", yes=True, **TINY)
    began = time.monotonic()
    with bench.running(job):
        until(lambda: looks(bench) == 1)
        address = f"{bench.settings.public_url}/webhooks/replicate/{job.target}"
        body = b'{"status": "succeeded"}'
        now = int(time.time())
        good = sign(bench.vendors.replicate.webhook_key, "msg_1", now, body)
        for headers in (
            {},
            sign("whsec_" + "QUFB" * 8, "msg_2", now, body),
            {**good, "webhook-id": "msg_3"},
            sign(bench.vendors.replicate.webhook_key, "msg_4", now - 3600, body),
        ):
            assert httpx2.post(address, content=body, headers=headers).status_code == 401
        assert httpx2.post(address, content=body[:-1], headers=good).status_code == 401
        time.sleep(0.1)
        assert looks(bench) == 1
        assert bench.studio.trainings.get(job.target).state is JobState.RUNNING
        # signed, and not true: it makes the job look, and is not believed
        assert httpx2.post(address, content=body, headers=good).status_code == 204
        until(lambda: looks(bench) == 2)
        assert httpx2.post(address, content=body, headers=good).status_code == 204
        time.sleep(0.1)
        assert looks(bench) == 2
        assert bench.studio.trainings.get(job.target).state is JobState.RUNNING
        bench.vendors.replicate.held = ""
    assert time.monotonic() - began < 450
    assert bench.studio.jobs.get(job.id).error is None
    assert bench.studio.trainings.get(job.target).lora == "zib@v1"
    sent = bench.vendors.replicate.webhooks.sent
    assert {one.event for one in sent} >= {"completed"}
    assert bench.vendors.replicate.webhooks.failed == []
    assert bench.paid == {"replicate": ["training"]}


def test_polling_goes_on_where_no_webhook_comes(listener: ServicesBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicate_trainer, "FIRST_LOOK", 0.05)
    monkeypatch.setattr(replicate_trainer, "LAST_LOOK", 0.05)
    listener.vendors.replicate.webhooks.send = lambda *given: None  # type: ignore[method-assign]
    ended = listener.run(listener.studio.train("zib", trainer="replicate", yes=True, **TINY))
    assert ended.error is None
