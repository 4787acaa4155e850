"""Where loras can be fetched is found once a request, within seconds, and whatever does not need it goes on without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.errors import VendorFailed
from limner.operations.generations import reach
from limner.records import Choice, Choices
from limner.types import Severity
from tests.network_guard import asked
from tests.servers.quick_engine import quick_lora
from tests.servers.services_bench import SMALL, ServicesBench, open_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    with open_bench(tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture
def published(bench: ServicesBench) -> str:
    name = bench.import_lora("ink", quick_lora("limner-tiny", 4, b"ink"))
    assert bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public")).error is None
    bench.heard["huggingface"].requests.clear()
    asked.clear()
    return name


def of(found: Choices, generator: str) -> Choice:
    return next(one for one in found.choices if one.generator == generator)


def test_a_comparison_asks_the_hub_once_and_no_vendor(bench: ServicesBench, published: str) -> None:
    for _ in range(3):
        found = bench.studio.generations.offers("{trigger}", loras=[published], **SMALL)
        assert of(found, "together").usable and of(found, "fal").usable and of(found, "local").usable
    assert len(bench.heard["huggingface"].requests) == 1
    assert len(asked) == 1


@pytest.mark.parametrize("fault", ["hang", "reset", "html-502"])
def test_without_the_hub_a_comparison_is_there_in_time_and_says_what_is_unknown(
    bench: ServicesBench, published: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(reach, "PATIENCE", 0.5)
    bench.fault("huggingface", fault, times=0)
    for most in (2.0, 0.4):  # once it was waited for, it is not waited for again
        began = time.monotonic()
        found = bench.studio.generations.offers("{trigger}", loras=[published], **SMALL)
        assert time.monotonic() - began < most
        assert of(found, "local").usable
        # fal is given the file itself
        assert of(found, "fal").usable
        for name in ("together", "huggingface"):
            choice = of(found, name)
            assert [one.code for one in choice.refusals] == ["lora-reach-unknown"]
            assert "Hugging Face Hub" in choice.refusals[0].message
        assert of(found, "together").cost > 0


def test_without_the_hub_local_draws_and_what_needs_it_says_why_not(
    bench: ServicesBench, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "PATIENCE", 0.5)
    bench.fault("huggingface", "html-502", times=0)
    options: dict[str, Any] = {"loras": [published], "yes": True, **SMALL}
    with pytest.raises(VendorFailed, match="Hub"):
        bench.studio.generations.start("{trigger}", generator="together", **options)
    assert bench.studio.generations.start("{trigger}", generator="together,local", **options).state == "waiting"
    seen = bench.studio.generations.start("{trigger}", generator="together", what_if=True, **options)
    assert "lora-reach-unknown" in {one.code for one in seen.plans[0].refusals}
    assert bench.run(bench.studio.generations.start("{trigger}", generator="fal", **options)).error is None


def test_who_submits_asks_a_hub_again_that_was_away_a_moment_ago(
    bench: ServicesBench, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fault("huggingface", "html-502", times=5)
    assert not of(bench.studio.generations.offers("{trigger}", loras=[published], **SMALL), "together").usable
    job = bench.studio.generations.start("{trigger}", loras=[published], generator="together", yes=True, **SMALL)
    assert bench.run(job).error is None


def test_the_second_job_at_fal_uploads_its_lora_no_more(bench: ServicesBench) -> None:
    name = bench.import_lora("ink", quick_lora("limner-tiny", 4, b"ink"))

    def uploads() -> int:
        return sum("/storage/auth/token" in one.path for one in bench.heard["fal"].requests)

    for number in range(1, 4):
        options = {**SMALL, "seed": number}
        job = bench.studio.generations.start("{trigger}", loras=[name], generator="fal", yes=True, **options)
        assert bench.run(job).error is None
        assert uploads() == 1


def test_the_list_of_models_is_asked_for_once_a_token(
    bench: ServicesBench, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lists() -> int:
        return sum(one.path.endswith("/models") for one in bench.heard["together"].requests)

    options: dict[str, Any] = {"loras": [published], "generator": "together", "yes": True, **SMALL}
    for _ in range(2):
        assert bench.run(bench.studio.generations.start("{trigger}", **options)).error is None
        assert lists() == 1
    monkeypatch.setenv("TOGETHER_API_KEY", "another_token_that_is_no_good")
    ended = bench.run(bench.studio.generations.start("{trigger}", **options))
    assert ended.error is not None and lists() == 2


def test_what_promises_to_ask_nobody_asks_nobody(bench: ServicesBench, published: str) -> None:
    bench.subject()
    asked.clear()
    studio = bench.studio
    assert studio.trainings.offers("zib", base="limner-tiny", allow_few=True).choices
    assert studio.runs.routes(base="limner-tiny")
    assert studio.maintenance.back_ends()["generators"]
    studio.maintenance.doctor()
    assert asked == []


def test_a_grid_is_priced_with_one_question(bench: ServicesBench, published: str) -> None:
    axes = {"x": ("steps", (1, 2, 3)), "y": ("guidance", (1.0, 2.0))}
    pictures, estimate = bench.studio.grids.price(
        "{trigger}", loras=[published], generator="together", width=64, height=64, **axes
    )
    assert pictures == 6 and estimate.amount > 0
    assert len(bench.heard["huggingface"].requests) == 1


def test_findings_of_needs_are_those_of_the_back_ends(bench: ServicesBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is said once, in the back end's words."""
    for name in bench.vendors.environment:
        if name.endswith(("KEY", "TOKEN")):
            monkeypatch.delenv(name)
    bench.subject()
    for choice in bench.studio.generations.offers("a fox", base="limner-tiny", **SMALL).choices:
        found = [one for one in choice.refusals if one.code == "need"]
        assert len(found) == (0 if choice.generator in ("local", "card") else 1), choice
    for offer in bench.studio.trainings.offers("zib", base="limner-tiny", allow_few=True).choices:
        found = [one for one in offer.refusals if one.code == "need"]
        assert len(found) == (0 if offer.trainer == "local" else 1), offer
        assert all(one.severity is Severity.REFUSAL for one in found)
