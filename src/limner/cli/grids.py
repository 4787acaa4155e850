"""limner grids: pictures side by side over two axes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.arguments import BaseName, Detach, GeneratorName, Guidance, Json, Steps, WhatIf, Yes
from limner.cli.consent_prompt import show_what_if, with_consent
from limner.cli.help_layout import Noun
from limner.cli.output import ago, show, studio, table
from limner.cli.progress import follow

if TYPE_CHECKING:
    from rich.console import Console

    from limner.records import Grid, Ranking

__all__ = ["add_to"]

group = typer.Typer(cls=Noun, help="Grids: pictures side by side, and votes between them.")

GridName = Annotated[str, typer.Argument(metavar="GRID", help="Its id, or the first digits of it.")]
AXIS_HELP = "NAME=VALUE,VALUE...: scale, steps, seed, guidance, checkpoint (steps) or lora."


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="grids")


def _axis(words: str) -> tuple[str, list[str]] | None:
    if not words:
        return None
    name, _, values = words.partition("=")
    return name.strip(), [value.strip() for value in values.split(",") if value.strip()]


@group.command("start")
def start(
    prompt: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What to draw; one block of the grid each.")],
    x: Annotated[str, typer.Option("--across", metavar="AXIS", help=AXIS_HELP)],
    y: Annotated[str, typer.Option("--down", metavar="AXIS", help="The other axis, if there is one.")] = "",
    training: Annotated[str, typer.Option(metavar="TRAINING", help="Whose checkpoints are compared.")] = "",
    lora: Annotated[list[str] | None, typer.Option(metavar="LORA", help="As for `limner generate`; repeat it.")] = None,
    base: BaseName = "",
    generator: GeneratorName = "",
    width: Annotated[int | None, typer.Option(metavar="PX", help="A multiple of 16.")] = None,
    height: Annotated[int | None, typer.Option(metavar="PX", help="A multiple of 16.")] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="The same in all cells; random if left out.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", help="Pictures a cell.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the grid into this PNG.")] = None,
    yes: Yes = False,
    what_if: WhatIf = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Draw a grid over one or two axes.

    Every cell is the same wish but for what differs along the axes. All cells
    together are asked about as one sum.

    \b
    Examples:
      limner grids start "{trigger} at sea" --across checkpoint=100,200 \\
        --down scale=0.8,1 --training 1f0c
      limner grids start "{trigger} at sea" --across steps=10,20 --lora rex
    """
    options: dict[str, Any] = {
        "x": _axis(x),
        "y": _axis(y),
        "training": training,
        "loras": lora or (),
        "base": base,
        "generator": generator,
        "width": width,
        "height": height,
        "steps": steps,
        "guidance": guidance,
        "seed": seed,
        "count": count,
    }
    with studio() as it:
        if what_if:
            show_what_if(it.grids.plan(prompt, **options).what_if, as_json)
        grid = with_consent(lambda agreed: it.grids.start(prompt, **options, yes=agreed), yes=yes, as_json=as_json)
        if not detach:
            for job in it.grids.jobs(grid.id):
                follow(it, it.jobs.get(job), as_json=as_json)
            grid = it.grids.grid(grid.id)
            if out is not None:
                it.grids.sheet(grid.id, out)
        show(grid, as_json, lambda console: _render(console, grid, ()))


def _render(out: Console, grid: Grid, rankings: tuple[Ranking, ...]) -> None:
    out.print(f"{grid.id}  {grid.state.value}  {len(grid.images)} of {grid.expected} pictures, {grid.votes} votes")
    rows = [
        (grid.x.label(cell.x), grid.y.label(cell.y), " ".join(str(image.id) for image in cell.images) or "-")
        for row in grid.cells
        for cell in row
    ]
    table(out, (grid.x.name or "x", grid.y.name or "y", "images"), rows, "")
    for one in rankings:
        out.print()
        head = "decided" if one.decided else "not decided yet"
        standings = [
            (place.label, f"{place.wins}/{place.votes}", f"{place.low:.0%} to {place.high:.0%}")
            for place in one.standings
        ]
        table(out, (f"{one.axis or 'both'}: {head}", "wins", "true share"), standings, "")


@group.command("list")
def list_all(
    training: Annotated[str, typer.Option(metavar="TRAINING", help="Only of its checkpoints.")] = "",
    as_json: Json = False,
) -> None:
    """List the grids, newest first."""
    with studio() as it:
        found = it.grids.list(training)
    rows = [
        (one.id, one.prompts[0], f"{one.x.name} × {one.y.name or '-'}", one.state.value, one.votes, ago(one.created_at))
        for one in found
    ]
    columns = ("grid", "prompt", "axes", "state", "votes", "made")
    show(found, as_json, lambda out: table(out, columns, rows, "No grid yet: limner grids start --help"))


@group.command("show")
def show_one(grid: GridName, as_json: Json = False) -> None:
    """Show a grid: its cells, and what the votes say."""
    with studio() as it:
        found, ranking = it.grids.grid(grid), it.grids.ranking(grid)
    show({"grid": found, "ranking": ranking}, as_json, lambda out: _render(out, found, ranking))


@group.command("vote")
def vote(
    grid: GridName,
    winner: Annotated[int, typer.Argument(metavar="BETTER", help="The number of the better picture.")],
    loser: Annotated[int, typer.Argument(metavar="WORSE", help="The number of the other one.")],
    as_json: Json = False,
) -> None:
    """Say which of two pictures of a grid is better."""
    with studio() as it:
        made = it.grids.vote(grid, winner, loser)
    show(made, as_json, lambda out: out.print(f"{made.winner_label} before {made.loser_label}.", soft_wrap=True))


@group.command("undo")
def undo(grid: GridName, as_json: Json = False) -> None:
    """Take the newest vote back."""
    with studio() as it:
        gone = it.grids.undo_vote(grid)
    words = f"Taken back: {gone.winner_label} before {gone.loser_label}." if gone else "There is no vote."
    show(gone, as_json, lambda out: out.print(words, soft_wrap=True))


@group.command("save")
def save(
    grid: GridName,
    destination: Annotated[Path, typer.Argument(metavar="FILE", help="A .png of the whole grid, or a .zip of all.")],
    as_json: Json = False,
) -> None:
    """Write a grid as one labelled PNG, or all its pictures as a zip."""
    with studio() as it:
        write = it.grids.archive if destination.suffix.lower() == ".zip" else it.grids.sheet
        path = write(grid, destination)
    show({"path": path}, as_json, lambda out: out.print(f"Wrote {path}.", soft_wrap=True))


@group.command("cancel")
def cancel(grid: GridName, as_json: Json = False) -> None:
    """Stop what is not drawn yet."""
    with studio() as it:
        found = it.grids.cancel(grid)
    show(found, as_json, lambda out: out.print(f"{found.id} stops.", soft_wrap=True))


@group.command("delete")
def delete(grid: GridName, as_json: Json = False) -> None:
    """Forget a grid and its votes; its pictures stay."""
    with studio() as it:
        name = it.grids.grid(grid).id
        it.grids.delete(name)
    show({"grid": name}, as_json, lambda out: out.print(f"Forgot {name}. Its pictures stay.", soft_wrap=True))
