"""How groups of commands present themselves: in the order of the pipeline, and with their help when called bare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

__all__ = ["Noun", "Root"]

SECTIONS = {
    "The whole pipeline": ("run", "demo"),
    "Step by step": (
        "subject",
        "photos",
        "dataset",
        "train",
        "trainings",
        "lora",
        "publish",
        "hub",
        "generate",
        "images",
        "grid",
        "inspect",
        "reproduce",
    ),
    "Accounts and money": ("login", "logout", "accounts", "routes", "costs"),
    "The web app": ("serve", "users", "tokens", "webhooks", "mcp"),
    "This machine": ("doctor", "verify", "settings", "jobs", "bases", "backends", "worker"),
}


class Noun(TyperGroup):
    """A group of commands; called with no command it prints its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit
        return super().parse_args(ctx, args)


class Root(Noun):
    """The command ``limner`` itself: its commands in sections."""

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
