"""A back end at a vendor as data: what it says of itself is this, the catalog's rows, and whether there is a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limner.catalog.hosted import HostedModel, find_hosted
from limner.money.prices import price_of
from limner.settings import Settings
from limner.types import BackEnd, Need, Price, Reach
from limner.vendors.secrets.tokens import has_token

__all__ = ["Hosted"]


@dataclass(frozen=True, slots=True)
class Hosted:
    """What trainers and generators at vendors have in common.

    ``account`` is what the user needs there, ``login`` how to get it. ``asks_list``: the vendor's own list says what it
    offers now, so that rows which the catalog calls withdrawn are kept in mind.
    """

    vendor: str
    does: Literal["train", "generate"]
    title: str
    summary: str
    sees_photos: str
    account: str
    login: str
    limits: Mapping[str, Any] = field(default_factory=dict)
    reach: tuple[Reach, ...] = (Reach.FILE,)
    package: str = ""
    asks_list: bool = False

    def rows(self, base: str = "", model: str = "") -> list[HostedModel]:
        """The rows of the catalog, what was withdrawn last."""
        return find_hosted(self.vendor, self.does, base=base, model=model)

    def describe(self, settings: Settings) -> BackEnd:
        rows = self.rows()
        offered = [row for row in rows if not row.withdrawn]
        named = rows if self.asks_list else offered
        return BackEnd(
            name=self.vendor,
            title=self.title,
            summary=self.summary,
            bases=tuple(dict.fromkeys(row.base for row in named)),
            sees_photos=self.sees_photos,
            price=price_of(offered[0]) if offered else Price("per_run", certain=False),
            needs=(Need(self.account, has_token(self.vendor, settings), self.login),),
            limits=self._limits(offered),
            vendor=self.vendor,
            reach=self.reach,
            package=self.package,
            models=tuple(dict.fromkeys(row.model for row in named)),
        )

    def _limits(self, offered: list[HostedModel]) -> Mapping[str, Any]:
        if self.does == "train":
            return self.limits
        most = {
            "loras": max((row.most_loras for row in offered), default=0),
            "steps": max((row.most_steps for row in offered), default=0),
        }
        return {**most, **self.limits}
