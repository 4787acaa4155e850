"""limner serve: the web app and the REST API."""

from __future__ import annotations

from typing import Annotated

import typer

from limner.cli.arguments import Json
from limner.cli.output import studio

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="The port; 8712, or the next free one.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on; others than loopback need a login.")
    ] = "",
    login: Annotated[bool, typer.Option("--login", help="Ask for a login on this machine too.")] = False,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="A proxy with https is before it: needs a login; cookies go by https alone."),
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Serve the web app, and open it in the browser.

    No account and no set-up is needed. Ctrl-C stops the server; jobs go on, and pages are as they were when it is
    started again. With --json the address is one line of JSON, printed when it answers.

    \b
    Examples:
      limner serve
      limner users add anna && limner serve --host 0.0.0.0
    """
    from limner.web.serve import Address, rules_for, serve_studio

    with studio() as it:
        address = Address(host or "127.0.0.1", 8712 if port is None else port, fixed=port is not None)
        rules = rules_for(it, address, login=login, secure=secure)
        settings = it.settings
    serve_studio(settings, address, rules, browser=not no_browser, as_json=as_json)
