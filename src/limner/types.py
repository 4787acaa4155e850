"""The plain frozen data that passes between the stages.

Nothing here knows a database, a service or torch. Digests are lower-case hexadecimal SHA-256 of the bytes named;
sizes are pixels; times are aware UTC datetimes; money is US dollars as ``Decimal``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = [
    "BUDGETS",
    "BackEnd",
    "Base",
    "Budget",
    "Consent",
    "Crop",
    "DatasetItem",
    "DatasetManifest",
    "Estimate",
    "Family",
    "Finding",
    "Health",
    "ImageRecord",
    "JobState",
    "LoraFacts",
    "LoraUse",
    "Need",
    "Photo",
    "PhotoReport",
    "Plan",
    "PlannedCall",
    "Price",
    "Progress",
    "PromptTemplate",
    "Reach",
    "RecipeField",
    "Severity",
    "SubjectFacts",
    "SubjectKind",
    "TensorNaming",
    "TrainingSample",
    "Verdict",
    "Visibility",
]


# --- subjects ---------------------------------------------------------------------------------------------------


class SubjectKind(StrEnum):
    """What a subject is. People get stricter defaults: private hub repos and a consent record."""

    PERSON = "person"
    PET = "pet"
    PRODUCT = "product"
    CHARACTER = "character"
    STYLE = "style"


@dataclass(frozen=True, slots=True)
class Consent:
    """Who agreed to what, recorded for subjects that are people."""

    statement: str
    given_by: str
    given_at: datetime


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    """Who or what is learned, as the stages need to know it."""

    slug: str
    name: str
    kind: SubjectKind
    class_word: str
    trigger: str


# --- 1 photos ---------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """How much a finding matters: a note informs, a warning advises, a refusal stops."""

    NOTE = "note"
    WARNING = "warning"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed: a stable code, one plain sentence, and what the user can do about it."""

    code: str
    severity: Severity
    message: str
    remedy: str = ""


class Verdict(StrEnum):
    """What intake decided about one source file."""

    ACCEPTED = "accepted"
    WARNED = "accepted with a warning"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """What intake found in one source file.

    ``sharpness`` is the variance of the Laplacian of the luma at a fixed working size (higher is sharper),
    ``exposure`` the mean luma in 0..1, ``clipped`` the share of pixels that are pure black or white,
    ``perceptual_hash`` 64 bits as 16 hexadecimal digits, ``faces`` None where no detector is installed. ``face`` is
    the largest face as left, top, width and height in shares of the photo, where a detector says where faces are.
    ``source_digest`` is the SHA-256 of the file as it came, where it came as an upload. ``like`` is the digest of the
    photo before it that it repeats or resembles, whatever name that has.
    """

    source: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    media_type: str = ""
    source_width: int = 0
    source_height: int = 0
    sharpness: float | None = None
    exposure: float | None = None
    clipped: float | None = None
    perceptual_hash: str = ""
    faces: int | None = None
    duplicate_of: str = ""
    source_digest: str = ""
    face: tuple[float, float, float, float] | None = None
    like: str = ""

    @property
    def reason(self) -> str:
        """The verdict's reason in plain words, one sentence a finding."""
        return " ".join(f.message for f in self.findings if f.severity is not Severity.NOTE)


@dataclass(frozen=True, slots=True)
class Photo:
    """One accepted training image: upright, sRGB, stripped of metadata, addressed by the digest of its bytes."""

    digest: str
    media_type: str
    width: int
    height: int
    byte_size: int
    report: PhotoReport


# --- 2 datasets -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle in pixels of the stored photo: left, top, width, height."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class DatasetItem:
    """One photo of a dataset: caption as trained (trigger filled in), crop, and bucket (width, height)."""

    photo: str
    media_type: str
    width: int
    height: int
    caption: str
    crop: Crop
    bucket: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """A frozen snapshot of photos, captions and crops. ``digest`` is the SHA-256 of its canonical JSON."""

    digest: str
    subject: SubjectFacts
    resolution: int
    items: tuple[DatasetItem, ...]


# --- bases and back ends ----------------------------------------------------------------------------------------


class Family(StrEnum):
    """The architectures that Limner knows; a lora of one never fits the other."""

    FLUX1 = "flux1"
    FLUX2 = "flux2"


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a lora belongs to: one row of ``catalog/bases.toml``, whose ``source`` was read on ``as_of``.

    ``repo`` is a Hugging Face repo id, or ``package:`` and a folder shipped with Limner. ``shape`` (double_blocks,
    single_blocks, width, also latents, text, pooled) is how a lora of it is recognised; ``parameters`` are those of the
    transformer.
    """

    id: str
    title: str
    family: Family
    repo: str
    licence: str
    licence_name: str
    licence_url: str
    commercial_use: bool
    gated: bool
    parameters: int
    text_encoders: tuple[str, ...]
    max_text_tokens: int
    guidance_embedded: bool
    steps: int
    guidance: float
    size: int
    size_multiple: int
    size_min: int
    size_max: int
    resolutions: tuple[int, ...]
    shape: Mapping[str, int]
    source: str
    as_of: str
    notes: str = ""
    text_tokens: tuple[int, ...] = ()
    """How many tokens each of ``text_encoders`` reads, where that is not ``max_text_tokens`` for all of them."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a back end needs before it can work; ``met`` is judged on this machine, now."""

    name: str
    met: bool
    how_to_get: str


@dataclass(frozen=True, slots=True)
class Price:
    """How a back end charges, in US dollars: ``free``, ``per_run``, ``per_second``, ``per_step``, ``per_megapixel``.

    ``per_megapixel_step`` is the price of a megapixel at the model's usual steps; more steps cost in proportion.
    ``certain`` is False where the vendor publishes none that we could read, and ``amount`` is a careful guess;
    ``source`` says where it was read, or why it is a guess. ``per_second`` needs the model's usual seconds for an
    estimate.
    """

    model: str
    amount: Decimal = Decimal(0)
    source: str = ""
    as_of: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a step will cost in US dollars and take in seconds (None: unknown), before it is started."""

    amount: Decimal = Decimal(0)
    seconds: float | None = None
    certain: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One request as it would be sent, secrets left out. ``times`` is how often; ``costs``: it is paid."""

    method: str
    url: str
    body: Mapping[str, Any] = field(default_factory=dict)
    costs: bool = False
    times: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a trainer or generator would do for an order: with which model, what is sent, its cost, what it found."""

    back_end: str
    model: str
    calls: tuple[PlannedCall, ...]
    estimate: Estimate
    findings: tuple[Finding, ...] = ()

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What stands in the way."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.REFUSAL)


class Reach(StrEnum):
    """How a lora gets to a generator, and how a hub gives it away."""

    FILE = "file"
    """A file on this machine."""
    URL = "url"
    """An https address that anyone can fetch, ending in ``.safetensors``."""
    HUGGING_FACE = "hugging-face"
    """A public repo on the Hugging Face Hub, at its main revision."""
    HOSTED = "hosted"
    """The vendor has it already, because it was trained there."""


@dataclass(frozen=True, slots=True)
class BackEnd:
    """What a trainer, hub, generator, captioner or scorer says of itself. Tables, preflight and docs come from this.

    ``vendor`` is the account that it needs (``replicate``, ``fal``, ``huggingface``, ``together``), "" for none.
    ``reach`` is for a generator how a lora can get to it, best first; for a hub how it gives public loras away.
    ``package`` is the layout that a trainer wants its dataset in, "" for pictures rendered at bucket size.
    ``models`` are the vendor's models that it uses, by the catalog.
    """

    name: str
    title: str
    summary: str
    bases: tuple[str, ...] = ()
    sees_photos: str = "nobody but this machine"
    price: Price = field(default_factory=lambda: Price("free"))
    needs: tuple[Need, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    vendor: str = ""
    reach: tuple[Reach, ...] = (Reach.FILE,)
    package: str = ""
    models: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether every need is met here and now."""
        return all(need.met for need in self.needs)


# --- 3 training, and jobs of every kind -------------------------------------------------------------------------


class JobState(StrEnum):
    """The life of a job, and of what it makes: waiting -> running -> one of the last three."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether it stays as it is unless somebody resumes it."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


UNDER_WAY = tuple(state for state in JobState if not state.ended)
"""The states of a job that has not ended, for queries."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long piece of work is. ``rate`` is units a second; ``seconds_left`` an estimate, None if unknown."""

    stage: str
    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float | None = None
    seconds_left: float | None = None
    loss: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """A picture drawn while training, to be looked at."""

    step: int
    prompt: str
    path: Path


# --- 4 loras ----------------------------------------------------------------------------------------------------


class TensorNaming(StrEnum):
    """How the tensors of a lora file are named."""

    DIFFUSERS = "diffusers"
    KOHYA = "kohya"
    XLABS = "xlabs"
    BFL = "bfl"
    ONETRAINER = "onetrainer"


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """What is known of a lora file: where it is, what it fits, and what its header says.

    ``tensor_digest`` is the SHA-256 of the tensors alone (Civitai's AutoV3); ``rank`` and ``alpha`` are those of most
    modules, as the file divides them; ``dtype`` is safetensors' word, such as BF16; the blocks are those touched.
    ``kind`` is lora, lokr or loha. ``candidates`` are the bases that it fits, the likeliest first; ``base`` is "" where
    it fits several and nothing says which.
    """

    path: Path
    digest: str
    tensor_digest: str
    byte_size: int
    naming: TensorNaming
    family: Family | None
    base: str
    rank: int
    alpha: float
    modules: int
    dtype: str
    trigger: str
    metadata: Mapping[str, str]
    ranks: tuple[int, ...] = ()
    double_blocks: tuple[int, ...] = ()
    single_blocks: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    kind: str = "lora"
    candidates: tuple[str, ...] = ()


# --- 5 hubs -----------------------------------------------------------------------------------------------------


class Visibility(StrEnum):
    """Who may see a publication; private is the default everywhere."""

    PRIVATE = "private"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Health:
    """Is a published lora ready for use, and by whom? ``problems`` says what stands in the way, in plain words."""

    ready: bool
    visibility: Visibility
    usable_by: str
    revision: str
    digest_matches: bool
    problems: tuple[str, ...] = ()


# --- 6 generation -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoraUse:
    """One lora of a generation: a local file, or an address that the generator can reach, and its strength.

    ``hosted`` says by vendor under which name the vendor has it, where it was trained there. ``naming`` is the tensor
    naming of the file, where it is known. ``candidates`` are the bases that it may be of, where ``base`` is "".
    """

    digest: str
    scale: float
    name: str
    trigger: str = ""
    path: Path | None = None
    url: str = ""
    base: str = ""
    tensor_digest: str = ""
    byte_size: int = 0
    hosted: Mapping[str, str] = field(default_factory=dict)
    naming: str = ""
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One picture made, with all that is needed to make it again."""

    prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    base: str
    generator: str
    loras: tuple[LoraUse, ...]
    versions: Mapping[str, str]
    made_at: str


BUDGETS = {
    "day": "for today (UTC)",
    "subject": "for '{subject}'",
    "total": "in all",
}
"""The kinds of budget, which are the settings ``budget_<kind>``, and what each is for."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget: ``kind`` names its setting ``budget_<kind>``; ``spent`` counts what is being bought now too."""

    kind: str
    limit: Decimal
    spent: Decimal
    subject: str = ""

    @property
    def left(self) -> Decimal:
        """What may still be spent, never below zero."""
        return max(Decimal(0), self.limit - self.spent)

    @property
    def words(self) -> str:
        """What it is for: ``for today (UTC)``, ``for 'rex'``, ``in all``."""
        return BUDGETS[self.kind].format(subject=self.subject)


@dataclass(frozen=True, slots=True)
class RecipeField:
    """One field of a recipe: what it is, what is allowed, and its ``value`` in the preset.

    ``kind`` is ``whole``, ``number``, ``choice`` or ``text``; ``low`` and ``high`` belong to the range.
    """

    name: str
    title: str
    help: str
    kind: str
    value: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A prompt to begin with. ``kinds`` are the kinds of subject that it suits; the prompt holds ``{trigger}``."""

    id: str
    title: str
    prompt: str
    kinds: tuple[str, ...]
