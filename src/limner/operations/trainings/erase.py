"""What erasing takes of a subject's trainings."""

from __future__ import annotations

from sqlalchemy import Select, select

from limner.operations.home.blob_erasure import Kind
from limner.operations.home.erasure_scope import ErasureScope
from limner.store.models import CheckpointRow, CurvePointRow, SampleRow, TrainingRow

__all__ = ["SCOPE"]


def _of(slug: str) -> Select[str]:
    return select(TrainingRow.id).where(TrainingRow.subject == slug)


SCOPE = ErasureScope(
    rows=(TrainingRow, CheckpointRow, CurvePointRow, SampleRow),
    counted={"trainings": _of},
    on_disk=(Kind.FOLDER, _of),
)
