"""The trainer fal against its stand-in on real sockets: paid once, whatever breaks where, and every end explained."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from limner.catalog import find_base
from limner.errors import (
    AccountRefused,
    Conflict,
    LimnerError,
    OutOfCredit,
    RecipeRefused,
    Undecided,
    VendorFailed,
    WorkFailed,
)
from limner.loras.checks.validation import validate
from limner.loras.conversion.convert import convert
from limner.loras.file.header import read_header
from limner.operations.home.workspace import Workspace
from limner.operations.payments.purchases import StoredPayments, decide
from limner.training.fal import following, run_notes
from limner.training.fal.weights import check_whole, leave_out_guidance
from limner.training.trainer import Trainer
from limner.types import JobState, Severity, SubjectKind, TensorNaming
from limner.vendors.http import client as http
from tests.servers.fal_bench import TOKEN, FalBench, open_bench
from tests.servers.faults import LOST, Fault

SUBMIT = r"^/queue/[^/]+/[^/]+$"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FalBench]:
    with open_bench(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def book(bench: FalBench) -> Iterator[StoredPayments]:
    workspace = Workspace(bench.settings)
    yield StoredPayments(workspace, "job_1")
    workspace.close()


def only(bench: FalBench) -> Any:
    (one,) = bench.stand_in.requests.values()
    return one


def test_photos_become_a_lora(bench: FalBench) -> None:
    order = bench.training()
    assert isinstance(bench.trainer, Trainer)
    report = bench.train(order)
    assert report.state is JobState.DONE
    assert report.losses[-1][0] == 20
    collected = asyncio.run(bench.trainer.collect(order, only(bench).id))
    assert validate(collected.weights, order.base).modules == 28
    assert collected.cost == Decimal("0.04")
    sent = only(bench)
    assert sent.input["steps"] == 20
    assert sent.input["trigger_word"] == "zibbo"
    assert "learning_rate" not in sent.input
    assert sent.input["images_data_url"].endswith("limner-training_1-1.zip")
    assert sent.no_retry
    assert json.loads(sent.lifecycle) == {"expiration_duration_seconds": 2 * 86_400}
    assert "photos" in collected.left_behind[0]
    bench.stand_in.files.clock = lambda: 4e9
    assert bench.stand_in.files.read(sent.input["images_data_url"]) is None
    kept = b"".join(path.read_bytes() for path in order.run_directory.rglob("*") if path.is_file())
    assert TOKEN.encode() not in kept


def test_what_an_admin_may_delete_is_deleted(bench: FalBench) -> None:
    bench.stand_in.admins.add(TOKEN)
    order = bench.training()
    bench.train(order)
    collected = asyncio.run(bench.trainer.collect(order, only(bench).id))
    assert only(bench).forgotten
    assert len(collected.left_behind) == 1
    # and it can still be collected: the file was fetched
    assert asyncio.run(bench.trainer.poll(order, only(bench).id)).state is JobState.DONE


def test_flux2_keeps_its_guidance_layers(bench: FalBench, tmp_path: Path) -> None:
    bench.stand_in.guidance_keys = True
    order = bench.training(base="flux2-random")
    bench.train(order)
    sent = only(bench).input
    assert sent["default_caption"] == "a photo of zibbo character"
    assert sent["learning_rate"] == order.recipe.learning_rate
    weights = asyncio.run(bench.trainer.collect(order, only(bench).id)).weights
    made = convert(weights, TensorNaming.DIFFUSERS, tmp_path / "diffusers.safetensors")
    names = read_header(tmp_path / "diffusers.safetensors").tensors
    assert "transformer.time_guidance_embed.guidance_embedder.linear_1.lora_A.weight" in names
    assert made.exact
    validate(tmp_path / "diffusers.safetensors", order.base)


def test_a_base_without_guidance_loses_nothing_else(bench: FalBench, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    from limner.stand_ins.fal.weights import with_guidance
    from tests.servers.quick_engine import quick_lora

    path = tmp_path / "a.safetensors"
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(quick_lora("flux2-random", 4, b"1"))
    path.write_bytes(with_guidance(plain.read_bytes()))
    base = find_base("flux2-random")
    assert leave_out_guidance(path, base) == 0
    assert leave_out_guidance(path, replace(base, guidance_embedded=False)) == 4
    check_whole(path)
    before, after = load_file(plain), load_file(path)
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    save_file(before, path, metadata={"a": "b"})
    assert leave_out_guidance(path, replace(base, guidance_embedded=False)) == 0


@pytest.mark.parametrize("damage", ["cut", "html", "empty", "longer"])
def test_a_damaged_file_is_told_and_fetched_again(bench: FalBench, damage: str) -> None:
    order = bench.training()
    bench.train(order)
    file = only(bench).output["diffusers_lora_file"]
    stored = bench.stand_in.files.stored[file["url"].partition("/cdn/")[2]]
    whole = stored.data
    stored.data = {
        "cut": whole[:-5],
        "html": b"<html>sorry</html>",
        "empty": struct.pack("<Q", 2) + b"{}",
        "longer": whole + b"more",
    }[damage]
    with pytest.raises(WorkFailed, match=r"no whole safetensors|a web page came"):
        asyncio.run(bench.trainer.collect(order, only(bench).id))
    stored.data = whole
    assert asyncio.run(bench.trainer.collect(order, only(bench).id)).weights.read_bytes() == whole


def test_starting_again_finds_the_same_request(bench: FalBench) -> None:
    order = bench.training()
    bench.stand_in.gate.clear()

    async def often() -> set[str]:
        return {await bench.trainer.start(order) for _ in range(4)}

    assert asyncio.run(often()) == {only(bench).id}
    with pytest.raises(Conflict, match="another training"):
        asyncio.run(bench.trainer.start(replace(order, id="training_2")))
    with pytest.raises(Conflict):
        asyncio.run(bench.trainer.poll(order, "another"))


class Killed(BaseException):
    """What a SIGKILL looks like to the code that it stops."""


def killing(monkeypatch: pytest.MonkeyPatch, at: int) -> list[str]:
    """Kill at the ``at``-th point: before and after each write of the notes and each request. Gives the points."""
    points: list[str] = []

    def reached(name: str) -> None:
        points.append(name)
        if len(points) - 1 == at:
            raise Killed(name)

    store, send = run_notes.RunNotes._store, http.VendorClient._exchange

    def stored(self: Any, values: Any) -> None:
        reached("before a note")
        store(self, values)
        reached("after a note")

    async def sent(self: Any, call: Any, url: str, authorised: bool) -> Any:
        reached(f"before {call.method}")
        answer = await send(self, call, url, authorised)
        reached(f"after {call.method}")
        return answer

    monkeypatch.setattr(run_notes.RunNotes, "_store", stored)
    monkeypatch.setattr(http.VendorClient, "_exchange", sent)
    return points


def test_killed_anywhere_it_is_paid_once(
    bench: FalBench, book: StoredPayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stand_in.lists_running = True
    asked: list[str] = []
    for at in itertools.count():
        order = replace(bench.training(f"training_{at}"), payments=book)
        known = set(bench.stand_in.requests)
        with monkeypatch.context() as during:
            points = killing(during, at)
            with suppress(Killed):
                bench.train(order)
        if len(points) <= at:
            break
        try:
            assert bench.train(order).state is JobState.DONE, points[-1]
        except Undecided:
            # marked as sent and killed before it was: nobody can tell, so the user says it
            assert set(bench.stand_in.requests) == known, points[-1]
            asked.append(points[-1])
            decide(book._workspace, order.id, "again")
            assert bench.train(order).state is JobState.DONE, points[-1]
        assert len(set(bench.stand_in.requests) - known) == 1, points[-1]
    assert at > 12
    assert len(asked) <= 2
    bench.stand_in.wait()
    assert len({one.input["images_data_url"] for one in bench.stand_in.requests.values()}) == at + 1
    assert len(bench.stand_in.paid) == at + 1


@pytest.mark.parametrize("kind", LOST)
def test_a_lost_answer_is_found_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with open_bench(tmp_path, monkeypatch, Fault(kind, "POST", SUBMIT, seconds=0.2)) as bench:
        monkeypatch.setattr(http, "DEADLINE", 1)
        bench.stand_in.lists_running = True
        trainer = bench.trainer
        client = trainer._client

        def impatient() -> Any:
            made = client()
            made.timeout = 0.3
            return made

        monkeypatch.setattr(trainer, "_client", impatient)
        order = bench.training()
        reference = asyncio.run(trainer.start(order))
        assert reference == only(bench).id
        assert asyncio.run(bench.follow(order, reference)).state is JobState.DONE
        assert len(bench.stand_in.paid) == 1


def test_what_is_not_listed_is_asked_about_and_found_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_bench(tmp_path, monkeypatch, Fault("lost-reset", "POST", SUBMIT)) as bench:
        workspace = Workspace(bench.settings)
        order = replace(bench.training(), payments=StoredPayments(workspace, "job_1"))
        bench.stand_in.gate.clear()
        for _ in range(3):
            with pytest.raises(Undecided, match="only once a request has ended"):
                asyncio.run(bench.trainer.start(order))
        bench.stand_in.gate.set()
        bench.stand_in.wait()
        assert asyncio.run(bench.trainer.reopen(order)) == only(bench).id
        assert bench.train(order).state is JobState.DONE
        assert len(bench.stand_in.paid) == 1
        workspace.close()


@pytest.mark.parametrize("kind", ["throttled", "busy-503", "throttled-plain"])
def test_refused_for_now_it_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    with open_bench(tmp_path, monkeypatch, Fault(kind, "POST", SUBMIT, times=2, seconds=0.01)) as bench:
        assert bench.train(bench.training()).state is JobState.DONE
        assert len(bench.stand_in.paid) == 1


@pytest.mark.parametrize("kind", ["error-500", "html-502", "reset"])
def test_a_failure_that_may_have_taken_it_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with open_bench(tmp_path, monkeypatch, Fault(kind, "POST", SUBMIT)) as bench:
        with pytest.raises(Undecided):
            asyncio.run(bench.trainer.start(bench.training()))
        assert bench.stand_in.requests == {}


@pytest.mark.parametrize("kind", ["error-500", "html-502", "reset", "throttled", "html-200", "closed"])
def test_disturbances_of_uploads_and_questions_are_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    plan = [
        Fault(kind, "POST", "/rest/", seconds=0.01),
        Fault(kind, "POST", "/cdn/", seconds=0.01),
        Fault(kind, "GET", "/status$", times=2, seconds=0.01),
        Fault(kind, "GET", r"/requests/[^/]+$", seconds=0.01),
    ]
    with open_bench(tmp_path, monkeypatch, *plan) as bench:
        assert bench.train(bench.training()).state is JobState.DONE
        assert len(bench.faulty.hits) == 5
        assert len(bench.stand_in.paid) == 1


def test_where_the_cdn_fails_it_goes_to_other_storage(bench: FalBench) -> None:
    bench.stand_in.files.broken_cdn = True
    assert bench.train(bench.training()).state is JobState.DONE
    assert "/cdn/files/" in only(bench).input["images_data_url"]


def test_large_packages_go_in_parts(bench: FalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.vendors.fal.client.PARTS_ABOVE", 1000)
    monkeypatch.setattr("limner.vendors.fal.client.PART_SIZE", 700)
    order = bench.training()
    assert bench.train(order).state is JobState.DONE
    assert order.package is not None
    assert bench.stand_in.files.read(only(bench).input["images_data_url"]) == order.package().read_bytes()


def test_old_photos_are_uploaded_anew(bench: FalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    order = bench.training()
    bench.stand_in.no_credit = True
    with pytest.raises(OutOfCredit, match="Exhausted balance"):
        asyncio.run(bench.trainer.start(order))
    notes = run_notes.RunNotes.of(order.run_directory, order.id)
    first = notes["photos_url"]
    bench.stand_in.no_credit = False
    notes.write(photos_at=notes["photos_at"] - 86_400 * 1.5)
    assert bench.train(order).state is JobState.DONE
    assert only(bench).input["images_data_url"] != first


@pytest.mark.parametrize(
    ("failure", "said", "free"),
    [
        ((500, {"detail": "CUDA out of memory"}), "CUDA out of memory", True),
        ((422, {"detail": [{"loc": ["body", "steps"], "msg": "too many", "type": "x"}]}), "steps: too many", False),
        ((422, {"detail": [{"loc": [], "msg": "bad", "type": "content_policy_violation"}]}), "content filter", False),
        ((504, "no json object"), "no json object", True),
    ],
)
def test_every_failure_is_one_sentence(
    bench: FalBench, book: StoredPayments, failure: Any, said: str, free: bool
) -> None:
    bench.stand_in.failures.append(failure)
    order = replace(bench.training(), payments=book)
    report = bench.train(order)
    assert report.state is JobState.FAILED
    assert said in report.error
    assert report.remedy
    # told again the same way
    assert asyncio.run(bench.trainer.poll(order, only(bench).id)) == replace(report, log="", losses=())
    notes = run_notes.RunNotes.of(order.run_directory, order.id)
    assert notes["failed"]["free"] is free
    # reopened it is another request, paid anew
    reference = asyncio.run(bench.trainer.reopen(order))
    assert asyncio.run(bench.trainer.reopen(order)) == reference
    assert asyncio.run(bench.follow(order, reference)).state is JobState.DONE
    assert len(bench.stand_in.requests) == 2
    assert len(bench.stand_in.paid) == 1


def test_a_result_that_expired_is_taken_from_the_list(bench: FalBench) -> None:
    order = bench.training()
    reference = asyncio.run(bench.trainer.start(order))
    bench.stand_in.wait()
    bench.stand_in.expired.add(reference)
    assert asyncio.run(bench.follow(order, reference)).state is JobState.DONE


def test_a_result_that_is_gone_is_told(bench: FalBench) -> None:
    order = bench.training()
    reference = asyncio.run(bench.trainer.start(order))
    bench.stand_in.wait()
    only(bench).forgotten = True
    report = asyncio.run(bench.follow(order, reference))
    assert report.state is JobState.FAILED
    assert "no longer" in report.error


def test_queue_progress_and_words_nobody_knows(bench: FalBench) -> None:
    bench.stand_in.gate.clear()
    order = bench.training()
    trainer = bench.trainer
    reference = asyncio.run(trainer.start(order))
    report = asyncio.run(trainer.poll(order, reference))
    assert report.state is JobState.WAITING
    assert report.progress.message == "waiting in fal's queue, 0 before it"
    bench.stand_in.odd_status = "PONDERING"
    report = asyncio.run(trainer.poll(order, reference))
    assert report.state is JobState.WAITING or report.progress.message == "fal says PONDERING"
    bench.stand_in.odd_status = ""
    bench.stand_in.pace = 0.02
    bench.stand_in.gate.set()
    seen = []
    for _ in range(500):
        report = asyncio.run(trainer.poll(order, reference))
        seen.append((report.progress.done, report.progress.loss))
        if report.state.ended:
            break
    assert report.state is JobState.DONE
    assert any(0 < done < 20 and loss for done, loss in seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_does_not_move_is_given_up_and_can_be_looked_at_again(
    bench: FalBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stand_in.gate.clear()
    order = bench.training()
    reference = asyncio.run(bench.trainer.start(order))
    asyncio.run(bench.trainer.poll(order, reference))
    for name in ("QUEUED_FOR", "STUCK_AFTER"):
        monkeypatch.setattr(following, name, -1.0)
    report = asyncio.run(bench.trainer.poll(order, reference))
    assert report.state is JobState.FAILED
    assert "queue" in report.error
    bench.stand_in.odd_status = "IN_PROGRESS"
    assert asyncio.run(bench.trainer.poll(order, reference)).state is JobState.FAILED
    monkeypatch.undo()
    bench.stand_in.odd_status = ""
    bench.stand_in.gate.set()
    bench.stand_in.wait()
    assert len(bench.stand_in.requests) == 1


def test_resumed_after_giving_up_it_is_the_same_request(bench: FalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.stand_in.gate.clear()
    order = bench.training()
    reference = asyncio.run(bench.trainer.start(order))
    with monkeypatch.context() as impatient:
        impatient.setattr(following, "QUEUED_FOR", -1.0)
        assert asyncio.run(bench.trainer.poll(order, reference)).state is JobState.FAILED
    assert asyncio.run(bench.trainer.reopen(order)) == reference
    bench.stand_in.gate.set()
    assert asyncio.run(bench.follow(order, reference)).state is JobState.DONE


def test_silence_of_fal_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_bench(tmp_path, monkeypatch) as bench:
        order = bench.training()
        reference = asyncio.run(bench.trainer.start(order))
        bench.faulty.add(Fault("html-502", "GET", "/status$", times=0))
        report = asyncio.run(bench.trainer.poll(order, reference))
        assert report.state is JobState.RUNNING
        assert "no word from fal" in report.progress.message
        monkeypatch.setattr(following, "SILENT_FOR", -1.0)
        with pytest.raises(VendorFailed):
            asyncio.run(bench.trainer.poll(order, reference))


def test_cancelled_in_the_queue_while_running_and_too_late(bench: FalBench) -> None:
    for number, pace in enumerate((None, 0.02)):
        order = bench.training(f"training_{number}")
        if pace is None:
            bench.stand_in.gate.clear()
        else:
            bench.stand_in.gate.set()
            bench.stand_in.pace = pace
        reference = asyncio.run(bench.trainer.start(order))
        asyncio.run(bench.trainer.cancel(order, reference))
        report = asyncio.run(bench.follow(order, reference))
        assert report.state is JobState.CANCELLED
        assert bench.stand_in.paid == []
        with pytest.raises(Conflict):
            asyncio.run(bench.trainer.collect(order, reference))
    bench.stand_in.pace = 0
    order = bench.training("training_late")
    reference = asyncio.run(bench.trainer.start(order))
    bench.stand_in.wait()
    asyncio.run(bench.trainer.cancel(order, reference))
    # it is paid, so it is kept
    assert asyncio.run(bench.follow(order, reference)).state is JobState.DONE


def test_the_key_goes_to_no_other_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(answer: Any) -> Any:
        return {**answer, "status_url": "http://127.0.0.1:1/status", "response_url": "http://127.0.0.1:1/"}

    with open_bench(tmp_path, monkeypatch, Fault("edited", "POST", SUBMIT, edit=elsewhere)) as bench:
        monkeypatch.setattr(following, "SILENT_FOR", -1.0)
        order = bench.training()
        reference = asyncio.run(bench.trainer.start(order))
        with pytest.raises(VendorFailed, match="your key is not sent"):
            asyncio.run(bench.trainer.poll(order, reference))


def test_a_revoked_key_is_told_and_nothing_is_lost(bench: FalBench) -> None:
    order = bench.training()
    reference = asyncio.run(bench.trainer.start(order))
    bench.stand_in.wait()
    bench.stand_in.revoked.add(TOKEN)
    with pytest.raises(AccountRefused) as refused:
        asyncio.run(bench.trainer.poll(order, reference))
    assert TOKEN not in str(refused.value)
    bench.stand_in.revoked.clear()
    assert asyncio.run(bench.follow(order, reference)).state is JobState.DONE


@pytest.mark.parametrize(
    ("changes", "said", "remedy"),
    [
        ({"extra": {"create_mask": False}}, "takes no setting 'create_mask'", "create_masks"),
        ({"extra": {"model": "limner/limner-tiny-trainr"}}, "no trainer of limner-tiny", "limner/limner-tiny-trainer"),
        ({"steps": 20_000}, "20,000 steps", "usual"),
        ({"extra": {"steps": 0}}, "0 steps", "usual"),
    ],
)
def test_settings_that_cannot_be(bench: FalBench, changes: Any, said: str, remedy: str) -> None:
    order = bench.training(recipe=changes)
    refusals = [one for one in bench.trainer.check(order) if one.severity is Severity.REFUSAL]
    assert said in refusals[0].message
    assert remedy in refusals[0].remedy
    with pytest.raises(RecipeRefused):
        asyncio.run(bench.trainer.start(order))
    assert bench.stand_in.requests == {}
    assert bench.stand_in.files.stored == {}


def test_own_settings_reach_the_model(bench: FalBench) -> None:
    extra = {"model": "limner/limner-tiny-trainer", "create_masks": False, "trigger_word": "other"}
    order = bench.training(recipe={"extra": extra}, kind=SubjectKind.STYLE)
    assert bench.train(order).state is JobState.DONE
    sent = only(bench).input
    assert sent["create_masks"] is False
    assert sent["is_style"] is True
    assert sent["trigger_word"] == "other"
    assert "model" not in sent


def test_the_plan_says_what_would_be_sent_and_sends_nothing(bench: FalBench) -> None:
    order = bench.training()
    plan = asyncio.run(bench.trainer.plan(order))
    assert plan.refusals == ()
    assert plan.model == "limner/limner-tiny-trainer"
    assert plan.estimate.amount == Decimal("0.04")
    (paid,) = [call for call in plan.calls if call.costs]
    assert paid.url == f"{bench.settings.fal_queue_url}/limner/limner-tiny-trainer"
    assert paid.body["steps"] == 20
    assert bench.stand_in.requests == {}
    assert not any(method in ("POST", "PUT") for method, _ in bench.faulty.requests)
    bench.stand_in.withdrawn.add("limner/limner-tiny-trainer")
    assert "does not offer" in asyncio.run(bench.trainer.plan(order)).refusals[0].message
    bench.stand_in.revoked.add(TOKEN)
    assert "account" in {one.code for one in asyncio.run(bench.trainer.plan(order)).refusals}


def test_without_a_key_it_says_how_to_get_one(bench: FalBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "")
    monkeypatch.setattr("limner.hosted.has_token", lambda vendor, settings: False)
    assert not bench.trainer.describe().ready
    with pytest.raises(AccountRefused, match="limner login fal"):
        asyncio.run(bench.trainer.start(bench.training()))
    with pytest.raises(LimnerError):
        asyncio.run(bench.trainer.start(bench.training(base="flux1-schnell")))


def test_what_it_says_of_itself() -> None:
    from limner.settings import Settings
    from limner.training.fal import FalTrainer

    about = FalTrainer(Settings()).describe()
    assert {"flux1-dev", "flux2-dev", "flux2-klein-4b", "flux2-klein-9b"} <= set(about.bases)
    assert "fal-ai/flux-2-trainer" in about.models
    assert about.package == "fal"


def test_estimates_are_steps_times_price(bench: FalBench) -> None:
    def amount(base: str, **extra: Any) -> Decimal:
        return bench.trainer.estimate(bench.training(base=base, recipe={"steps": 1000, "extra": extra})).amount

    assert amount("flux2-dev") == Decimal("6.4")
    assert amount("flux1-dev") == Decimal("2.4")
    assert amount("flux1-dev", model="fal-ai/flux-lora-fast-training", steps=500) == 1
