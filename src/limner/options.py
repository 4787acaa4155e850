"""The options of the studio's long work, with what each means; all may be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from limner.types import SubjectKind

__all__ = ["AdoptOptions", "CaptionEditOptions", "GenerateOptions", "RunOptions", "TrainOptions", "parse_setting"]


class CaptionEditOptions(TypedDict, total=False):
    """Of ``Studio.captions.edit``."""

    photos: Sequence[str]
    """Only these, by their digests; all of the subject's if left out."""
    find: str
    """A text to look for, in whatever case."""
    replace: str
    """What stands in its place; nothing if left out."""
    match_case: bool
    """Find it only in this case."""
    whole_words: bool
    """Find it only as words of its own."""
    prefix: str
    """What to put before each caption that does not begin with it."""
    suffix: str
    """What to put after each caption that does not end with it."""
    fill_empty: bool
    """Give photos without a caption the template's first; otherwise they are left alone."""


class AdoptOptions(TypedDict, total=False):
    """How a LoRA from elsewhere is taken in."""

    kind: SubjectKind | str
    """What a new subject is; a style if left out."""
    trigger: str
    """Its trigger, if neither file nor card says it."""
    name: str
    """A new subject's name."""
    base: str
    """The base that it is for, where its tensors fit several."""
    rank: int
    """Of the LoRA nearest to a LoKr or LoHa; as needed if left out."""
    drop_additions: bool
    """Leave out what no LoRA can hold: changes of biases and whole weights."""
    from_here: bool | None
    """Whether the source may be a file or an address of this machine; as the studio's, if None."""


class TrainOptions(TypedDict, total=False):
    """Of ``Studio.train``."""

    base: str
    """The base's id; the setting ``base`` if left out."""
    trainer: str
    """Who trains; the setting ``trainer`` if left out."""
    preset: str
    """quick, balanced or thorough."""
    settings: Mapping[str, Any] | None
    """Recipe fields over the preset's; ``trainer.NAME`` for what only that trainer knows."""
    dataset: str
    """A frozen dataset; without one the photos are frozen as they are now, with the three options below it."""
    sample_prompts: Sequence[str]
    """Prompts drawn while training; ``{trigger}`` is filled in."""
    template: str
    """Caption of photos that have none."""
    captioner: str
    """Who captions photos that have none."""
    allow_few: bool
    """Accept fewer than four photos."""


class GenerateOptions(TypedDict, total=False):
    """Of ``Studio.generate``. Sizes are pixels; what is left out is the base's own."""

    loras: Sequence[str]
    """``slug``, ``slug@v2``, ``owner/repo`` of the Hugging Face Hub or an https address; each may end in ``:0.8``."""
    base: str
    """The base's id; that of the loras if left out."""
    generator: str
    """Who draws, or several in the order in which they are tried: ``together,fal,local``."""
    model: str
    """The vendor's model; the catalog's for the base if left out."""
    width: int | None
    height: int | None
    steps: int | None
    guidance: float | None
    seed: int | None
    """Picture i is drawn with seed + i; random if left out."""
    count: int
    """How many pictures, 1 to 1000."""
    extra: Mapping[str, Any] | None
    """Further parameters of the vendor's own interface."""
    publish_if_needed: bool
    """Publish a lora for everyone if the generator cannot get at it otherwise."""


class RunOptions(TypedDict, total=False):
    """Of ``Studio.run``; the mappings hold options of the methods of those names."""

    captions: Sequence[str | Path]
    train: Mapping[str, Any] | None
    freeze: Mapping[str, Any] | None
    publish: Mapping[str, Any] | None
    generate: Mapping[str, Any] | None
    with_base: bool
    """Also draw every prompt without the lora, for comparison."""


def parse_setting(name: str, written: str) -> Any:
    """A recipe's setting as it was written: numbers, true and false become what they are, all else stays text.

    ``layer_ranks`` are a line each: part of a layer's name, rank, alpha.
    """
    if name == "layer_ranks":
        return [[_value(part) for part in line.split()] for line in written.splitlines() if line.strip()]
    return _value(written.strip())


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
