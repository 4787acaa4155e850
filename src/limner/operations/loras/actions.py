"""LoRAs: here, from elsewhere, written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from sqlalchemy import select

from limner.operations.home.facet import Facet
from limner.operations.loras.queries import find_lora_row, lora_record
from limner.options import AdoptOptions
from limner.records import (
    Job,
    Lora,
)
from limner.store.models import (
    LoraRow,
)
from limner.types import TensorNaming

__all__ = ["Loras"]


class Loras(Facet):
    """``studio.loras``: LoRAs: here, from elsewhere, written to files."""

    def all(self, slug: str = "") -> list[Lora]:
        """The loras, newest first."""
        query = select(LoraRow).order_by(LoraRow.id.desc())
        with self._workspace.database.read() as session:
            rows = session.scalars(query.where(LoraRow.subject == slug) if slug else query)
            return [lora_record(self._workspace, row) for row in rows]

    def get(self, name: str) -> Lora:
        """A lora by ``slug`` (newest), ``slug@v2``, or eight or more digits of its digest."""
        with self._workspace.database.read() as session:
            return lora_record(self._workspace, find_lora_row(session, name))

    def export(self, name: str, destination: str | Path, *, naming: TensorNaming | str = "") -> Path:
        """Write a lora to a file or into a folder of yours, as it is or in another tensor naming: kohya or bfl.

        ``original``: the LoKr or LoHa that it came as, byte for byte.
        """
        lora = self.get(name)
        path = Path(destination)
        if path.is_dir():
            path = path / f"{lora.subject}-v{lora.version}.safetensors"
        if naming in ("", lora.naming):
            return self._workspace.blobs.export(lora.digest, path)
        from limner.operations.loras import export as lora_export

        self._workspace.blobs.path(lora.digest)
        if naming == lora_export.ORIGINAL:
            return lora_export.export_original(self._workspace, lora, path)
        return lora_export.export_as(lora, str(naming), path)

    def file(self, name: str) -> Path:
        """The weights of a lora as they are stored, checked; not to be changed. StorageFailed: they are damaged."""
        return self._workspace.blobs.path(self.get(name).digest)

    def adopt(self, source: str | Path, *, subject: str, **options: Unpack[AdoptOptions]) -> Lora:
        """Adopt a LoRA from a file, ``owner/repo`` of the Hugging Face Hub or an https address, as a subject's version.

        What was noticed is in its ``findings``. ``drop_additions`` leaves out what no LoRA can hold: changes of biases
        and whole weights. A LoKr or LoHa becomes the nearest LoRA, of ``rank`` if one is given.
        LoraRefused: it is none for a base that Limner knows; BaseUnclear: it fits several, so name the ``base``. The
        same weights again give the lora that is there.
        Unless ``from_here``, by default the studio's, the source must not be a file or an address of this machine.
        """
        from limner.operations.loras import adopt as importing

        return importing.import_lora(self._workspace, source, importing.Adoption(subject=subject, **options))

    def fetch(self, source: str, *, subject: str, **options: Unpack[AdoptOptions]) -> Job:
        """``adopt`` as a job, for what has to be fetched: ``owner/repo`` of the Hub or an https address.

        It tells how far it is, goes on where it broke off, and its result names the lora. What can be known at once is
        refused at once: names, an address that may not be used, a repo or file that is not there.
        """
        from limner.operations.loras import job as lora_job
        from limner.operations.loras.adopt import Adoption

        return self._started(lora_job.submit(self._workspace, source, Adoption(subject=subject, **options)))

    def inspect(self, path: str | Path, *, base: str = "") -> dict[str, Any]:
        """What a picture or a lora file says of itself, and whether its signature and digests hold. Plain JSON data.

        A lora's ``problem`` says why it cannot be used on ``base``, or on its own base if none is named.
        """
        from limner.operations.loras import inspect as lora_inspection

        return lora_inspection.inspect_file(Path(path), base)
