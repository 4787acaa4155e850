"""limner users and tokens: who may use this Limner through the web, and what programs may."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from limner.cli.arguments import Json, Sure
from limner.cli.help_layout import Noun
from limner.cli.output import ago, console, hanging, show, studio, table

__all__ = ["add_to"]

users = typer.Typer(cls=Noun, help="Who may log in to the web app.")
tokens = typer.Typer(cls=Noun, help="API tokens: what programs show to use the API.")

UserName = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
FromStdin = Annotated[
    bool, typer.Option("--password-from-stdin", help="Read the password from standard input instead of asking for it.")
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(users, name="users")
    app.add_typer(tokens, name="tokens")


def _password(name: str, from_stdin: bool, as_json: bool) -> str:
    if from_stdin:
        return sys.stdin.read(10_000).rstrip("\r\n")
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked for the password here. Give --password-from-stdin.")
    given: str = typer.prompt(f"Password for {name} (not shown)", hide_input=True, confirmation_prompt=True, err=True)
    return given


@users.command("add")
def add_user(
    name: UserName,
    admin: Annotated[bool, typer.Option("--admin", help="May manage users, accounts and settings.")] = False,
    password_from_stdin: FromStdin = False,
    as_json: Json = False,
) -> None:
    """Add a user. From then on everybody has to log in to the web app, at a server that runs already too.

    The first one is an admin, and all that is here so far becomes theirs. The command line sees everything, whoever
    owns it; what is made with it belongs to the first admin, or to whom its subject belongs.

    \b
    Examples:
      limner users add anna
      limner users add ben --password-from-stdin < password.txt
    """
    password = _password(name, password_from_stdin, as_json)
    with studio() as it:
        made = it.members.add(name, password, admin=admin)
    words = f"Added {made.name}{', an admin' if made.admin else ''}."
    if made.adopted:
        words += f"\nWhat was here so far, {made.adopted} things, belongs to {made.name} now."
    show(made, as_json, lambda out: out.print(words, soft_wrap=True))


@users.command("list")
def list_users(as_json: Json = False) -> None:
    """List the users."""
    with studio() as it:
        found = it.members.users()
    rows = [(user.name, "admin" if user.admin else "user", ago(user.created_at)) for user in found]
    empty = "No users: nobody has to log in, and only this machine is answered. Add one: limner users add NAME"
    show(found, as_json, lambda out: table(out, ("name", "is", "added"), rows, empty))


@users.command("password")
def set_password(name: UserName, password_from_stdin: FromStdin = False, as_json: Json = False) -> None:
    """Give a user another password.

    All their sessions end; their tokens go on.
    """
    password = _password(name, password_from_stdin, as_json)
    with studio() as it:
        changed = it.members.set_password(name, password)
    show(changed, as_json, lambda out: out.print(f"{name} has another password and is logged out.", soft_wrap=True))


@users.command("remove")
def remove_user(
    name: UserName,
    give_to: Annotated[str, typer.Option(metavar="NAME", help="Who gets what they own.")] = "",
    yes: Sure = False,
    as_json: Json = False,
) -> None:
    """Remove a user with their sessions and tokens.

    What they own goes to the user named with --give-to. When the last user goes, nobody has to log in
    from the next start of the server on.
    """
    if not yes and not as_json and sys.stdin.isatty():
        typer.confirm(f"Remove {name}?", abort=True)
    with studio() as it:
        gone = it.members.remove(name, give_to=give_to)
    show(gone, as_json, lambda out: out.print(f"Removed {name}.", soft_wrap=True))


@tokens.command("add")
def add_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="read, write, spend or admin; read and write if left out. Repeat it."),
    ] = None,
    days: Annotated[int | None, typer.Option(metavar="N", help="It ends after so many days; else never.")] = None,
    user: Annotated[str, typer.Option(metavar="NAME", help="Whose it is; the first admin's if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Make an API token. It is shown once: only a digest of it is kept.

    \b
    Examples:
      limner tokens add "nightly script" --scope read --days 90
      limner tokens add assistant --scope read --scope write --scope spend
    """
    with studio() as it:
        made = it.members.add_token(name, scopes=scope or ("read", "write"), days=days, owner=user)
    show(made, as_json, lambda out: out.print(made.secret, soft_wrap=True))
    if not as_json:
        hanging(console(stderr=True), "→", "It is shown this once. Send it as: Authorization: Bearer TOKEN", indent=2)


@tokens.command("list")
def list_tokens(as_json: Json = False) -> None:
    """List the API tokens, and when each was last used."""
    with studio() as it:
        found = it.members.tokens()
    rows = [
        (
            token.id,
            token.name,
            token.owner or "–",
            ", ".join(token.scopes),
            ago(token.last_used_at) if token.last_used_at else "never",
            f"{token.expires_at.astimezone():%Y-%m-%d}" if token.expires_at else "never",
        )
        for token in found
    ]
    columns = ("id", "name", "user", "scopes", "last used", "ends")
    show(found, as_json, lambda out: table(out, columns, rows, "No tokens. Make one: limner tokens add NAME"))


@tokens.command("remove")
def remove_token(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id or its name.")], as_json: Json = False
) -> None:
    """Revoke an API token.

    A program that uses it is refused from then on.
    """
    with studio() as it:
        gone = it.members.remove_token(token)
    show(gone, as_json, lambda out: out.print(f"Revoked {gone.name}.", soft_wrap=True))
