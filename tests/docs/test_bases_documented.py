"""docs/guide/bases.md says of every base what the catalog says, and of nothing else."""

from __future__ import annotations

from limner.catalog import bases
from limner.types import Base

from .markdown import DOCS, table

PAGE = DOCS / "guide" / "bases.md"


def _count(number: int) -> str:
    return f"{number / 1e9:g} B" if number >= 1e9 else f"{number / 1e6:g} M"


def _repo(base: Base) -> str:
    if base.repo.startswith("package:"):
        return "ships with Limner"
    return f"[{base.repo}](https://huggingface.co/{base.repo})"


def test_the_first_table_says_what_they_are() -> None:
    expected = [
        [
            f"`{base.id}`",
            base.title,
            base.family.value,
            _count(base.parameters),
            _repo(base),
            f"[{base.licence_name}]({base.licence_url})",
            "yes" if base.commercial_use else "no",
            "yes" if base.gated else "no",
        ]
        for base in bases().values()
    ]
    assert table(PAGE, "base") == expected


def test_the_second_table_says_how_they_draw_and_train() -> None:
    expected = [
        [
            f"`{base.id}`",
            f"{base.size} ({base.size_min} to {base.size_max}, by {base.size_multiple})",
            str(base.steps),
            f"{base.guidance:g}" + (" (distilled)" if base.guidance_embedded else ""),
            ", ".join(map(str, base.resolutions)),
            str(base.max_text_tokens),
            ", ".join(base.text_encoders),
        ]
        for base in bases().values()
    ]
    assert table(PAGE, "base id") == expected


def test_notes_sources_and_days_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for base in bases().values():
        assert base.as_of in text
        assert base.notes in text
