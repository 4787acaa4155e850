"""LocalTrainer: what the pipeline talks to. Starts, finds again, watches and stops trainings on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limner.catalog import bases
from limner.errors import Conflict, NotReady, StorageFailed, WorkFailed
from limner.findings import unmet
from limner.processes import our_environment, python_module
from limner.settings import Settings
from limner.training.local import log as local_log
from limner.training.local.run_directory import RunDirectory, reap
from limner.training.recipe import canonical_json, problems, validate
from limner.training.trainer import Collected, TrainingOrder, TrainingReport
from limner.types import BackEnd, Estimate, Finding, JobState, Need, Plan, Progress, Severity, TrainingSample

__all__ = ["LocalTrainer"]

_PARTS = ("torch", "diffusers", "transformers", "peft", "safetensors")
_BIG_BASE = 1_000_000_000
_NEEDED = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TEMP|TMP|TZ|LANG|LANGUAGE|LC_\w+|SYSTEMROOT|VIRTUAL_ENV|CONDA_PREFIX|PYTHON\w+"
    r"|LD_LIBRARY_PATH|DYLD_\w+|MALLOC_\w+|XDG_CACHE_HOME|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE"
    r"|(?i:https?|all|no)_(?i:proxy)|HF_(HOME|ENDPOINT|HUB_(CACHE|OFFLINE|(DISABLE|ENABLE|VERBOSITY)\w*))"
    r"|(TRANSFORMERS|DIFFUSERS)_(OFFLINE|CACHE|VERBOSITY)"
    r"|(CUDA|NVIDIA|NCCL|HIP|HSA|ROCR|ROCM|GPU|ZE|TORCH|TORCHINDUCTOR|PYTORCH|TRITON|OMP|KMP|GOMP|MKL|OPENBLAS|ACCELERATE)"
    r"_\w+"
)
"""The variables that a training is given: where things are, and how torch and its libraries compute."""


class LocalTrainer:
    """Trains on this machine, in a process that outlives the caller.

    ``start`` may be called any number of times, by any process: at most one training runs in a run directory, and a
    training that was cut off goes on from its newest checkpoint. ``grace`` is how many seconds a trainer has to write
    a checkpoint when it is stopped.
    """

    def __init__(self, settings: Settings, *, grace: float = 60.0) -> None:
        self.settings = settings
        self.grace = grace

    def describe(self) -> BackEnd:
        missing = [name for name in _PARTS if find_spec(name) is None]
        parts = Need("torch and diffusers", not missing, "pip install 'limner[local]'")
        locks = Need("file locks (Linux, macOS)", os.name == "posix", "Use WSL on Windows.")
        return BackEnd(
            name="local",
            title="This machine",
            summary="Trains here, in a process of its own; on a CPU only limner-tiny is practical.",
            bases=tuple(bases()),
            needs=(parts, locks),
            limits={"resumes": True, "checkpoints": True, "samples": True, "trainings_at_once": 1},
        )

    def check(self, order: TrainingOrder) -> Sequence[Finding]:
        """Find what would make the training fail. A refusal means that it would; a warning that it may be bad."""
        found = unmet(self.describe())
        found += [
            Finding("recipe", Severity.REFUSAL, str(problem), problem.remedy)
            for problem in problems(order.recipe, order.base)
        ]
        found += [
            Finding("extra", Severity.REFUSAL, f"The local trainer knows no setting trainer.{name}.", "Leave it out.")
            for name in order.recipe.extra
        ]
        if Path(order.base_path).is_absolute() and not (Path(order.base_path) / "model_index.json").is_file():
            message = f"The base '{order.base.id}' is not at {order.base_path}."
            found.append(Finding("base", Severity.REFUSAL, message, "Set its folder in base_paths."))
        if not order.manifest.items:
            found.append(Finding("dataset", Severity.REFUSAL, "The dataset is empty.", "Add photos and freeze it."))
        elif order.recipe.batch_size > len(order.manifest.items):
            message = f"The batch of {order.recipe.batch_size} is larger than the {len(order.manifest.items)} photos."
            found.append(Finding("batch", Severity.WARNING, message, "Photos are then repeated within a batch."))
        if order.base.parameters > _BIG_BASE and not self._has_gpu():
            message = f"{order.base.title} on a CPU would take days."
            found.append(Finding("gpu", Severity.WARNING, message, "Use a GPU or another trainer."))
        free = shutil.disk_usage(_existing(order.run_directory)).free
        if free < 200_000_000:
            message = f"Only {free // 1_000_000} MB are free at {order.run_directory}."
            found.append(Finding("disk", Severity.WARNING, message, "Free some space for checkpoints."))
        return found

    def estimate(self, order: TrainingOrder) -> Estimate:
        del order
        return Estimate(note="It trains here: nothing is paid.")

    async def plan(self, order: TrainingOrder) -> Plan:
        found = tuple(await asyncio.to_thread(self.check, order))
        return Plan("local", order.base.id, (), self.estimate(order), found)

    async def start(self, order: TrainingOrder) -> str:
        """Start or find again. RecipeRefused, NotReady or Conflict say why a training cannot be started here."""
        return await asyncio.to_thread(self.start_now, order)

    async def reopen(self, order: TrainingOrder) -> str:
        """Let a cancelled or failed training go on from its newest checkpoint."""
        return await asyncio.to_thread(self.reopen_now, order)

    async def poll(self, order: TrainingOrder, reference: str) -> TrainingReport:
        folder = _folder(order, reference)

        def look() -> TrainingReport:
            report = self.report(folder)
            checkpoints, samples = _made(order)
            return replace(report, checkpoints=checkpoints, samples=samples)

        return await asyncio.to_thread(look)

    async def cancel(self, order: TrainingOrder, reference: str) -> None:
        await asyncio.to_thread(self.cancel_now, _folder(order, reference))

    async def collect(self, order: TrainingOrder, reference: str) -> Collected:
        _folder(order, reference)
        return await asyncio.to_thread(self.collected, order)

    def start_now(self, order: TrainingOrder) -> str:
        """``start`` for code that is not asynchronous."""
        run = RunDirectory(order.run_directory.absolute())
        reference = f"local:{order.id}"
        if run.exit.exists():
            return reference
        self.prepare(order)
        if not (run.dataset / "dataset.jsonl").is_file():
            raise NotReady(
                f"The run directory {run.folder} holds no dataset.",
                remedy="Write the frozen dataset to its dataset/ folder before the training is started.",
                thing=str(run.dataset),
            )
        _forget_drawing()
        until = time.monotonic() + 20
        while not run.exit.exists() and not run.guarded():
            _launch_shim(run, self.grace, _environment(order, self.settings))
            pause = time.monotonic() + 2
            while not run.exit.exists() and not run.guarded() and time.monotonic() < pause:
                time.sleep(0.02)
            if time.monotonic() > until:
                raise WorkFailed(
                    f"The training in {run.folder} cannot be started.", remedy=f"See {run.log}.", thing=order.id
                )
        return reference

    def reopen_now(self, order: TrainingOrder) -> str:
        """``reopen`` for code that is not asynchronous."""
        run = RunDirectory(order.run_directory.absolute())
        with run.guard(self.grace + 1) as held:
            if held and run.read(run.exit).get("state") != JobState.DONE:
                run.remove(run.cancel, run.outcome, run.exit)
        return self.start_now(order)

    def cancel_now(self, folder: Path) -> None:
        """``cancel`` for code that is not asynchronous. Gives no earlier than the training has ended."""
        run = RunDirectory(folder.absolute())
        if run.exit.exists() or not run.folder.is_dir():
            return
        run.write(run.cancel, {})
        # the shim looks for the wish several times a second; without a shim we do what it would have done
        with run.guard(self.grace + 10) as held:
            if held and not run.exit.exists():
                reap(run, self.grace)
                run.write(run.exit, {"state": JobState.CANCELLED.value})

    def report(self, folder: Path) -> TrainingReport:
        """Where the training of a run directory is."""
        run = RunDirectory(folder.absolute())
        ending = run.read(run.exit)
        guarded = not ending and run.guarded()
        # the end may have come between the two looks
        ending = ending or run.read(run.exit)
        lines = run.newest_lines()
        steps = [line for line in lines if "step" in line]
        step, newest = steps[-1] if steps else {}, lines[-1] if lines else {}
        total = step.get("total") or run.read(run.order).get("recipe", {}).get("steps", 0)
        state = JobState.RUNNING if guarded else JobState(ending.get("state", JobState.WAITING))
        progress = Progress(
            stage="training",
            done=step.get("step", 0),
            total=total,
            unit="steps",
            rate=step.get("rate"),
            seconds_left=step.get("seconds_left") if state is JobState.RUNNING else None,
            loss=step.get("loss"),
            message=newest.get("phase", "training") if state is JobState.RUNNING and newest else "",
        )
        return TrainingReport(
            state,
            progress,
            ending.get("error", ""),
            ending.get("remedy", ""),
            losses=_curve(steps, "loss"),
            rates=_curve(steps, "lr"),
            log=local_log.shown(run, lines, failed=state is JobState.FAILED),
        )

    def collected(self, order: TrainingOrder) -> Collected:
        """``collect`` for code that is not asynchronous. Conflict: it has not ended well."""
        run = RunDirectory(order.run_directory.absolute())
        if run.read(run.exit).get("state") != JobState.DONE or not run.weights.is_file():
            raise Conflict(
                f"The training {order.id} has no result yet: it is {self.report(run.folder).state.value}.",
                remedy="Wait for its end, or resume it.",
                thing=order.id,
            )
        checkpoints, samples = _made(order)
        steps = [line for line in run.progress_lines() if "step" in line]
        return Collected(
            run.weights,
            losses=_curve(steps, "loss"),
            rates=_curve(steps, "lr"),
            samples=samples,
            checkpoints=checkpoints,
        )

    def prepare(self, order: TrainingOrder) -> None:
        """Write order.json once; a run directory that belongs to another order is a Conflict."""
        run = RunDirectory(order.run_directory.absolute())
        validate(order.recipe, order.base)
        identity = {
            "base": order.base.id,
            "dataset": order.manifest.digest,
            "recipe": json.loads(canonical_json(order.recipe)),
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        written = run.read(run.order)
        if written:
            if written.get("id") != order.id or written.get("digest") != digest:
                raise Conflict(
                    f"The run directory {run.folder} belongs to the training {written.get('id')}.",
                    remedy="Give each training a run directory of its own.",
                    thing=order.id,
                )
            return
        base: dict[str, Any] = {**asdict(order.base), "shape": dict(order.base.shape)}
        content = {
            "id": order.id,
            "digest": digest,
            "base": base,
            "base_path": order.base_path,
            "recipe": identity["recipe"],
            "sample_prompts": list(order.sample_prompts),
            "device": self.settings.device,
            "metadata": _metadata(order),
        }
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            run.write(run.order, content)
        except OSError as failure:
            raise StorageFailed(
                f"The run directory {run.folder} cannot be written: {failure.strerror}.",
                remedy="Free some space or correct its permissions.",
                thing=str(run.folder),
            ) from failure

    def _has_gpu(self) -> bool:
        if self.settings.device == "cpu":
            return False
        return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform == "darwin"


def _metadata(order: TrainingOrder) -> Mapping[str, str]:
    """What the lora's header says of its making; plain strings."""
    return {
        "limner.version": version("limner"),
        "limner.base": order.base.id,
        "limner.base_repo": order.base.repo,
        "limner.trigger": order.manifest.subject.trigger,
        "limner.class_word": order.manifest.subject.class_word,
        "limner.dataset": order.manifest.digest,
        "limner.recipe": canonical_json(order.recipe),
        "limner.licence": order.base.licence_name,
    }


def _curve(steps: Sequence[Mapping[str, Any]], what: str) -> tuple[tuple[int, float], ...]:
    """(step, value) pairs of the lines; of a step that was done again after a crash the last one counts."""
    return tuple(sorted({line["step"]: line[what] for line in steps if what in line}.items()))


def _made(order: TrainingOrder) -> tuple[tuple[tuple[int, Path], ...], tuple[TrainingSample, ...]]:
    """The checkpoints and samples that are there by now; each is there whole or not at all."""
    run = RunDirectory(order.run_directory.absolute())
    checkpoints = tuple((_step(path), path / "weights.safetensors") for path in sorted(run.checkpoints.glob("step-*")))
    samples = []
    for path in sorted(run.samples.glob("step-*.png"), key=lambda p: (_step(p), _index(p))):
        prompt = order.sample_prompts[_index(path)] if _index(path) < len(order.sample_prompts) else ""
        samples.append(TrainingSample(_step(path), prompt, path))
    return checkpoints, tuple(samples)


def _forget_drawing() -> None:
    """Free the pipeline that this process last drew with: the training needs its memory."""
    sampling = sys.modules.get("limner.flux.sampling")
    if sampling is not None:
        sampling.forget_pipeline()


def _environment(order: TrainingOrder, settings: Settings) -> dict[str, str]:
    """What the training needs of this process's environment: no secret but the Hub's token, for a gated base."""
    found = {name: value for name, value in our_environment().items() if _NEEDED.fullmatch(name)}
    if not order.base.gated or Path(order.base_path).is_absolute():
        return found
    from limner.vendors.huggingface.hub import hub_token

    token = hub_token(settings)
    return {**found, "HF_TOKEN": token.reveal()} if token is not None else found


def _launch_shim(run: RunDirectory, grace: float, environment: Mapping[str, str]) -> None:
    with run.log.open("ab") as log:
        subprocess.run(
            python_module("limner.training.local.shim", str(run.folder), str(grace)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=dict(environment),
            check=False,
        )


def _folder(order: TrainingOrder, reference: str) -> Path:
    if reference != f"local:{order.id}":
        raise Conflict(f"'{reference}' is no training of order {order.id} by the local trainer.", thing=order.id)
    return order.run_directory


def _step(path: Path) -> int:
    return int(path.name.removesuffix(".png").split("-")[1])


def _index(path: Path) -> int:
    return int(path.name.removesuffix(".png").split("-")[2])


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)
