"""Checkpoints: everything that the next step depends on, in safetensors and JSON, a folder a step, whole or absent.

``step-000100/weights.safetensors`` is itself a usable lora; ``optimizer.safetensors`` holds Adam's two moments and the
moving average; ``state.json`` the step, what the run was, and the digests of both.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from limner.atomic_file import sync_folder, write_atomically
from limner.errors import Conflict
from limner.flux.safetensors_file import write_safetensors

__all__ = ["Checkpoints"]

log = logging.getLogger(__name__)

_KEPT_OPTIMIZERS = 2
_WEIGHTS, _OPTIMIZER = "weights.safetensors", "optimizer.safetensors"


class Checkpoints:
    """The checkpoints of one training in one folder. ``run`` names the training; another run's are refused."""

    def __init__(self, folder: Path, run: str, metadata: Mapping[str, str]) -> None:
        self.folder = folder
        self.run = run
        self.metadata = dict(metadata)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def folder_of(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.folder / f"step-{step:06d}"

    def save(
        self,
        step: int,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.AdamW,
        average: Mapping[str, Tensor],
    ) -> Path:
        """Write the checkpoint after ``step`` steps; gives its folder. OSError leaves the earlier ones untouched."""
        target = self.folder_of(step)
        if target.exists():
            return target
        temporary = self.folder / f".step-{step:06d}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            write_safetensors(temporary / _WEIGHTS, average or parameters, self.metadata)
            inner = {f"average.{name}": tensor for name, tensor in average.items()}
            for name, parameter in parameters.items():
                inner[f"current.{name}"] = parameter.detach()
                for moment in ("exp_avg", "exp_avg_sq"):
                    inner[f"{moment}.{name}"] = optimizer.state[parameter][moment]
            write_safetensors(temporary / _OPTIMIZER, inner, {})
            state = {
                "step": step,
                "run": self.run,
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "sha256": {name: _digest(temporary / name) for name in (_WEIGHTS, _OPTIMIZER)},
            }
            write_atomically(temporary / "state.json", json.dumps(state, sort_keys=True).encode())
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(self.folder)
        for old in self.steps()[:-_KEPT_OPTIMIZERS]:
            (self.folder_of(old) / _OPTIMIZER).unlink(missing_ok=True)
        return target

    @torch.no_grad()
    def restore(
        self, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW, average: dict[str, Tensor]
    ) -> int:
        """Bring everything to the newest checkpoint that can be read whole; gives its step, 0 where there is none.

        Later ones that cannot be read are removed: their steps are trained again and saved anew.
        """
        damaged: list[Path] = []
        for step in reversed(self.steps()):
            folder = self.folder_of(step)
            try:
                state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
                for name, digest in state.get("sha256", {}).items():
                    if _digest(folder / name) != digest:
                        raise ValueError(f"{name} is not as it was written")
                tensors = load_file(folder / _OPTIMIZER)
                parts = {
                    part: {name: tensors[f"{part}.{name}"] for name in parameters}
                    for part in ("current", "exp_avg", "exp_avg_sq", *(["average"] if average else []))
                }
                foreign = state["run"] != self.run
            except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as failure:
                log.warning("The checkpoint %s is damaged (%s): an earlier one is taken.", folder.name, failure)
                damaged.append(folder)
                continue
            if foreign:
                raise Conflict(
                    f"The checkpoint {folder.name} belongs to another dataset, recipe or base.",
                    remedy="Start this training in a run directory of its own.",
                    thing=str(folder),
                )
            for name, parameter in parameters.items():
                parameter.copy_(parts["current"][name])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step), device=parameter.device),
                    "exp_avg": parts["exp_avg"][name].to(parameter.device),
                    "exp_avg_sq": parts["exp_avg_sq"][name].to(parameter.device),
                }
            for name in average:
                average[name].copy_(parts["average"][name])
            _remove(damaged)
            return step
        _remove(damaged)
        return 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)
