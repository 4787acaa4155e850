"""The model card of a published lora: README.md with the YAML header that the Hugging Face Hub reads, and plain words.

The text is ``card.md.j2``; this module says what goes in, and keeps what users typed from becoming markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from limner.catalog.hosted import find_hosted
from limner.errors import InputRefused
from limner.types import Base, Consent, Family, SubjectKind

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["CardFacts", "CardSample", "card_header", "model_card"]

LONGEST_HEADER = 64 * 1024
"""Characters of a card in which its header has to end: reading YAML costs microseconds each."""
_HEADER = re.compile(r"\A---\r?\n(.*?)^---\s*?$", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")


@dataclass(frozen=True, slots=True)
class CardSample:
    """A picture of the repo: its name under ``images/`` and the prompt it was drawn from."""

    name: str
    prompt: str


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All that a card says.

    ``tag`` pins the revision in the examples; ``hub_url`` is where the repo is shown; ``settings`` are the training's
    settings as the table shows them; ``photos`` is their number. ``public_samples`` is the user's yes to showing the
    samples; of a person they are shown only with a consent as well. ``words`` are its owner's own, in Markdown.
    """

    repo: str
    title: str
    kind: SubjectKind
    trigger: str
    class_word: str
    base: Base
    weights_name: str
    weights_digest: str
    tag: str
    rank: int
    alpha: float
    modules: int
    dataset_digest: str = ""
    photos: int = 0
    settings: Mapping[str, object] = field(default_factory=dict)
    samples: tuple[CardSample, ...] = ()
    public_samples: bool = True
    consent: Consent | None = None
    limner_version: str = ""
    example_prompt: str = ""
    words: str = ""
    hub_url: str = "https://huggingface.co"

    @property
    def person(self) -> bool:
        """Whether the rules for people hold."""
        return self.kind is SubjectKind.PERSON

    @property
    def shown(self) -> tuple[CardSample, ...]:
        """The samples that may be shown."""
        return self.samples if self.public_samples and (self.consent is not None or not self.person) else ()

    @property
    def prompt(self) -> str:
        """The prompt of the examples."""
        return self.example_prompt or f"a photo of {self.trigger} {self.class_word}".strip()


def model_card(facts: CardFacts) -> str:
    """The whole README.md. The same facts give the same text."""
    import yaml

    facts = replace(facts, trigger=_line(facts.trigger), class_word=_line(facts.class_word))
    header = yaml.safe_dump(_header(facts), sort_keys=False, allow_unicode=True, width=1000)
    body = (
        _environment()
        .get_template("card.md.j2")
        .render(facts=facts, base=facts.base, address=_address(facts), together=_together(facts))
    )
    return f"---\n{header}---\n\n{body.strip()}\n"


def card_header(text: str) -> dict[str, Any]:
    """The YAML header of a card; InputRefused where there is none or it cannot be read."""
    import yaml

    found = _HEADER.match(text[:LONGEST_HEADER])
    try:
        header = yaml.safe_load(found[1]) if found else None
    # ValueError: a date or a number that cannot be; RecursionError: brackets within brackets
    except (yaml.YAMLError, ValueError, RecursionError) as failure:
        reason = " ".join(str(failure).split())[:120]
        raise InputRefused(f"The model card's header is no YAML: {reason}.", remedy="Correct the header.") from failure
    if not isinstance(header, dict):
        raise InputRefused(
            "The model card has no header between two lines of ---.", remedy="Make the card with model_card."
        )
    return header


def _header(facts: CardFacts) -> dict[str, Any]:
    base = facts.base
    header: dict[str, Any] = {"license": base.licence}
    if base.licence == "other":
        header |= {"license_name": base.licence_name, "license_link": base.licence_url}
    family_tag = "flux" if base.family is Family.FLUX1 else "flux-2"
    header |= {
        # a base that ships with Limner has no repo on the Hub, so it is named by its id
        "base_model": base.id if base.repo.startswith("package:") else base.repo,
        "base_model_relation": "adapter",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": list(
            dict.fromkeys(
                # the last one is how Limner knows the repos that it made
                ["text-to-image", "lora", "diffusers", "flux", family_tag, "template:diffusion-lora", "limner"]
            )
        ),
    }
    if facts.trigger:
        header["instance_prompt"] = facts.trigger
    if facts.shown:
        header["widget"] = [{"text": _line(one.prompt), "output": {"url": f"images/{one.name}"}} for one in facts.shown]
    return header


def _address(facts: CardFacts) -> str:
    """Where anyone can fetch the weights while the repo is public, pinned to the revision."""
    return f"{facts.hub_url}/{facts.repo}/resolve/{facts.tag or 'main'}/{facts.weights_name}"


def _together(facts: CardFacts) -> str:
    """The request that draws with it at Together AI, "" where the catalog has no model of theirs for the base."""
    row = next((row for row in find_hosted("together", "generate", base=facts.base.id) if not row.withdrawn), None)
    if row is None:
        return ""
    body = {
        "model": row.model,
        "prompt": _line(facts.prompt),
        "width": facts.base.size,
        "height": facts.base.size,
        "steps": facts.base.steps,
        "image_loras": [{"path": _address(facts), "scale": 1.0}],
    }
    return json.dumps(body, indent=2, ensure_ascii=False)


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    source = files("limner.hubs").joinpath("card.md.j2").read_text(encoding="utf-8")
    made = Environment(  # noqa: S701 (Markdown, escaped by the filters below)
        loader=DictLoader({"card.md.j2": source}), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"plain": _plain, "code": _code, "cell": _cell, "python": _python, "own": _own_words}
    return made


def _own_words(text: str) -> str:
    """The owner's Markdown such that nothing of it reaches beyond its section: no HTML, no open code, low headings."""
    lines: list[str] = []
    fence = ""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").strip().split("\n"):
        clean = "".join(char if char.isprintable() or char == "\t" else " " for char in line)
        mark = _FENCE.match(clean)
        if fence:
            lines.append(clean)
            if mark and mark[1].startswith(fence) and not clean.strip().strip(fence[0]):
                fence = ""
            continue
        if mark:
            fence = mark[1]
            lines.append(clean)
            continue
        clean = clean.replace("<", "&lt;")
        lines.append(_HEADING.sub(lambda found: "#" * min(6, len(found[1]) + 2) + " ", clean))
    return "\n".join([*lines, fence] if fence else lines)


def _line(text: object) -> str:
    """Text of a user on one line, without what cannot be printed."""
    return " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())


def _plain(text: object) -> str:
    """Text of a user as text, never as markup."""
    return _MARKUP.sub(r"\\\1", _line(text))


def _code(text: object) -> str:
    """Text of a user as a code span, with a fence longer than any run of backticks in it."""
    line = _line(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}" if line else ""


def _cell(text: object) -> str:
    """A value as a code span in a table, where a bar would end the cell."""
    return _code(text).replace("|", "\\|")


def _python(text: object) -> str:
    """Text of a user as a Python literal on one line."""
    return ascii(str(text)) if not str(text).isprintable() else repr(str(text))
