"""Where else a base can be drawn, by the catalog, with the price: what a refusal names instead of leaving it at no."""

from __future__ import annotations

from limner.catalog.hosted import VENDORS, HostedModel, find_hosted
from limner.money.prices import price_of
from limner.types import Base

__all__ = ["elsewhere", "price_words"]

_UNITS = {
    "per_run": "a picture",
    "per_second": "a second of work",
    "per_step": "a step",
    "per_megapixel": "a megapixel",
    "per_megapixel_step": "a megapixel",
}


def price_words(row: HostedModel) -> str:
    """What a row costs in words, such as ``about $0.035 a megapixel``; a guess says so."""
    price = price_of(row)
    if price.model == "free":
        return "free"
    words = f"${price.amount.normalize():f} {_UNITS.get(price.model, 'a run')}"
    return words if price.certain else f"about {words}"


def elsewhere(base: Base, *, besides: str = "", model: str = "") -> str:
    """A sentence that names every other hosted model that draws loras of a base, and this machine.

    ``besides`` is the vendor that refused; its other rows are named too, but not the ``model`` refused.
    """
    found = [
        f"--generator {vendor} ({row.model}, {price_words(row)})"
        for vendor in VENDORS
        for row in find_hosted(vendor, "generate", base=base.id)
        if not row.withdrawn and not (vendor == besides and row.model == model)
    ]
    # One row a vendor is enough to go on with; the table of routes has them all.
    firsts = list({words.partition(" (")[0]: words for words in reversed(found)}.values())[::-1]
    return f"What draws {base.id} now: {', '.join([*firsts, '--generator local'])}. See: limner routes --base {base.id}"
