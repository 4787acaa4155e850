"""The whole pipeline as one job: photos in, pictures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.pipeline import generating, intake, jobs, publishing, reading, trainings
from limner.pipeline.workspace import Workspace
from limner.records import Job

__all__ = ["submit"]


def submit(
    workspace: Workspace,
    slug: str,
    paths: Sequence[str | Path],
    prompts: Sequence[str],
    *,
    captions: Sequence[str | Path] = (),
    train: Mapping[str, Any] | None = None,
    freeze: Mapping[str, Any] | None = None,
    publish: Mapping[str, Any] | None = None,
    generate: Mapping[str, Any] | None = None,
    with_base: bool = False,
) -> Job:
    """Enqueue intake, freezing, training, publishing and one generation a prompt, for a subject that exists.

    ``with_base`` also draws every prompt without the lora, for comparison. Options are checked before anything runs.
    """
    with workspace.database.read() as session:
        kind = reading.find_subject_row(session, slug).kind
    training = trainings.request(workspace, subject=slug, kind=kind, **dict(train or {}))
    options = {
        "base": training["base"],
        "resolution": training["recipe"]["resolution"],
        **dict(freeze or {}),
    }
    stages: list[dict[str, Any]] = [
        intake.request(slug, paths, captions),
        {"stage": "freeze", "subject": slug, "options": options},
        training,
        publishing.request(workspace, subject=slug, **dict(publish or {})),
    ]
    drawing = {"base": training["base"], **dict(generate or {})}
    scale = float(drawing.pop("scale", 1.0))
    for prompt in prompts:
        if with_base:
            stages.append(generating.request(workspace, prompt=prompt, **drawing) | {"subject": slug})
        stages.append(generating.request(workspace, prompt=prompt, loras=[("", scale)], **drawing))
    submitter = workspace.submitter
    with workspace.database.write() as session:
        row = jobs.add_job(session, kind="run", stages=stages, subject=slug, target=training["training"])
        submitter.submit(session, row.id, len(stages))
        return reading.to_job(row)
