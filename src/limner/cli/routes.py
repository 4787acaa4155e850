"""limner routes: every way from photos to pictures, what it costs, and who sees what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.arguments import BaseName, Json
from limner.cli.output import hanging, show, studio
from limner.humanize import spoken

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Route

__all__ = ["add_to"]

NEAREST = 3


def add_to(app: typer.Typer) -> None:
    app.command("routes")(list_routes)


def list_routes(
    base: BaseName = "",
    subject: Annotated[str, typer.Option(metavar="SLUG", help="For this subject: its kind decides the steps.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Also those that do not work here, and why.")] = False,
    as_json: Json = False,
) -> None:
    """Show every way from photos to pictures, with its price.

    A price is that of one training with the preset balanced and of ten pictures of the base's usual size.

    \b
    Examples:
      limner routes --base flux1-dev
      limner routes --base flux2-dev --subject rex --all
    """
    with studio() as it:
        found = it.runs.routes(base=base, subject=subject)
    shown = [route for route in found if route.works or every or as_json]
    # Where nothing works, what would with an account more is what the user wants to know.
    shown = shown or [route for route in found if route.possible][:NEAREST]
    show(shown, as_json, lambda out: _render(out, found, shown))


def _render(out: Console, found: list[Route], shown: list[Route]) -> None:
    from rich.text import Text

    if not found:
        out.print("No trainer or no generator is installed: limner doctor")
        return
    out.print(Text(f"{found[0].base}: one training and {found[0].pictures} pictures", style="bold"))
    if not any(route.works for route in found):
        out.print("None works here yet.")
    usable = [route for route in shown if route.possible]
    longest = max((len(_chain(route)) for route in usable), default=0)
    for route in usable:
        _one(out, route, longest)
    _hints(out, "To set up:", [reason for route in usable for reason in route.reasons])
    _hints(out, "Not possible:", [route.reasons[0] for route in shown if not route.possible])
    hidden = len(found) - len(shown)
    if hidden:
        out.print(f"\n{hidden} more do not work here, and why: limner routes --base {found[0].base} --all")


def _chain(route: Route) -> str:
    return " → ".join(filter(None, (route.trainer, route.hub, route.generator)))


def _one(out: Console, route: Route, longest: int) -> None:
    from rich.text import Text

    mark, colour = ("✓ ", "green") if route.works else ("– ", "dim")
    out.print()
    out.print(Text.assemble((mark, colour), (f"{_chain(route):<{longest}}  ", "bold"), _price(route)), soft_wrap=True)
    if not route.works:
        needy = dict.fromkeys(step.title for step in route.steps if not step.ready)
        hanging(out, "    to set up: ", ", ".join(needy), indent=15, style="dim")
    hanging(out, "    photos: ", route.sees_photos, indent=12, style="dim")
    hanging(out, "    lora: ", route.sees_lora, indent=12, style="dim")
    for note in route.notes:
        hanging(out, "  !", note, indent=4, colour="yellow")


def _hints(out: Console, title: str, reasons: list[str]) -> None:
    if reasons:
        out.print(f"\n{title}")
    for reason in dict.fromkeys(reasons):
        hanging(out, "  –", reason, indent=4)


def _price(route: Route) -> str:
    from limner.money.prices import usd

    words = "free" if not route.cost else f"{'about' if route.certain else 'perhaps'} {usd(route.cost)}"
    return f"{words}, {spoken(route.seconds)}" if route.seconds else words
