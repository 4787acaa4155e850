"""The rows: SQLAlchemy models for the words of the design. Blobs are named by digest; JSON holds frozen plain data."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Numeric, String, Text, UniqueConstraint, text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime, TypeDecorator

__all__ = [
    "LARGEST",
    "BlobRow",
    "CheckpointRow",
    "ConsentRow",
    "CurvePointRow",
    "DatasetPhotoRow",
    "DatasetRow",
    "ErasureRow",
    "GenerationLoraRow",
    "GenerationRow",
    "GenerationSubjectRow",
    "ImageRow",
    "IntakeRow",
    "IntentRow",
    "JobRow",
    "LedgerRow",
    "LoraOriginalRow",
    "LoraRow",
    "PhotoRow",
    "PublicationRow",
    "Row",
    "SampleRow",
    "SubjectRow",
    "TrainingRow",
    "now",
]

TABLE_PREFIX = "limner_"
LARGEST = 2**63 - 1
"""The largest number that a column holds; the driver takes no larger one, not even to look for it."""


def now() -> datetime:
    """The time as rows keep it: aware, UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Row(DeclarativeBase):
    """The root of all rows."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        Decimal: Numeric(14, 6),
    }


Digest = String(64)
Slug = String(64)
Ident = String(64)


FIRST_ADMIN = text("(SELECT name FROM limner_users WHERE admin ORDER BY created_at, name LIMIT 1)")
"""Who owns what was made without saying for whom, as on the command line; nobody where there are no users."""


def _owner() -> Any:
    """The user whose thing it is; None where nobody has been added as a user."""
    return mapped_column(String(64), index=True, default=FIRST_ADMIN)


def _subject(**options: Any) -> Any:
    return mapped_column(Slug, ForeignKey("limner_subjects.slug", ondelete="CASCADE"), index=True, **options)


def _blob(**options: Any) -> Any:
    # Indexed: a blob's row goes only when no row names it, which each deletion makes sure of.
    return mapped_column(Digest, ForeignKey("limner_blobs.digest"), index=True, **options)


class SubjectRow(Row):
    """Who or what is learned."""

    __tablename__ = "limner_subjects"

    slug: Mapped[str] = mapped_column(Slug, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    class_word: Mapped[str] = mapped_column(String(60))
    trigger: Mapped[str] = mapped_column(String(60))
    owner: Mapped[str | None] = _owner()
    created_at: Mapped[datetime] = mapped_column(default=now)


class ConsentRow(Row):
    """Who agreed to what, for a subject that is a person; withdrawn ones stay on record."""

    __tablename__ = "limner_consents"

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = _subject()
    statement: Mapped[str] = mapped_column(Text)
    given_by: Mapped[str] = mapped_column(String(200))
    given_at: Mapped[datetime] = mapped_column(default=now)
    withdrawn_at: Mapped[datetime | None]


class BlobRow(Row):
    """The media type and size of a blob; the bytes are in the object store under the digest."""

    __tablename__ = "limner_blobs"

    digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    media_type: Mapped[str] = mapped_column(String(100))
    byte_size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)


class ErasureRow(Row):
    """What is still to be erased from the disk: written by the change that lets go of it, gone once it is done.

    ``kind`` is one of ``pipeline.erasing``; ``name`` a digest, a folder of ``runs`` or an upload.
    """

    __tablename__ = "limner_erasures"

    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(Ident, primary_key=True)


class PhotoRow(Row):
    """An accepted photo of a subject; sizes in pixels, ``crop`` the user's own, ``report`` what intake said."""

    __tablename__ = "limner_photos"
    __table_args__ = (UniqueConstraint("subject", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = _subject()
    digest: Mapped[str] = _blob()
    width: Mapped[int]
    height: Mapped[int]
    source: Mapped[str] = mapped_column(Text)
    caption: Mapped[str] = mapped_column(Text, default="")
    caption_from: Mapped[str] = mapped_column(String(40), default="")
    crop: Mapped[dict[str, Any] | None]
    report: Mapped[dict[str, Any]]
    added_at: Mapped[datetime] = mapped_column(default=now)


class IntakeRow(Row):
    """What one intake said of one source file, accepted or not."""

    __tablename__ = "limner_intakes"
    __table_args__ = (UniqueConstraint("job", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = _subject()
    job: Mapped[str] = mapped_column(Ident, index=True)
    position: Mapped[int]
    photo: Mapped[str | None] = mapped_column(Digest)
    report: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class DatasetRow(Row):
    """A frozen dataset; ``photos`` is their number, ``manifest`` the canonical data whose digest is the key."""

    __tablename__ = "limner_datasets"

    digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    subject: Mapped[str] = _subject()
    resolution: Mapped[int]
    photos: Mapped[int]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class DatasetPhotoRow(Row):
    """Which photos a dataset froze; they outlive the photo's removal from its subject."""

    __tablename__ = "limner_dataset_photos"

    dataset: Mapped[str] = mapped_column(
        Digest, ForeignKey("limner_datasets.digest", ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[str] = _blob(primary_key=True)


class TrainingRow(Row):
    """One run of a recipe on a dataset by a trainer; ``progress`` is how far it came, while it runs its job's."""

    __tablename__ = "limner_trainings"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    subject: Mapped[str] = _subject()
    dataset: Mapped[str] = mapped_column(Digest, ForeignKey("limner_datasets.digest", ondelete="CASCADE"))
    base: Mapped[str] = mapped_column(String(60))
    trainer: Mapped[str] = mapped_column(String(60))
    recipe: Mapped[dict[str, Any]]
    sample_prompts: Mapped[list[Any]]
    state: Mapped[str] = mapped_column(String(20), index=True)
    reference: Mapped[str] = mapped_column(Text, default="")
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class CheckpointRow(Row):
    """The weights of a training after a step."""

    __tablename__ = "limner_checkpoints"
    __table_args__ = (UniqueConstraint("training", "step"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    training: Mapped[str] = mapped_column(Ident, ForeignKey("limner_trainings.id", ondelete="CASCADE"))
    step: Mapped[int]
    digest: Mapped[str] = _blob()


class CurvePointRow(Row):
    """A point of a training's curve, ``loss`` or ``rate``; without a value where that is no number."""

    __tablename__ = "limner_curve_points"
    # The key is the whole of a row but its value: kept in one place, a point is written once.
    __table_args__ = ({"sqlite_with_rowid": False},)

    training: Mapped[str] = mapped_column(
        Ident, ForeignKey("limner_trainings.id", ondelete="CASCADE"), primary_key=True
    )
    curve: Mapped[str] = mapped_column(String(20), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float | None]


class SampleRow(Row):
    """A picture drawn while training, ``position`` that of its prompt."""

    __tablename__ = "limner_samples"
    __table_args__ = (UniqueConstraint("training", "step", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    training: Mapped[str] = mapped_column(Ident, ForeignKey("limner_trainings.id", ondelete="CASCADE"))
    step: Mapped[int]
    position: Mapped[int]
    prompt: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = _blob()


class LoraRow(Row):
    """One version of a subject's weights; ``header`` is the file's metadata, ``hosted`` its name at each vendor.

    One picked from a checkpoint has ``picked_from`` and ``step`` instead of ``training``. ``card`` is what its owner
    wrote for the model card, ``findings`` what was said of the file, ``original`` the kind that it came as (lokr, loha)
    where that was no LoRA.
    """

    __tablename__ = "limner_loras"
    __table_args__ = (UniqueConstraint("subject", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = _subject()
    version: Mapped[int]
    digest: Mapped[str] = _blob()
    tensor_digest: Mapped[str] = mapped_column(Digest)
    training: Mapped[str | None] = mapped_column(
        Ident, ForeignKey("limner_trainings.id", ondelete="SET NULL"), unique=True
    )
    picked_from: Mapped[str | None] = mapped_column(Ident, index=True)
    step: Mapped[int | None]
    base: Mapped[str] = mapped_column(String(60))
    naming: Mapped[str] = mapped_column(String(20))
    rank: Mapped[int]
    alpha: Mapped[float]
    modules: Mapped[int]
    byte_size: Mapped[int] = mapped_column(BigInteger)
    trigger: Mapped[str] = mapped_column(String(60), default="")
    header: Mapped[dict[str, Any]]
    hosted: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    card: Mapped[str] = mapped_column(Text, default="", server_default="")
    findings: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    original: Mapped[str] = mapped_column(String(20), default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(default=now)


class LoraOriginalRow(Row):
    """The file that a lora was made of, as it came, for the programs that read it as it is."""

    __tablename__ = "limner_lora_originals"

    lora: Mapped[int] = mapped_column(ForeignKey("limner_loras.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = _blob()


class PublicationRow(Row):
    """A lora on a hub, at an exact revision."""

    __tablename__ = "limner_publications"
    __table_args__ = (UniqueConstraint("lora", "hub", "repo", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    lora: Mapped[int] = mapped_column(ForeignKey("limner_loras.id", ondelete="CASCADE"), index=True)
    hub: Mapped[str] = mapped_column(String(60))
    repo: Mapped[str] = mapped_column(String(200))
    revision: Mapped[str] = mapped_column(String(64))
    visibility: Mapped[str] = mapped_column(String(20))
    url: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now)


class GenerationRow(Row):
    """One request for pictures; ``loras`` are [{name, digest, scale}], ``without`` the places of deleted pictures."""

    __tablename__ = "limner_generations"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    prompt: Mapped[str] = mapped_column(Text)
    base: Mapped[str] = mapped_column(String(60))
    generator: Mapped[str] = mapped_column(String(60))
    loras: Mapped[list[Any]]
    width: Mapped[int]
    height: Mapped[int]
    steps: Mapped[int]
    guidance: Mapped[float]
    seed: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int]
    without: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    state: Mapped[str] = mapped_column(String(20), index=True)
    error: Mapped[dict[str, Any] | None]
    owner: Mapped[str | None] = _owner()
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class GenerationLoraRow(Row):
    """Which loras a generation used, so that pictures can be found by them; ``lora`` is its name or address."""

    __tablename__ = "limner_generation_loras"

    generation: Mapped[str] = mapped_column(
        Ident, ForeignKey("limner_generations.id", ondelete="CASCADE"), primary_key=True
    )
    lora: Mapped[str] = mapped_column(Text, primary_key=True, index=True)


class GenerationSubjectRow(Row):
    """Which subjects a generation shows, through the loras that it used."""

    __tablename__ = "limner_generation_subjects"

    generation: Mapped[str] = mapped_column(
        Ident, ForeignKey("limner_generations.id", ondelete="CASCADE"), primary_key=True
    )
    subject: Mapped[str] = mapped_column(
        Slug, ForeignKey("limner_subjects.slug", ondelete="CASCADE"), primary_key=True, index=True
    )


class ImageRow(Row):
    """One picture made, the ``position``-th of its generation, by ``generator``; ``seconds`` is how long it took."""

    __tablename__ = "limner_images"
    # A page that still shows a deleted picture must not mean another one by its number.
    __table_args__ = (UniqueConstraint("generation", "position"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[str] = mapped_column(Ident, ForeignKey("limner_generations.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    digest: Mapped[str] = _blob()
    media_type: Mapped[str] = mapped_column(String(100))
    width: Mapped[int]
    height: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float]
    generator: Mapped[str] = mapped_column(String(60), default="", server_default="", index=True)
    favourite: Mapped[bool] = mapped_column(default=False, server_default="0", index=True)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class JobRow(Row):
    """One piece of durable work. The id is the workflow's; ``target`` is what it makes or changes."""

    __tablename__ = "limner_jobs"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), index=True)
    subject: Mapped[str | None] = mapped_column(Slug, index=True)
    target: Mapped[str] = mapped_column(String(64), default="", index=True)
    request: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(String(20), index=True)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    owner: Mapped[str | None] = _owner()
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    stages: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class IntentRow(Row):
    """Written before a paid call, so that a crash can find the remote job again instead of paying twice.

    The states are those of ``pipeline.paying``. It outlives its subject, whose slug and ``request`` are then blanked.
    """

    __tablename__ = "limner_intents"

    tag: Mapped[str] = mapped_column(Ident, primary_key=True)
    job: Mapped[str] = mapped_column(Ident, index=True)
    subject: Mapped[str | None] = mapped_column(Slug, index=True)
    vendor: Mapped[str] = mapped_column(String(60))
    what: Mapped[str] = mapped_column(String(60))
    model: Mapped[str] = mapped_column(String(120), default="", server_default="")
    estimate: Mapped[Decimal] = mapped_column(default=Decimal(0), server_default="0")
    request: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20), index=True)
    reference: Mapped[str] = mapped_column(Text, default="")
    note: Mapped[str] = mapped_column(Text, default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    settled_at: Mapped[datetime | None]


class LedgerRow(Row):
    """A cost, estimated before and actual after, in US dollars; ``intent`` is the tag of what was bought.

    Where ``actual`` is not known the estimate counts; of what was surely not bought it is 0.
    """

    __tablename__ = "limner_ledger"

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(Ident, index=True)
    intent: Mapped[str | None] = mapped_column(Ident, unique=True, index=True)
    subject: Mapped[str | None] = mapped_column(Slug, index=True)
    vendor: Mapped[str] = mapped_column(String(60))
    what: Mapped[str] = mapped_column(String(60))
    estimated: Mapped[Decimal | None]
    actual: Mapped[Decimal | None]
    currency: Mapped[str] = mapped_column(String(3), default="USD")
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
