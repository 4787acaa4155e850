"""The accounts that Limner can use: where a token is looked for and made, and the least that it must be allowed."""

from __future__ import annotations

from dataclasses import dataclass

from limner.errors import InputRefused

__all__ = ["VENDOR_ACCOUNTS", "AccountReport", "VendorAccount", "vendor_account"]


@dataclass(frozen=True, slots=True)
class VendorAccount:
    """One vendor. ``variables`` are looked up in this order; ``scope`` says in words what the token must be allowed.

    ``addresses`` are the settings that say where it answers.
    """

    name: str
    title: str
    variables: tuple[str, ...]
    page: str
    scope: str
    used_for: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccountReport:
    """What is known of an account. ``place`` says where the token is, "" if there is none.

    ``ok`` is None if the vendor was not asked; ``refused``: it was, and does not accept the token. ``who`` is the
    account's name there, ``scope`` what the token may do, in words. ``problem`` and ``remedy`` may be there although
    the token is good, where it may not do all.
    """

    vendor: str
    title: str
    place: str
    ok: bool | None = None
    who: str = ""
    scope: str = ""
    problem: str = ""
    remedy: str = ""
    refused: bool = False


VENDOR_ACCOUNTS: dict[str, VendorAccount] = {
    account.name: account
    for account in (
        VendorAccount(
            "huggingface",
            "Hugging Face",
            ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
            "https://huggingface.co/settings/tokens",
            "A fine-grained token with 'Write access to contents/settings of all repos under your personal namespace' "
            "and, for FLUX.1-dev and other gated bases, 'Read access to contents of all public gated repos you can "
            "access'; for pictures by Inference Providers also 'Make calls to Inference Providers'.",
            "publishing loras, gated bases, Inference Providers",
            ("huggingface_url",),
        ),
        VendorAccount(
            "replicate",
            "Replicate",
            ("REPLICATE_API_TOKEN",),
            "https://replicate.com/account/api-tokens",
            "Tokens there may do all that the account may. Make one for Limner alone, so that it can be revoked alone, "
            "and set a spending limit for the account.",
            "training, pictures",
            ("replicate_url",),
        ),
        VendorAccount(
            "fal",
            "fal",
            ("FAL_KEY",),
            "https://fal.ai/dashboard/keys",
            "A key of scope API; ADMIN is not needed. It has the form id:secret; both parts are wanted.",
            "training, pictures",
            ("fal_queue_url", "fal_rest_url", "fal_api_url"),
        ),
        VendorAccount(
            "together",
            "Together AI",
            ("TOGETHER_API_KEY",),
            "https://api.together.ai/settings/api-keys",
            "A key of a project of its own, so that it can be revoked alone; the account is prepaid, which limits what "
            "can be spent.",
            "pictures",
            ("together_url",),
        ),
    )
}


def vendor_account(name: str) -> VendorAccount:
    """The account of a vendor. InputRefused: there is no such vendor."""
    try:
        return VENDOR_ACCOUNTS[name]
    except KeyError:
        known = ", ".join(VENDOR_ACCOUNTS)
        raise InputRefused(f"There is no vendor '{name}'.", remedy=f"Known are: {known}.", thing=name) from None
