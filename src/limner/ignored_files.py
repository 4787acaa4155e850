"""What is passed over on the way to photos: one rule for folders, zips, uploads and globs.

It looks at names only, and only at what lies below the thing that the user named: that itself is taken as meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

__all__ = ["CAPTIONS", "DEVICE_NAMES", "is_cache", "is_device_name", "is_hidden", "is_placeholder", "lies_beside"]

CAPTIONS = (".txt", ".caption", ".csv", ".tsv", ".jsonl", ".json")
_NOTES = (".md", ".toml", ".yaml", ".yml", ".xml", ".xmp", ".aae", ".html", ".htm", ".log", ".ini", ".db")
_CACHES = (".npz", ".npy", ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pkl", ".h5", ".parquet", ".arrow")

DEVICE_NAMES = frozenset(
    {
        "@eadir",
        "@tmp",
        "@recycle",
        "@recently-snapshot",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "found.000",
        ".ds_store",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "__macosx",
        "icon\r",
        "network trash folder",
        "temporary items",
        "lost+found",
        "lost.dir",
        "zbthumbnail.info",
    }
)
"""Folders and files that NAS boxes, Windows, macOS, Linux and Android write beside photos, folded to lower case."""


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a path below what was named has a part that begins with a dot or that a device or system wrote.

    A file that iCloud has put off the disk is called ``.NAME.icloud``: that one is a photo, which is to be fetched.
    """
    if parts and is_placeholder(parts[-1]):
        parts = parts[:-1]
    # "." and ".." are no names: a path that leads out is refused for that
    return any((part.startswith(".") and part.strip(".")) or is_device_name(part) for part in parts)


def is_device_name(part: str) -> bool:
    """Whether a device or system gave the file or folder its name."""
    return part.casefold() in DEVICE_NAMES


def is_placeholder(name: str) -> bool:
    """Whether a file stands for one that iCloud keeps elsewhere."""
    return name.startswith(".") and name.casefold().endswith(".icloud")


def is_cache(name: str) -> bool:
    """Whether a file holds numbers that a trainer or program made: latents, embeddings, weights."""
    return PurePath(name).suffix.lower() in _CACHES


def lies_beside(name: str) -> bool:
    """Whether a file lies beside photos and is none by its ending: captions, notes, settings, caches."""
    return PurePath(name).suffix.lower() in (*CAPTIONS, *_NOTES, *_CACHES)
