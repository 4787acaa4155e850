"""How a tool is put on the server: with all four hints, errors as text, and records as plain data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from limner.errors import LimnerError
from limner.vendors.secrets.redaction import redact

__all__ = ["plain", "readable", "verb"]

Tool = TypeVar("Tool", bound=Callable[..., Any])


def verb(
    server: MCPServer,
    title: str,
    *,
    reads: bool = False,
    destroys: bool = False,
    repeats: bool = False,
    reaches_out: bool = False,
    structured: bool | None = None,
) -> Callable[[Tool], Tool]:
    """Add a function as a tool under its own name; its docstring is what the assistant reads.

    ``reads``: it changes nothing. ``destroys``: what it takes away is gone. ``repeats``: the same call again changes
    nothing more. ``reaches_out``: it may speak to a service outside this machine.
    """
    hints = ToolAnnotations(
        title=title,
        read_only_hint=reads,
        destructive_hint=destroys,
        idempotent_hint=reads or repeats,
        open_world_hint=reaches_out,
    )

    def add(tool: Tool) -> Tool:
        @functools.wraps(tool)
        def told(*args: Any, **options: Any) -> Any:
            with readable():
                return tool(*args, **options)

        server.tool(title=title, annotations=hints, structured_output=structured)(told)
        return tool

    return add


class readable:  # noqa: N801 - it reads as a statement
    """Turns an error of ours into text with its remedy; what is unexpected stays the server's business."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, failure: BaseException | None, trace: Any) -> None:
        if isinstance(failure, LimnerError):
            what_next = f" What to do: {failure.remedy}" if failure.remedy else ""
            raise ToolError(redact(f"{failure.message}{what_next} [{failure.code}]")) from failure


def plain(value: Any) -> Any:
    """Any record as JSON data."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Path | Decimal):
        return str(value)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(entry) for entry in value]
    return value
