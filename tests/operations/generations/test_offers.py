"""Choices: who could draw a wish, at what price, why not and what mends it; and what was asked for before."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from limner import plugins
from limner.catalog.prompts import prompt_templates, read_prompts
from limner.errors import InputRefused, NotFound
from limner.generation.prompts import fill
from limner.records import Choice, Choices
from limner.settings import Settings
from limner.studio import Studio
from limner.types import Severity, SubjectKind
from limner.vendors.secrets import tokens as credentials
from tests.lora_rows import add_lora

TOKENS = ("TOGETHER_API_KEY", "FAL_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "REPLICATE_API_TOKEN")


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    for name in TOKENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_from_keyring", lambda _: "")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        yield made


def of(found: Choices, generator: str) -> Choice:
    return next(one for one in found.choices if one.generator == generator)


def codes(choice: Choice) -> list[str]:
    return [one.code for one in choice.refusals]


def test_every_installed_generator_is_there_and_the_usable_ones_come_first(studio: Studio) -> None:
    lora = add_lora(studio, "zibbo")
    found = studio.generations.offers("a drawing of {trigger}", loras=[f"{lora}:0.8"], count=3)
    assert {one.generator for one in found.choices} == set(plugins.names("limner.generators"))
    usable = [one.usable for one in found.choices]
    assert usable == sorted(usable, reverse=True)
    local = of(found, "local")
    assert local.usable and local.cost == 0 and local.certain and not local.asks
    assert found.prompt == "a drawing of zibbo_trg"
    assert (found.base, found.count, found.width) == ("limner-tiny", 3, 128)
    assert not found.findings


def test_what_no_token_mends_is_said_before_the_token(studio: Studio) -> None:
    lora = add_lora(studio, "zibbo")
    together = of(studio.generations.offers("{trigger}", loras=[lora]), "together")
    assert codes(together)[:2] == ["no-model", "need"]
    assert together.mended_by == ""


def test_a_missing_token_is_all_that_is_missing(studio: Studio) -> None:
    together = of(studio.generations.offers("a harbour", base="flux2-dev", count=40), "together")
    assert codes(together) == ["need"]
    assert together.mended_by == "account"
    assert together.cost > Decimal(1) and together.asks


def test_a_price_follows_the_wish(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "id:secret")
    few, many = (of(studio.generations.offers("a harbour", base="flux2-dev", count=count), "fal") for count in (2, 20))
    assert few.usable and not few.asks
    assert many.cost == 10 * few.cost
    assert few.seconds and few.model


def test_a_private_lora_out_of_reach_is_mended_by_publishing_and_only_if_said(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "secret-token")
    lora = add_lora(studio, "rex", base="flux2-dev")
    together = of(studio.generations.offers("{trigger}", loras=[lora]), "together")
    assert codes(together) == ["lora-out-of-reach"] and together.mended_by == "publishing"
    said = of(studio.generations.offers("{trigger}", loras=[lora], publish_if_needed=True), "together")
    assert said.usable
    assert "lora-published" in [one.code for one in said.warnings]


def test_a_person_without_consent_is_not_mended_by_publishing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "secret-token")
    lora = add_lora(studio, "ann", base="flux2-dev", kind="person")
    assert of(studio.generations.offers("{trigger}", loras=[lora]), "together").mended_by == ""


def test_a_budget_greys_what_it_forbids_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "id:secret")
    settings = Settings(home=tmp_path / "home", start_worker=False, budget_day=Decimal("0.10"))
    with Studio(settings=settings) as studio:
        found = studio.generations.offers("a harbour", base="flux2-dev", count=40)
        assert codes(of(found, "fal")) == ["budget"]
        assert of(found, "local").usable


def test_what_is_wrong_with_the_prompt_is_said_once_and_greys_nobody(studio: Studio) -> None:
    lora = add_lora(studio, "zibbo")
    found = studio.generations.offers("a drawing of {trigger2}", loras=[lora])
    assert [one.code for one in found.findings if one.severity is Severity.REFUSAL] == ["prompt-slot"]
    assert of(found, "local").usable
    empty = studio.generations.offers("", loras=[lora])
    assert not empty.findings and of(empty, "local").usable
    long = studio.generations.offers("x" * 30_000, loras=[lora])
    assert "prompt-too-long" in [one.code for one in long.findings]


@pytest.mark.parametrize("words", ["东京の夜", "مدينة في الليل", "🦊 fox", "ﷺ" * 50, "а" * 10_000])
def test_prompts_of_every_script_are_counted(studio: Studio, words: str) -> None:
    found = studio.generations.offers(words)
    assert found.prompt == words
    assert found.tokens is not None and found.tokens > 0


def test_loras_of_two_bases_do_not_go_together(studio: Studio) -> None:
    first, second = add_lora(studio, "zibbo"), add_lora(studio, "rex", base="flux2-dev")
    with pytest.raises(InputRefused, match="different bases"):
        studio.generations.offers("a drawing", loras=[first, second])
    with pytest.raises(NotFound):
        studio.generations.offers("a drawing", loras=["nobody"])


def test_a_wish_is_given_back_as_it_was_written(studio: Studio) -> None:
    lora = add_lora(studio, "zibbo")
    options = {"width": 64, "height": 96, "steps": 5, "guidance": 1.5, "seed": 11, "count": 2}
    job = studio.generate("a drawing of {trigger}", loras=[f"{lora}:0.75"], **options)
    wish = studio.generations.request_of(job.target)
    assert studio.generations.get(job.target).prompt == "a drawing of zibbo_trg"
    assert wish.prompt == "a drawing of {trigger}" and wish.loras == ((lora, 0.75),)
    assert {name: getattr(wish, name) for name in options} == options
    for nobody in (999, "generation_0000000000000000", "x' or 1=1"):
        with pytest.raises(NotFound):
            studio.generations.request_of(nobody)


def test_there_are_templates_for_every_kind_and_each_can_be_filled_in() -> None:
    for kind in SubjectKind:
        found = prompt_templates(kind)
        assert len(found) >= 3
        for one in found:
            words = fill(one.prompt, [("trg", "word")])
            assert "trg" in words and "{" not in words
    assert len({one.id for one in prompt_templates()}) == len(prompt_templates())


@pytest.mark.parametrize(
    "text", ["[a", '[a]\ntitle = "a"', '[a]\ntitle = "a"\nprompt = "no slot"\nkinds = ["pet"]',
             '[a]\ntitle = "a"\nprompt = "{trigger}"\nkinds = ["ghost"]']
)  # fmt: skip
def test_templates_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(InputRefused):
        read_prompts(text)
