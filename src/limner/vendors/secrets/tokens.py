"""Tokens: found in the environment, the home folder's ``.env``, the OS keyring or a ``.env`` here; never shown.

A token that is kept goes to the vendor's own address, to the one that it was kept for, or to one that code or the home
folder's ``limner.toml`` names.
A Secret prints as dots. Every secret that was ever read in this process is known to ``redact``.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from limner.errors import AccountRefused, InputRefused, StorageFailed
from limner.settings import Settings
from limner.vendors.secrets.accounts import VendorAccount, vendor_account
from limner.vendors.secrets.redaction import RedactingFilter, Secret, guard_logging, redact, redacted_traceback

__all__ = [
    "RedactingFilter",
    "Secret",
    "as_token",
    "find_token",
    "forget_token",
    "guard_logging",
    "has_token",
    "keep_token",
    "redact",
    "redacted_traceback",
    "token_for",
    "where",
]

SERVICE = "limner"
GIVEN = "what was given"
KEYRING_SECONDS = 20.0
"""How long an answer of the OS keyring is believed: asking it may be slow."""
_FORM = re.compile(r"[!-~]{6,4096}")
_keyring_said: dict[str, tuple[float, str]] = {}


@dataclass(frozen=True, slots=True)
class _Found:
    secret: Secret
    place: str
    kept: bool


def find_token(vendor: str, settings: Settings) -> Secret:
    """The vendor's token. AccountRefused: there is none, or what is there cannot be one; says how to get one."""
    account = vendor_account(vendor)
    found = _find(account, settings)
    if found is None:
        raise AccountRefused(
            f"There is no token for {account.title}.",
            remedy=f"Make one at {account.page}, then: limner login {vendor} (or set {account.variables[0]}).",
            thing=vendor,
        )
    if found.kept:
        _refuse_foreign_address(account, found.place, settings)
    return Secret(_checked(found.secret.reveal(), account, found.place))


def _refuse_foreign_address(account: VendorAccount, place: str, settings: Settings) -> None:
    """A variable may come from anywhere, as from a script of somebody else; what is kept is not sent where it says."""
    named = _env_values(_home_env(settings))
    for name in account.addresses:
        address, own = str(getattr(settings, name)), str(Settings.model_fields[name].default)
        known = {own.rstrip("/"), (named.get(f"LIMNER_{name.upper()}") or own).rstrip("/")}
        if address.rstrip("/") not in known and settings.only_from_environment(name):
            raise AccountRefused(
                f"The token for {account.title} from {place} is kept for {own}, "
                f"and is not sent to {address}, which LIMNER_{name.upper()} in the environment names.",
                remedy=f"Set {account.variables[0]} there too, or write {name} into limner.toml of the home folder.",
                thing=account.name,
            )


def as_token(vendor: str, text: str) -> Secret:
    """What the user gave as a vendor's token. InputRefused: it cannot be one, so it need not be sent anywhere."""
    return Secret(_checked(Secret(text.strip()).reveal(), vendor_account(vendor), GIVEN))


def token_for(vendor: str, settings: Settings) -> Callable[[], Secret]:
    """``find_token``, to be called when the token is needed."""
    return lambda: find_token(vendor, settings)


def has_token(vendor: str, settings: Settings) -> bool:
    """Whether there is a token; nobody is asked whether it is good."""
    return _find(vendor_account(vendor), settings) is not None


def where(vendor: str, settings: Settings) -> str:
    """Where the token is, in words; "" if there is none."""
    found = _find(vendor_account(vendor), settings)
    return found.place if found else ""


def keep_token(vendor: str, token: str, settings: Settings) -> str:
    """Keep a token in the OS keyring, or where there is none in the home folder's ``.env``; say where, in words.

    InputRefused: it cannot be a token. StorageFailed: it can be kept nowhere.
    """
    account = vendor_account(vendor)
    secret = as_token(vendor, token)
    _keyring_said.pop(vendor, None)
    try:
        import keyring

        keyring.set_password(SERVICE, vendor, secret.reveal())
        # Some backends take everything and keep nothing.
        if keyring.get_password(SERVICE, vendor) == secret.reveal():
            _write_env(_home_env(settings), account, _own_addresses(account, settings))
            return "the keyring of this system"
    except Exception:  # noqa: S110 - whatever is wrong with a keyring, there is another place
        pass
    path = _home_env(settings)
    try:
        _write_env(path, account, {account.variables[0]: secret.reveal(), **_own_addresses(account, settings)})
    except OSError as failure:
        raise StorageFailed(
            f"The token for {account.title} cannot be kept in {path}: {failure.strerror}.",
            remedy=f"Set {account.variables[0]} in the environment instead.",
            thing=str(path),
        ) from None
    return f"{path}, readable by you only, because this system has no keyring that works"


def forget_token(vendor: str, settings: Settings) -> tuple[str, ...]:
    """Take the token out of the OS keyring and the home folder's ``.env``; the places where one was, in words."""
    account = vendor_account(vendor)
    gone = []
    if _from_keyring(account):
        with suppress(Exception):
            import keyring

            keyring.delete_password(SERVICE, vendor)
            gone.append("the keyring of this system")
    _keyring_said.pop(vendor, None)
    path = _home_env(settings)
    there = any(_env_values(path).get(name) for name in account.variables)
    if path.exists():
        try:
            _write_env(path, account, {})
        except OSError as failure:
            raise StorageFailed(
                f"The token for {account.title} cannot be taken out of {path}: {failure.strerror}.",
                remedy=f"Delete the line of {account.variables[0]} there by hand.",
                thing=str(path),
            ) from None
    if there:
        gone.append(str(path))
    return tuple(gone)


def _find(account: VendorAccount, settings: Settings) -> _Found | None:
    for value, place, kept in _candidates(account, settings):
        if text := value.strip():
            return _Found(Secret(text), place, kept)
    return None


def _candidates(account: VendorAccount, settings: Settings) -> Iterator[tuple[str, str, bool]]:
    """What may be a token, where it is, and whether it was kept there for later."""
    for name in account.variables:
        yield os.environ.get(name, ""), f"{name} in the environment", False
    yield from _in_file(account, _home_env(settings))
    yield _from_keyring(account), "the keyring of this system", True
    if account.name == "huggingface":
        path = _hub_token_file()
        yield _text(path), f"{path}, where hf auth login keeps it", True
    # Last, since the folder may be somebody else's: their token would put what is published into their account.
    yield from _in_file(account, Path(".env").absolute())


def _in_file(account: VendorAccount, path: Path) -> Iterator[tuple[str, str, bool]]:
    values = _env_values(path)
    for name in account.variables:
        yield values.get(name) or "", f"{name} in {path}", True


def _from_keyring(account: VendorAccount) -> str:
    at, said = _keyring_said.get(account.name, (0.0, ""))
    if at and time.monotonic() - at < KEYRING_SECONDS:
        return said
    said = ""
    with suppress(Exception):
        import keyring

        said = keyring.get_password(SERVICE, account.name) or ""
    if said:
        Secret(said)
    _keyring_said[account.name] = (time.monotonic(), said)
    return said


def _hub_token_file() -> Path:
    """Where the Hub's own command line keeps its token."""
    if named := os.environ.get("HF_TOKEN_PATH"):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{cache}/huggingface").expanduser() / "token"


def _home_env(settings: Settings) -> Path:
    return settings.home / ".env"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")[:10_000]
    except OSError:
        return ""


def _env_values(path: Path) -> dict[str, str | None]:
    text = _text(path)
    if not text:
        return {}
    from dotenv import dotenv_values

    return dict(dotenv_values(stream=StringIO(text), interpolate=False))


def _own_addresses(account: VendorAccount, settings: Settings) -> dict[str, str]:
    """Where a token that is kept now may be sent later, as variables, if not to the vendor's own address."""
    said = {name: str(getattr(settings, name)) for name in account.addresses}
    return {
        f"LIMNER_{name.upper()}": address
        for name, address in said.items()
        if address != Settings.model_fields[name].default
    }


def _write_env(path: Path, account: VendorAccount, values: Mapping[str, str]) -> None:
    """Replace the lines of an account's variables, in one step and never readable by others. OSError."""
    before = _text(path)
    variables = (*account.variables, *(f"LIMNER_{name.upper()}" for name in account.addresses))
    ours = re.compile(rf"\s*(?:export\s+)?(?:{'|'.join(map(re.escape, variables))})\s*=")
    lines = [line for line in before.splitlines() if not ours.match(line)]
    if not values and len(lines) == len(before.splitlines()):
        return
    lines += [f"{name}={value}" for name, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".env.{os.getpid()}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as sink:
            sink.write("".join(f"{line}\n" for line in lines))
            sink.flush()
            os.fsync(sink.fileno())
        new.chmod(0o600)
        new.replace(path)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _checked(token: str, account: VendorAccount, place: str) -> str:
    """The token, if it can be sent in a header at all."""
    if not _FORM.fullmatch(token):
        kind = InputRefused if place == GIVEN else AccountRefused
        raise kind(
            f"The token for {account.title} in {place} cannot be one: it is too short, or has blanks or odd characters."
            if kind is AccountRefused
            else f"That cannot be a token for {account.title}: it is too short, or has blanks or odd characters.",
            remedy=f"Copy it whole from {account.page}",
            thing=account.name,
        )
    return token
