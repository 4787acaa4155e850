"""The request of a training: what a job keeps of it from its submission until its weights are a lora."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import PlainSerializer, PlainValidator

from limner.operations.jobs.request import StageRequest
from limner.training.recipe import Recipe, from_mapping, plain

__all__ = ["TrainRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest(StageRequest):
    """One training. ``dataset`` is "" where an earlier stage of the job freezes it."""

    stage: ClassVar[str] = "train"

    subject: str
    training: str
    base: str
    trainer: str
    recipe: Annotated[Recipe, PlainValidator(from_mapping), PlainSerializer(plain)]
    dataset: str = ""
    sample_prompts: tuple[str, ...] = ()
