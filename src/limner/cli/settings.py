"""limner settings: what can be set, what it is now, and where that comes from."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperGroup

from limner.cli.arguments import Json
from limner.cli.output import show, studio, table

__all__ = ["add_to"]

group = typer.Typer(cls=TyperGroup, invoke_without_command=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The setting, such as budget_day.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="settings")


@group.callback()
def list_settings(context: typer.Context, as_json: Json = False) -> None:
    """List the settings, what each is now, and where that comes from.

    What the environment or .env sets goes before limner.toml of the home folder.

    \b
    Examples:
      limner settings
      limner settings set budget_day 5
    """
    if context.invoked_subcommand is not None:
        return
    with studio() as it:
        found = it.settings_file.report()
    rows = [(one.name, one.value or "–", one.source, one.description) for one in found.settings]
    show(found, as_json, lambda out: table(out, ("setting", "value", "from", "what"), rows, ""))


@group.command("set")
def change(
    name: Name,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value.")],
    as_json: Json = False,
) -> None:
    """Change a setting in limner.toml.

    A server that runs takes it when it is started again.

    \b
    Example:
      limner settings set budget_day 5
    """
    _change(name, value, as_json)


@group.command("unset")
def unset(name: Name, as_json: Json = False) -> None:
    """Let a setting have its default again."""
    _change(name, None, as_json)


def _change(name: str, value: str | None, as_json: bool) -> None:
    with studio() as it:
        changed = it.settings_file.change({name: value})[name]
    show(changed, as_json, lambda out: out.print(f"{name} is {changed.value or 'not set'} now.", soft_wrap=True))
