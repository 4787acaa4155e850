"""The doctor: what is installed, what would be used, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping

from limner import plugins
from limner._version import __version__
from limner.catalog import base_location, bases, find_base
from limner.errors import LimnerError
from limner.operations.home import accounts
from limner.operations.home.worker_lock import worker_lives
from limner.operations.home.worker_start import last_failure
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.queries import last_verification
from limner.records import Check, DoctorReport
from limner.settings import Settings
from limner.store.home import open_to_others
from limner.types import BackEnd
from limner.vendors.secrets.tokens import has_token

__all__ = ["back_ends", "examine"]

LOW_DISK = 5 * 10**9
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


def back_ends(settings: Settings) -> Mapping[str, tuple[BackEnd, ...]]:
    """What every installed back end says of itself, by kind; one that cannot be loaded is left out."""
    found: dict[str, tuple[BackEnd, ...]] = {}
    for group in plugins.GROUPS:
        described = []
        for name in plugins.names(group):
            try:
                described.append(plugins.back_end(group, name, settings=settings).describe())
            except LimnerError:
                continue
        found[group.removeprefix("limner.")] = tuple(described)
    return found


def _parts() -> list[Check]:
    checks = []
    for name, extra in PARTS.items():
        try:
            checks.append(Check("installed", name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            wanted = f"limner[{extra}]" if extra else "limner"
            checks.append(Check("installed", name, "missing", "not installed", f"pip install '{wanted}'"))
    return checks


def _device() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(
            "machine", "device", "missing", "no torch, so nothing can be drawn here", "pip install 'limner[local]'"
        )
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("machine", "device", "ok", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        return Check("machine", "device", "ok", "Apple GPU (mps)")
    return Check(
        "machine",
        "device",
        "ok",
        f"CPU, {os.cpu_count()} cores: enough for limner-tiny; FLUX.1 and FLUX.2 want a GPU",
    )


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


def _defaults(settings: Settings) -> list[Check]:
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
            about: BackEnd = plugins.back_end(f"limner.{kind}s", name, settings=settings).describe()
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


def _broken(settings: Settings) -> list[Check]:
    """Back ends that are installed and cannot be loaded; other people's may be."""
    checks = []
    for group in plugins.GROUPS:
        for name in plugins.names(group):
            try:
                plugins.back_end(group, name, settings=settings)
            except LimnerError as failure:
                kind = group.removeprefix("limner.").removesuffix("s")
                checks.append(Check("broken back ends", f"{kind} {name}", "missing", failure.message, failure.remedy))
    return checks


def examine(workspace: Workspace, *, live: bool = False) -> DoctorReport:
    """Look at this machine, the data, the accounts and the back ends; ``live``: the vendors are asked about the tokens.

    Secrets are never shown, only where they are.
    """
    settings = workspace.settings
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    checks = [
        *_defaults(settings),
        Check("machine", "system", "ok", system),
        _device(),
        *_home(workspace),
        *_parts(),
        *_broken(settings),
        *_bases(workspace),
        *accounts.checks(settings, live),
    ]
    return DoctorReport(__version__, workspace.home, tuple(checks), back_ends(settings))
