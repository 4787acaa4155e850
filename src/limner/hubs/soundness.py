"""Whether a package can be published at all, looked at before any hub is touched."""

from __future__ import annotations

import hashlib
from pathlib import Path

from limner.errors import InputRefused, NotFound, StorageFailed
from limner.hubs.card import card_header
from limner.hubs.hub import LoraPackage
from limner.hubs.repo_names import check_picture_name

__all__ = ["check_package", "check_weights", "file_sha256"]


def check_package(package: LoraPackage) -> None:
    """NotFound: the weights are not there. InputRefused: a picture's name or the card cannot be used."""
    if not package.weights.is_file():
        raise NotFound(f"There is no file {package.weights} to publish.", remedy="Check the lora.")
    for name in package.samples:
        check_picture_name(name)
    if len({name.casefold() for name in package.samples}) < len(package.samples):
        raise InputRefused("Two sample pictures have names that differ only in case.", remedy="Rename one of them.")
    if not card_header(package.card).get("base_model"):
        raise InputRefused(
            "The model card names no base_model in its header, so nobody could tell what the lora fits.",
            remedy="Make the card with limner.hubs.card.model_card.",
        )


def check_weights(package: LoraPackage) -> None:
    """StorageFailed: the weights are not those of the package's digest."""
    found = file_sha256(package.weights)
    if found != package.weights_digest:
        raise StorageFailed(
            f"The weights at {package.weights} have the digest {found}, not {package.weights_digest}.",
            remedy="The file was changed or damaged; publish the lora again from its original.",
        )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
