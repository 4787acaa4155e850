"""What the actions of each noun stand on."""

from __future__ import annotations

from typing import Any, overload

from limner.operations.home.workspace import Workspace
from limner.records import Job, WhatIf

__all__ = ["Facet"]


class Facet:
    """The actions of one noun in a home, as one user or everybody sees it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @overload
    def _started(self, made: Job) -> Job: ...
    @overload
    def _started(self, made: Job | WhatIf) -> Any: ...
    def _started(self, made: Job | WhatIf) -> Any:
        if isinstance(made, Job):
            self._workspace.ensure_worker()
        return made
