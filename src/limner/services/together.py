"""Pictures with Together AI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner._version import __version__
from limner.blocking import run_now
from limner.catalog import base_location, find_base
from limner.errors import InputRefused
from limner.findings import refuse
from limner.services.running import settings_of
from limner.settings import Settings

if TYPE_CHECKING:
    pass

__all__ = ["TogetherService"]


class TogetherService:
    """Draws with Together AI."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        from limner.generation.together.generator import TogetherGenerator

        self.settings = settings_of(settings)
        self._generator = TogetherGenerator(settings=self.settings)

    def generate_with_lora(
        self,
        prompt: str,
        loras: Sequence[str] = (),
        *,
        out: str | Path,
        base: str = "",
        model: str = "",
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        count: int = 1,
        extra: Mapping[str, Any] | None = None,
    ) -> list[Path]:
        """Draw ``count`` pictures into the folder ``out``, each with its provenance in it; give the files by index.

        ``loras`` are ``owner/repo`` of the Hub or https addresses, each with ``:0.8`` or without; the base is found
        from their files. A picture that is in ``out`` already is not drawn, or paid, again. InputRefused: a lora does
        not fit the model, or Together cannot get at it; ContentRefused; Undecided: a picture was perhaps paid and never
        came.
        """
        from limner.generation.generator import GenerationOrder
        from limner.operations.generations.submission import parse_lora
        from limner.operations.loras.remote import describe_remote

        named = [parse_lora(words) for words in loras]
        uses = [replace(describe_remote(name, self.settings), scale=scale) for name, scale in named]
        row = find_base(base or next((use.base for use in uses if use.base), "flux2-dev"))
        wanted: dict[str, Any] = {
            "width": width or row.size,
            "height": height or row.size,
            "steps": steps or row.steps,
            "guidance": row.guidance if guidance is None else guidance,
            "seed": seed,
            "model": model,
            "extra": dict(extra or {}),
        }
        identity = json.dumps([prompt, row.id, [[use.url, use.scale] for use in uses], wanted], sort_keys=True)
        folder, name = Path(out).expanduser().absolute(), hashlib.sha256(identity.encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
        files = {index: folder / f"{name}-{index:03d}.png" for index in range(count)}
        order = GenerationOrder(
            id=name,
            prompt=prompt,
            base=row,
            base_path=base_location(row, self.settings.base_paths),
            loras=tuple(uses),
            count=count,
            done=frozenset(index for index, path in files.items() if path.is_file()),
            **wanted,
        )
        if len(order.done) < count:
            run_now(self._draw(order, files))
        return list(files.values())

    async def _draw(self, order: Any, files: Mapping[int, Path]) -> None:
        from limner.generation.metadata import provenance
        from limner.generation.metadata.pixels import opened
        from limner.types import ImageRecord

        refuse((await self._generator.plan(order)).findings, InputRefused)
        async for drawn in self._generator.draw(order):
            with opened(drawn.data) as picture:
                width, height = picture.size
            record = ImageRecord(
                prompt=order.prompt,
                width=width,
                height=height,
                steps=order.steps,
                guidance=order.guidance,
                seed=drawn.seed,
                base=order.base.id,
                generator="together",
                loras=order.loras,
                versions={"limner": __version__, **drawn.versions},
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            signer = self.settings.home if self.settings.sign_images else None
            partial = files[drawn.index].with_suffix(".partial")
            partial.write_bytes(provenance.seal_image(drawn.data, record, credentials=signer))
            partial.replace(files[drawn.index])
