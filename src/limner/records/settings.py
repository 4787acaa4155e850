"""The settings as a person sees them: what each is for, what it is now, and where that comes from."""

from __future__ import annotations

from dataclasses import dataclass

from limner.wire import shows

__all__ = ["Setting", "SettingsReport"]


@shows("variable")
@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``value`` and ``usual`` (the default) are as they are typed, "" for none.

    ``kind`` is ``text``, ``number``, ``money``, ``yes-no`` or ``choice``, of ``choices``. ``source`` is ``default``,
    ``limner.toml``, ``environment``, ``.env`` or ``program``. ``fixed`` says why it cannot be changed, "" if it can be.
    ``restart``: a server that runs goes on with the old value until it is started again.
    """

    name: str
    title: str
    description: str
    group: str
    kind: str
    value: str
    usual: str
    source: str
    fixed: str = ""
    choices: tuple[str, ...] = ()
    restart: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"LIMNER_{self.name.upper()}"


@dataclass(frozen=True, slots=True)
class SettingsReport:
    """All settings in the order of their groups. ``seen`` is the state of the file that they were read from."""

    settings: tuple[Setting, ...]
    file: str
    seen: str

    def __getitem__(self, name: str) -> Setting:
        return next(one for one in self.settings if one.name == name)

    @property
    def groups(self) -> list[tuple[str, list[Setting]]]:
        """The settings by their groups."""
        names = list(dict.fromkeys(one.group for one in self.settings))
        return [(name, [one for one in self.settings if one.group == name]) for name in names]
