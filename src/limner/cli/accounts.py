"""limner login, logout, accounts: the vendors whose services are used, and the tokens for them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.arguments import Json
from limner.cli.output import console, hanging, show, studio, table

if TYPE_CHECKING:
    from limner.records import Account

__all__ = ["add_to"]

Vendor = Annotated[
    str,
    typer.Argument(
        metavar="VENDOR",
        help="One that limner accounts lists.",
        autocompletion=lambda incomplete: [name for name in _names() if name.startswith(incomplete)],
    ),
]


def _names() -> list[str]:
    from limner.vendors.vendor import vendors

    return list(vendors())


def add_to(app: typer.Typer) -> None:
    app.command("login")(login)
    app.command("logout")(logout)
    app.command("accounts")(list_accounts)


def login(
    vendor: Vendor,
    token_from_stdin: Annotated[
        bool, typer.Option("--token-from-stdin", help="Read the token from standard input instead of asking for it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Keep a token for a vendor, after checking it there.

    It is asked for without being shown; it is never an argument, since those are seen by others and kept by shells.
    The check costs nothing. The token is kept in the keyring of the system, or where there is none in the home
    folder's .env, readable by you only.

    \b
    Examples:
      limner login huggingface
      limner login replicate --token-from-stdin < token.txt
    """
    from limner.vendors.vendor import find_vendor

    about = find_vendor(vendor)
    if token_from_stdin:
        token = sys.stdin.read(100_000).strip()
    elif as_json or not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked for the token here. Give --token-from-stdin.")
    else:
        out = console(stderr=True)
        hanging(out, "", f"Make a token for {about.title} at {about.page}", indent=0)
        hanging(out, "", about.scope, indent=0, style="dim")
        token = typer.prompt(f"Token for {about.title} (not shown)", hide_input=True, err=True)
    with studio() as it:
        account = it.accounts.login(vendor, token)
    who = f" as {account.who}" if account.who else ""
    _tell(account, f"Logged in to {account.title}{who}; the token is kept in {account.where}.", as_json)


def logout(vendor: Vendor, as_json: Json = False) -> None:
    """Forget the token that login kept.

    The vendor still accepts it: revoke it there if somebody else may have it. A token in the environment or in the
    current folder's .env is yours to take away.
    """
    with studio() as it:
        account = it.accounts.logout(vendor)
    _tell(account, f"Forgot the token for {account.title}.", as_json)


def list_accounts(
    live: Annotated[
        bool, typer.Option("--live", help="Ask each vendor whether the token is good; costs nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the vendors, and where the token for each was found.

    Looked at are the environment, .env of the current folder, .env of the home folder, and the keyring of the system.
    With --live the exit code is 1 if a token that is there is not accepted.
    """
    with studio() as it:
        found = it.accounts.all(live=live)
    columns = ("vendor", "token", "account", "may do", "state") if live else ("vendor", "token", "state")
    rows = [(a.vendor, a.where or "–", *((a.who or "–", a.scope or "–") if live else ()), _state(a)) for a in found]
    show(found, as_json, lambda out: table(out, columns, rows, ""))
    if not as_json:
        out = console(stderr=True)
        for account in found:
            if account.problem and account.remedy:
                hanging(out, f"{account.vendor} →", account.remedy, indent=len(account.vendor) + 3, style="dim")
    if any(account.ok is False for account in found):
        raise typer.Exit(1)


def _state(account: Account) -> str:
    if not account.where:
        return "no token"
    if account.problem:
        return account.problem
    return "accepted" if account.ok else "not asked"


def _tell(account: Account, words: str, as_json: bool) -> None:
    show(account, as_json, lambda out: out.print(words, soft_wrap=True))
    if as_json:
        return
    out = console(stderr=True)
    if account.problem:
        hanging(out, "!", account.problem, indent=2, colour="yellow")
    if account.remedy:
        hanging(out, "  →", account.remedy, indent=4, style="dim")
