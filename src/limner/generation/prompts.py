"""Prompts: triggers and class words filled in, and what is noticed about a prompt before anything is drawn.

``{trigger}`` and ``{class_word}`` are those of the first lora; ``{trigger1}``, ``{trigger2}``, ``{class_word2}`` those
of the lora at that place. Any other braces are the prompt's own: FLUX.2 takes JSON as a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from limner.errors import InputRefused
from limner.types import Finding, LoraUse, Severity

__all__ = ["fill", "missing_triggers"]

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
