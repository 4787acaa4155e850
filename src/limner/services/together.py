"""Pictures with Together AI."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.records import Job
from limner.services.hugging_face import studio_in
from limner.settings import Settings
from limner.types import JobState, Severity

__all__ = ["TogetherService"]


class TogetherService:
    """Draws with Together AI. ``folder``: your home if left out."""

    def __init__(self, folder: str | Path = "", *, settings: Settings | None = None) -> None:
        self.studio = studio_in(folder, settings)

    def generate_with_lora(
        self,
        prompt: str,
        loras: Sequence[str] = (),
        *,
        out: str | Path,
        seed: int = 0,
        count: int = 1,
        **options: Any,
    ) -> list[Path]:
        """Draw ``count`` pictures into the folder ``out``, each with its provenance in it; give the files by index.

        ``loras`` are ``owner/repo`` of the Hub or https addresses, each with ``:0.8`` or without; the base is found
        from their files. ``options`` are those of ``studio.generate``. A picture that is in ``out`` already is not
        drawn, or paid, again. What the plan warns of becomes a Python warning. InputRefused: a lora does not fit the
        model, or Together cannot get at it; ContentRefused; Undecided: a picture was perhaps paid and never came.
        """
        order: dict[str, Any] = {**options, "loras": list(loras), "generator": "together"}
        name = hashlib.sha256(json.dumps([prompt, seed, order], sort_keys=True).encode()).hexdigest()[:12]
        folder = Path(out).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{name}-{index:03d}.png" for index in range(count)]
        missing = [index for index in range(count) if not files[index].is_file()]
        if missing:
            self._warn(prompt, {**order, "count": len(missing)})
        # a job a picture, all started before one is waited for: what is missing is drawn and nothing else
        jobs = {index: self._start(f"{name}-{index}", prompt, {**order, "seed": seed + index}) for index in missing}
        for index, job in jobs.items():
            image = self.studio.generations.get(self.studio.wait(job).target).images[0]
            self.studio.generations.save_image(image.id, files[index])
        return files

    def _warn(self, prompt: str, order: dict[str, Any]) -> None:
        for plan in self.studio.generations.start(prompt, what_if=True, **order).plans:
            for finding in plan.findings:
                if finding.severity is Severity.WARNING:
                    warnings.warn(f"{finding.message} {finding.remedy}".strip(), stacklevel=3)

    def _start(self, wish: str, prompt: str, order: dict[str, Any]) -> Job:
        job = self.studio.jobs.once(wish, lambda: self.studio.generate(prompt, yes=True, **{**order, "count": 1}))
        job = self.studio.jobs.get(job.target)
        if job.state.ended and job.state is not JobState.DONE:
            return self.studio.resume(job, yes=True)
        return job
