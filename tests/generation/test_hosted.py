"""What all generators at vendors have in common: needs, the model's own limits, the time of many pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from limner.catalog import base_location, find_base
from limner.catalog.hosted import HostedModel, find_hosted
from limner.generation.generator import GenerationOrder
from limner.generation.hosted import HostedGenerator, row_problems
from limner.plugins import back_end
from limner.settings import Settings
from limner.types import LoraUse, Severity

VENDORS = ("together", "fal", "replicate", "huggingface")


def first_row(vendor: str) -> HostedModel:
    return next(row for row in find_hosted(vendor, "generate") if not row.model.startswith("trained/"))


def order_for(row: HostedModel, **changes: Any) -> GenerationOrder:
    base = find_base(row.base)
    size = next(iter(row.size_names.values()), (1024, 1024))
    order = GenerationOrder("generation_0", "a fox", base, base_location(base), (), *size, row.steps or 20, 3.5, 7)
    return replace(order, **changes)


def lora(**changes: Any) -> LoraUse:
    return replace(
        LoraUse("d" * 64, 1.0, "rex@v1", url="https://huggingface.co/ann/rex", naming="diffusers"), **changes
    )


@pytest.fixture(params=VENDORS)
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> HostedGenerator:
    for name in ("TOGETHER_API_KEY", "FAL_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "REPLICATE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("limner.vendors.secrets.tokens._from_keyring", lambda _: "")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    found: HostedGenerator = back_end("limner.generators", request.param, settings=Settings(home=tmp_path))
    return found


def test_what_is_lacking_is_found_in_the_same_words_by_all(generator: HostedGenerator) -> None:
    about = generator.describe()
    [need] = about.needs
    order = order_for(first_row(about.vendor), loras=(lora(base="flux1-dev"),))
    [found] = [one for one in generator.check(order) if one.code == "need"]
    assert (found.severity, found.message) == (Severity.REFUSAL, f"{about.title} needs {need.name}.")
    assert found.remedy == need.how_to_get


def test_a_base_that_no_row_serves_is_refused_with_what_would_draw_it(generator: HostedGenerator) -> None:
    base = find_base("limner-tiny")
    order = order_for(first_row(generator.describe().vendor), base=base, width=128, height=128)
    assert "no-model" in {one.code for one in generator.check(order)}
    assert not generator.estimate(order).certain
    [unknown] = [one for one in generator.check(replace(order, model="no/such")) if one.code == "model-unknown"]
    assert "no/such" in unknown.message


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_limits_of_a_row_hold_whoever_runs_it(vendor: str) -> None:
    row = replace(first_row(vendor), sizes=(256, 1024, 16), size_names={}, most_steps=50, scales=(0.0, 4.0))
    row = replace(row, most_lora_bytes=1_000_000_000, namings=("kohya",))

    def codes(use: LoraUse | None = None, **changes: Any) -> list[str]:
        order = order_for(row, **{"width": 512, "height": 512, "loras": (use,) if use else (), **changes})
        return [one.code for one in row_problems(order, row, "The vendor")]

    assert codes(lora(naming="kohya")) == []
    assert codes(width=500, height=2048) == ["width-not-possible", "height-not-possible"]
    assert codes(steps=51) == ["steps-out-of-range"]
    assert codes(lora(naming="kohya", scale=4.5)) == ["scale-out-of-range"]
    assert codes(lora(naming="kohya", byte_size=2_000_000_000)) == ["lora-too-large"]
    assert codes(lora()) == ["lora-naming"]
    gone = replace(row, withdrawn="2026-02-25")
    order = order_for(row, width=512, height=512)
    assert [one.severity for one in row_problems(order, gone, "X")] == [Severity.REFUSAL]
    assert [one.severity for one in row_problems(order, gone, "X", listed=True)] == [Severity.WARNING]
