"""How a tool is put on the server: with all four hints, and errors as text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from limner.errors import LimnerError
from limner.vendors.secrets.redaction import redact

__all__ = ["verb"]

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
            # What is unexpected stays the server's business.
            try:
                return tool(*args, **options)
            except LimnerError as failure:
                what_next = f" What to do: {failure.remedy}" if failure.remedy else ""
                raise ToolError(redact(f"{failure.message}{what_next} [{failure.code}]")) from failure

        server.tool(title=title, annotations=hints, structured_output=structured)(told)
        return tool

    return add
