"""What of this machine an assistant may read: the folders that the user named when the server was started, no more.

An assistant may have been talked into asking for anything. So a path is looked at as it is in the end, after links, and
whatever lies elsewhere gets one answer, whether it is there or not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from limner.errors import InputRefused

__all__ = ["Folders"]

MOST_ENTRIES = 200_000
"""Files and folders that are looked through for links."""


class Folders:
    """The folders that may be read; ``home``, with all data of everybody, never is. Without any nothing is."""

    def __init__(self, folders: Sequence[str | Path], home: Path) -> None:
        self._home = home.resolve()
        self._folders = tuple(_folder(Path(one).expanduser()) for one in folders)

    def path_of(self, said: str) -> Path:
        """A file or folder that may be read. InputRefused: it lies elsewhere, or leads there; or it is a pattern."""
        if not self._folders:
            raise InputRefused(
                "No folder of this machine may be read by an assistant.",
                remedy="The user names one when the server is started: limner mcp --photos FOLDER.",
                thing="paths",
            )
        if "\0" in said:
            raise self._elsewhere(said)
        path = Path(said).expanduser()
        if not path.is_absolute() or ".." in path.parts:
            raise self._elsewhere(said)
        try:
            found = path.resolve()
        except (OSError, RuntimeError):
            raise self._elsewhere(said) from None
        if not self._holds(found) or not self._is_shown(found):
            raise self._elsewhere(said)
        if not os.path.exists(found):  # noqa: PTH110 - also False for a name that is too long
            raise InputRefused(
                f"There is no file or folder {said[:200]!r}.",
                remedy="Name it as it is: patterns are not read here.",
                thing="paths",
            )
        # What stands beside a file may be its caption.
        self._refuse_ways_out(found if found.is_dir() else found.parent, deep=found.is_dir())
        return found

    def _holds(self, found: Path) -> bool:
        return any(found.is_relative_to(one) for one in self._folders) and not found.is_relative_to(self._home)

    def _is_shown(self, found: Path) -> bool:
        """Whether no part below the folder is hidden: keys and settings are."""
        return any(
            not any(part.startswith(".") for part in found.relative_to(one).parts)
            for one in self._folders
            if found.is_relative_to(one)
        )

    def _refuse_ways_out(self, folder: Path, *, deep: bool) -> None:
        left = MOST_ENTRIES
        for root, folders, files in os.walk(folder):
            for name in (*folders, *files):
                path = Path(root, name)
                if (left := left - 1) < 0 or (path.is_symlink() and not self._holds(path.resolve())):
                    raise InputRefused(
                        f"{folder.name!r} holds links that lead out of it, or too much to look through.",
                        remedy="The user takes them away, or names a folder with nothing but photos.",
                        thing="paths",
                    )
                if path == self._home:
                    raise self._elsewhere(str(folder))
            if not deep:
                return

    def _elsewhere(self, said: str) -> InputRefused:
        names = ", ".join(str(one) for one in self._folders)
        return InputRefused(
            f"{said[:200]!r} is not in a folder that an assistant may read.",
            remedy=f"Name whole paths in {names}; the user names more with: limner mcp --photos FOLDER.",
            thing="paths",
        )


def _folder(path: Path) -> Path:
    try:
        found = path.resolve(strict=True)
    except OSError:
        found = path
    if not found.is_dir():
        raise InputRefused(f"There is no folder {path}.", remedy="Name a folder with photos.", thing="photos")
    return found
