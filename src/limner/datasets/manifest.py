"""Manifests: photos, captions and crops frozen into a dataset whose digest is its identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from limner.datasets.buckets import check_resolution
from limner.datasets.canonical import canonical_json, read_plain, sha256
from limner.datasets.captions.template import DEFAULT_TEMPLATE, clean_caption, fill, has_trigger
from limner.datasets.crops import check_crop
from limner.datasets.placing import place
from limner.datasets.render import open_photo
from limner.errors import InputRefused, PhotoRefused
from limner.types import Crop, DatasetItem, DatasetManifest, Finding, Photo, Severity, SubjectFacts

__all__ = ["FORMAT", "MIN_PHOTOS", "freeze", "from_json", "from_plain", "to_json", "to_plain"]

FORMAT = 1
MIN_PHOTOS = 4
_HEXADECIMAL = frozenset("0123456789abcdef")


def freeze(
    subject: SubjectFacts,
    photos: Sequence[Photo],
    captions: Mapping[str, str],
    *,
    photo_path: Callable[[str], Path],
    resolution: int,
    resolutions: Sequence[int],
    crops: Mapping[str, Crop] | None = None,
    faces: Mapping[str, Sequence[Crop]] | None = None,
    min_photos: int = MIN_PHOTOS,
) -> tuple[DatasetManifest, list[Finding]]:
    """Freeze photos into a manifest, and say what was noticed. The same content in any order gives the same digest.

    ``captions`` (trigger filled in), ``crops`` chosen by the user and ``faces`` are by the photo's digest; a photo
    without a caption gets the default template's. A photo too small for ``resolution`` goes into a bucket of the
    largest of the base's ``resolutions`` that fits it. PhotoRefused: fewer photos than ``min_photos``, or none.
    InputRefused: the base has no such resolution, or a crop is not inside its photo. StorageFailed: a photo is lost.
    """
    check_resolution(resolution, resolutions)
    chosen = {photo.digest: photo for photo in photos}
    findings = _count_findings(len(chosen), min_photos, subject)
    unknown = sorted({*captions, *(crops or {})} - chosen.keys())
    if unknown:
        findings.append(
            Finding(
                "caption-without-photo",
                Severity.WARNING,
                f"{len(unknown)} captions or crops are for photos that are not in the dataset.",
                f"They are left out: {', '.join(digest[:12] for digest in unknown[:5])}.",
            )
        )
    items: list[DatasetItem] = []
    for digest, photo in sorted(chosen.items()):
        own = (crops or {}).get(digest)
        placed, crop = place(
            photo.width,
            photo.height,
            resolution,
            resolutions,
            load=partial(_open, photo, photo_path),
            faces=(faces or {}).get(digest, ()),
            within=own,
        )
        if placed.enlarged:
            shape = (own.width, own.height) if own else (photo.width, photo.height)
            findings.append(_enlarged(photo, shape, placed.bucket))
        caption = clean_caption(captions.get(digest) or fill(DEFAULT_TEMPLATE, subject))
        items.append(DatasetItem(digest, photo.media_type, photo.width, photo.height, caption, crop, placed.bucket))
    findings += _caption_findings(items, chosen, subject)
    return _sealed(DatasetManifest("", subject, resolution, tuple(items))), findings


def to_plain(manifest: DatasetManifest) -> dict[str, Any]:
    """The manifest as plain data, without its digest, which is that of this data's canonical JSON."""
    plain: dict[str, Any] = read_plain(to_json(manifest))
    return plain


def to_json(manifest: DatasetManifest) -> str:
    """The canonical JSON of a manifest; its SHA-256 is the dataset's digest."""
    plain = asdict(manifest)
    del plain["digest"]
    return canonical_json({"limner_dataset": FORMAT, **plain})


def from_json(text: str | bytes) -> DatasetManifest:
    """Read a manifest from JSON. InputRefused names what is missing, unknown, of a wrong type or contradictory."""
    return from_plain(read_plain(text))


def from_plain(plain: Any) -> DatasetManifest:
    """As ``from_json``, from plain data."""
    from pydantic import ValidationError

    if not isinstance(plain, Mapping) or plain.get("limner_dataset") != FORMAT:
        raise InputRefused(
            "This is not a dataset manifest of Limner, or one of a newer version.",
            remedy=f"It must be an object with limner_dataset = {FORMAT}.",
        )
    text = canonical_json(plain)
    try:
        # The adapter checks types and enums; the comparison below finds unknown fields.
        manifest: DatasetManifest = _adapter().validate_json(canonical_json({**plain, "digest": ""}), strict=True)
    except ValidationError as failure:
        first = failure.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputRefused(f"The manifest's {place} is wrong: {first['msg']}.", thing=place) from failure
    if to_json(manifest) != text:
        raise InputRefused("The manifest has fields that are not known.", remedy="Write it with this version.")
    _check(manifest)
    return _sealed(manifest)


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(DatasetManifest)


def _sealed(manifest: DatasetManifest) -> DatasetManifest:
    return replace(manifest, digest=sha256(to_json(manifest)))


def _check(manifest: DatasetManifest) -> None:
    digests = [item.photo for item in manifest.items]
    if not digests or digests != sorted(set(digests)):
        raise InputRefused("The manifest's items must be sorted by photo, each photo once, and at least one.")
    if manifest.resolution < 1:
        raise InputRefused(f"The manifest's resolution is {manifest.resolution}.")
    for item in manifest.items:
        if len(item.photo) != 64 or not set(item.photo) <= _HEXADECIMAL:
            raise InputRefused(f"'{item.photo[:80]}' is not a photo's digest.", thing=item.photo[:80])
        check_crop(item.crop, item.width, item.height)
        if min(item.bucket) < 1 or not item.caption or clean_caption(item.caption) != item.caption:
            raise InputRefused(f"The item {item.photo[:12]} has a bad bucket or caption.", thing=item.photo)


def _open(photo: Photo, photo_path: Callable[[str], Path]) -> Any:
    return open_photo(photo_path(photo.digest), photo.width, photo.height)


def _enlarged(photo: Photo, shape: tuple[int, int], bucket: tuple[int, int]) -> Finding:
    return Finding(
        "photo-enlarged",
        Severity.WARNING,
        f"{_name(photo)} offers {shape[0]} x {shape[1]} pixels and is enlarged to fill {bucket[0]} x {bucket[1]}.",
        "Use a larger photo or crop.",
    )


def _name(photo: Photo) -> str:
    return photo.report.source or photo.digest[:12]


def _count_findings(count: int, least: int, subject: SubjectFacts) -> list[Finding]:
    if count == 0:
        raise PhotoRefused(
            f"The subject '{subject.slug}' has no photo.", remedy="Add some: limner photos add.", thing=subject.slug
        )
    if count < least:
        raise PhotoRefused(
            f"The subject '{subject.slug}' has {count} of at least {least} photos.",
            remedy="Add more, or allow fewer on purpose (--allow-few).",
            thing=subject.slug,
        )
    if count < MIN_PHOTOS:
        message = f"{count} photos are few: the lora will copy their backgrounds and poses."
        return [Finding("few-photos", Severity.WARNING, message, "Ten to twenty different ones are better.")]
    return []


def _caption_findings(
    items: Sequence[DatasetItem], photos: Mapping[str, Photo], subject: SubjectFacts
) -> list[Finding]:
    bare = [item for item in items if not has_trigger(item.caption, subject.trigger)]
    if not bare:
        return []
    names = ", ".join(_name(photos[item.photo]) for item in bare[:5]) + (" ..." if len(bare) > 5 else "")
    return [
        Finding(
            "caption-without-trigger",
            Severity.WARNING,
            f"{len(bare)} of {len(items)} captions lack the trigger '{subject.trigger}': {names}.",
            "Write {trigger} where the subject is named; without it the lora does not learn the word.",
        )
    ]
