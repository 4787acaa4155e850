"""The local generator: draws on this machine with the engine, one picture at a time, so that a seed is a picture."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limner._version import __version__
from limner.catalog import bases
from limner.errors import Cancelled, InputRefused, LimnerError, LoraRefused, WorkFailed
from limner.findings import refuse, unmet
from limner.generation.checks import LONGEST_PROMPT, MOST_STEPS, check_order
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.metadata.pixels import encode_png
from limner.settings import Settings
from limner.types import BackEnd, Estimate, Finding, LoraUse, Need, Plan, Severity

__all__ = ["LocalGenerator"]

MOST_LORAS = 8
_PARTS = ("torch", "diffusers", "transformers", "peft")
_HASHED_WEIGHTS = 512 * 2**20  # bytes; hashing more would take longer than drawing
_BIG_BASE = 1_000_000_000  # parameters
_GLANCE = 0.05  # seconds between two looks at whether to stop
# Pictures wait here for their turn: two at once would share one pipeline, and stopping one would stop the other.
_easel = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drawing")


class LocalGenerator:
    """Draws with any base on this machine. Picture i of an order has the same pixels alone and among others.

    So it draws one picture at a time: a batch gives other last bits (one grey level in a few pixels on a CPU).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> BackEnd:
        missing = [name for name in _PARTS if find_spec(name) is None]
        return BackEnd(
            name="local",
            title="This machine",
            summary="Draws here, with nothing sent anywhere; on a CPU only limner-tiny is practical.",
            bases=tuple(bases()),
            needs=(Need("torch and diffusers", not missing, "pip install 'limner[local]'"),),
            limits={
                "loras": MOST_LORAS,
                "prompt_characters": LONGEST_PROMPT,
                "steps": MOST_STEPS,
                "pictures_at_once": 1,
                "reproducible": True,
            },
        )

    def check(self, order: GenerationOrder) -> Sequence[Finding]:
        found = check_order(order, most_loras=MOST_LORAS)
        found += unmet(self.describe())
        path = Path(order.base_path)
        if path.is_absolute() and not (path / "model_index.json").is_file():
            message = f"The base '{order.base.id}' is not at {order.base_path}."
            found.append(Finding("base", Severity.REFUSAL, message, "Set its folder in base_paths."))
        if order.base.parameters > _BIG_BASE and not self._has_gpu():
            message = f"{order.base.title} on a CPU takes very long for a picture, if it fits into memory at all."
            found.append(Finding("gpu", Severity.WARNING, message, "Use a GPU or another generator."))
        if order.model or order.extra:
            named = ", ".join([*order.extra, *(["model"] if order.model else [])])
            message = f"The local generator knows no parameter {named}."
            found.append(Finding("extra", Severity.REFUSAL, message, "Leave it out, or name another generator."))
        for use in order.loras:
            try:
                _lora_file(use)
            except LoraRefused as problem:
                found.append(Finding("lora-file", Severity.REFUSAL, problem.message, problem.remedy))
        return found

    def estimate(self, order: GenerationOrder) -> Estimate:
        del order
        return Estimate(note="It is drawn here: nothing is paid.")

    async def plan(self, order: GenerationOrder) -> Plan:
        found = tuple(await asyncio.to_thread(self.check, order))
        return Plan("local", order.base.id, (), self.estimate(order), found)

    def _has_gpu(self) -> bool:
        if self._settings.device == "cpu":
            return False
        return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform == "darwin"

    async def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        """Draw what is not in ``order.done``. Cancelling the task stops at the next denoising step.

        InputRefused: the order cannot be drawn; NotReady: the base is not here; WorkFailed: torch gave up.
        """
        refuse(self.check(order), InputRefused)
        for index in range(order.count):
            if index not in order.done:
                yield await self._in_thread(order, index)

    async def _in_thread(self, order: GenerationOrder, index: int) -> Drawn:
        """Draw in a thread. A thread cannot be cancelled: it is asked to stop, and waited for."""
        if order.base.gated and not Path(order.base_path).is_absolute():
            await asyncio.to_thread(_lend_token, self._settings)
        brush = _Brush(order, index, self._settings.device)
        working = _easel.submit(brush.draw)
        coming = asyncio.wrap_future(working)
        try:
            return await asyncio.shield(coming)
        except asyncio.CancelledError:
            while not (working.cancel() or working.done()):
                brush.stop()
                await asyncio.wait([coming], timeout=_GLANCE)
            await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()  # taken note of: the picture is not wanted any more
            raise


def _lend_token(settings: Settings) -> None:
    """Put the Hub's token, if it is kept elsewhere, into this process's environment, where diffusers looks."""
    if "HF_TOKEN" in os.environ:
        return
    from limner.vendors.huggingface.hub import hub_token

    token = hub_token(settings)
    if token is not None:
        os.environ["HF_TOKEN"] = token.reveal()


class _Brush:
    """One picture being drawn in a thread, which another thread may ask to stop."""

    def __init__(self, order: GenerationOrder, index: int, device: str) -> None:
        self._order, self._index, self._device = order, index, device
        self._guard = threading.Lock()
        self._drawing_with: Any = None
        self._stopped = False

    def stop(self) -> None:
        """Stop at the next denoising step; called again until the thread has ended."""
        with self._guard:
            self._stopped = True
            if self._drawing_with is not None:
                # diffusers looks at this before each step, and passes over the steps that are left
                self._drawing_with._interrupt = True

    def draw(self) -> Drawn:
        try:
            return self._draw()
        except (ImportError, RuntimeError, ValueError, TypeError, OSError, MemoryError) as failure:
            raise _as_failure(failure, self._order) from failure
        finally:
            with self._guard:
                self._drawing_with = None

    def _draw(self) -> Drawn:
        from limner.flux.sampling import draw, kept_pipeline

        order = self._order
        pipeline = kept_pipeline(order.base_path, order.base, device=self._device)
        with self._guard:
            self._drawing_with = pipeline
        self._go_on()
        seed = order.seed + self._index
        started = time.perf_counter()
        picture = draw(
            pipeline,
            order.base,
            order.prompt,
            width=order.width,
            height=order.height,
            steps=order.steps,
            guidance=order.guidance,
            seed=seed,
            # a lora of scale 0 stays out, so that the picture is the base's to the last bit
            loras=[(_lora_file(use), use.scale) for use in order.used],
        )
        seconds = time.perf_counter() - started
        self._go_on()
        return Drawn(
            index=self._index,
            seed=seed,
            data=encode_png(picture),
            media_type="image/png",
            seconds=seconds,
            versions=_versions(pipeline, order.base_path),
        )

    def _go_on(self) -> None:
        if self._stopped:
            raise Cancelled("The drawing was stopped.", thing=self._order.id)


def _as_failure(failure: Exception, order: GenerationOrder) -> LimnerError:
    reason = " ".join(str(failure).split())[:300]
    remedy = "Look into the log."
    if isinstance(failure, MemoryError) or "out of memory" in reason.lower():
        remedy = "Draw a smaller picture, use a smaller base, or free memory."
    return WorkFailed(
        f"Drawing with '{order.base.id}' failed: {reason or type(failure).__name__}", remedy=remedy, thing=order.id
    )


def _lora_file(use: LoraUse) -> Path:
    """The file of a lora; LoraRefused: it is not here, or is no safetensors file (pickles are never loaded)."""
    if use.path is None or not use.path.is_file():
        raise LoraRefused(
            f"The file of the lora {use.name} is not on this machine.",
            remedy="The local generator needs the file itself: import or download it first.",
            thing=use.name,
        )
    with use.path.open("rb") as stream:
        head = stream.read(9)
    size = use.path.stat().st_size
    if len(head) < 9 or head[8:] != b"{" or int.from_bytes(head[:8], "little") > size - 8:
        raise LoraRefused(
            f"The file of the lora {use.name} is no safetensors file, or is cut short.",
            remedy="Only safetensors files are loaded; get the file again.",
            thing=use.name,
        )
    return use.path


def _versions(pipeline: Any, base_path: str) -> dict[str, str]:
    """Everything outside the order that decides the pixels, to the bit."""
    import torch

    device = pipeline.device
    found = {"limner": __version__, "python": platform.python_version()}
    for name in _PARTS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["device"] = str(device)
    found["number_format"] = str(pipeline.dtype).removeprefix("torch.")
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    else:
        found["processor"] = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
        found["threads"] = str(torch.get_num_threads())
    found["sampler"] = type(pipeline.scheduler).__name__
    return found | _weights(base_path)


def _weights(base_path: str) -> dict[str, str]:
    """Which weights of the base: the commit on the Hub, or the digests of the transformer's file and of the others."""
    folder = Path(base_path)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(base_path, "model_index.json")
        return {"revision": Path(found).parent.name} if isinstance(found, str) else {}
    files = {path: path.stat() for path in sorted(folder.glob("*/*.safetensors"))}
    drawing = [path for path in files if path.parent.name == "transformer"]
    if len(drawing) != 1 or sum(stat.st_size for stat in files.values()) > _HASHED_WEIGHTS:
        return {}
    digests = {path: _digest(path, stat.st_mtime_ns) for path, stat in files.items()}
    transformer = digests.pop(drawing[0])
    return {"weights": transformer, "other_weights": _joined(digests.values())}


@lru_cache(maxsize=64)
def _digest(path: Path, _changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _joined(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()
