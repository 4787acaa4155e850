"""What a worker imports on its way through the pipeline: imported once, in the process that workers are forked from."""

from __future__ import annotations

import importlib

MODULES = (
    "limner.studio",
    "limner.pipeline.worker",
    "limner.pipeline.durable",
    "limner.pipeline.intake",
    "limner.pipeline.freezing",
    "limner.pipeline.training_stage",
    "limner.pipeline.publishing",
    "limner.pipeline.drawing_stage",
    "limner.datasets.packages",
    "limner.training.replicate",
    "limner.training.fal",
    "limner.hubs.huggingface",
    "limner.generation.together",
    "limner.generation.fal",
    "limner.generation.replicate",
    "huggingface_hub",
    "httpx2",
    "PIL.Image",
)

for name in MODULES:
    importlib.import_module(name)
