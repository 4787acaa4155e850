"""``<lora:NAME:0.8>`` in a prompt, wherever pictures are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.errors import InputRefused
from limner.operations.generations import submission as generations
from limner.studio import Studio
from tests.lora_rows import add_lora


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with Studio(tmp_path_factory.mktemp("home")) as studio:
        add_lora(studio, "rex")
        add_lora(studio, "rex")
        add_lora(studio, "blue-ink")
        add_lora(studio, "dev", base="flux1-dev")
        yield studio


@pytest.mark.parametrize(
    ("prompt", "given", "words", "loras"),
    [
        ("a dog <lora:rex:0.8>", (), "a dog", [["rex@v2", 0.8]]),
        ("a dog <lora:rex@v1:0.8>, <lora:Blue_Ink:0.5>", (), "a dog", [["rex@v1", 0.8], ["blue-ink@v1", 0.5]]),
        ("a dog <lora:rex:0.8>", (("blue-ink", 1.0),), "a dog", [["blue-ink@v1", 1.0], ["rex@v2", 0.8]]),
        ("a dog <lora:rex:0.8>", (("rex", 1.0),), "a dog", [["rex@v2", 1.0]]),
        ("a dog <lora:rex:0.5> <lora:rex:0.25>", (), "a dog", [["rex@v2", 0.75]]),
        ("a dog <lora:rexx:0.8>", (), "a dog <lora:rexx:0.8>", []),
        ("a dog <lora:rexx:0.8> <lora:rex:1>", (), "a dog <lora:rexx:0.8>", [["rex@v2", 1.0]]),
    ],
)
def test_a_tag_names_a_lora_of_this_home(
    studio: Studio, prompt: str, given: tuple[tuple[str, float], ...], words: str, loras: list[list[object]]
) -> None:
    request = generations.make_request(studio._workspace, prompt=prompt, loras=given)
    assert (request.prompt, [list(use) for use in request.loras]) == (words, loras)


def test_the_base_is_that_of_the_lora_and_two_bases_are_refused(studio: Studio) -> None:
    assert generations.make_request(studio._workspace, prompt="x <lora:dev:1>", loras=()).base == "flux1-dev"
    with pytest.raises(InputRefused, match="different bases"):
        generations.make_request(studio._workspace, prompt="x <lora:dev:1> <lora:rex:1>", loras=())


def test_what_is_not_here_is_warned_of_before_anything_is_drawn(studio: Studio) -> None:
    found = studio.generations.start("a dog <lora:rexx:0.8>, (sharp:1.3)", what_if=True)
    codes = [finding.code for plan in found.plans for finding in plan.findings]
    assert {"lora-tag", "prompt-marks"} <= set(codes)
    found = studio.generations.start("{trigger} <lora:rex:0.8>", what_if=True)
    assert "lora-tag" not in [finding.code for plan in found.plans for finding in plan.findings]


def test_a_tag_of_somebody_elses_lora_is_none_here(tmp_path: Path) -> None:
    with Studio(tmp_path / "home") as whole:
        for name in ("anna", "bob"):
            whole.members.add(name, "a long enough password")
        add_lora(whole.owned_by("bob"), "rex")
        found = {
            name: generations.make_request(whole.owned_by(name)._workspace, prompt="x <lora:rex:1>", loras=()).loras
            for name in ("anna", "bob")
        }
        assert found == {"anna": (), "bob": (("rex@v1", 1.0),)}
