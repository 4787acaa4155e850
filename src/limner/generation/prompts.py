"""Prompts: triggers and class words filled in, and what is noticed about a prompt before anything is drawn.

``{trigger}`` and ``{class_word}`` are those of the first lora; ``{trigger1}``, ``{trigger2}``, ``{class_word2}`` those
of the lora at that place. Any other braces are the prompt's own: FLUX.2 takes JSON as a prompt.

Prompts are copied from programs in which more than words is meant: ``<lora:name:0.8>`` is taken out for a lora that is
here, and of all else that FLUX would read as words the user is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from limner.errors import InputRefused
from limner.types import Finding, LoraUse, Severity

__all__ = ["LoraTag", "fill", "lora_tags", "missing_triggers", "unread_marks", "without_tags"]

_TAG = re.compile(
    r"<(?P<kind>lora|lyco):(?P<name>[^<>:\n]{1,200})(?::(?P<scale>[^<>:\n]{0,20}))?"
    r"(?::(?P<second>[^<>:\n]{0,20}))?(?::[^<>\n]{0,200})?>",
    re.IGNORECASE,
)
_LORA_FILE = re.compile(r"\.(safetensors|pt|ckpt)$", re.IGNORECASE)
_MARKS = (
    ("weights", re.compile(r"[(\[][^()\[\]{}:\n]{1,200}:\s?-?\d{0,2}\.?\d{1,4}[)\]]")),
    ("weights", re.compile(r"\({2,9}[^()\n]{1,200}\){2,9}|\[{2,9}[^\[\]\n]{1,200}\]{2,9}")),
    ("changes while drawing", re.compile(r"\[[^\[\]|:\n]{0,200}[|:][^\[\]|:\n]{0,200}(:\s?\d{0,3}\.?\d{1,4})?\]")),
    ("choices", re.compile(r"\{[^{}\"\n]{0,200}\|[^{}\"\n]{0,200}\}")),
    ("wildcards", re.compile(r"(?<!\w)__[\w/*-]{1,80}?__(?!\w)")),
    ("hypernetworks", re.compile(r"<hypernet:[^<>\n]{1,200}>", re.IGNORECASE)),
    ("embeddings", re.compile(r"(?<!\w)embedding:[\w.-]{1,80}", re.IGNORECASE)),
    ("breaks", re.compile(r"(?<![^\s,.])BREAK(?![^\s,.])")),
)
"""What other programs read in a prompt, and FLUX takes for words. Each is bounded, so that no prompt makes it slow."""
_SHOWN = 3
_SLOT = re.compile(r"\{(trigger|class_word)([1-9][0-9]?)?\}")


def fill(prompt: str, words: Sequence[tuple[str, str]]) -> str:
    """Put the (trigger, class word) of each lora, in the order of the loras, where the prompt asks for them.

    InputRefused: the prompt asks for a lora that is not there, or for a word that its lora does not have.
    """

    def word(slot: re.Match[str]) -> str:
        place = int(slot[2] or 1)
        if place > len(words):
            have = {0: "there is none", 1: "there is only one"}.get(len(words), f"there are only {len(words)}")
            raise InputRefused(
                f"The prompt asks for {slot[0]} of lora {place}, but {have}.",
                remedy="Name the lora, or write the words yourself.",
                thing=slot[0],
            )
        found = words[place - 1][slot[1] == "class_word"]
        if not found:
            raise InputRefused(
                f"The prompt asks for {slot[0]}, but lora {place} has no {slot[1].replace('_', ' ')}.",
                remedy="Write the word into the prompt yourself.",
                thing=slot[0],
            )
        return found

    return _SLOT.sub(word, prompt)


def missing_triggers(prompt: str, loras: Sequence[LoraUse]) -> list[Finding]:
    """A warning for each lora whose trigger the prompt does not hold as a word of its own."""
    return [
        Finding(
            "trigger-missing",
            Severity.WARNING,
            f"The prompt does not hold '{use.trigger}', the trigger of {use.name}.",
            "Write {trigger} where the subject belongs.",
        )
        for use in loras
        if use.trigger and not re.search(rf"(?<!\w){re.escape(use.trigger)}(?!\w)", prompt, re.IGNORECASE)
    ]


@dataclass(frozen=True, slots=True)
class LoraTag:
    """One ``<lora:NAME:SCALE>`` of a prompt; ``text`` is the whole of it. Without a number the scale is 1.

    Of two numbers A1111 gives the first to the text encoder, and the second, which counts, to the model that draws.
    """

    text: str
    name: str
    scale: float


def lora_tags(prompt: str) -> list[LoraTag]:
    """The tags for loras in a prompt, as A1111 and those after it write them."""
    return [
        LoraTag(tag[0], _LORA_FILE.sub("", tag["name"].strip()), _scale(tag["second"], _scale(tag["scale"], 1.0)))
        for tag in _TAG.finditer(prompt)
    ]


def without_tags(prompt: str, tags: Collection[str]) -> str:
    """The prompt without these tags, and without the blanks and commas that stood between them and the words."""
    for tag in tags:
        before, found, after = prompt.partition(tag)
        if found:
            before, after = before.rstrip(" \t"), after.lstrip(" \t")
            if not before or before.endswith((",", "\n")):
                after = after.lstrip(", \t")
            gap = (
                " " if before and after and not before.endswith("\n") and not after.startswith((",", ".", "\n")) else ""
            )
            prompt = f"{before}{gap}{after}"
    return prompt.strip(" \t,") if tags else prompt


def unread_marks(prompt: str) -> Iterator[Finding]:
    """A warning about each thing that other programs read in a prompt and that does nothing here."""
    for tag in dict.fromkeys(tag.text for tag in lora_tags(prompt)):
        yield Finding(
            "lora-tag",
            Severity.WARNING,
            f"The prompt holds {tag[:120]}, and no lora of that name is here: it draws none, and is read as words.",
            "Take it out, or name a lora that is here with --lora; `limner loras list` shows them.",
        )
    if prompt.lstrip().startswith(("{", "[{")) and '"' in prompt:
        return  # JSON, which FLUX.2 understands, has brackets and colons of its own
    found = {kind: match[0] for kind, pattern in reversed(_MARKS) if (match := pattern.search(prompt))}
    if found:
        shown = ", ".join(mark[:60] for mark in list(dict.fromkeys(found.values()))[:_SHOWN])
        yield Finding(
            "prompt-marks",
            Severity.WARNING,
            f"The prompt holds {' and '.join(found)} as other programs write them ({shown}): FLUX reads them as words.",
            "Say it in words; what matters more, say first or in more detail.",
        )


def _scale(said: str | None, otherwise: float) -> float:
    try:
        found = float(said or otherwise)
    except ValueError:
        return otherwise
    return found if abs(found) <= 1000.0 else otherwise
