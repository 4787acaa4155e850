"""The shim: a small detached process that guards one training, outlives its starter, and is never alone in doubt.

It holds the run's lock while it lives, ends an orphaned trainer of an earlier shim, starts the trainer in a process
group of its own, passes a wish to stop on to it, and writes exit.json when the training has ended for good. Ended by
a signal without the user's wish (a machine that shuts down) it writes none: the next start goes on from the checkpoint.

    python -m limner.training.local.shim RUN_DIRECTORY
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from limner.processes import keep_private, python_module
from limner.training.local.run_directory import RunDirectory, end_group, identity_of, reap

__all__ = ["LOST_THE_RACE", "guard_training"]

LOST_THE_RACE = 75
_LOOK_EVERY = 0.1


class _Wish:
    """Set by SIGTERM or SIGINT."""

    stop = False

    def hear(self, *_: object) -> None:
        self.stop = True


def guard_training(run: RunDirectory, grace: float) -> int:
    """Guard one training to its end; gives the exit status of the shim."""
    wish = _Wish()
    signal.signal(signal.SIGTERM, wish.hear)
    signal.signal(signal.SIGINT, wish.hear)
    with run.guard() as held:
        if not held:
            return LOST_THE_RACE
        if run.exit.exists():
            return 0
        reap(run, grace)
        if run.cancel.exists():
            run.write(run.exit, {"state": "cancelled"})
            return 0
        run.remove(run.outcome)
        ending = _run_trainer(run, wish, grace)
        if ending:
            run.write(run.exit, ending)
    return 0


def _run_trainer(run: RunDirectory, wish: _Wish, grace: float) -> dict[str, Any]:
    """Start the trainer, wait for its end; gives what exit.json is to say, or nothing if it can go on later."""
    with run.log.open("ab") as log:
        trainer = subprocess.Popen(
            python_module("limner.training.local.training_process", str(run.folder)),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            process_group=0,
            # threads that wait by spinning made a step 2.5 times as slow where another process used the cores too
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
        )
    identity = identity_of(trainer.pid)
    run.write(run.trainer, {"pid": trainer.pid, "identity": identity})
    # the trainer waits for this line: it does nothing before it can be found again
    with trainer.stdin as gate:  # type: ignore[union-attr]
        try:
            gate.write(b"go\n")
            gate.flush()
        except BrokenPipeError:
            pass
        until: float | None = None
        while trainer.poll() is None:
            time.sleep(_LOOK_EVERY)
            if until is None and (wish.stop or run.cancel.exists()):
                trainer.terminate()
                until = time.monotonic() + grace
            if until is not None and time.monotonic() > until:
                break
    end_group(trainer.pid, identity, 0.0)
    status = trainer.wait()
    outcome = run.read(run.outcome)
    if outcome.get("state") in ("done", "failed"):
        return outcome
    if run.cancel.exists():
        return {"state": "cancelled"}
    if wish.stop:
        return {}
    if outcome.get("state") == "stopped":
        return {}
    return _unexplained(status)


def _unexplained(status: int) -> dict[str, Any]:
    if status == -signal.SIGKILL:
        error = "The training process was killed by the system, most often because memory ran out."
        remedy = "Use a smaller batch size, resolution or rank, or close other programs; then resume."
    else:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        error = f"The training process ended with {how} and gave no reason."
        remedy = "See log.txt in the run directory; resume to try again from the last checkpoint."
    return {"state": "failed", "error": error, "remedy": remedy}


def main() -> int:
    keep_private()
    run = RunDirectory(Path(sys.argv[1]))
    grace = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    # a second fork leaves no zombie behind in the process that started us
    if os.fork():
        return 0
    return guard_training(run, grace)


if __name__ == "__main__":
    sys.exit(main())
