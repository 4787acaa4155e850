"""What is refused before anything is drawn, why, and what would work; prompts and their triggers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.catalog import base_location, find_base
from limner.errors import InputRefused
from limner.generation.checks import check_order, count_tokens
from limner.generation.local import LocalGenerator
from limner.generation.prompts import fill
from limner.settings import Settings
from limner.types import Finding, Severity

from .making import lora_use, many, order


def findings(**changes: Any) -> dict[str, Finding]:
    return {found.code: found for found in check_order(order(**changes), most_loras=2)}


def refused(code: str, **changes: Any) -> Finding:
    found = findings(**changes)
    assert {c for c, f in found.items() if f.severity is Severity.REFUSAL} == {code}
    assert found[code].remedy
    return found[code]


def test_a_good_order_has_nothing_against_it() -> None:
    assert findings() == {}
    assert findings(loras=(lora_use(),)) == {}


@pytest.mark.parametrize(
    ("size", "nearest"), [(100, 96), (0, 64), (-16, 64), (63, 64), (65, 64), (257, 256), (9999, 256), (136, 128)]
)
@pytest.mark.parametrize("side", ["width", "height"])
def test_a_size_that_is_not_possible_names_the_nearest(side: str, size: int, nearest: int) -> None:
    found = refused(f"{side}-not-possible", **{side: size})
    assert str(size) in found.message
    assert "64 to 256 pixels, in multiples of 16" in found.message
    assert found.remedy == f"The nearest is {nearest}."
    assert findings(**{side: nearest}) == {}


@many
@given(st.integers(-(10**6), 10**6), st.sampled_from(["limner-tiny", "flux1-dev", "flux2-dev"]))
def test_the_nearest_size_is_possible_and_none_is_nearer(size: int, base_id: str) -> None:
    base = find_base(base_id)
    found = {f.code: f for f in check_order(order(width=size, height=base.size, base=base), most_loras=2)}
    possible = range(base.size_min, base.size_max + 1, base.size_multiple)
    if size in possible:
        assert "width-not-possible" not in found
    else:
        nearest = int(found["width-not-possible"].remedy.removeprefix("The nearest is ").rstrip("."))
        assert nearest in possible
        assert abs(nearest - size) == min(abs(other - size) for other in possible)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("seed-out-of-range", {"seed": -1}),
        ("seed-out-of-range", {"seed": 2**63}),
        ("seed-out-of-range", {"seed": 2**63 - 1, "count": 2}),
        ("count-out-of-range", {"count": 0}),
        ("steps-out-of-range", {"steps": 0}),
        ("steps-out-of-range", {"steps": 201}),
        ("guidance-out-of-range", {"guidance": -1.0}),
        ("guidance-out-of-range", {"guidance": math.nan}),
        ("prompt-empty", {"prompt": " \n\t"}),
        ("prompt-too-long", {"prompt": "a" * 20_001}),
        ("prompt-not-text", {"prompt": "a \ud800 cat"}),
        ("too-many-loras", {"loras": tuple(lora_use(str(n), seed=n) for n in (1, 2, 3))}),
        ("lora-twice", {"loras": (lora_use(), lora_use(scale=0.1))}),
        ("scale-out-of-range", {"loras": (lora_use(scale=math.inf),)}),
        ("scale-out-of-range", {"loras": (lora_use(scale=-10.5),)}),
    ],
)
def test_what_is_out_of_range(code: str, changes: dict[str, Any]) -> None:
    refused(code, **changes)


def test_the_ends_of_the_ranges_are_possible() -> None:
    assert findings(seed=2**63 - 1) == {}
    assert findings(seed=2**63 - 2, count=2) == {}
    assert findings(steps=200, guidance=30.0) == {}


@pytest.mark.parametrize(
    ("code", "scale"), [("scale-zero", 0.0), ("scale-wild", -0.5), ("scale-wild", 2.5), ("scale-wild", -10.0)]
)
def test_odd_scales_are_drawn_with_a_warning(code: str, scale: float) -> None:
    found = findings(loras=(lora_use(scale=scale),))
    assert {code: Severity.WARNING} == {c: f.severity for c, f in found.items()}


def test_a_lora_of_another_base() -> None:
    found = refused("lora-does-not-fit", loras=(lora_use(base="flux1-dev"),))
    assert found.message == "The lora zib@v1 belongs to flux1-dev and does not fit limner-tiny."
    assert found.remedy == "Draw with flux1-dev, or train a lora for limner-tiny."


def test_a_lora_of_another_family_and_of_a_sibling() -> None:
    flux2 = {"base": find_base("flux2-dev"), "width": 1024, "height": 1024}
    assert (
        "does not fit flux2-dev" in refused("lora-does-not-fit", loras=(lora_use(base="flux1-dev"),), **flux2).message
    )
    schnell = {"base": find_base("flux1-schnell"), "width": 1024, "height": 1024}
    found = findings(loras=(lora_use(base="flux1-dev"),), **schnell)
    assert found["lora-of-sibling"].severity is Severity.WARNING


def test_a_lora_of_an_unknown_base() -> None:
    assert findings(loras=(lora_use(base=""),))["lora-base-unknown"].severity is Severity.WARNING
    assert "belongs to sdxl" in refused("lora-does-not-fit", loras=(lora_use(base="sdxl"),)).message


def test_a_trigger_that_the_prompt_does_not_hold() -> None:
    assert "trigger-missing" in findings(prompt="a drawing of a zibbonian", loras=(lora_use(),))
    assert findings(prompt="A Zibbo, on a beach", loras=(lora_use(),)) == {}


def test_a_prompt_longer_than_the_base_reads() -> None:
    base = find_base("limner-tiny")
    folder = base_location(base)
    short, long = (count_tokens("zibbo on the beach " * times, base, folder) for times in (1, 40))
    assert short is not None
    assert long is not None
    assert short <= base.max_text_tokens < long
    assert "prompt-cut" in findings(base_path=folder, prompt="zibbo on the beach " * 40)


def test_tokens_that_cannot_be_counted_are_no_reason_to_refuse(tmp_path: Path) -> None:
    base = find_base("limner-tiny")
    assert count_tokens("a", base, str(tmp_path)) is None
    (tmp_path / "tokenizer_2").mkdir()
    (tmp_path / "tokenizer_2" / "tokenizer.json").write_text("{damaged")
    assert count_tokens("a", base, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is not on this machine"),
        (b"", "no safetensors file"),
        (b"\x80\x02}q\x00.........", "no safetensors file"),
    ],
)
def test_a_lora_file_that_cannot_be_loaded(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "lora"
    if content is not None:
        path.write_bytes(content)
    checked = LocalGenerator(Settings(home=tmp_path)).check(
        order(base_location(find_base("limner-tiny")), loras=(lora_use(path=path),))
    )
    [found] = [f for f in checked if f.severity is Severity.REFUSAL]
    assert reason in found.message
    assert found.remedy


def test_a_base_that_is_not_there(tmp_path: Path) -> None:
    checked = LocalGenerator(Settings(home=tmp_path)).check(order(str(tmp_path / "gone")))
    [found] = [f for f in checked if f.severity is Severity.REFUSAL]
    assert "is not at" in found.message


# --- prompts ----------------------------------------------------------------------------------------------------


def test_triggers_and_class_words_are_filled_in() -> None:
    words = [("zibbo", "robot"), ("rex", "dog")]
    assert fill("{trigger} {class_word} and {trigger2} {class_word2}", words) == "zibbo robot and rex dog"
    assert fill("{trigger1} twice: {trigger}", words) == "zibbo twice: zibbo"


@many
@given(st.text(max_size=60))
def test_other_braces_are_the_prompts_own(prompt: str) -> None:
    prompt = prompt.replace("{trigger", "").replace("{class_word", "")
    assert fill(prompt, [("zibbo", "robot")]) == prompt
    assert fill(prompt + '{"scene": {trigger}}', [("a{trigger}", "")]) == prompt + '{"scene": a{trigger}}'


@pytest.mark.parametrize(
    ("prompt", "words", "reason"),
    [
        ("{trigger}", [], "there is none"),
        ("{trigger2}", [("zibbo", "robot")], "there is only one"),
        ("{class_word3}", [("a", "b"), ("c", "d")], "there are only 2"),
        ("{class_word}", [("zibbo", "")], "lora 1 has no class word"),
    ],
)
def test_a_prompt_that_asks_for_what_is_not_there(prompt: str, words: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(InputRefused, match=reason) as told:
        fill(prompt, words)
    assert told.value.remedy
