"""The hub that is a folder."""

from limner.hubs.folder.hub import FolderHub

__all__ = ["FolderHub"]
