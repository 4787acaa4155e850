"""How groups of commands present themselves: in the order of the pipeline, and with their help when called bare."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

from limner.errors import InputRefused

__all__ = ["Noun", "Root"]

SECTIONS = {
    "The whole pipeline": ("run", "demo"),
    "Step by step": (
        "subjects",
        "photos",
        "datasets",
        "train",
        "trainings",
        "loras",
        "publish",
        "hubs",
        "generate",
        "images",
        "grids",
        "inspect",
        "reproduce",
    ),
    "Accounts and money": ("login", "logout", "accounts", "routes", "costs"),
    "The web app": ("serve", "users", "tokens", "webhooks", "mcp"),
    "This machine": ("doctor", "verify", "settings", "jobs", "bases", "backends", "worker"),
}


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
    """The command ``limner`` itself: its commands in sections, its nouns in the plural; the singular is taken too."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        plural = f"{args[0]}s"
        return super().resolve_command(ctx, [plural, *args[1:]] if plural in self.list_commands(ctx) else args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(self._rows(ctx, names, formatter.width))

    def _rows(self, ctx: Any, names: Sequence[str], width: int) -> list[tuple[str, str]]:
        longest = max(len(name) for names in SECTIONS.values() for name in names)
        found = [(name, self.get_command(ctx, name)) for name in names]
        # Padded, so that the columns of all sections are aligned.
        return [
            (name.ljust(longest), command.get_short_help_str(width - longest - 6)) for name, command in found if command
        ]
