"""Loras and who can get at them: what is refused before anything is paid, what is opened or published, how long."""

# ruff: noqa: F811 - fixtures are imported by their names

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from limner.errors import Conflict, InputRefused
from limner.types import Consent, JobState, Visibility
from tests.hubs.bucket import bucket_address, bucket_settings, new_bucket, s3_client  # noqa: F401
from tests.servers.quick_engine import quick_lora
from tests.servers.services_bench import SMALL, TINY, ServicesBench, open_bench
from tests.waiting import until


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    with open_bench(tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture
def s3_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_settings: dict[str, str]
) -> Iterator[ServicesBench]:
    with open_bench(tmp_path, monkeypatch, **bucket_settings) as opened:
        yield opened


def lora(bench: ServicesBench, slug: str = "ink", base: str = "limner-tiny", **options: Any) -> str:
    return bench.import_lora(slug, quick_lora(base, 4, slug.encode()), **options)


def generate(bench: ServicesBench, *loras: str, **options: Any) -> Any:
    prompt = options.pop("prompt", "a drawing of {trigger}")
    return bench.studio.generate(prompt, loras=loras, **{"generator": "together", "yes": True, **SMALL, **options})


def granted(bench: ServicesBench) -> list[str]:
    return [one["path"] for body in bench.vendors.together.requests for one in body.get("image_loras", ())]


def test_a_lora_that_is_nowhere_public_is_refused_with_the_command_that_mends_it(bench: ServicesBench) -> None:
    name = lora(bench)
    with pytest.raises(InputRefused, match="nowhere public") as refused:
        generate(bench, name)
    assert f"limner publish {name} --hub huggingface --public" in refused.value.remedy
    assert "--publish-if-needed" in refused.value.remedy
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="private"))
    with pytest.raises(InputRefused, match="nowhere public"):
        generate(bench, name)
    with pytest.raises(InputRefused, match="public repos of the Hugging Face Hub") as hub:
        generate(bench, name, generator="huggingface")
    assert "--hub huggingface --public" in hub.value.remedy
    assert "--hub s3" not in hub.value.remedy
    seen = generate(bench, name, what_if=True)
    assert not seen.possible
    assert [one.remedy for one in seen.plans[0].refusals] == [refused.value.remedy]
    assert bench.paid == {}
    assert bench.studio.jobs.all()[0].kind == "publish"
    # fal is given the file itself
    assert bench.run(generate(bench, name, generator="fal")).error is None


def test_the_command_of_the_remedy_mends_it(bench: ServicesBench) -> None:
    name = lora(bench)
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="private"))
    bench.studio.publications.set_visibility(name, Visibility.PUBLIC)
    assert bench.run(generate(bench, name)).error is None
    bench.studio.publications.set_visibility(name, Visibility.PRIVATE)
    with pytest.raises(InputRefused):
        generate(bench, name)


def test_publish_if_needed_publishes_and_draws(bench: ServicesBench) -> None:
    name = lora(bench)
    seen = generate(bench, name, publish_if_needed=True, what_if=True)
    assert seen.possible
    assert "lora-published" in [one.code for one in seen.plans[0].findings]
    assert bench.vendors.huggingface.repos == {}
    ended = bench.run(generate(bench, name, publish_if_needed=True))
    assert ended.error is None
    [publication] = bench.studio.publications.all("ink")
    assert (publication.hub, publication.visibility) == ("huggingface", Visibility.PUBLIC)
    assert not bench.vendors.huggingface.repos["rehearsal/ink-lora"].private
    assert granted(bench)[0].startswith(bench.vendors.huggingface.url)
    again = bench.run(generate(bench, name, publish_if_needed=True))
    assert again.error is None
    assert len(bench.vendors.huggingface.repos) == 1


def test_what_would_be_refused_anyway_is_not_published(bench: ServicesBench) -> None:
    """Published for everyone cannot be taken back: everything else is looked at before."""
    name = lora(bench, base="flux2-random")
    with pytest.raises(InputRefused, match="flux2-random"):
        generate(bench, name, base="limner-tiny", publish_if_needed=True)
    with pytest.raises(InputRefused, match="scale"):
        generate(bench, f"{name}:7", publish_if_needed=True)
    bench.vendors.together.rows = {}
    ended = bench.run(generate(bench, name, width=128, height=128, publish_if_needed=True))
    assert ended.state is JobState.FAILED
    assert bench.vendors.huggingface.repos == {}
    assert bench.paid == {}


def test_a_persons_lora_never_gets_public_without_consent(bench: ServicesBench) -> None:
    name = lora(bench, "ann", kind="person")
    for options in ({}, {"generator": "together,huggingface"}):
        with pytest.raises(InputRefused, match="no consent of 'ann'") as refused:
            generate(bench, name, publish_if_needed=True, **options)
        assert "limner subjects consent ann" in refused.value.remedy
    with pytest.raises(Conflict):
        bench.studio.publications.start(name, hub="huggingface", visibility="public")
    bench.run(bench.studio.publications.start(name, hub="huggingface"))
    with pytest.raises(Conflict):
        bench.studio.publications.set_visibility(name, "public")
    assert all(repo.private for repo in bench.vendors.huggingface.repos.values())
    with pytest.raises(Conflict, match="no consent"):
        bench.studio.run(
            "ann",
            [bench.photos],
            ["{trigger}"],
            train={"trainer": "fal", **TINY},
            generate={"generator": "together", "publish_if_needed": True},
            yes=True,
        )
    bench.studio.subjects.record_consent(
        "ann", Consent("may be shown", "Ann", bench.studio.subjects.get("ann").created_at)
    )
    job = generate(bench, name, publish_if_needed=True)
    bench.studio.subjects.withdraw_consent("ann")
    ended = bench.run(job)
    assert ended.state is JobState.FAILED
    assert "no consent" in ended.error.message
    assert all(repo.private for repo in bench.vendors.huggingface.repos.values())
    assert bench.paid == {}


@pytest.mark.parametrize("ending", ["well", "refused", "cut off", "cancelled"])
def test_a_private_lora_in_a_bucket_is_open_only_while_it_is_drawn(
    s3_bench: ServicesBench, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.generation.hosted.HostedGenerator.pictures_at_once", 2)
    bench = s3_bench
    name = lora(bench, "ann", kind="person")
    bench.run(bench.studio.publications.start(name, hub="s3"))
    seen = generate(bench, name, what_if=True)
    assert seen.possible
    assert [one.code for one in seen.plans[0].findings if one.code.startswith("lora")] == ["lora-opened"]
    count = 12 if ending == "cancelled" else 2
    job = generate(
        bench, name, count=count, prompt="a forbidden-word" if ending == "refused" else "a drawing of {trigger}"
    )
    if ending == "cut off":
        bench.fault("together", "reset", "POST", "/images", times=0)
    if ending == "cancelled":
        bench.vendors.together.seconds = 0.4
        with bench.running(job):
            until(lambda: bench.posts("together"))
            bench.studio.cancel(job)
        ended = bench.studio.jobs.get(job.id)
        assert ended.state is JobState.CANCELLED
    else:
        ended = bench.run(job)
        assert (ended.error is None) == (ending == "well")
    urls = opened_in(bench)
    assert urls
    for url in urls:
        assert httpx2.get(url).status_code in (403, 404)
    [publication] = bench.studio.publications.all("ann")
    assert publication.visibility is Visibility.PRIVATE
    if ending == "well":
        assert len(bench.paid["together"]) == 2
        secret = urls.pop().rsplit("/", 2)[-2].encode()
        for image in bench.studio.generations.get(job.target).images:
            assert secret not in image.path.read_bytes()


def opened_in(bench: ServicesBench) -> set[str]:
    """Every address that a request to Together named, by the record of purchases."""
    with sqlite3.connect(bench.settings.home / "limner.db") as database:
        found = [
            row[0]
            for row in database.execute("SELECT json_extract(request, '$.image_loras[0].path') FROM limner_intents")
        ]
    return {url for url in [*found, *granted(bench)] if url}


def test_two_strangers_loras_by_name_revision_and_address(bench: ServicesBench) -> None:
    first, second = lora(bench, "ink"), lora(bench, "wash")
    for name in (first, second):
        bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public"))
    hub = bench.vendors.huggingface
    sha = hub.repos["rehearsal/wash-lora"].main.sha
    address = f"{hub.url}/rehearsal/wash-lora/resolve/{sha}/pytorch_lora_weights.safetensors"
    for other in (f"rehearsal/wash-lora@{sha[:40]}:-0.4", "rehearsal/wash-lora@v1:-0.4", f"{address}:-0.4"):
        ended = bench.run(generate(bench, "rehearsal/ink-lora:0.8", other, prompt="{trigger} and {trigger2}"))
        assert ended.error is None, other
        sent = bench.vendors.together.requests[-1]
        assert [one["scale"] for one in sent["image_loras"]] == [0.8, -0.4]
        assert sha in sent["image_loras"][1]["path"]
        assert sent["prompt"] == "trig_ink and trig_wash"
        generation = bench.studio.generations.get(ended.target)
        assert [use.name for use in generation.loras] == ["rehearsal/ink-lora", other.removesuffix(":-0.4")]
    # ours and a stranger's together; the same pictures, as the files are the same
    mixed = bench.run(generate(bench, f"{first}:0.8", "rehearsal/wash-lora:-0.4", prompt="{trigger} and {trigger2}"))
    assert mixed.error is None
    drawn = {bench.studio.generations.get(job.target).images[0].path.stat().st_size for job in (ended, mixed)}
    assert drawn


def test_a_strangers_lora_that_cannot_be_used_is_refused_before_anything_is_paid(bench: ServicesBench) -> None:
    name = lora(bench, "ink")
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="private"))
    for options in ({}, {"publish_if_needed": True}):
        with pytest.raises(InputRefused, match="rehearsal/ink-lora has none") as refused:
            generate(bench, "rehearsal/ink-lora", prompt="trig_ink", **options)
        assert "limner loras import rehearsal/ink-lora" in refused.value.remedy
    hub = bench.vendors.huggingface
    hub.repos["rehearsal/ink-lora"].private = False
    with pytest.raises(InputRefused, match="limner-tiny"):
        generate(bench, "rehearsal/ink-lora", prompt="trig_ink", base="flux2-random", width=128, height=128)
    other = lora(bench, "wash", base="flux2-random")
    bench.run(bench.studio.publications.start(other, hub="huggingface", visibility="public"))
    with pytest.raises(InputRefused, match="different bases"):
        generate(bench, "rehearsal/ink-lora", other, prompt="x")
    assert bench.paid == {}
    assert {job.kind for job in bench.studio.jobs.all()} == {"publish"}


@pytest.mark.parametrize(
    ("trainer", "hub", "visibility", "generator", "possible"),
    [
        ("fal", "huggingface", "private", "together", False),
        ("fal", "huggingface", "private", "replicate", False),
        ("fal", "huggingface", "private", "huggingface", False),
        ("fal", "folder", "public", "together", False),
        ("replicate", "huggingface", "private", "replicate", True),
        ("fal", "huggingface", "private", "fal", True),
        ("fal", "huggingface", "private", "together,fal", True),
    ],
)
def test_a_run_whose_lora_could_not_get_to_the_generator_is_not_begun(
    bench: ServicesBench, trainer: str, hub: str, visibility: str, generator: str, possible: bool
) -> None:
    bench.subject()

    def run() -> Any:
        return bench.studio.run(
            "zib",
            [bench.photos],
            ["{trigger}"],
            train={"trainer": trainer, **TINY},
            publish={"hub": hub, "visibility": visibility},
            generate={"generator": generator, **SMALL},
            yes=True,
        )

    if possible:
        assert bench.run(run()).error is None
        return
    with pytest.raises(InputRefused, match=visibility) as refused:
        run()
    assert "--hub" in refused.value.remedy
    assert bench.paid == {}
    assert not bench.posts(trainer)
    assert bench.studio.jobs.all() == []


def test_a_lora_on_s3_alone_is_nothing_for_inference_providers(s3_bench: ServicesBench) -> None:
    """They take repos of the Hub only, however public an address is."""
    bench = s3_bench
    name = lora(bench)
    bench.run(bench.studio.publications.start(name, hub="s3", visibility="public"))
    with pytest.raises(InputRefused, match="public repos of the Hugging Face Hub"):
        generate(bench, name, generator="huggingface")
    assert bench.run(generate(bench, name)).error is None
    ended = bench.run(generate(bench, name, generator="huggingface", publish_if_needed=True))
    assert ended.error is None
    assert {place.hub for place in bench.studio.publications.all("ink")} == {"s3", "huggingface"}
    # what is newest is not what every generator can fetch
    bench.run(bench.studio.publications.start(name, hub="s3", repo="again", visibility="public"))
    assert bench.run(generate(bench, name, generator="huggingface")).error is None
