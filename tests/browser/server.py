"""``limner serve`` as a process, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import PATIENCE

__all__ = ["Server"]


class Server:
    """A server of one home. ``stop`` and ``start`` again is a restart at the same address."""

    def __init__(self, home: Path, *, arguments: tuple[str, ...] = (), environment: Mapping[str, str] = {}) -> None:
        self.home = home
        self.url = ""
        self._arguments = arguments
        self._environment = {
            **os.environ,
            "LIMNER_HOME": str(home),
            "LIMNER_WORKER_IDLE_SECONDS": "5",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log = home.parent / f"{home.name}-server.log"

    def start(self) -> Server:
        """Start it, and wait until it says where it is."""
        port = self.url.rpartition(":")[2] or "0"
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "limner", "serve", "--no-browser", "--port", port, *self._arguments],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._process = process
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                found = re.search(r"http://\S+?:\d+", line)
                if found:
                    self.url = found[0]
                    break
            else:
                raise AssertionError(f"the server did not start: {self._log.read_text()[-2000:]}")
        finally:
            timer.cancel()
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it by a signal; SIGKILL for a crash."""
        if self._process is None:
            return
        os.killpg(self._process.pid, number)
        self._process.wait(PATIENCE)
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text() if self._log.exists() else ""
