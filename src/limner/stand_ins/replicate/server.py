"""Replicate as a server on this machine: its routes over its state, and the work done by an engine of ours.

It follows the vendor's published interface on the routes that Limner and the vendor's own SDK use, and keeps its state
in plain attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette

from limner.stand_ins.engine import Engine
from limner.stand_ins.replicate.jobs import draw, make_tar, train
from limner.stand_ins.replicate.routes import routes
from limner.stand_ins.replicate.state import ReplicateState
from limner.stand_ins.replicate.stored import StoredJob

__all__ = ["ReplicateStandIn"]


class ReplicateStandIn(ReplicateState):
    """Replicate with state. ``tokens`` are the accounts by token; ``paid`` has an entry a job that costs.

    Settings for tests, all of which may be changed at any time: ``pace`` is how many seconds a step takes; ``held``
    keeps jobs ``starting`` or in their first step (``processing``) until it is "" again; ``retention`` is after how
    many seconds predictions and deliveries lose their data, ``training_retention`` trainings (None: never);
    ``file_seconds`` how long uploads are kept; ``endings`` are (status, error) for the next jobs instead of their
    work, ``stuck`` as a status leaves one going; ``ignores_private`` makes every model public; ``withdrawn`` are
    models that are gone; ``mixes_private`` lets private models be named as loras; ``change_weights`` and ``make_tar``
    spoil what a training gives; ``plain_webhooks`` allows http; ``per_minute`` are the most creates, and other calls,
    of an account.
    """

    def __init__(self, engine: Engine, *, tokens: Mapping[str, str] | None = None) -> None:
        super().__init__(engine, tokens=tokens)
        self.make_tar = make_tar
        self.app = Starlette(routes=routes(self))

    def work(self, job: StoredJob) -> Any:
        """Train or draw."""
        return train(self, job) if job.kind == "training" else draw(self, job)
