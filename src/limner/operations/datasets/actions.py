"""Photos, captions and crops, frozen."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from limner.operations.datasets.queries import find_dataset_row, to_dataset
from limner.operations.home.facet import Facet
from limner.records import (
    Dataset,
)
from limner.store.models import (
    DatasetRow,
)

__all__ = ["Datasets"]


class Datasets(Facet):
    """``studio.datasets``: photos, captions and crops, frozen."""

    def freeze(
        self,
        slug: str,
        *,
        base: str = "",
        resolution: int | None = None,
        template: str = "",
        captioner: str = "",
        allow_few: bool = False,
    ) -> Dataset:
        """Freeze the subject's photos, captions and crops. The same content gives the same dataset."""
        from limner.operations.datasets import job as dataset_job

        options = dataset_job.FreezeOptions(
            base=base, resolution=resolution, template=template, captioner=captioner, allow_few=allow_few
        )
        return dataset_job.freeze(self._workspace, slug, options)

    def all(self, slug: str = "") -> list[Dataset]:
        """The frozen datasets, newest first."""
        query = select(DatasetRow).order_by(DatasetRow.created_at.desc())
        with self._workspace.database.read() as session:
            rows = session.scalars(query.where(DatasetRow.subject == slug) if slug else query)
            return [to_dataset(row) for row in rows]

    def get(self, name: str) -> Dataset:
        """A dataset by its digest (six digits will do), or a subject's newest by its slug."""
        with self._workspace.database.read() as session:
            return to_dataset(find_dataset_row(session, name))

    def package(self, dataset: str, layout: str, destination: str | Path, *, zipped: bool = False) -> Path:
        """Write a dataset in a trainer's layout (replicate, fal, kohya, ai-toolkit, diffusers); give its path.

        ``zipped`` makes one zip also of the layouts that are folders.
        """
        from limner.datasets.packages import package

        manifest, path = self.get(dataset).manifest, self._workspace.blobs.path
        return package(layout, manifest, path, Path(destination), zipped=zipped).path

    def crop_sheet(self, dataset: str, destination: str | Path) -> Path:
        """Draw each photo of a dataset with its crop, bucket and caption into one picture."""
        from limner.datasets import sheet

        path, manifest = Path(destination), self.get(dataset).manifest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sheet.crop_sheet(manifest, self._workspace.blobs.path))
        return path
