"""Before pictures are asked for: who could draw them, and prompts to begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.arguments import Json
from limner.cli.consent_prompt import price
from limner.cli.output import hanging, show, studio, table
from limner.types import Estimate, SubjectKind

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Choices

__all__ = ["add_to", "show_choices"]


def add_to(group: typer.Typer) -> None:
    group.command("prompts")(list_prompts)


def show_choices(found: Choices, as_json: bool) -> None:
    """Print every generator for a wish: the price of those that can draw it, what stands in the way of the others."""
    show(found, as_json, lambda out: _render(out, found))


def _render(out: Console, found: Choices) -> None:
    tokens = f", {found.tokens} of {found.most_tokens} tokens" if found.tokens is not None else ""
    out.print(f"{found.count} × {found.width}×{found.height} px with {found.base}{tokens}", soft_wrap=True)
    for finding in found.findings:
        hanging(out, f"  {finding.severity.value}: ", f"{finding.message} {finding.remedy}", indent=4)
    for choice in found.choices:
        mark, colour = ("✓", "green") if choice.usable else ("–", "dim")
        model = f" ({choice.model})" if choice.model else ""
        cost = f": {price(Estimate(choice.cost, choice.seconds, choice.certain))}" if choice.usable else ""
        out.print()
        hanging(out, f"{mark} ", f"{choice.generator}{model}{cost}", indent=2, colour=colour)
        for finding in (*choice.refusals, *choice.warnings):
            hanging(out, "  ", f"{finding.message} {finding.remedy}".strip(), indent=4)


def list_prompts(
    kind: Annotated[
        SubjectKind | None, typer.Argument(metavar="[KIND]", help="Only those for this kind of subject.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List prompts to begin with.

    \b
    Examples:
      limner images prompts
      limner images prompts pet
    """
    with studio() as it:
        found = it.generations.prompt_templates(kind or "")
    rows = [(one.id, ", ".join(one.kinds), one.prompt) for one in found]
    show(found, as_json, lambda out: table(out, ("id", "for", "prompt"), rows, ""))
