"""What a worker imports on its way through the pipeline: imported once, in the process that workers are forked from."""

from __future__ import annotations

import importlib

MODULES = (
    "limner.studio",
    "limner.operations.jobs.worker",
    "limner.operations.home.dbos_engine",
    "limner.operations.photos.job",
    "limner.operations.datasets.job",
    "limner.operations.trainings.job",
    "limner.operations.publications.job",
    "limner.operations.generations.job",
    "limner.datasets.packages",
    "limner.training.replicate",
    "limner.training.fal",
    "limner.hubs.huggingface.hub",
    "limner.generation.together.generator",
    "limner.generation.fal.generator",
    "limner.generation.replicate.generator",
    "huggingface_hub",
    "httpx2",
    "PIL.Image",
)

for name in MODULES:
    importlib.import_module(name)
