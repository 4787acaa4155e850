"""The settings looked at and changed: ``limner.toml`` of the home folder is written, with its comments kept.

What code, the environment or ``.env`` sets goes before the file, so such a setting cannot be changed here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from limner.atomic_file import write_atomically
from limner.catalog import bases
from limner.errors import ChangedMeanwhile, Conflict, InputRefused, StorageFailed
from limner.operations.home.facet import Facet
from limner.operations.home.workspace import Workspace
from limner.records import (
    Setting,
    SettingsReport,
)
from limner.setting_groups import FROM_HERE, GROUPS, RESTART, title_of
from limner.settings import FILE, Settings

__all__ = ["FILE", "SettingsFile"]

NO_FILE = "none"
LONGEST = 2_000


class SettingsRefused(InputRefused):
    """Settings that cannot be used; ``fields`` says of each what is wrong with it."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(
            " ".join(f"{title_of(name)}: {why}" for name, why in fields.items()),
            remedy="Correct it and try again; nothing was changed.",
            thing=next(iter(fields)),
        )
        self.fields = dict(fields)

    def as_problem(self) -> dict[str, object]:
        """The problem, with what is wrong with each setting."""
        return {**super().as_problem(), "fields": self.fields}


class SettingsFile(Facet):
    """``studio.settings_file``: the settings as ``limner.toml`` has them."""

    def report(self) -> SettingsReport:
        """All settings: what each is for, its value now, and where that comes from."""
        path = self._workspace.home / FILE
        text = _read(path)
        kept, outside = _parsed(text), _outside(self._workspace)
        settings = [
            _setting(self._workspace, name, group, outside.get(name, FILE if name in kept else "default"))
            for group, names in GROUPS.items()
            for name in names
        ]
        return SettingsReport(tuple(settings), str(path), _seen(text))

    def change(self, values: Mapping[str, Any], *, seen: str = "") -> SettingsReport:
        """Change settings, all or none; None or "" goes back to the default. They hold in this process at once.

        InputRefused says of each what is wrong (``fields``). Conflict: the environment sets it, or it is changed by who
        sits at the machine only. ChangedMeanwhile: the file is not what it was when it was ``seen``.
        """
        outside = _outside(self._workspace)
        wrong: dict[str, str] = {}
        good: dict[str, Any] = {}
        for name, given in values.items():
            field = Settings.model_fields.get(name)
            if field is None:
                raise InputRefused(
                    f"There is no setting '{name[:80]}'.", remedy="List them: limner settings", thing=name
                )
            fixed = _fixed(self._workspace, name, outside.get(name, ""))
            if fixed:
                raise Conflict(
                    f"{title_of(name)} cannot be changed here. {fixed}", remedy="Change it there.", thing=name
                )
            try:
                good[name] = _value(name, field, given)
            except ValueError as failure:
                wrong[name] = str(failure)
        if wrong:
            raise SettingsRefused(wrong)
        path = self._workspace.home / FILE
        with _alone(self._workspace.home):
            text = _read(path)
            if seen and seen != _seen(text):
                raise ChangedMeanwhile(
                    f"{FILE} was changed since this page was opened, so nothing was changed.",
                    remedy="Look at the settings as they are now, then change them again.",
                    thing=FILE,
                )
            changed = _edited(text, good)
            if changed != text:
                _write(path, changed)
            self._workspace.settings.take(
                {name: _usual(name) if value is None else value for name, value in good.items()}
            )
        return self.report()


def _usual(name: str) -> Any:
    return Settings.model_fields[name].get_default(call_default_factory=True)


# --- one setting ----------------------------------------------------------------------------------------------------


def _setting(workspace: Workspace, name: str, group: str, source: str) -> Setting:
    field = Settings.model_fields[name]
    choices = _choices(name)
    return Setting(
        name=name,
        title=title_of(name),
        description=field.description or "",
        group=group,
        kind="choice" if choices else _kind(field),
        value=_typed(getattr(workspace.settings, name)),
        usual=_typed(_usual(name)),
        source=source,
        fixed=_fixed(workspace, name, source),
        choices=choices,
        restart=name in RESTART,
    )


def _fixed(workspace: Workspace, name: str, source: str) -> str:
    if name == "home":
        return "It is where limner.toml itself is: set LIMNER_HOME."
    if source == "environment":
        return f"The environment variable LIMNER_{name.upper()} sets it, which goes before {FILE}."
    if source == "program":
        return f"The program that uses Limner gave it, which goes before {FILE}."
    if name == "base_paths":
        return f"It has several values: write them into the table [base_paths] of {FILE}."
    if name in FROM_HERE and not workspace.from_here:
        return f"{FROM_HERE[name]}, so it is changed in {FILE} or with `limner settings set`."
    return ""


def _choices(name: str) -> tuple[str, ...]:
    from limner import plugins

    if name == "base":
        return tuple(bases())
    if name == "device":
        return ("auto", "cpu", "cuda", "mps")
    group = f"limner.{name}s"
    return tuple(sorted(plugins.names(group))) if group in plugins.GROUPS else ()


def _kind(field: FieldInfo) -> str:
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else (field.annotation,)
    if bool in kinds:
        return "yes-no"
    if Decimal in kinds:
        return "money"
    return "number" if int in kinds or float in kinds else "text"


def _typed(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps({key: str(one) for key, one in value.items()}) if isinstance(value, dict) else str(value)


def _value(name: str, field: FieldInfo, given: Any) -> Any:
    """The value of a setting, None for the default; ValueError says in words what is wrong."""
    if isinstance(given, str):
        given = given.strip()
        if len(given) > LONGEST or not given.isprintable():
            raise ValueError("That text cannot be used.")
    if given is None or given == "":
        return None
    choices = _choices(name)
    if choices and given not in choices:
        raise ValueError(f"'{str(given)[:80]}' is not one of {', '.join(choices)}.")
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
    try:
        value = adapter.validate_python(given)
    except ValidationError as failure:
        words = failure.errors()[0]["msg"]
        raise ValueError(f"{words}." if not words.endswith(".") else words) from None
    if isinstance(value, Decimal) and (not value.is_finite() or value > Decimal(10**9)):
        raise ValueError("Give a sum of US dollars.")
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) < 2**53:
        raise ValueError("That number is too large.")
    if name in ("public_url", "s3_endpoint", "s3_public_url") or name.endswith("_url"):
        _refuse_no_address(str(value))
    return value


def _refuse_no_address(value: str) -> None:
    if not value.startswith(("https://", "http://")) or " " in value:
        raise ValueError("Give an address that begins with https://.")


# --- where values come from -----------------------------------------------------------------------------------------


def _outside(workspace: Workspace) -> dict[str, str]:
    """The settings that code or the environment sets, and which of the two."""
    found = {
        variable.lower().removeprefix("limner_").partition("__")[0]: "environment"
        for variable in os.environ
        if variable.lower().startswith("limner_")
    }
    found.update(dict.fromkeys(workspace.settings.given, "program"))
    return {name: source for name, source in found.items() if name in Settings.model_fields}


def _parsed(text: str) -> Any:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(text)
    except (TOMLKitError, ValueError) as failure:
        raise InputRefused(
            f"{FILE} is no TOML: {failure}.", remedy="Correct the file in the home folder.", thing=FILE
        ) from failure


def _edited(text: str, values: Mapping[str, Any]) -> str:
    """The file's text with the settings changed in it; a setting at its default leaves it."""
    import tomlkit

    document = _parsed(text)
    tables = [key for key, item in document.items() if isinstance(item, dict)]
    for name, value in values.items():
        if value is None:
            document.pop(name, None)
            continue
        plain = _plain(value)
        if name in document or not tables:
            document[name] = plain
        else:
            # A value that comes after a table would be the table's.
            head = tomlkit.document()
            head.add(name, plain)
            document = tomlkit.parse(head.as_string() + document.as_string())
    return str(document.as_string())


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    # As text, so that no digit is lost.
    return f"{value:f}" if isinstance(value, Decimal) else value


# --- the file -------------------------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as failure:
        raise StorageFailed(
            f"{path} cannot be read.", remedy="Check the file and its permissions.", thing=FILE
        ) from failure


def _seen(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32] if text else NO_FILE


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all; a link goes on pointing to it."""
    path = path.resolve()
    try:
        write_atomically(path, text.encode(), mode=path.stat().st_mode & 0o777 if path.exists() else 0o600)
    except OSError as failure:
        raise StorageFailed(
            f"{path} cannot be written: {failure.strerror}.",
            remedy="Check the disk and the permissions; nothing was changed.",
            thing=FILE,
        ) from failure


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One change at a time, in whatever process."""
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder / "settings.lock", mode=0o600):
        yield
