"""Faces: counted where a package that can do so is installed. Limner ships none, because good ones are large."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from limner import plugins
from limner.errors import LimnerError

__all__ = ["GROUP", "FaceDetector", "FaceFinder", "installed_detector", "look_for_faces"]

GROUP = "limner.face_detectors"
"""The entry point group in which a package names its detector: a callable without arguments that makes one."""

log = logging.getLogger(__name__)


@runtime_checkable
class FaceDetector(Protocol):
    """Counts faces. It is asked by one thread at a time."""

    def count(self, pixels: Any) -> int:
        """How many faces a picture shows, given as an array of height x width x 3 bytes, sRGB and upright."""


@runtime_checkable
class FaceFinder(FaceDetector, Protocol):
    """A detector that also says where the faces are; with it the framing of photos is known."""

    def boxes(self, pixels: Any) -> Sequence[tuple[float, float, float, float]]:
        """Left, top, width and height of each face in pixels of the picture, given as for ``count``."""


def look_for_faces(detector: FaceDetector, pixels: Any) -> tuple[int, tuple[float, float, float, float] | None]:
    """How many faces a picture of height x width x 3 bytes shows, and the largest one's box in shares of the picture.

    The box is None where there is no face, or the detector cannot tell where they are.
    """
    if not isinstance(detector, FaceFinder):
        return int(detector.count(pixels)), None
    boxes = list(detector.boxes(pixels))
    if not boxes:
        return 0, None
    height, width = pixels.shape[:2]
    left, top, across, down = max(boxes, key=lambda box: box[2] * box[3])
    return len(boxes), (
        round(left / width, 4),
        round(top / height, 4),
        round(across / width, 4),
        round(down / height, 4),
    )


def installed_detector() -> FaceDetector | None:
    """The first detector by name that can be loaded; None where there is none."""
    for name in plugins.names(GROUP):
        try:
            detector: FaceDetector = plugins.back_end(GROUP, name)
        except LimnerError as failure:
            log.warning("the face detector %s is left out: %s", name, failure)
        else:
            return detector
    return None
