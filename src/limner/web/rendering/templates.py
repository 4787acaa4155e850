"""The templates of the pages: autoescape always on, no undefined names, filters that say sizes, sums and times."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from limner.humanize import spoken
from limner.ignored_files import DEVICE_NAMES
from limner.money.prices import usd
from limner.web.rendering.remedies import for_pages

__all__ = ["STATIC", "STATIC_PATH", "TEMPLATES", "page_templates", "static_url"]

STATIC = Path(str(files("limner.web") / "static"))
STATIC_PATH = "/static"
"""Where the app serves the folder ``STATIC``."""
TEMPLATES = Path(str(files("limner.web") / "templates"))

UNKNOWN = "not known"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@cache
def page_templates() -> Environment:
    """The environment of all templates, one a process: what an app has read and compiled, the next one has too.

    Each page's context must hold ``csrf_token`` (str), where the layout or a form is drawn. Globals: ``static_url``,
    ``csrf_field``, ``device_names``. Filters: ``money``, ``price``, ``duration``, ``when``, ``bytes``, ``number``,
    ``plural``, ``remedy``.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=400,
    )
    made.filters.update(money=money, price=price, duration=duration, when=when, bytes=byte_size)
    made.filters.update(number=number, plural=plural, remedy=for_pages)
    made.globals.update(
        static_url=static_url,
        csrf_field=csrf_field,
        device_names="/".join(map(str.strip, sorted(DEVICE_NAMES))),
    )
    return made


def static_url(path: str) -> str:
    """The address of a file below ``STATIC``, with a digest of its bytes: what has such a ``v`` never changes.

    Raises FileNotFoundError for a file that is not there: for one in ``vendor/``, build the package's assets.
    """
    found = STATIC / path
    state = found.stat()
    return f"{STATIC_PATH}/{path}?v={_file_digest(found, state.st_mtime_ns, state.st_size)}"


@lru_cache(maxsize=512)
def _file_digest(path: Path, _changed: int, _size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pass_context
def csrf_field(context: Context) -> Markup:
    """The hidden field of a POST form. Macros have no context: hand them the field, ``csrf=csrf_field()``."""
    token = context.get("csrf_token")
    if not token:
        raise UndefinedError("A form that posts needs csrf_token in the template's context.")
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)


def money(amount: Decimal | float | None) -> str:
    """US dollars: ``$2.40``, ``$0.0012``, ``$1,204.00``."""
    if amount is None:
        return UNKNOWN
    exact = amount if isinstance(amount, Decimal) else Decimal(str(amount))
    return f"-{usd(-exact)}" if exact < 0 else usd(exact)


def price(amount: Decimal | float | None, certain: bool = True) -> str:
    """What something will cost: ``free``, ``about $2.40``, or ``perhaps $2.40`` where it is a guess."""
    if amount is None:
        return f"price {UNKNOWN}"
    if not amount:
        return "free" if certain else f"price {UNKNOWN}"
    return f"{'about' if certain else 'perhaps'} {money(amount)}"


def duration(seconds: float | None) -> str:
    """``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    return UNKNOWN if seconds is None else spoken(max(0.0, float(seconds)))


def when(at: datetime | None, ago: bool = False) -> Markup:
    """A ``<time>`` in UTC, which a script turns into the reader's own time; ``ago`` lets it say "3 min ago"."""
    if at is None:
        return Markup.escape(UNKNOWN)
    if at.tzinfo is None:
        raise ValueError("A time without a zone cannot be shown.")
    utc = at.astimezone(UTC)
    words = f"{utc.day} {MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"
    return Markup('<time datetime="{}" data-when="{}">{}</time>').format(
        utc.isoformat(timespec="seconds").replace("+00:00", "Z"), "ago" if ago else "at", words
    )


def byte_size(count: int | None) -> str:
    """Bytes in decimal units: ``512 B``, ``3.2 MB``, ``24 GB``."""
    if count is None:
        return UNKNOWN
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:,.0f} {unit}"


def number(value: float | Decimal | None) -> str:
    """A number with its thousands parted: ``20,000``, ``0.0004``."""
    return UNKNOWN if value is None else f"{value:,}"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 photo``, ``3 photos``, ``no photos``; ``many`` where an s is not enough."""
    if count == 1:
        return f"1 {one}"
    return f"{number(count) if count else 'no'} {many or one + 's'}"
