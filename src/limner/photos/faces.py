"""Faces: counted where a package that can do so is installed. Limner ships none, because good ones are large."""

from __future__ import annotations

import logging
from typing import Any, Protocol, runtime_checkable

from limner import plugins
from limner.errors import LimnerError

__all__ = ["GROUP", "FaceDetector", "installed_detector"]

GROUP = "limner.face_detectors"
"""The entry point group in which a package names its detector: a callable without arguments that makes one."""

log = logging.getLogger(__name__)


@runtime_checkable
class FaceDetector(Protocol):
    """Counts faces. It is asked by one thread at a time."""

    def count(self, pixels: Any) -> int:
        """How many faces a picture shows, given as an array of height x width x 3 bytes, sRGB and upright."""


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
