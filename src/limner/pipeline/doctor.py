"""The doctor: what is installed, what would be used, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping

from limner import __version__, plugins
from limner.catalog import bases
from limner.errors import LimnerError
from limner.pipeline.worker import worker_lives
from limner.pipeline.workspace import Workspace
from limner.records import Check, DoctorReport
from limner.settings import Settings
from limner.types import BackEnd

__all__ = ["back_ends", "examine"]

LOW_DISK = 5 * 10**9
ACCOUNTS = {
    "Hugging Face": ("HF_TOKEN", "Make a token at https://huggingface.co/settings/tokens and set HF_TOKEN."),
    "Replicate": ("REPLICATE_API_TOKEN", "Make a token at https://replicate.com/account/api-tokens and set it."),
    "fal": ("FAL_KEY", "Make a key at https://fal.ai/dashboard/keys and set FAL_KEY."),
    "Together AI": ("TOGETHER_API_KEY", "Make a key at https://api.together.ai/settings/api-keys and set it."),
}
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
    checks = [
        Check("data", "disk", "ok", words)
        if free > LOW_DISK
        else Check("data", "disk", "problem", words, "Free some space, or set LIMNER_HOME to a larger disk."),
        Check("data", "database", "ok", f"schema {workspace.database.version()}, {workspace.database.path}"),
        Check(
            "data",
            "worker",
            "ok",
            "at work now" if worker_lives(workspace.home) else "starts by itself when there is something to do",
        ),
        Check("data", "log", "ok", str(workspace.log_file)),
    ]
    return checks


def _bases(workspace: Workspace) -> list[Check]:
    checks = []
    for base in bases().values():
        own = workspace.settings.base_paths.get(base.id)
        if base.repo.startswith("package:"):
            checks.append(Check("bases", base.id, "ok", "ships with Limner"))
        elif own is not None:
            there = (own / "model_index.json").is_file()
            state, remedy = ("ok", "") if there else ("problem", "Point it at a pipeline in diffusers layout.")
            checks.append(Check("bases", base.id, state, str(own), remedy))
        else:
            gate = "gated: accept its terms and set HF_TOKEN" if base.gated else "fetched from the Hub on first use"
            checks.append(Check("bases", base.id, "ok" if not base.gated else "missing", gate, base.repo))
    return checks


def examine(workspace: Workspace) -> DoctorReport:
    """Look at this machine, the data, the accounts and the back ends. Secrets are never shown, only whether set."""
    settings = workspace.settings
    checks = [
        Check(
            "machine", "system", "ok", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        )
    ]
    checks.append(_device())
    checks += _home(workspace) + _parts() + _bases(workspace)
    for vendor, (variable, remedy) in ACCOUNTS.items():
        there = bool(os.environ.get(variable))
        checks.append(
            Check(
                "accounts",
                vendor,
                "ok" if there else "missing",
                f"{variable} is {'set' if there else 'not set'}",
                "" if there else remedy,
            )
        )
    described = back_ends(settings)
    defaults = {
        "trainers": settings.trainer,
        "hubs": settings.hub,
        "generators": settings.generator,
    }
    for kind, name in defaults.items():
        about = next((end for end in described.get(kind, ()) if end.name == name), None)
        if about is None:
            checks.append(
                Check(
                    "would be used",
                    kind[:-1],
                    "problem",
                    f"'{name}' is not installed",
                    f"Set LIMNER_{kind[:-1].upper()}.",
                )
            )
            continue
        unmet = [need for need in about.needs if not need.met]
        checks.append(
            Check(
                "would be used",
                kind[:-1],
                "problem" if unmet else "ok",
                f"{about.name}: {about.title}" + "".join(f"; lacks {need.name}" for need in unmet),
                " ".join(need.how_to_get for need in unmet),
            )
        )
    checks.append(Check("would be used", "base", "ok", settings.base))
    return DoctorReport(__version__, workspace.home, tuple(checks), described)
