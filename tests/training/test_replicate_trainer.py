"""The trainer replicate against the stand-in on a real socket: bought once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from limner.errors import (
    AccountRefused,
    AnswerLost,
    Conflict,
    LimnerError,
    OutOfCredit,
    RecipeRefused,
    Undecided,
    VendorFailed,
    VendorRefused,
    WorkFailed,
)
from limner.operations.jobs.vendor_webhook_app import webhook_app
from limner.stand_ins.serving import serve
from limner.training.replicate import ReplicateTrainer, buying
from limner.training.replicate.state import RunState
from limner.training.trainer import Trainer
from limner.types import JobState, Severity, SubjectKind
from limner.vendors.replicate.client import ReplicateClient
from tests.servers.faults import LOST, Fault
from tests.servers.quick_engine import quick_lora
from tests.servers.replicate_bench import TOKEN, Book, Killed, ReplicateBench, open_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateBench]:
    with open_bench(tmp_path, monkeypatch) as opened:
        yield opened


def test_from_photos_to_weights(bench: ReplicateBench) -> None:
    order = bench.training()
    collected = bench.trained(order)
    [job] = bench.stand_in.trainings.values()
    made = bench.stand_in.models["ann/limner-zibbo"]
    assert collected.weights.read_bytes() == made.versions[-1].lora
    assert collected.hosted == {"replicate": f"ann/limner-zibbo:{made.versions[-1].id}"}
    assert made.visibility == "private"
    assert collected.cost is not None and collected.cost > 0
    assert [step for step, _ in collected.losses][-1] == 20
    assert collected.left_behind == () and bench.stand_in.files == {}
    assert job.input["trigger_word"] == "zibbo" and job.input["lora_rank"] == 4 and job.input["autocaption"] is False
    assert not {"hf_token", "hf_repo_id"} & set(job.input)
    assert bench.paid == 1
    # The captions that came with the weights are on this machine no longer.
    assert sorted(path.name for path in order.run_directory.iterdir()) == [
        "photos.zip",
        "replicate.json",
        "weights.safetensors",
    ]
    assert bench.checked.violations == []
    assert {path.split("/")[1] for _, path in bench.checked.unknown} == {"delivery"}


def test_it_is_a_trainer_that_says_what_it_is(bench: ReplicateBench, monkeypatch: pytest.MonkeyPatch) -> None:
    about = bench.trainer.describe()
    assert isinstance(bench.trainer, Trainer)
    assert about.ready and about.vendor == about.package == "replicate"
    assert "flux1-dev" in about.bases and "ostris/flux-dev-lora-trainer" in about.models
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    assert not bench.trainer.describe().ready
    assert "limner login replicate" in [one.remedy for one in bench.trainer.check(bench.training())]


def test_a_plan_shows_the_exact_request_and_pays_nothing(bench: ReplicateBench) -> None:
    order = bench.training()
    plan = asyncio.run(bench.trainer.plan(order))
    assert plan.refusals == ()
    assert [(call.method, call.costs) for call in plan.calls] == [("POST", False), ("POST", False), ("POST", True)]
    assert bench.paid == 0 and bench.stand_in.files == {} and "ann/limner-zibbo" not in bench.stand_in.models
    asyncio.run(bench.trainer.start(order))
    [job] = bench.stand_in.trainings.values()
    planned = plan.calls[-1].body
    assert planned["destination"] == job.destination
    assert {**planned["input"], "input_images": job.input["input_images"]} == job.input
    assert plan.estimate.amount > 0 and not plan.estimate.certain
    # With the model there, it is not made again.
    assert len(asyncio.run(bench.trainer.plan(replace(order, id="training_2"))).calls) == 2


def test_a_plan_finds_a_wrong_token_and_a_withdrawn_model(
    bench: ReplicateBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stand_in.withdrawn.add("limner/limner-tiny-trainer")
    [refusal] = asyncio.run(bench.trainer.plan(bench.training())).refusals
    assert "limner/limner-tiny-trainer" in refusal.message
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_somebody-else-entirely")
    [refusal] = asyncio.run(bench.trainer.plan(bench.training())).refusals
    assert "token" in refusal.message and "limner login replicate" in refusal.remedy


# --- the input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"optimzer": "lion"}, "Did you mean 'optimizer'?"),
        ({"optimizer": True}, "text"),
        ({"steps": 9000}, "3 to 6000"),
        ({"gradient_checkpointing": "perhaps"}, "true or false"),
        ({"wandb_save_interval": 0}, "from 1"),
        ({"hf_token": "hf_abcdefgh"}, "never hands a Hub token"),
        ({"hf_repo_id": "ann/zibbo"}, "never hands a Hub token"),
        ({"wandb_api_key": "w"}, "never hands a Hub token"),
    ],
)
def test_inputs_that_the_schema_does_not_allow_are_refused_before_anything_is_sent(
    bench: ReplicateBench, extra: dict[str, object], words: str
) -> None:
    order = bench.training(recipe={"extra": extra})
    assert any(words in f"{one.message} {one.remedy}" for one in asyncio.run(bench.trainer.plan(order)).refusals)
    with pytest.raises(RecipeRefused) as refusal:
        asyncio.run(bench.trainer.start(order))
    assert words in str(refusal.value) and "hf_abcdefgh" not in str(refusal.value)
    assert bench.paid == 0 and bench.stand_in.files == {}


def test_every_field_of_the_schema_can_be_set(bench: ReplicateBench) -> None:
    extra = {"autocaption": True, "autocaption_prefix": "a photo of TOK", "resolution": "512,768", "optimizer": "lion"}
    bench.train(bench.training(recipe={"extra": extra}))
    [job] = bench.stand_in.trainings.values()
    assert {name: job.input[name] for name in extra} == extra


def test_the_version_is_pinned_when_the_training_begins_and_can_be_chosen(bench: ReplicateBench) -> None:
    model = bench.stand_in.models["limner/limner-tiny-trainer"]
    first = model.versions[0]
    newer = replace(first, id="f" * 64)
    bench.faulty.add(Fault("forbidden", "POST", "/v1/files"))
    order = bench.training()
    with pytest.raises(AccountRefused):
        asyncio.run(bench.trainer.start(order))
    model.versions.append(newer)
    bench.train(order)
    chosen = bench.training("training_2", recipe={"extra": {"version": first.id}})
    bench.train(chosen)
    bench.train(bench.training("training_3"))
    used = [job.version.id for job in bench.stand_in.trainings.values()]
    assert used == [first.id, first.id, newer.id]
    with pytest.raises(LimnerError, match="version"):
        bench.train(bench.training("training_4", recipe={"extra": {"version": "0" * 64}}))


def test_the_fast_trainer_is_a_choice_with_its_own_fields(bench: ReplicateBench) -> None:
    order = bench.training(
        base="flux1-dev", recipe={"extra": {"model": "replicate/fast-flux-trainer"}}, kind=SubjectKind.STYLE
    )
    plan = asyncio.run(bench.trainer.plan(order))
    assert plan.refusals == () and plan.model == "replicate/fast-flux-trainer"
    sent = plan.calls[-1].body["input"]
    assert sent["training_steps"] == 20 and sent["lora_type"] == "style" and "steps" not in sent
    wrong = bench.training(base="flux1-dev", recipe={"extra": {"model": "replicate/fast-flux-trainr"}})
    assert any("replicate/fast-flux-trainer" in one.remedy for one in bench.trainer.check(wrong))


def test_what_a_hosted_trainer_cannot_take_from_a_recipe_is_said(bench: ReplicateBench) -> None:
    found = bench.trainer.check(bench.training(recipe={"schedule": "cosine", "alpha": 8.0}))
    [note] = [one for one in found if one.code == "ignored"]
    assert "schedule" in note.message and "alpha" in note.message and note.severity is Severity.NOTE
    assert any(one.code == "steps" for one in bench.trainer.check(bench.training(recipe={"steps": 7000})))


# --- the model it goes to -------------------------------------------------------------------------------------------


def test_a_name_taken_by_a_public_model_is_passed_over(bench: ReplicateBench) -> None:
    bench.stand_in.add_model("ann", "limner-zibbo", "public", "cpu")
    collected = bench.trained(bench.training())
    assert collected.hosted["replicate"].startswith("ann/limner-zibbo-2:")
    assert bench.stand_in.models["ann/limner-zibbo-2"].visibility == "private"


def test_one_model_a_subject(bench: ReplicateBench) -> None:
    bench.trained(bench.training())
    bench.trained(bench.training("training_2", recipe={"seed": 5}))
    assert len(bench.stand_in.models["ann/limner-zibbo"].versions) == 2
    assert bench.paid == 2


def test_a_vendor_that_ignores_private_gets_no_photo(bench: ReplicateBench) -> None:
    bench.stand_in.ignores_private = True
    with pytest.raises(VendorFailed, match="although private was asked"):
        asyncio.run(bench.trainer.start(bench.training()))
    assert bench.stand_in.files == {} and bench.paid == 0


# --- once, whatever happens -----------------------------------------------------------------------------------------

STEPS = (
    ("GET", "/v1/account"),
    ("GET", "/v1/models/limner/limner-tiny-trainer$"),
    ("GET", "/v1/hardware"),
    ("POST", "/v1/models$"),
    ("GET", "/v1/models/ann/limner-zibbo$"),
    ("GET", "/v1/files$"),
    ("POST", "/v1/files$"),
    ("POST", "/trainings$"),
)


@pytest.mark.parametrize("kind", sorted(LOST.keys() - {"lost-hang"}))
def test_answers_that_are_lost_at_every_step_cost_nothing_more(bench: ReplicateBench, kind: str) -> None:
    for method, path in STEPS:
        bench.faulty.add(Fault(kind, method, path))
    order = bench.training(payments=Book())
    collected = bench.trained(order)
    assert len(bench.faulty.hits) == len(STEPS) and bench.paid == 1
    assert len(bench.stand_in.trainings) == 1 and collected.weights.is_file()
    assert bench.stand_in.files == {}


@pytest.mark.parametrize("kind", ["throttled", "throttled-plain", "busy-503", "reset", "closed"])
def test_what_the_vendor_surely_did_not_take_is_sent_again_or_found_missing(bench: ReplicateBench, kind: str) -> None:
    bench.faulty.add(Fault(kind, "POST", "/trainings$"))
    order = bench.training(payments=Book())
    try:
        asyncio.run(bench.trainer.start(order))
    except AnswerLost:
        # Nobody can know at once: the next run looks, finds nothing, and sends it.
        asyncio.run(bench.trainer.start(order))
    assert bench.paid == 1


KILL_AFTER = ("account", "model", "version", "ensure_private_model", "files", "upload", "create_training")


def test_a_kill_after_every_step_leaves_one_training_and_no_photos(
    bench: ReplicateBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run after run is killed after a call to the vendor, or around a write of the state, until no point is left."""
    done: set[tuple[str, int]] = set()
    seen: dict[str, int] = {}
    armed = [True]

    def count(name: str) -> None:
        seen[name] = seen.get(name, 0) + 1
        if armed[0] and (name, seen[name]) not in done:
            done.add((name, seen[name]))
            raise Killed(name)

    def wrap(name: str) -> None:
        inner = getattr(ReplicateClient, name)

        async def outer(self: ReplicateClient, *args: object, **more: object) -> object:
            result = await inner(self, *args, **more)
            count(name)
            return result

        monkeypatch.setattr(ReplicateClient, name, outer)

    for name in KILL_AFTER:
        wrap(name)
    saved = RunState.save

    def save(self: RunState) -> None:
        count("before a save")
        saved(self)
        count("after a save")

    monkeypatch.setattr(RunState, "save", save)
    order = bench.training(payments=Book())
    reference = ""
    while not reference:
        seen.clear()
        try:
            reference = asyncio.run(bench.trainer.start(order))
        except Killed:
            assert len(done) < 60
    assert {name for name, _ in done} == {*KILL_AFTER, "before a save", "after a save"} and len(done) >= 12
    assert bench.paid == 1
    armed[0] = False
    assert bench.train(order).state is JobState.DONE
    collected = asyncio.run(bench.trainer.collect(order, reference))
    assert bench.stand_in.files == {} and collected.left_behind == ()


def test_a_kill_at_one_point_and_an_undisturbed_run_after_it(
    bench: ReplicateBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"after": 0}
    saved = RunState.save

    def count() -> None:
        left["after"] -= 1
        if left["after"] == 0:
            raise Killed

    def save(self: RunState) -> None:
        count()
        saved(self)
        count()

    monkeypatch.setattr(RunState, "save", save)
    killed = 0
    for point in range(1, 12):
        left["after"] = point
        order = bench.training(f"training_{point}", payments=Book())
        try:
            reference = asyncio.run(bench.trainer.start(order))
        except Killed:
            killed += 1
            reference = asyncio.run(bench.trainer.start(order))
        left["after"] = 0
        bench.train(order)
        asyncio.run(bench.trainer.collect(order, reference))
        assert bench.paid == point and bench.stand_in.files == {}
    assert killed >= 8


def test_killed_between_the_answer_and_the_book(bench: ReplicateBench) -> None:
    book = Book(kill_after_send=True)
    order = bench.training(payments=book)
    with pytest.raises(Killed):
        asyncio.run(bench.trainer.start(order))
    book.kill_after_send = False
    reference = asyncio.run(bench.trainer.start(order))
    assert bench.paid == 1 and reference == f"replicate:{next(iter(bench.stand_in.trainings))}"


def test_a_lost_training_is_found_far_down_the_list_and_with_a_wrong_clock(bench: ReplicateBench) -> None:
    bench.stand_in.page_size = 2
    for number in range(5):
        bench.train(bench.training(f"other_{number}", recipe={"seed": number}))
    bench.faulty.add(Fault("lost-reset", "POST", "/trainings$"))
    bench.faulty.add(Fault("skewed", "GET", "/v1/trainings$", times=0, seconds=-86000.0))
    order = bench.training("training_9", payments=Book())
    reference = asyncio.run(bench.trainer.start(order))
    assert reference.endswith(list(bench.stand_in.trainings)[-1]) and bench.paid == 6


def test_trainings_without_their_input_cannot_be_told_apart_and_the_user_is_asked(
    bench: ReplicateBench,
) -> None:
    def emptied(value: dict[str, object]) -> dict[str, object]:
        if "results" in value:
            return {**value, "results": [{**row, "input": {}, "destination": ""} for row in value["results"]]}  # type: ignore[attr-defined]
        return {**value, "input": {}, "destination": ""}

    bench.train(bench.training("other", recipe={"seed": 1}))
    bench.faulty.add(Fault("lost-reset", "POST", "/trainings$"))
    bench.faulty.add(Fault("edited", "GET", "/v1/trainings", times=0, edit=emptied))
    order = bench.training(payments=Book())
    with pytest.raises(Undecided):
        asyncio.run(bench.trainer.start(order))
    assert bench.paid == 2


def test_an_upload_that_expired_is_made_anew_and_the_old_one_still_known(bench: ReplicateBench) -> None:
    order = bench.training(payments=Book())
    bench.faulty.add(Fault("no-credit", "POST", "/trainings$"))
    with pytest.raises(OutOfCredit):
        asyncio.run(bench.trainer.start(order))
    [first] = bench.stand_in.files.values()
    later = ReplicateTrainer(bench.settings, clock=lambda: first.expires - 60)
    asyncio.run(later.start(order))
    [job] = bench.stand_in.trainings.values()
    assert first.id not in job.input["input_images"]
    assert RunState.load(order.run_directory).files[0].id == first.id
    bench.train(order)
    asyncio.run(bench.trainer.collect(order, f"replicate:{job.id}"))
    assert bench.stand_in.files == {}


def test_a_damaged_upload_is_noticed_and_deleted(bench: ReplicateBench) -> None:
    def wrong(value: dict[str, object]) -> dict[str, object]:
        return {**value, "checksums": {"sha256": hashlib.sha256(b"other").hexdigest()}}

    bench.faulty.add(Fault("edited", "POST", "/v1/files", edit=wrong))
    with pytest.raises(VendorFailed, match="damaged"):
        asyncio.run(bench.trainer.start(bench.training()))
    assert bench.stand_in.files == {} and bench.paid == 0


def test_too_many_photos_for_one_upload(bench: ReplicateBench) -> None:
    bench.stand_in.most_file_bytes = 1000
    with pytest.raises(VendorRefused, match="too large"):
        asyncio.run(bench.trainer.start(bench.training()))
    assert bench.paid == 0


# --- watching -------------------------------------------------------------------------------------------------------


def test_progress_comes_from_the_log(bench: ReplicateBench) -> None:
    bench.stand_in.held = "starting"
    order = bench.training()

    async def watch() -> None:
        reference = await bench.trainer.start(order)
        waiting = await bench.trainer.poll(order, reference)
        assert (waiting.state, waiting.progress.message) == (JobState.RUNNING, "waiting for a GPU")
        assert waiting.poll_after == pytest.approx(2.0, abs=0.2)
        bench.stand_in.pace, bench.stand_in.held = 0.05, ""
        seen = []
        for _ in range(400):
            report = await bench.trainer.poll(order, reference)
            seen.append(report.progress.done)
            if report.state.ended:
                break
            await asyncio.sleep(0.01)
        assert report.state is JobState.DONE and report.progress.done == report.progress.total == 20
        assert seen == sorted(seen) and len(set(seen)) > 3
        assert report.losses and "flux_train_replicate" in report.log and "\r" not in report.log

    asyncio.run(watch())


def test_it_looks_less_often_as_time_goes_by_and_more_near_the_end(bench: ReplicateBench) -> None:
    bench.stand_in.held = "processing"
    order = bench.training()
    moment = {"now": 1_000_000.0}
    trainer = ReplicateTrainer(bench.settings, clock=lambda: moment["now"])

    async def watch() -> list[float]:
        reference = await trainer.start(order)
        waits = []
        for age in (0, 60, 600):
            moment["now"] = 1_000_000.0 + age
            waits.append((await trainer.poll(order, reference)).poll_after)
        bench.stand_in.held = ""
        return waits

    assert asyncio.run(watch()) == [2.0, 6.0, 20.0]


@pytest.mark.parametrize(
    ("ending", "state", "words"),
    [
        (("failed", "CUDA out of memory. Tried to allocate 2 GiB"), JobState.FAILED, "smaller resolution"),
        (("failed", "OSError: [Errno 30] Read-only file system: '/src'"), JobState.FAILED, "fault on Replicate's side"),
        (("failed", "Prediction interrupted; please retry (code: PA)"), JobState.FAILED, "another trainer"),
        (("failed", "The input was flagged as sensitive. (E005)"), JobState.FAILED, "content filter"),
        (("failed", "something nobody has seen before"), JobState.FAILED, "something nobody has seen before"),
        (("failed", ""), JobState.FAILED, "does not say why"),
        (("aborted", ""), JobState.FAILED, "before it began"),
        (("canceled", ""), JobState.CANCELLED, "stopped at Replicate"),
    ],
)
def test_each_bad_end_is_explained(bench: ReplicateBench, ending: tuple[str, str], state: JobState, words: str) -> None:
    bench.stand_in.endings.append(ending)
    book = Book()
    report = bench.train(bench.training(payments=book))
    assert report.state is state and words in f"{report.error} {report.remedy}"
    assert report.remedy and TOKEN not in report.error
    # What ran is charged, and the ledger hears of it; what never began is not.
    assert (book.settled["training_1"] == Decimal(0)) is (ending[0] == "aborted")


def test_an_unknown_status_goes_on_but_not_for_ever(bench: ReplicateBench) -> None:
    bench.stand_in.held = "processing"
    order = bench.training()
    moment = {"now": 1_000_000.0}
    trainer = ReplicateTrainer(bench.settings, stuck_minutes=10_000, clock=lambda: moment["now"])
    bench.faulty.add(Fault("edited", "GET", "/v1/trainings/", times=0, edit=lambda job: {**job, "status": "pondering"}))

    async def watch() -> None:
        reference = await trainer.start(order)
        report = await trainer.poll(order, reference)
        assert report.state is JobState.RUNNING and "pondering" in report.progress.message
        moment["now"] += 13 * 3600
        report = await trainer.poll(order, reference)
        assert report.state is JobState.FAILED and "hours" in report.error and report.remedy

    asyncio.run(watch())
    assert next(iter(bench.stand_in.trainings.values())).cancelled.is_set()


def test_a_stuck_training_is_stopped_there_and_explained(bench: ReplicateBench) -> None:
    bench.stand_in.endings.append(("stuck", ""))
    bench.stand_in.held = "starting"
    order = bench.training(recipe={"extra": {"stuck_minutes": 30}})
    moment = {"now": 1_000_000.0}
    trainer = ReplicateTrainer(bench.settings, clock=lambda: moment["now"])

    async def watch() -> None:
        reference = await trainer.start(order)
        assert (await trainer.poll(order, reference)).progress.message == "waiting for a GPU"
        bench.stand_in.held = ""
        while (await trainer.poll(order, reference)).progress.message == "waiting for a GPU":
            await asyncio.sleep(0.005)
        moment["now"] += 130
        await trainer.poll(order, reference)
        moment["now"] += 29 * 60
        assert (await trainer.poll(order, reference)).state is JobState.RUNNING
        moment["now"] += 3 * 60
        report = await trainer.poll(order, reference)
        assert report.state is JobState.FAILED and "no sign of life" in report.error
        assert (await bench.follow(order, reference, trainer)).state.ended

    asyncio.run(watch())


def test_cancelling(bench: ReplicateBench) -> None:
    bench.stand_in.held = "processing"
    order = bench.training(payments=Book())

    async def watch() -> None:
        reference = await bench.trainer.start(order)
        await bench.trainer.cancel(order, reference)
        report = await bench.follow(order, reference)
        assert report.state is JobState.CANCELLED and report.error == "The training was stopped."
        await bench.trainer.cancel(order, reference)
        with pytest.raises(Conflict, match="no result"):
            await bench.trainer.collect(order, reference)
        # A stopped one cannot go on there: it is a new purchase, under a tag of its own.
        bench.stand_in.held = ""
        again = await bench.trainer.reopen(order)
        assert again != reference and bench.paid == 2
        assert await bench.trainer.reopen(order) == again
        assert (await bench.follow(order, again)).state is JobState.DONE
        assert await bench.trainer.reopen(order) == again

    asyncio.run(watch())
    assert bench.paid == 2
    assert [one.tag for one in order.payments.purchases] == ["training_1", "training_1-2"]  # type: ignore[attr-defined]


def test_a_training_whose_data_are_gone(bench: ReplicateBench) -> None:
    order = bench.training()
    bench.train(order)
    bench.stand_in.training_retention = -1.0
    [job] = bench.stand_in.trainings
    report = asyncio.run(bench.trainer.poll(order, f"replicate:{job}"))
    assert report.state is JobState.FAILED and "about an hour" in report.error
    with pytest.raises(WorkFailed, match="does not know"):
        asyncio.run(bench.trainer.collect(order, f"replicate:{job}"))


# --- what it gives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["truncated", "truncated-unmarked", "truncated-consistent", "reset-mid-body", "html-200", "html-502"]
)
def test_a_damaged_download_is_fetched_again(bench: ReplicateBench, kind: str) -> None:
    bench.faulty.add(Fault(kind, "GET", "/delivery/"))
    collected = bench.trained(bench.training())
    assert collected.weights.read_bytes() == bench.stand_in.models["ann/limner-zibbo"].versions[-1].lora
    assert bench.paid == 1


def test_an_expired_address(bench: ReplicateBench) -> None:
    bench.faulty.add(Fault("gone-404", "GET", "/delivery/", times=0))
    with pytest.raises(WorkFailed, match="expired"):
        bench.trained(bench.training())


def test_collecting_twice_fetches_once_and_photos_that_stay_are_named(bench: ReplicateBench) -> None:
    bench.faulty.add(Fault("forbidden", "DELETE", "/v1/files/"))
    order = bench.training()
    first = bench.trained(order)
    assert len(first.left_behind) == 1 and "uploaded photos" in first.left_behind[0]
    [job] = bench.stand_in.trainings
    second = asyncio.run(bench.trainer.collect(order, f"replicate:{job}"))
    assert second.left_behind == () and bench.stand_in.files == {}
    assert [path for _, path in bench.faulty.requests if path.startswith("/delivery")].__len__() == 1


def test_the_token_is_only_sent_to_the_vendor(bench: ReplicateBench) -> None:
    seen: list[str] = []

    async def other(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        seen.extend(value.decode() for key, value in scope["headers"] if key == b"authorization")
        tar = bench.stand_in.make_tar("lora.safetensors", quick_lora("limner-tiny", 4, b"x"), [])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/x-tar")]})
        await send({"type": "http.response.body", "body": tar})

    with serve(other) as elsewhere:

        def moved(job: dict[str, object]) -> dict[str, object]:
            output = job.get("output")
            return {**job, "output": {**output, "weights": f"{elsewhere}/w.tar"}} if isinstance(output, dict) else job

        bench.faulty.add(Fault("edited", "GET", "/v1/trainings/", times=0, edit=moved))
        assert bench.trained(bench.training()).weights.is_file()
    assert seen == []


def test_no_secret_is_written_anywhere(bench: ReplicateBench) -> None:
    order = bench.training()
    bench.trained(order)
    for path in order.run_directory.rglob("*"):
        assert TOKEN.encode() not in path.read_bytes()
    assert "limner-zibbo" in json.loads((order.run_directory / "replicate.json").read_text())["destination"]


# --- webhooks -------------------------------------------------------------------------------------------------------


def test_webhooks_wake_and_nothing_else(bench: ReplicateBench) -> None:
    woken: list[str] = []

    async def secret() -> str:
        from limner.vendors.secrets.tokens import token_for

        async with ReplicateClient(bench.settings.replicate_url, token_for("replicate", bench.settings)) as client:
            return (await client.webhook_secret()).reveal()

    with serve(webhook_app(secret, woken.append)) as hooks:
        order = bench.training(webhook_url=f"{hooks}/webhooks/replicate/training_1")
        assert bench.train(order).state is JobState.DONE

        async def arrived() -> None:
            for _ in range(400):
                if len(bench.stand_in.webhooks.sent) == len(buying.EVENTS):
                    return
                await asyncio.sleep(0.005)

        asyncio.run(arrived())
    assert woken == ["training_1", "training_1"]
    assert bench.stand_in.webhooks.failed == []
