"""The MCP server: a studio's operations as tools for assistants, over standard input and output."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mcp.server.mcpserver import MCPServer

from limner._version import __version__
from limner.mcp import read_tools, write_tools
from limner.mcp.folders import Folders
from limner.processes import keep_private
from limner.settings import Settings
from limner.studio import Studio
from limner.vendors.secrets.redaction import guard_logging

__all__ = ["make_server", "serve"]

INSTRUCTIONS = """Limner turns a handful of photos into a FLUX LoRA, and into pictures made with it.
The way: add_subject, add_photos, photo_report, train, wait_for_job, generate. `routes` says who can do the work at
what price. What may cost is asked about first with what_if=true; tell the user the price before you go on. Use the same
key for the same wish. Photos of people need their consent, and erasing needs the user's own word."""


def make_server(studio: Studio, photos: Sequence[str | Path] = ()) -> MCPServer:
    """A server with all tools, over a studio. ``photos``: the folders of this machine that may be read."""
    server = MCPServer("limner", title="Limner", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    read_tools.add_to(server, studio)
    write_tools.add_to(server, studio, Folders(photos, studio.settings.home))
    return server


def serve(settings: Settings, photos: Sequence[str | Path] = ()) -> None:
    """Serve on standard input and output until it is closed. Loras may be named by owner/repo or https, not by path.

    InputRefused: one of the folders that may be read is not there.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    guard_logging()
    keep_private()
    with Studio(settings=settings, from_here=False) as studio:
        make_server(studio, photos).run("stdio")
