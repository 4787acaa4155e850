"""Health: what can be said of a subject's photos as a set before they are frozen and trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from limner.datasets.captions.template import DEFAULT_TEMPLATE, fill
from limner.datasets.manifest import MIN_PHOTOS
from limner.datasets.placing import Bucketed, shape_bucket
from limner.operations.home.workspace import Workspace
from limner.operations.photos import caption_health
from limner.operations.photos import queries as photo_queries
from limner.operations.photos.queries import base_and_resolution, find_photo_row
from limner.operations.subjects import queries as subject_queries
from limner.photos.quality.duplicates import ALIKE_BITS
from limner.records import DatasetHealth, HealthFinding, PhotoEntry, PhotoShare
from limner.store.models import PhotoRow
from limner.types import Base, Crop, Finding, Severity, SubjectFacts, SubjectKind

__all__ = ["alike_groups", "photo_findings", "photo_health"]

ENOUGH = 10
"""From this many different photos on a lora learns the subject rather than its backgrounds."""
CLOSE, HALF = 0.33, 0.12
"""The height of the face as a share of the picture from which a photo is a close-up, and from which a half figure."""
ONE_LIGHT = 0.06
"""Mean lumas of all photos that lie no further apart than this are one light."""
FEWEST_FOR_LIGHT = 6
OF_ITSELF = frozenset({"blurred", "dark", "bright", "flat"})
"""Findings of the intake that stay true whatever is cropped or removed."""
UNLESS_CROPPED = frozenset({"long-shape", "several-faces"})
WITH_FACES = frozenset({SubjectKind.PERSON, SubjectKind.CHARACTER})
IN_THE_SET = {
    "blurred": ("is blurred", "are blurred", "Blur would be learned too: use sharper photos."),
    "dark": ("is very dark", "are very dark", "Details are lost in black: use brighter photos."),
    "bright": ("is too bright", "are too bright", "Details are lost in white: use photos with less light."),
    "flat": ("shows almost nothing", "show almost nothing", "Remove them."),
    "long-shape": ("is very long", "are very long", "Crop them to the part that shows the subject."),
    "several-faces": ("shows several faces", "show several faces", "Crop them to the subject."),
}


@dataclass(frozen=True, slots=True)
class _Placed:
    photo: PhotoEntry
    placed: Bucketed
    width: int
    height: int


def photo_health(workspace: Workspace, slug: str, *, base: str = "", resolution: int | None = None) -> DatasetHealth:
    """Look at a subject's photos as a set, for a base and a resolution (those that a training would use if not named).

    Reads what intake measured and opens no picture, so that hundreds of photos take a moment.
    """
    row, size = base_and_resolution(workspace, base, resolution)
    with workspace.database.read() as session:
        subject = subject_queries.subject_facts(subject_queries.find_subject_row(session, slug))
        rows = session.scalars(select(PhotoRow).where(PhotoRow.subject == slug).order_by(PhotoRow.id))
        photos = [photo_queries.to_photo(workspace, one) for one in rows]
    return _examine(subject, photos, row, size, caption_health.path_of(workspace, row))


def photo_findings(
    workspace: Workspace, slug: str, digest: str, *, base: str = "", resolution: int | None = None
) -> tuple[Finding, ...]:
    """What is noticed of one photo by itself: the same as the health of all says of it."""
    row, size = base_and_resolution(workspace, base, resolution)
    with workspace.database.read() as session:
        subject = subject_queries.subject_facts(subject_queries.find_subject_row(session, slug))
        photo = photo_queries.to_photo(workspace, find_photo_row(session, slug, digest))
    found = _of_photos([_place(photo, row, size)], size)[photo.digest]
    path = caption_health.path_of(workspace, row)
    return (*found, *caption_health.examine(subject, [photo], row, path).by_photo.get(photo.digest, ()))


def _examine(
    subject: SubjectFacts, photos: Sequence[PhotoEntry], base: Base, resolution: int, base_path: str
) -> DatasetHealth:
    placed = [_place(photo, base, resolution) for photo in photos]
    sizes = _sizes(placed, resolution)
    framing = _framing(placed)
    alike = alike_groups({photo.digest: photo.report.perceptual_hash for photo in photos})
    captions = caption_health.examine(subject, photos, base, base_path)
    of_photos = _of_photos(placed, resolution)
    findings = (
        *_count(photos),
        *_of_sizes(sizes, resolution),
        *_of_themselves(photos, of_photos),
        *_of_alike(alike),
        *_of_light(photos),
        *_of_framing(subject, framing),
        *captions.findings,
    )
    by_photo = {photo.digest: (*of_photos[photo.digest], *captions.by_photo.get(photo.digest, ())) for photo in photos}
    return DatasetHealth(
        subject=subject.slug,
        base=base.id,
        resolution=resolution,
        photos=len(photos),
        verdict=_verdict(photos, findings),
        template_caption=fill(DEFAULT_TEMPLATE, subject),
        sizes=sizes,
        shapes=_shapes(placed),
        framing=framing,
        alike=alike,
        uncaptioned=captions.uncaptioned,
        findings=findings,
        by_photo={digest: found for digest, found in by_photo.items() if found},
    )


def _place(photo: PhotoEntry, base: Base, resolution: int) -> _Placed:
    width, height = (photo.crop.width, photo.crop.height) if photo.crop else (photo.width, photo.height)
    return _Placed(photo, shape_bucket((width, height), resolution, base.resolutions), width, height)


# --- shares: which photos are of which size, shape and framing ------------------------------------------------------


def _sizes(placed: Sequence[_Placed], resolution: int) -> tuple[PhotoShare, ...]:
    full = [one.photo.digest for one in placed if one.placed.resolution == resolution and not one.placed.enlarged]
    less = [one.photo.digest for one in placed if one.placed.resolution != resolution and not one.placed.enlarged]
    enlarged = [one.photo.digest for one in placed if one.placed.enlarged]
    return (
        PhotoShare("large enough", f"pixels for {resolution} px", tuple(full)),
        PhotoShare("smaller", f"trained at less than {resolution} px", tuple(less)),
        PhotoShare("too small", "enlarged to be trained on", tuple(enlarged)),
    )


def _shapes(placed: Sequence[_Placed]) -> tuple[PhotoShare, ...]:
    buckets: dict[tuple[int, int], list[str]] = {}
    for one in placed:
        buckets.setdefault(one.placed.bucket, []).append(one.photo.digest)
    ordered = sorted(buckets.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return tuple(
        PhotoShare(f"{width} × {height}", _shape_word(width, height), tuple(photos))
        for (width, height), photos in ordered
    )


def _shape_word(width: int, height: int) -> str:
    return "square" if width == height else "landscape" if width > height else "portrait"


def _framing(placed: Sequence[_Placed]) -> tuple[PhotoShare, ...] | None:
    """By the largest face in the part that is trained on; None where no detector looked for faces."""
    if not any(one.photo.report.face is not None for one in placed):
        return None
    kinds: dict[str, list[str]] = {"close": [], "half": [], "whole": [], "no face": [], "not measured": []}
    for one in placed:
        report = one.photo.report
        if report.face is None:
            kinds["no face" if report.faces == 0 else "not measured"].append(one.photo.digest)
        elif not (share := _face_share(one, report.face)):
            kinds["no face"].append(one.photo.digest)
        else:
            kinds["close" if share >= CLOSE else "half" if share >= HALF else "whole"].append(one.photo.digest)
    meanings = {
        "close": "the face fills much of the picture",
        "half": "head and shoulders, or half the figure",
        "whole": "the whole figure, or far away",
        "no face": "no face was found",
        "not measured": "nobody looked for faces",
    }
    shown = {name: photos for name, photos in kinds.items() if photos or name in ("close", "half", "whole")}
    return tuple(PhotoShare(name, meanings[name], tuple(photos)) for name, photos in shown.items())


def _face_share(one: _Placed, face: tuple[float, float, float, float]) -> float:
    """How much of the height that is trained on the face fills; 0 where the crop leaves its centre out."""
    left, top, width, height = face
    crop = one.photo.crop or Crop(0, 0, one.photo.width, one.photo.height)
    across, down = (left + width / 2) * one.photo.width, (top + height / 2) * one.photo.height
    bottom = crop.top + crop.height
    if not (crop.left <= across <= crop.left + crop.width and crop.top <= down <= bottom):
        return 0.0
    inside = min((top + height) * one.photo.height, bottom) - max(top * one.photo.height, crop.top)
    return inside / crop.height


def alike_groups(hashes: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Groups of photos that look much the same, by their perceptual hashes of 16 digits; the largest group first."""
    known = [(digest, int(text, 16)) for digest, text in hashes.items() if text]
    leader = {digest: digest for digest, _ in known}

    def root(digest: str) -> str:
        while leader[digest] != digest:
            digest = leader[digest]
        return digest

    for number, (digest, bits) in enumerate(known):
        for other, other_bits in known[:number]:
            if (bits ^ other_bits).bit_count() <= ALIKE_BITS:
                leader[root(digest)] = root(other)
    groups: dict[str, list[str]] = {}
    for digest, _ in known:
        groups.setdefault(root(digest), []).append(digest)
    return tuple(sorted((tuple(group) for group in groups.values() if len(group) > 1), key=lambda group: -len(group)))


# --- findings -------------------------------------------------------------------------------------------------------


def _of_photos(placed: Sequence[_Placed], resolution: int) -> dict[str, tuple[Finding, ...]]:
    """What is noticed of each photo by itself: what intake said and still holds, and too few pixels."""
    found: dict[str, tuple[Finding, ...]] = {}
    for one in placed:
        codes = OF_ITSELF if one.photo.crop else OF_ITSELF | UNLESS_CROPPED
        kept = [finding for finding in one.photo.report.findings if finding.code in codes]
        if one.placed.enlarged:
            kept.append(
                Finding(
                    "photo-enlarged",
                    Severity.WARNING,
                    f"Its {one.width} × {one.height} pixels are enlarged to {_times(one.placed.bucket)}.",
                    "Use a larger photo or crop.",
                )
            )
        elif one.placed.resolution != resolution:
            kept.append(
                Finding(
                    "photo-smaller",
                    Severity.NOTE,
                    f"It is trained at {one.placed.resolution} px: it has {one.width} × {one.height} pixels.",
                    "Use a larger photo or crop if there is one.",
                )
            )
        found[one.photo.digest] = tuple(kept)
    return found


def _times(bucket: tuple[int, int]) -> str:
    return f"{bucket[0]} × {bucket[1]}"


def _count(photos: Sequence[PhotoEntry]) -> Iterable[HealthFinding]:
    count = len(photos)
    if count < MIN_PHOTOS:
        there = "There is no photo yet." if not count else f"There are {count} of at least {MIN_PHOTOS} photos."
        yield HealthFinding(
            "too-few-photos", Severity.REFUSAL, there, "Add ten to twenty that differ in light, place and pose."
        )
    elif count < ENOUGH:
        yield HealthFinding(
            "few-photos",
            Severity.WARNING,
            f"{count} photos are few: the lora will copy their backgrounds and poses.",
            "Ten to twenty different ones are better.",
        )


def _of_sizes(sizes: Sequence[PhotoShare], resolution: int) -> Iterable[HealthFinding]:
    _, less, enlarged = sizes
    if enlarged.count:
        yield HealthFinding(
            "photos-enlarged",
            Severity.WARNING,
            f"{_photos(enlarged.count)} too small and would be enlarged.",
            "Use the originals, or a larger crop.",
            enlarged.photos,
        )
    if less.count:
        yield HealthFinding(
            "photos-smaller",
            Severity.NOTE,
            f"{_photos(less.count)} trained at less than {resolution} px.",
            "That is fine; larger originals would show more detail.",
            less.photos,
        )


def _photos(count: int, one: str = "is", several: str = "are") -> str:
    return f"1 photo {one}" if count == 1 else f"{count} photos {several}"


def _of_themselves(photos: Sequence[PhotoEntry], found: Mapping[str, tuple[Finding, ...]]) -> Iterable[HealthFinding]:
    for code, (one, several, remedy) in IN_THE_SET.items():
        concerned = tuple(p.digest for p in photos if any(finding.code == code for finding in found[p.digest]))
        if concerned:
            message = f"{_photos(len(concerned), one, several)}."
            yield HealthFinding(code, Severity.WARNING, message, remedy, concerned)


def _of_alike(alike: Sequence[tuple[str, ...]]) -> Iterable[HealthFinding]:
    if alike:
        count = sum(len(group) for group in alike)
        groups = "one group" if len(alike) == 1 else f"{len(alike)} groups"
        yield HealthFinding(
            "alike",
            Severity.WARNING,
            f"{count} photos look much alike, in {groups}; what they show counts several times.",
            "Keep the best of each group, unless they differ in what matters.",
            tuple(digest for group in alike for digest in group),
        )


def _of_light(photos: Sequence[PhotoEntry]) -> Iterable[HealthFinding]:
    exposures = [photo.report.exposure for photo in photos if photo.report.exposure is not None]
    if len(exposures) >= FEWEST_FOR_LIGHT and max(exposures) - min(exposures) <= ONE_LIGHT:
        yield HealthFinding(
            "one-light",
            Severity.WARNING,
            "All photos are equally bright, as if taken in one light.",
            "Add some in other light: outdoors, by a window, in the evening.",
        )


def _of_framing(subject: SubjectFacts, framing: Sequence[PhotoShare] | None) -> Iterable[HealthFinding]:
    if framing is None or subject.kind not in WITH_FACES:
        return
    counts = {share.name: share.count for share in framing}
    if not counts["close"]:
        yield HealthFinding(
            "no-close-up",
            Severity.WARNING,
            "There is no close-up: the face is never seen in detail.",
            "Add two or three photos in which the face fills the picture, or crop some to it.",
        )
    if counts["close"] and not counts["half"] + counts["whole"]:
        yield HealthFinding(
            "only-close-ups",
            Severity.WARNING,
            "All photos are close-ups: the figure would be guessed.",
            "Add some that show more of the body.",
        )


def _verdict(photos: Sequence[PhotoEntry], findings: Sequence[HealthFinding]) -> str:
    stopping = [finding for finding in findings if finding.severity is Severity.REFUSAL]
    if stopping:
        return f"Not ready to train. {stopping[0].message}"
    warned = sum(1 for finding in findings if finding.severity is Severity.WARNING)
    if warned:
        things = "one thing is" if warned == 1 else f"{warned} things are"
        return f"Ready to train with {len(photos)} photos; {things} worth a look."
    return f"Ready to train with {len(photos)} photos; nothing stands out."
