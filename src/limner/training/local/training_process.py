"""The training process: reads order.json, trains, and says in outcome.json how it ended.

    python -m limner.training.local.training_process RUN_DIRECTORY

It waits for one line on standard input before doing anything: its guard writes it once the process is on record.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from limner.errors import Cancelled, LimnerError, WorkFailed
from limner.processes import keep_private
from limner.training.local.progress_log import Log
from limner.training.local.run_directory import RunDirectory

__all__ = ["main"]


class _Wish:
    """Set by SIGTERM: finish this step, write a checkpoint, end."""

    stop = False

    def hear(self, *_: object) -> None:
        self.stop = True


def main() -> int:
    keep_private()
    run = RunDirectory(Path(sys.argv[1]))
    wish = _Wish()
    signal.signal(signal.SIGTERM, wish.hear)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stdin.readline() != "go\n":
        return 0
    try:
        from limner.training.local.work import train_order

        train_order(run, Log(run), lambda: wish.stop)
        outcome: dict[str, Any] = {"state": "done"}
    except Cancelled:
        outcome = {"state": "stopped"}
    except BaseException as failure:
        traceback.print_exc()
        error = explain(failure)
        outcome = {"state": "failed", "error": error.message, "remedy": error.remedy}
    try:
        run.write(run.outcome, outcome)
    except OSError:
        traceback.print_exc()
        return 28 if outcome["state"] != "done" else 1
    return 0


def explain(failure: BaseException) -> LimnerError:
    """An error in plain words for whatever stopped a training."""
    if isinstance(failure, LimnerError):
        return failure
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return WorkFailed(
            "The disk is full: the training could not write its results.",
            remedy="Free some space and resume; the last checkpoint is kept.",
        )
    text = " ".join(str(failure).split())[:300]
    if isinstance(failure, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return WorkFailed(
            f"Memory ran out while training: {text or 'no details'}.",
            remedy="Use a smaller batch size, resolution or rank, and gradient accumulation instead of the batch.",
        )
    return WorkFailed(
        f"The training stopped with {type(failure).__name__}: {text}",
        remedy="See log.txt in the run directory; resume to try again from the last checkpoint.",
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # torch's threads need no farewell
    os._exit(code)
