"""What prompts bring along from other programs: tags of loras that are here are used, the rest is warned of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.generation.metadata import infotext
from limner.generation.prompts import lora_tags, unread_marks, without_tags

from .making import lora_use, many, record


@pytest.mark.parametrize(
    ("prompt", "name", "scale", "rest"),
    [
        ("a dog <lora:rex:0.8>", "rex", 0.8, "a dog"),
        ("<lora:rex:0.8> a dog", "rex", 0.8, "a dog"),
        ("a dog, <lora:rex:0.8>, on grass", "rex", 0.8, "a dog, on grass"),
        ("a dog <lora:rex:0.8>. It sits", "rex", 0.8, "a dog. It sits"),
        ("a <lora:rex> dog", "rex", 1.0, "a dog"),
        ("a dog\n<lora:rex:-0.5:0.7>\non grass", "rex", 0.7, "a dog\n\non grass"),
        ("a dog <LoRA:Rex_v2.safetensors:1.2>", "Rex_v2", 1.2, "a dog"),
        ("a dog <lyco:rex:.5>", "rex", 0.5, "a dog"),
        ("a dog <lora:rex:lbw=OUTALL>", "rex", 1.0, "a dog"),
        ("<lora:rex:1>", "rex", 1.0, ""),
    ],
)
def test_a_tag_of_a_lora(prompt: str, name: str, scale: float, rest: str) -> None:
    (tag,) = lora_tags(prompt)
    assert (tag.name, tag.scale) == (name, scale)
    assert without_tags(prompt, [tag.text]) == rest


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (red:1.3) dog", "(red:1.3)"),
        ("a ((red)) dog", "((red))"),
        ("a [[red]] dog", "[[red]]"),
        ("a [red:blue:0.5] dog", "[red:blue:0.5]"),
        ("a [red|blue] dog", "[red|blue]"),
        ("a {red|blue} dog", "{red|blue}"),
        ("a __colour__ dog", "__colour__"),
        ("a dog, __animals/cats*__", "__animals/cats*__"),
        ("a dog BREAK a cat", "BREAK"),
        ("a dog, embedding:EasyNegative", "embedding:EasyNegative"),
        ("a dog <hypernet:ink:0.5>", "<hypernet:ink:0.5>"),
    ],
)
def test_marks_of_other_programs_are_said_to_do_nothing(prompt: str, words: str) -> None:
    (finding,) = unread_marks(prompt)
    assert finding.code == "prompt-marks"
    assert words in finding.message


@pytest.mark.parametrize(
    "prompt",
    [
        "a dog (a red one) on grass",
        "a sign that says [OPEN]: come in",
        "at 10:30, a clock (10:30 pm) ticks",
        "a dog; ratio 16:9 (wide)",
        "BREAKFAST on a table, and a BREAKING wave",
        '{"scene": "a dog", "colours": ["red|blue"], "note": "(x:1.2)"}',
        "__init__ is written on the board by def __init__(self)"[:0] + "snake_case_name and __",
        "{trigger} on the beach with {class_word}",
        "5 < 6 and 7 > 3",
        "smile :) and (: and [:",
        "",
    ],
)
def test_plain_words_are_left_in_peace(prompt: str) -> None:
    assert list(unread_marks(prompt)) == []


def test_a_tag_of_no_lora_is_warned_of_and_never_read_as_used() -> None:
    prompt = "a dog <lora:rexx:0.8> <lyco:other:1>"
    codes = [finding.code for finding in unread_marks(prompt)]
    assert codes == ["lora-tag", "lora-tag"]
    found = infotext.parse(infotext.write(record(prompt=prompt, loras=(lora_use(),))))
    assert found.loras == (("zib@v1", 0.8),)
    assert infotext.parse(infotext.write(record(prompt=prompt, loras=()))).loras == ()
    assert found.prompt.replace("\u2060", "").startswith(prompt)


@many
@given(st.text(alphabet="<lora:x>()[]{}|_,. \n1BREAK", max_size=60))
def test_any_prompt_is_read(prompt: str) -> None:
    tags = [tag.text for tag in lora_tags(prompt)]
    list(unread_marks(prompt))
    assert not lora_tags(without_tags(prompt, tags)) or "<" in without_tags(prompt, tags)


@pytest.mark.parametrize("part", ["<lora:", "(((", "[a|", "{a|", "__a", "<lora:a:", "(a:1", "embedding:", "_", "[[["])
def test_a_long_prompt_costs_what_its_length_costs(part: str) -> None:
    prompt = part * (100_000 // len(part))
    list(unread_marks(prompt))
    assert isinstance(without_tags(prompt, []), str)
