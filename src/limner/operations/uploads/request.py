"""The request of an intake: files of this machine, or a batch of uploads, that shall become a subject's photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from limner.operations.jobs.request import StageRequest

__all__ = ["IntakeRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeRequest(StageRequest):
    """Photos and captions by absolute paths, because the worker runs elsewhere; or a ``batch`` of uploads."""

    stage: ClassVar[str] = "intake"

    subject: str
    paths: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    batch: str = ""
    replace_captions: bool = False
    captions_from_photos: bool = False
