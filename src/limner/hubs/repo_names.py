"""Names of repos, tags and pictures on a hub: the rules of the Hugging Face Hub, for every hub, checked before use."""

from __future__ import annotations

import re

from limner.errors import NameRefused

__all__ = ["check_picture_name", "check_repo", "check_tag", "is_revision"]

LONGEST_PART = 96
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_TAG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?")
_PICTURE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}\.(?:png|jpg|jpeg|webp)")
_REVISION = re.compile(r"[0-9a-f]{40}")


def check_repo(repo: str) -> tuple[str, str]:
    """Split ``owner/name``; NameRefused where the Hub would not take it either (this includes every path trick)."""
    parts = repo.split("/")
    sound = len(parts) == 2 and all(len(part) <= LONGEST_PART and _PART.fullmatch(part) for part in parts)
    if not sound or "--" in repo or ".." in repo or repo.endswith(".git"):
        raise NameRefused(
            f"'{repo[:120]}' is not the name of a repo.",
            remedy="Use owner/name, each of at most 96 letters (a to z), digits, '-', '_' and '.', with no '-' or '.' "
            "at an end of either, no '--' or '..', and not ending in .git.",
            thing=repo[:120],
        )
    return parts[0], parts[1]


def check_tag(tag: str) -> str:
    """A tag such as v1; NameRefused where it could be mistaken for a branch or a revision."""
    if not _TAG.fullmatch(tag) or ".." in tag or tag.endswith(".lock") or tag.lower() == "main" or is_revision(tag):
        raise NameRefused(
            f"'{tag[:80]}' cannot be a tag.",
            remedy="Use letters, digits, '.', '-' and '_', such as v1.",
            thing=tag[:80],
        )
    return tag


def check_picture_name(name: str) -> str:
    """A picture's file name under images/; NameRefused for anything but a plain name with a picture's ending."""
    if not _PICTURE.fullmatch(name) or ".." in name:
        raise NameRefused(
            f"'{name[:80]}' cannot be the name of a sample picture.",
            remedy="Use a plain name that ends in .png, .jpg, .jpeg or .webp.",
            thing=name[:80],
        )
    return name


def is_revision(text: str) -> bool:
    """Whether the text is a full revision: 40 lower-case hexadecimal digits."""
    return _REVISION.fullmatch(text) is not None
