"""All commands of the CLI, read off the Typer app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from limner.cli.main import app

__all__ = ["COMMANDS", "GROUPS"]


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    yield " ".join(path), command
    for name in command.list_commands(None) if hasattr(command, "commands") else ():
        yield from _walk(command.get_command(None, name), (*path, name))


_ALL = dict(_walk(typer.main.get_command(app), ()))
# A group that does something by itself when called bare is a command too.
COMMANDS = {
    path: command
    for path, command in _ALL.items()
    if not hasattr(command, "commands") or (path and command.invoke_without_command)
}
GROUPS = {path: command for path, command in _ALL.items() if path not in COMMANDS}
