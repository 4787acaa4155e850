"""The command ``limner``: one file a noun, imported when it is asked for."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from limner._version import __version__
from limner.cli.help_layout import Root
from limner.cli.output import fail
from limner.cli.terminal import let_go, open_standard_files, standard_streams
from limner.errors import InputRefused, LimnerError, StorageFailed

__all__ = ["app", "main", "run"]

INTERRUPTED = 130

app = typer.Typer(
    name="limner",
    cls=Root,
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
    """A handful of photos into a FLUX LoRA that you own, and into pictures.

    See it work with the model that ships with Limner: limner demo

    \b
    With your own photos:
      limner run ~/photos/rex --name rex --kind pet \\
        --prompt "a photo of {trigger} on the beach"
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command; an error becomes one message on stderr, never a traceback. The exit code.

    A reader that goes away early, as ``head`` does, is no failure; output that cannot be written is one.
    """
    with standard_streams() as out:
        code = _run(list(arguments))
        out.flush()
        lost = out.passage.failure
        if lost is not None:
            code = fail(_storage(lost), as_json="--json" in arguments)
    return code


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        code = app(arguments, prog_name="limner", standalone_mode=False)
    except LimnerError as failure:
        return fail(failure, as_json=as_json)
    except typer.TyperException as misuse:
        context = getattr(misuse, "ctx", None)
        remedy = f"See: {context.command_path} --help" if context else "See: limner --help"
        return fail(InputRefused(misuse.format_message(), remedy=remedy), as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\nStopped.\n")
        return INTERRUPTED
    except OSError as failure:
        return fail(_storage(failure), as_json=as_json)
    except Exception as failure:
        return fail(_unexpected(failure), as_json=as_json)
    return code if isinstance(code, int) else 0


def _storage(failure: OSError) -> StorageFailed:
    place = str(failure.filename or "The output")
    full = failure.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageFailed(
        f"{place} cannot be used: {failure.strerror or failure}.",
        remedy="Free some space, then try again." if full else "Check the path and its permissions.",
        thing=place,
    )


def _unexpected(failure: Exception) -> LimnerError:
    """A mistake of ours: the traceback goes to the log, its place to the user."""
    # Loaded here only: what a failure holds may be a token.
    from limner.vendors.secrets.redaction import redact, redacted_traceback

    message = redact(f"An unexpected {type(failure).__name__}: {str(failure)[:300]}")
    try:
        from limner.settings import home_folder

        log = home_folder() / "logs" / "cli.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as sink:
            sink.write(redacted_traceback(failure))
    except OSError:
        return LimnerError(message, remedy="Nothing could be logged; `limner doctor` looks at the home folder.")
    return LimnerError(message, remedy=f"This is a mistake in Limner. The details are in {log}", thing=str(log))


def main() -> None:
    """The entry point."""
    open_standard_files()
    code = run(sys.argv[1:])
    let_go()
    sys.exit(code)


if __name__ == "__main__":
    main()
