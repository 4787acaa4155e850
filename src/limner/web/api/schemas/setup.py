"""What there is: bases, back ends, accounts and the doctor's report."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from limner.types import Family, Reach
from limner.web.api.schemas.plain import Answer, Body, Money, PlainData

__all__ = [
    "Account",
    "BackEnd",
    "BackEnds",
    "Base",
    "Check",
    "Doctor",
    "Index",
    "Need",
    "Price",
    "VendorToken",
    "Verification",
    "VerifyFinding",
    "VerifyWish",
]


class Index(Answer):
    """The API: the version of Limner, and where the parts are."""

    version: str
    openapi: str
    docs: str
    resources: list[str]


class Base(Answer):
    """A model that loras belong to; sizes are pixels."""

    id: str
    title: str
    family: Family
    repo: str
    licence: str
    licence_name: str
    licence_url: str
    commercial_use: bool
    gated: bool
    parameters: int
    text_encoders: list[str]
    text_tokens: list[int]
    max_text_tokens: int
    guidance_embedded: bool
    steps: int
    guidance: float
    size: int
    size_multiple: int
    size_min: int
    size_max: int
    resolutions: list[int]
    source: str
    as_of: str
    notes: str = ""


class Need(Answer):
    """Something that a back end needs before it can work."""

    name: str
    met: bool
    how_to_get: str


class Price(Answer):
    """How a back end charges, in US dollars; ``certain`` is false where the vendor publishes no price."""

    model: str
    amount: Money
    source: str = ""
    as_of: str = ""
    certain: bool = True


class BackEnd(Answer):
    """What a trainer, hub, generator or captioner says of itself. ``ready``: all its needs are met."""

    name: str
    title: str
    summary: str
    bases: list[str]
    sees_photos: str
    price: Price
    needs: list[Need]
    limits: PlainData = Field(default_factory=dict)
    vendor: str = ""
    reach: list[Reach]
    package: str = ""
    models: list[str] = Field(default_factory=list)
    ready: bool


class BackEnds(Answer):
    """The back ends that are installed, by what they are."""

    back_ends: dict[str, list[BackEnd]]


class Account(Answer):
    """An account at a vendor. ``where`` says where its token was found, "" for nowhere; the token is never shown.

    ``ok`` is null where nobody asked the vendor.
    """

    vendor: str
    title: str
    where: str
    ok: bool | None = None
    who: str = ""
    scope: str = ""
    problem: str = ""
    remedy: str = ""


class VendorToken(Body):
    """A vendor's token, to be kept in the keyring of the system that Limner runs on."""

    token: str = Field(min_length=1, max_length=1_000)


class Check(Answer):
    """One line of the doctor's report; ``state`` is ok, missing or problem."""

    area: str
    name: str
    state: str
    detail: str
    remedy: str = ""


class Doctor(Answer):
    """What is installed and what is missing. ``HOME`` stands for the home folder."""

    version: str
    healthy: bool
    checks: list[Check]


class VerifyWish(Body):
    """What a verification should do. ``remove_stray``: delete files that belong to nothing."""

    remove_stray: bool = False


class VerifyFinding(Answer):
    """Something that does not hold; ``problem`` is damaged, missing or stray, ``used_by`` what depends on it."""

    problem: str
    what: str
    name: str
    used_by: list[str]
    remedy: str


class Verification(Answer):
    """What verifying the home found; ``HOME`` stands for it. ``sound``: nothing is damaged or missing."""

    job: str
    ended_at: datetime
    files: int
    bytes: int
    counts: dict[str, int]
    sound: bool
    findings: list[VerifyFinding]
