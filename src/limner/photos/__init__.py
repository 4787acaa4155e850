"""Stage 1, photos: files, folders, zips and globs into upright sRGB photos without metadata, each with a report.

``find_sources`` lists what is there, ``take_in`` decodes, checks and stores it, in order and on all cores. Read
``intake`` first; ``sources`` and ``archives`` find files, ``formats`` and ``decoding`` open them, ``measures`` and
``checks`` look at them, ``seen`` compares them, ``storing`` writes them. Importing this loads no picture library.
"""

from __future__ import annotations

from limner.photos.intake import IntakeResult, Outdone, take_in
from limner.photos.quality.duplicates import KnownPhoto
from limner.photos.quality.faces import FaceDetector, installed_detector
from limner.photos.reading.limits import IntakeLimits
from limner.photos.reading.sources import Source, Sources, find_sources

__all__ = [
    "FaceDetector",
    "IntakeLimits",
    "IntakeResult",
    "KnownPhoto",
    "Outdone",
    "Source",
    "Sources",
    "find_sources",
    "installed_detector",
    "take_in",
]
