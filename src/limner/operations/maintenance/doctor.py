"""The doctor: what is installed, what would be used, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future

from limner import plugins
from limner._version import __version__
from limner.catalog import base_location, bases, find_base
from limner.errors import LimnerError
from limner.operations.home import accounts
from limner.operations.home.worker_start import last_failure, worker_lives
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.queries import last_verification
from limner.processes import our_environment, python_code
from limner.records import Check, DoctorReport
from limner.store.home import open_to_others
from limner.types import BackEnd
from limner.vendors.secrets.tokens import has_token

__all__ = ["back_ends", "examine"]

LOW_DISK = 5 * 10**9
SECONDS = 60.0
"""What has said nothing by then is itself a line of the report."""
ASK_TORCH = """
import torch
if torch.cuda.is_available():
    print(f"{torch.cuda.get_device_name(0)}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB")
elif torch.backends.mps.is_available():
    print("Apple GPU (mps)")
"""
PARTS = {
    "torch": "local",
    "diffusers": "local",
    "transformers": "local",
    "peft": "local",
    "accelerate": "local",
    "pyvips": "",
    "pillow-heif": "",
    "c2pa-python": "",
    "dbos": "",
}


def back_ends(workspace: Workspace) -> Mapping[str, tuple[BackEnd, ...]]:
    """What every installed back end says of itself, by kind; one that cannot be loaded is left out."""
    return _back_ends(workspace)[0]


def _back_ends(workspace: Workspace) -> tuple[Mapping[str, tuple[BackEnd, ...]], list[Check]]:
    """All of them, and a line for each that cannot be loaded; other people's may be such."""
    found: dict[str, tuple[BackEnd, ...]] = {}
    broken = []
    for group in plugins.GROUPS:
        kind, described = group.removeprefix("limner."), []
        for name in plugins.names(group):
            try:
                described.append(workspace.back_ends.of(group, name).describe())
            except LimnerError as failure:
                title = f"{kind.removesuffix('s')} {name}"
                broken.append(Check("broken back ends", title, "missing", failure.message, failure.remedy))
        found[kind] = tuple(described)
    return found, broken


def _parts() -> list[Check]:
    checks = []
    for name, extra in PARTS.items():
        try:
            checks.append(Check("installed", name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            wanted = f"limner[{extra}]" if extra else "limner"
            checks.append(Check("installed", name, "missing", "not installed", f"pip install '{wanted}'"))
    return checks


def _system() -> Check:
    words = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return Check("machine", "system", "ok", words)


def _device() -> Check:
    try:
        without_gpu = importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return Check(
            "machine", "device", "missing", "no torch, so nothing can be drawn here", "pip install 'limner[local]'"
        )
    # torch takes seconds and hundreds of megabytes to load, which a server would keep: a process of its own is asked.
    found = "" if without_gpu else _ask_torch()
    if found is None:
        remedy = "Install it again: pip install --force-reinstall torch"
        return Check("machine", "device", "problem", "torch is installed and cannot be loaded", remedy)
    cpu = f"CPU, {os.cpu_count()} cores: enough for limner-tiny; FLUX.1 and FLUX.2 want a GPU"
    return Check("machine", "device", "ok", found or cpu)


def _ask_torch() -> str | None:
    """The GPU that torch finds, "" for none; None: torch cannot be loaded, or says nothing in time."""
    command = python_code(ASK_TORCH)
    try:
        answer = subprocess.run(
            command, env=our_environment(), capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _home(workspace: Workspace) -> list[Check]:
    free = shutil.disk_usage(workspace.home).free
    words = f"{free / 1e9:.0f} GB free in {workspace.home}"
    return [
        Check("data", "disk", "ok", words)
        if free > LOW_DISK
        else Check("data", "disk", "problem", words, "Free some space, or set LIMNER_HOME to a larger disk."),
        Check("data", "database", "ok", f"schema {workspace.database.version()}, {workspace.database.path}"),
        _private(workspace),
        _verified(workspace),
        _worker(workspace),
        Check("data", "log", "ok", str(workspace.log_file)),
    ]


def _verified(workspace: Workspace) -> Check:
    found = last_verification(workspace)
    if found is None:
        return Check("data", "files", "missing", "never verified", "Read them all again: limner verify")
    day = f"{found.ended_at:%Y-%m-%d}"
    if found.sound:
        return Check("data", "files", "ok", f"{found.files} files were sound on {day}")
    lost = ", ".join(f"{count} {problem}" for problem, count in found.counts.items() if problem != "stray")
    return Check("data", "files", "problem", f"{lost}, found on {day}", "See which, and what to do: limner verify")


def _private(workspace: Workspace) -> Check:
    if not (open_entries := open_to_others(workspace.home)):
        return Check("data", "private", "ok", "only you can read it")
    shown = ", ".join(entry.name for entry in open_entries)
    message = f"other users of this machine can get at {shown} in {workspace.home}"
    return Check("data", "private", "problem", message, "Set LIMNER_HOME to a folder of your own: chmod has no effect.")


def _worker(workspace: Workspace) -> Check:
    if worker_lives(workspace.home):
        return Check("data", "worker", "ok", "at work now")
    if why := last_failure(workspace.home):
        return Check("data", "worker", "problem", why, f"Mend what it names; the whole log: {workspace.log_file}")
    return Check("data", "worker", "ok", "starts by itself when there is something to do")


def _bases(workspace: Workspace) -> list[Check]:
    checks = []
    for base in bases().values():
        own = workspace.settings.base_paths.get(base.id)
        page = f"https://huggingface.co/{base.repo}"
        if own is not None:
            there = (own / "model_index.json").is_file()
            state, remedy = ("ok", "") if there else ("problem", "Point LIMNER_BASE_PATHS at a pipeline folder.")
            checks.append(Check("bases", base.id, state, str(own) if there else f"no pipeline in {own}", remedy))
        elif base.repo.startswith("package:"):
            checks.append(Check("bases", base.id, "ok", "ships with Limner"))
        elif not base.gated:
            checks.append(Check("bases", base.id, "ok", "fetched from the Hugging Face Hub on first use"))
        elif has_token("huggingface", workspace.settings):
            checks.append(Check("bases", base.id, "ok", f"gated; its terms must be accepted at {page}"))
        else:
            checks.append(
                Check(
                    "bases",
                    base.id,
                    "missing",
                    "gated",
                    f"Accept its terms at {page}, then: limner login huggingface (or set HF_TOKEN).",
                )
            )
    return checks


def _defaults(workspace: Workspace) -> list[Check]:
    settings = workspace.settings
    checks = []
    try:
        base_location(find_base(settings.base), settings.base_paths)
        checks.append(Check("used by default", "base", "ok", settings.base))
    except LimnerError as failure:
        checks.append(
            Check("used by default", "base", "problem", failure.message, failure.remedy or "Set LIMNER_BASE.")
        )
    for kind, name in (("trainer", settings.trainer), ("hub", settings.hub), ("generator", settings.generator)):
        try:
            about: BackEnd = workspace.back_ends.of(f"limner.{kind}s", name).describe()
        except LimnerError as failure:
            remedy = f"{failure.remedy} Set LIMNER_{kind.upper()} to another."
            checks.append(Check("used by default", kind, "problem", failure.message, remedy))
            continue
        unmet = [need for need in about.needs if not need.met]
        lacks = f"; lacks {', '.join(need.name for need in unmet)}" if unmet else ""
        remedy = " ".join(need.how_to_get for need in unmet)
        state = "problem" if unmet else "ok"
        checks.append(Check("used by default", kind, state, f"{about.name}: {about.title}{lacks}", remedy))
    return checks


Probe = tuple[str, Callable[[], Sequence[Check]]]


def _side_by_side(probes: Sequence[Probe]) -> Iterator[Check]:
    """The lines of all probes, in their order and each as soon as it is known; one that hangs holds up no other."""
    running = [(area, _begin(probe)) for area, probe in probes]
    end = time.monotonic() + SECONDS
    for area, answer in running:
        try:
            yield from answer.result(max(0.0, end - time.monotonic()))
        except TimeoutError:
            yield Check(area, "answer", "problem", f"none within {SECONDS:.0f} s", "Look again: limner doctor")


def _begin(probe: Callable[[], Sequence[Check]]) -> Future[Sequence[Check]]:
    """Run it in a thread that nobody waits for when the program ends, unlike a pool's."""
    answer: Future[Sequence[Check]] = Future()

    def work() -> None:
        try:
            answer.set_result(probe())
        except BaseException as failure:
            answer.set_exception(failure)

    threading.Thread(target=work, name="limner-doctor", daemon=True).start()
    return answer


def examine(
    workspace: Workspace, *, live: bool = False, tell: Callable[[Check], object] = lambda _: None
) -> DoctorReport:
    """Look at this machine, the data, the accounts and the back ends; ``live``: the vendors are asked about the tokens.

    ``tell`` is given each line as soon as it is known. Secrets are never shown, only where they are.
    """
    settings = workspace.settings
    ends, broken = _back_ends(workspace)
    checks = []
    for check in _side_by_side(
        (
            ("used by default", lambda: _defaults(workspace)),
            ("data", lambda: _home(workspace)),
            ("installed", _parts),
            ("broken back ends", lambda: broken),
            ("bases", lambda: _bases(workspace)),
            ("machine", lambda: [_system()]),
            ("machine", lambda: [_device()]),
            ("accounts", lambda: accounts.checks(settings, live)),
        )
    ):
        tell(check)
        checks.append(check)
    return DoctorReport(__version__, workspace.home, tuple(checks), ends)
