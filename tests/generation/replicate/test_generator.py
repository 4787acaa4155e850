"""The generator replicate against the stand-in on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from limner.errors import (
    AccountRefused,
    ContentRefused,
    InputRefused,
    OutOfCredit,
    Undecided,
    VendorRefused,
    WorkFailed,
)
from limner.generation.generator import Drawn, GenerationOrder, Generator
from limner.generation.metadata.pixels import opened
from limner.stand_ins.replicate.models import StoredVersion, trained_schema
from limner.stand_ins.serving import serve
from limner.types import LoraUse, Reach
from tests.servers.faults import LOST, Fault
from tests.servers.quick_engine import quick_lora
from tests.servers.replicate_bench import Book, Killed, ReplicateBench, open_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicateBench]:
    with open_bench(tmp_path, monkeypatch) as opened_bench:
        yield opened_bench


def hosted(bench: ReplicateBench, name: str = "zibbo", seed: int = 1) -> LoraUse:
    """A lora as a training there leaves it: a version of a private model."""
    use = bench.lora(name, seed=seed)
    model = (
        bench.stand_in.add_model("ann", f"limner-{name}", "private", "cpu")
        or bench.stand_in.models[f"ann/limner-{name}"]
    )
    assert use.path is not None
    version = StoredVersion(
        f"{seed:064x}", "2026-11-24T00:00:00Z", trained_schema("limner-tiny"), use.path.read_bytes()
    )
    model.does, model.base = "generate", "limner-tiny"
    model.versions.append(version)
    return replace(use, hosted={"replicate": f"ann/limner-{name}:{version.id}"})


@contextmanager
def published(*files: tuple[str, bytes], fail: int = 0) -> Iterator[str]:
    """A server as the Hub is for anybody: a repo's list of files, and the files. Gives the repo's page."""
    seen: list[str] = []

    async def hub(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        path = scope["path"]
        assert not any(key == b"authorization" for key, _ in scope["headers"])
        seen.append(path)
        names = dict(files)
        body = (
            (str([{"path": name} for name in names])).replace("'", '"').encode()
            if path.endswith("/tree/main")
            else names.get(path.rpartition("/")[2], b"")
        )
        await send({"type": "http.response.start", "status": fail or 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with serve(hub) as url:
        yield f"{url}/ann/zibbo"


def sent(bench: ReplicateBench) -> list[dict[str, object]]:
    return [job.input for job in bench.stand_in.predictions.values()]


def test_the_trained_model_draws_privately(bench: ReplicateBench) -> None:
    book = Book()
    order = bench.generation(hosted(bench), count=5, done=frozenset({1}), payments=book)
    pictures = bench.draw(order)
    assert [one.index for one in pictures] == [0, 2, 3, 4] and bench.paid == 4
    assert {one.seed - one.index for one in pictures} == {7}
    for one in pictures:
        with opened(one.data) as picture:
            assert picture.size == (128, 64) and one.media_type == "image/png"
        assert one.versions["model"] == "ann/limner-zibbo" and len(one.versions["version"]) == 64
        assert one.versions["prediction"] in bench.stand_in.predictions
    assert all(
        job["lora_scale"] == 0.8 and job["seed"] == 7 + i
        for i, job in zip((0, 2, 3, 4), sorted(sent(bench), key=lambda job: job["seed"]), strict=True)
    )  # type: ignore[arg-type,return-value]
    assert bench.checked.violations == []
    assert isinstance(bench.generator, Generator) and bench.generator.describe().reach[0] is Reach.HOSTED
    assert [book.settled[f"generation_1-{n}"] is not None for n in (0, 2, 3, 4)] == [True] * 4


def test_the_plan_is_what_is_sent(bench: ReplicateBench) -> None:
    order = bench.generation(hosted(bench), count=2)
    plan = asyncio.run(bench.generator.plan(order))
    [call] = plan.calls
    assert plan.refusals == () and call.costs and call.times == 2 and bench.paid == 0
    bench.draw(order)
    assert call.body["input"] in sent(bench)
    assert plan.estimate.amount > 0


def test_a_published_lora_and_a_second_one(bench: ReplicateBench) -> None:
    first, second = quick_lora("limner-tiny", 4, b"1"), quick_lora("limner-tiny", 4, b"2")
    with published(("pytorch_lora_weights.safetensors", first)) as page, published(("b.safetensors", second)) as other:
        uses = (
            replace(bench.lora(), url=page),
            replace(bench.lora("b", seed=2), url=f"{other}/resolve/abc/b.safetensors"),
        )
        [picture] = bench.draw(bench.generation(*uses))
        [job] = sent(bench)
        assert job["lora_weights"] == page and str(job["extra_lora"]).endswith("/resolve/abc/b.safetensors")
        assert picture.versions["model"] == "limner/limner-tiny"
        mixed = bench.draw(bench.generation(hosted(bench), uses[1], id="generation_2"))
        assert mixed[0].versions["model"] == "ann/limner-zibbo" and mixed[0].data != picture.data
    assert bench.paid == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no public address"),
        ("ann/zibbo", "no https address"),
        ("https://huggingface.co/ann/zibbo/blob/main/x.safetensors", "a page about the file"),
        ("https://bucket.example/x.safetensors?X-Amz-Signature=abc", "signed address"),
        ("https://bucket.example/a/b/c.bin", "neither"),
    ],
)
def test_addresses_that_the_vendor_cannot_fetch_are_refused(bench: ReplicateBench, url: str, words: str) -> None:
    order = bench.generation(replace(bench.lora(), url=url))
    assert any(words in one.message for one in bench.generator.check(order))
    with pytest.raises(InputRefused):
        bench.draw(order)
    assert bench.paid == 0


def test_a_repo_with_two_files_and_one_that_is_private(bench: ReplicateBench) -> None:
    data = quick_lora("limner-tiny", 4, b"1")
    with (
        published(("a.safetensors", data), ("b.safetensors", data)) as page,
        pytest.raises(VendorRefused, match="Multiple"),
    ):
        bench.draw(bench.generation(replace(bench.lora(), url=page)))
    with published(fail=401) as page, pytest.raises(VendorRefused, match="cannot load the lora"):
        bench.draw(bench.generation(replace(bench.lora(), url=page), id="generation_2"))


def test_limits_of_the_model(bench: ReplicateBench) -> None:
    def codes(**changes: object) -> set[str]:
        order = bench.generation(replace(hosted(bench), **changes.pop("use", {})), **changes)  # type: ignore[call-overload]
        return {one.code for one in bench.generator.check(order)}

    assert {"width", "width-not-possible"} <= codes(width=1000)
    assert "steps" in codes(steps=51)
    assert "scale" in codes(use={"scale": 4.0})
    assert "secret" in codes(extra={"hf_api_token": "hf_abc"})
    flux = bench.generation(
        replace(bench.lora(), base="flux1-dev", url="https://x.example/a.safetensors"), base="flux1-dev"
    )
    assert {"size"} <= {one.code for one in bench.generator.check(replace(flux, width=1024, height=512))}
    assert bench.generator.check(replace(flux, width=1024, height=1024, steps=28)) == []
    plan = asyncio.run(bench.generator.plan(replace(flux, width=832, height=1216, steps=28)))
    assert plan.refusals == ()
    assert plan.calls[0].url.endswith("/v1/models/black-forest-labs/flux-dev-lora/predictions")
    assert plan.calls[0].body["input"]["aspect_ratio"] == "2:3" and "width" not in plan.calls[0].body["input"]
    assert "no-model" in {
        one.code for one in bench.generator.check(bench.generation(base="flux2-dev", width=1024, height=1024))
    }


def test_extras_are_checked_against_the_live_schema(bench: ReplicateBench) -> None:
    use = hosted(bench)
    bench.draw(bench.generation(use, extra={"output_format": "jpg", "output_quality": 90}))
    assert sent(bench)[0]["output_quality"] == 90
    for extra, words in (({"outputformat": "png"}, "'output_format'"), ({"output_format": "tiff"}, "webp")):
        plan = asyncio.run(bench.generator.plan(bench.generation(use, extra=extra)))
        assert any(words in f"{one.message} {one.remedy}" for one in plan.refusals)
        with pytest.raises(InputRefused):
            bench.draw(bench.generation(use, extra=extra, id="generation_2"))
    assert bench.paid == 1


# --- once -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LOST.keys() - {"lost-hang"}))
def test_an_answer_that_is_lost_is_found_again(bench: ReplicateBench, kind: str) -> None:
    bench.faulty.add(Fault(kind, "POST", "/v1/predictions$", nth=2))
    bench.faulty.add(Fault(kind, "GET", "/v1/predictions"))
    pictures = bench.draw(bench.generation(hosted(bench), count=4, payments=Book()))
    assert len(pictures) == 4 and bench.paid == 4 and len(bench.faulty.hits) == 2


def test_a_run_killed_after_sending_pays_no_second_time(bench: ReplicateBench) -> None:
    book = Book(kill_after_send=True)
    order = bench.generation(hosted(bench), count=1, payments=book)
    with pytest.raises(Killed):
        bench.draw(order)
    book.kill_after_send = False
    [picture] = bench.draw(order)
    assert bench.paid == 1 and picture.versions["prediction"] in bench.stand_in.predictions


def test_a_killed_run_whose_pictures_are_gone_asks_the_user(bench: ReplicateBench) -> None:
    book = Book(kill_after_send=True)
    order = bench.generation(hosted(bench), payments=book)
    with pytest.raises(Killed):
        bench.draw(order)

    async def ended() -> None:
        while not all(job.ended for job in bench.stand_in.predictions.values()):
            await asyncio.sleep(0.005)

    asyncio.run(ended())
    bench.stand_in.retention = -1.0
    book.kill_after_send = False
    with pytest.raises(Undecided) as asked:
        bench.draw(order)
    assert "generation_1-0" in asked.value.remedy and bench.paid == 1


def test_other_pictures_of_the_same_model_are_not_taken_for_ours(bench: ReplicateBench) -> None:
    use = hosted(bench)
    first = bench.draw(bench.generation(use, payments=Book()))
    second = bench.draw(bench.generation(use, id="generation_2", prompt="another drawing of zibbo", payments=Book()))
    third = bench.draw(bench.generation(use, id="generation_3", seed=8, payments=Book()))
    assert bench.paid == 3 and len({one[0].versions["prediction"] for one in (first, second, third)}) == 3


@pytest.mark.parametrize(
    "kind", ["truncated", "truncated-consistent", "reset-mid-body", "html-200", "html-502", "wrong-type"]
)
def test_a_damaged_picture_is_fetched_again(bench: ReplicateBench, kind: str) -> None:
    bench.faulty.add(Fault(kind, "GET", "/delivery/"))
    [picture] = bench.draw(bench.generation(hosted(bench)))
    with opened(picture.data) as seen:
        assert seen.size == (128, 64)
    assert bench.paid == 1


def test_the_vendor_being_busy_is_waited_out(bench: ReplicateBench) -> None:
    bench.faulty.add(Fault("throttled", "POST", "/v1/predictions$", times=3))
    bench.faulty.add(Fault("busy-503", "GET", "/v1/predictions/", times=3))
    assert len(bench.draw(bench.generation(hosted(bench), count=3))) == 3 and bench.paid == 3


# --- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "kind", "words"),
    [
        (
            ("failed", "NSFW content detected. Try running it again, or try a different prompt."),
            ContentRefused,
            "filter",
        ),
        (("failed", "The input or output was flagged as sensitive (E005)"), ContentRefused, "filter"),
        (("failed", "No .safetensors file found in the repository"), VendorRefused, "cannot load the lora"),
        (("failed", "Insufficient credit"), OutOfCredit, "no credit"),
        (("failed", "CUDA error"), WorkFailed, "CUDA error"),
        (("failed", ""), WorkFailed, "could not draw"),
        (("aborted", ""), WorkFailed, "before it began"),
        (("canceled", ""), WorkFailed, "not by Limner"),
    ],
)
def test_each_bad_end_is_explained(
    bench: ReplicateBench, ending: tuple[str, str], kind: type[Exception], words: str
) -> None:
    bench.stand_in.endings.append(ending)
    book = Book()
    with pytest.raises(kind) as failure:
        bench.draw(bench.generation(hosted(bench), payments=book))
    assert words in str(failure.value) and failure.value.remedy  # type: ignore[attr-defined]
    assert "generation_1-0" in book.settled


def test_one_refused_picture_loses_none_of_the_others(bench: ReplicateBench) -> None:
    order = bench.generation(hosted(bench), count=4)
    bench.stand_in.endings.append(("failed", "NSFW content detected"))

    async def all_that_come() -> tuple[list[Drawn], Exception | None]:
        pictures: list[Drawn] = []
        try:
            async for drawn in bench.generator.draw(order):
                pictures.append(drawn)  # noqa: PERF401 - what came before the failure counts
        except ContentRefused as refusal:
            return pictures, refusal
        return pictures, None

    pictures, refusal = asyncio.run(all_that_come())
    assert len(pictures) == 3 and refusal is not None and "1 of 4" in str(refusal)


def test_a_model_that_is_gone_and_a_wrong_token(bench: ReplicateBench, monkeypatch: pytest.MonkeyPatch) -> None:
    use = hosted(bench)
    bench.stand_in.models.pop("ann/limner-zibbo")
    with pytest.raises(VendorRefused, match="no longer"):
        bench.draw(bench.generation(use))
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_somebody-else-entirely")
    with pytest.raises(AccountRefused):
        bench.draw(bench.generation(hosted(bench)))


def test_pictures_come_as_they_are_done(bench: ReplicateBench) -> None:
    bench.stand_in.held = "processing"

    async def first_of(coming: AsyncIterator[Drawn]) -> Drawn:
        task = asyncio.ensure_future(anext(coming))
        await asyncio.sleep(0.05)
        assert not task.done()
        bench.stand_in.held = ""
        return await task

    order: GenerationOrder = bench.generation(hosted(bench), count=3)
    assert asyncio.run(first_of(bench.generator.draw(order))).seed >= 7
