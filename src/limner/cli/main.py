"""The command ``limner``: one file a noun, nothing heavy imported before a command runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from limner import __version__
from limner.cli import datasets, jobs, loras, machine, photos, pictures, subjects, trainings, whole
from limner.cli.output import fail
from limner.errors import LimnerError

__all__ = ["app", "main"]

app = typer.Typer(
    name="limner",
    help="A handful of photos into a FLUX LoRA that you own, and into pictures made with it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"limner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A handful of photos into a FLUX LoRA that you own, and into pictures made with it.

    Start with `limner demo`, or with your own photos:

      limner run ~/photos/rex --name rex --kind pet --prompt "a photo of {trigger} on the beach"
    """


for module in (whole, subjects, photos, datasets, trainings, loras, pictures, jobs, machine):
    module.add_to(app)


def main() -> None:
    """The entry point: errors of ours become one clear message on stderr and their exit code."""
    try:
        app()
    except LimnerError as failure:
        sys.exit(fail(failure))
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
