"""How groups of commands present themselves: in the order of the pipeline, and with their help when called bare."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from limner.errors import InputRefused

__all__ = ["Noun", "Root"]

SECTIONS = {
    "The whole pipeline": {"run": "run", "demo": "run"},
    "Step by step": {
        "subjects": "subjects",
        "photos": "photos",
        "datasets": "datasets",
        "train": "trainings",
        "trainings": "trainings",
        "loras": "loras",
        "publish": "loras",
        "hubs": "hubs",
        "generate": "generations",
        "images": "generations",
        "grids": "grids",
        "inspect": "generations",
        "reproduce": "generations",
    },
    "Accounts and money": {
        "login": "accounts",
        "logout": "accounts",
        "accounts": "accounts",
        "routes": "routes",
        "costs": "costs",
    },
    "The web app": {"serve": "serve", "users": "users", "tokens": "users", "webhooks": "webhooks", "mcp": "mcp"},
    "This machine": {
        "doctor": "doctor",
        "verify": "doctor",
        "settings": "settings",
        "jobs": "jobs",
        "bases": "doctor",
        "backends": "doctor",
        "worker": "doctor",
    },
}
"""Every command in its place, and the module of this package that has it."""
MODULES = {name: module for commands in SECTIONS.values() for name, module in commands.items()}


class Noun(TyperGroup):
    """A group of commands; called with no command it prints its help, unless it does something by itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not self.invoke_without_command and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command; the refusal of one that is none names the nearest, as it would be typed."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            remedy = f"Did you mean: {ctx.command_path} {near[0]}" if near else f"See: {ctx.command_path} --help"
            raise InputRefused(f"There is no command '{ctx.command_path} {name}'.", remedy=remedy, thing=name)
        return super().resolve_command(ctx, args)


class Root(Noun):
    """The command ``limner`` itself: its commands in sections, its nouns in the plural; the singular is taken too.

    A command's module is imported when it is asked for: making all hundred of them takes longer than many a command.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in MODULES and cmd_name not in self.commands:
            part = typer.Typer(rich_markup_mode=None)
            import_module(f"limner.cli.{MODULES[cmd_name]}").add_to(part)
            self.commands.update(typer.main.get_group(part).commands)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        plural = f"{args[0]}s"
        return super().resolve_command(ctx, [plural, *args[1:]] if plural in MODULES else args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(self._rows(ctx, names, formatter.width))

    def _rows(self, ctx: Any, names: Iterable[str], width: int) -> list[tuple[str, str]]:
        longest = max(map(len, MODULES))
        found = [(name, self.get_command(ctx, name)) for name in names]
        # Padded, so that the columns of all sections are aligned.
        return [
            (name.ljust(longest), command.get_short_help_str(width - longest - 6)) for name, command in found if command
        ]
