"""What a durable stage is given: its job, its progress, its cancellation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.types import Progress

__all__ = ["StageContext"]


class StageContext:
    """What a stage is given: the workspace, its job, the results of the stages before it, and the way to report."""

    def __init__(self, workspace: Workspace, job: str, earlier: Mapping[str, Any]) -> None:
        self.workspace = workspace
        self.job = job
        self.earlier = earlier
        self.progress = lifecycle.JobProgress(workspace.database, job)

    def report(self, progress: Progress) -> None:
        """Say how far the stage is."""
        self.progress.report(progress)
