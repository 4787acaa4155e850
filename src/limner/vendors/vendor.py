"""What a vendor is: one declaration, from which accounts, checks, refusals, limits and settings all come.

Ours are the ``VENDOR`` of each room's ``vendor.py``; other packages name theirs as entry points of ``limner.vendors``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from limner.errors import InputRefused
from limner.settings import Settings
from limner.vendors.http.answers import Answer

__all__ = ["Request", "TokenReport", "Vendor", "fields", "find_vendor", "mapping", "vendors", "word"]

log = logging.getLogger(__name__)


class TokenReport(NamedTuple):
    """What a vendor says of a token: whose it is, what it may do in words, and what is wrong with that."""

    who: str = ""
    scope: str = ""
    problem: str = ""
    remedy: str = ""


Request = Callable[..., Awaitable[Answer]]
"""``VendorClient.request`` with the token in question."""


async def _unchecked(request: Request, settings: Settings) -> TokenReport:  # noqa: ARG001
    """For a vendor that has no call which costs nothing."""
    return TokenReport(scope="not known before it is used")


@dataclass(frozen=True, slots=True)
class Vendor:
    """A company that is paid by the call: its account, where it answers, how often it may be called.

    ``variables`` hold the token, the first goes before the others; ``token_file`` is where a program of the vendor's
    keeps it. ``page`` is where a token is made, ``scope`` says what it must be allowed. ``addresses`` are the settings
    that say where it answers, with its own addresses; the first is the one meant if none is named. ``check`` asks by a
    call that costs nothing whose token it is. ``rate`` calls a second are usual, ``burst`` at once. ``refusals`` are
    statuses above 499 whose JSON body proves that a paid call was not taken. ``attempts``: how often a call that may be
    sent again is sent in all.
    """

    name: str
    title: str
    variables: tuple[str, ...] = ()
    page: str = ""
    scope: str = ""
    used_for: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Request, Settings], Awaitable[TokenReport]] = _unchecked
    scheme: str = "Bearer"
    rate: float = 8.0
    burst: int = 16
    refusals: frozenset[int] = frozenset({503})
    attempts: int = 6
    token_file: Callable[[], Path] | None = None

    def address(self, settings: Settings, name: str = "") -> str:
        """Where it answers, by the settings."""
        name = name or next(iter(self.addresses))
        own = self.addresses[name]
        return str(getattr(settings, name) if name in Settings.model_fields else settings.vendor_urls.get(name, own))

    def setting(self, name: str) -> str:
        """The setting, or the entry of a setting, that says one of its addresses."""
        return name if name in Settings.model_fields else f"vendor_urls__{name}"

    def variable(self, name: str = "") -> str:
        """The variable of the environment that sets one of its addresses."""
        name = name or next(iter(self.addresses), "")
        return f"LIMNER_{self.setting(name).upper()}" if name else "the address in the settings"


def fields(*names: str) -> dict[str, str]:
    """Addresses that are settings of their own, as ours are; those of others stand in the setting ``vendor_urls``."""
    return {name: str(Settings.model_fields[name].default) for name in names}


@cache
def vendors() -> Mapping[str, Vendor]:
    """All vendors by name, ours first."""
    found: dict[str, Vendor] = {}
    for path in sorted(Path(__file__).parent.glob("*/vendor.py")):
        vendor: Vendor = import_module(f"limner.vendors.{path.parent.name}.vendor").VENDOR
        found[vendor.name] = vendor
    for point in entry_points(group="limner.vendors"):
        try:
            found.setdefault(point.name, point.load())
        except Exception:  # whatever a stranger's module may raise, the others are there
            log.exception("The vendor '%s' cannot be loaded.", point.name)
    return found


def find_vendor(name: str) -> Vendor:
    """The vendor of that name. InputRefused: there is none."""
    try:
        return vendors()[name]
    except KeyError:
        raise InputRefused(
            f"There is no vendor '{name}'.", remedy=f"Known are: {', '.join(vendors())}.", thing=name
        ) from None


def mapping(value: Any) -> Mapping[str, Any]:
    """A part of an answer that should be a JSON object; empty if it is none."""
    return value if isinstance(value, Mapping) else {}


def word(body: Mapping[str, Any], name: str) -> str:
    """A name in an answer, in one line; empty if it is none."""
    value = body.get(name)
    return " ".join(value.split())[:100] if isinstance(value, str) else ""
