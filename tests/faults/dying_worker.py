"""A worker that kills itself with SIGKILL at the n-th durable moment: a commit, or the renaming of a finished file.

    python dying_worker.py N    N = 0 never dies and prints how many moments there were

The moments are counted before and after each, so that N reaches every gap between two writes.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from sqlalchemy import Engine, event

moments = 0
deadly = int(sys.argv[1])


def moment() -> None:
    global moments
    moments += 1
    if moments == deadly:
        os.kill(os.getpid(), signal.SIGKILL)


@event.listens_for(Engine, "commit")
def before_commit(_connection: Any) -> None:
    moment()


@event.listens_for(Engine, "checkin")
def after_commit(*_: Any) -> None:
    moment()


def around(name: str) -> None:
    original = getattr(os, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        moment()
        result = original(*arguments, **options)
        moment()
        return result

    setattr(os, name, wrapped)


for name in ("replace", "rename", "link"):
    around(name)

if __name__ == "__main__":
    from limner.operations.jobs.worker import work
    from limner.settings import Settings

    work(Settings(), idle_seconds=0.5)
    print(moments, flush=True)
