"""limner hub."""

from __future__ import annotations

import typer

from limner.cli.arguments import HubName, Json
from limner.cli.help_layout import Noun
from limner.cli.output import short, show, studio, table

__all__ = ["add_to"]

group = typer.Typer(cls=Noun, help="Hubs: what of yours is published where.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="hub")


@group.command("list")
def list_all(hub: HubName = "", as_json: Json = False) -> None:
    """List the repos that Limner made on a hub.

    Each at its newest revision, whether or not this machine made it.

    \b
    Example:
      limner hub list --hub huggingface
    """
    with studio() as it:
        found = it.publications.hub_listing(hub)
    rows = [
        (one.repo, one.visibility, short(one.revision), ", ".join(one.tags), ", ".join(one.loras), one.updated_at[:10])
        for one in found
    ]
    columns = ("repo", "visible", "revision", "tags", "lora here", "changed")
    show(found, as_json, lambda out: table(out, columns, rows, "Nothing of yours is there yet: limner publish LORA"))
