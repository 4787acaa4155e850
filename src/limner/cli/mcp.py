"""limner mcp: the same operations as tools for assistants."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    app.command("mcp")(mcp)


def mcp(
    photos: Annotated[
        list[str],
        typer.Option(
            "--photos", metavar="FOLDER", help="A folder that the assistant may take photos from; may be repeated."
        ),
    ] = [],  # noqa: B006 - read only
    _as_json: Annotated[
        bool, typer.Option("--json", help="Print an error as JSON; all else is JSON as it is.")
    ] = False,
) -> None:
    """Serve Limner's operations to an assistant, by MCP.

    An assistant's program starts this command itself: give it `limner` as the command and `mcp` as its argument. What
    may cost is asked about first, and takes a limit; the budgets hold too. Of this machine's files it reads none but
    photos in the folders that are named here.
    """
    from limner.mcp.server import serve
    from limner.settings import read_settings

    serve(read_settings(), photos)
