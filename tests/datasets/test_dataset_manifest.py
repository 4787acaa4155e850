"""Manifests: one content, one digest; read back exactly; refused when anything is off."""

from __future__ import annotations

import hashlib
import json
import random
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from frozen import RESOLUTIONS, SUBJECT, Frozen, store, subject_at
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from limner.datasets import manifest
from limner.datasets.buckets import best_bucket
from limner.datasets.canonical import canonical_json, read_plain
from limner.datasets.captions.template import clean_caption
from limner.datasets.crops import largest_crop
from limner.errors import InputRefused, PhotoRefused, StorageFailed
from limner.types import (
    Crop,
    DatasetItem,
    DatasetManifest,
    Photo,
    PhotoReport,
    Severity,
    SubjectFacts,
    SubjectKind,
    Verdict,
)

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).map(lambda t: unicodedata.normalize("NFC", t))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXYZ_", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def items(draw: st.DrawFn) -> DatasetItem:
    width, height = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    bucket = best_bucket(width, height, draw(st.sampled_from([128, 512, 1024])))
    across, down = largest_crop(width, height, bucket)
    caption = draw(TEXTS.map(clean_caption).filter(bool))
    digest = draw(st.binary(min_size=32, max_size=32)).hex()
    kind = draw(st.sampled_from(["image/jpeg", "image/png"]))
    return DatasetItem(digest, kind, width, height, caption, Crop(0, 0, across, down), bucket)


@st.composite
def manifests(draw: st.DrawFn) -> DatasetManifest:
    subject = SubjectFacts("a-b", draw(TEXTS), draw(st.sampled_from(SubjectKind)), draw(TEXTS), draw(TEXTS))
    chosen = draw(st.lists(items(), min_size=1, max_size=4, unique_by=lambda item: item.photo))
    ordered = tuple(sorted(chosen, key=lambda item: item.photo))
    made = DatasetManifest("", subject, draw(st.integers(1, 2048)), ordered)
    return replace(made, digest=hashlib.sha256(manifest.to_json(made).encode()).hexdigest())


@given(PLAIN)
def test_canonical_json_is_canonical(plain: Any) -> None:
    text = canonical_json(plain)
    assert read_plain(text) == plain
    assert canonical_json(read_plain(json.dumps(plain, indent=2))) == text
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("text", ["", "{", '{"a":1,"a":2}', '{"a":1.5}', "[NaN]", "1e3", "[" * 100_000, b"\xff"])
def test_json_that_has_no_canonical_form_is_refused(text: str | bytes) -> None:
    with pytest.raises(InputRefused):
        read_plain(text)


@pytest.mark.parametrize("plain", [1.0, {"ä": 1}, {1: 1}, "\ud800", {"a": {1, 2}}, b"bytes"])
def test_what_has_no_canonical_form_is_refused(plain: Any) -> None:
    with pytest.raises(InputRefused):
        canonical_json(plain)


@given(manifests())
def test_a_manifest_is_read_back_as_it_was(made: DatasetManifest) -> None:
    text = manifest.to_json(made)
    assert manifest.from_json(text) == made
    assert manifest.from_json(json.dumps(manifest.to_plain(made), indent=4)) == made
    assert hashlib.sha256(text.encode()).hexdigest() == made.digest


@given(manifests(), st.data())
def test_a_manifest_with_any_field_gone_added_or_mistyped_is_refused(
    made: DatasetManifest, data: st.DataObject
) -> None:
    plain = manifest.to_plain(made)
    item = plain["items"][0]
    part = data.draw(st.sampled_from([plain, plain["subject"], item, item["crop"]]))
    name = data.draw(st.sampled_from(sorted(part)))
    change = data.draw(st.sampled_from(["gone", "added", "mistyped"]))
    if change == "gone":
        del part[name]
    elif change == "added":
        part["more"] = 1
    else:
        part[name] = 1 if isinstance(part[name], str) else "1"
    with pytest.raises(InputRefused):
        manifest.from_json(json.dumps(plain))


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["items"].reverse(),
        lambda plain: plain["items"].append(plain["items"][-1]),
        lambda plain: plain["items"].clear(),
        lambda plain: plain["items"][0].update(photo="x" * 64),
        lambda plain: plain["items"][0].update(photo="../../etc/passwd"),
        lambda plain: plain["items"][0].update(caption="two\nlines"),
        lambda plain: plain["items"][0].update(caption=""),
        lambda plain: plain["items"][0].update(bucket=[0, 16]),
        lambda plain: plain["items"][0]["crop"].update(left=5000),
        lambda plain: plain.update(resolution=0),
        lambda plain: plain.update(limner_dataset=2),
        lambda plain: plain["subject"].update(kind="planet"),
    ],
)
def test_a_contradictory_manifest_is_refused(dataset: Frozen, change: Any) -> None:
    plain = manifest.to_plain(dataset.manifest)
    change(plain)
    with pytest.raises(InputRefused):
        manifest.from_plain(plain)


def test_the_store_can_read_plain_manifests(dataset: Frozen) -> None:
    plain = manifest.to_plain(dataset.manifest)
    read = TypeAdapter(DatasetManifest).validate_python({**plain, "digest": dataset.manifest.digest})
    assert read == dataset.manifest


# --- freezing ---------------------------------------------------------------------------------------------------


def freeze(frozen: Frozen, **changes: Any) -> DatasetManifest:
    options: dict[str, Any] = {
        "photos": frozen.photos,
        "captions": frozen.captions,
        "photo_path": frozen.path,
        "resolution": 256,
        "resolutions": RESOLUTIONS,
        **changes,
    }
    return manifest.freeze(SUBJECT, **options)[0]


def test_the_order_of_photos_and_captions_does_not_count(dataset: Frozen) -> None:
    for seed in range(5):
        photos, captions = list(dataset.photos) * 2, list(dataset.captions.items())
        random.Random(seed).shuffle(photos)
        random.Random(seed).shuffle(captions)
        assert freeze(dataset, photos=photos, captions=dict(captions)) == dataset.manifest


def test_the_digest_is_known() -> None:
    report = PhotoReport("a.jpg", Verdict.ACCEPTED)
    photos = [Photo(f"{n:064x}", "image/jpeg", 300 + n, 300 + n, 1000, report) for n in range(4)]
    captions = {photos[1].digest: "rex_dog, süß"}
    # Square photos leave no choice of crop, so none is opened.
    made, findings = manifest.freeze(
        SUBJECT, photos, captions, photo_path=Path, resolution=192, resolutions=RESOLUTIONS
    )
    assert findings == []
    assert [item.caption for item in made.items[:2]] == ["a photo of rex_dog dog", "rex_dog, süß"]
    # If this changes, every dataset that anyone froze changes its identity: raise FORMAT and keep the old one readable.
    assert made.digest == "9cc4356301ab6ae66eec4581111d85b3a8a835550de58630a57c7656c5b7fd07"


def test_a_changed_caption_crop_or_subject_is_another_dataset(dataset: Frozen) -> None:
    first = dataset.photos[0].digest
    digests = {
        dataset.manifest.digest,
        freeze(dataset, captions={**dataset.captions, first: "rex_dog dog, otherwise"}).digest,
        freeze(dataset, crops={first: Crop(0, 0, 150, 150)}).digest,
        freeze(dataset, photos=dataset.photos[1:]).digest,
        freeze(dataset, resolution=192).digest,
    }
    assert len(digests) == 5


def test_items_fit_their_photos(dataset: Frozen) -> None:
    assert len({item.bucket for item in dataset.manifest.items}) == 3
    for item in dataset.manifest.items:
        across, down = largest_crop(item.width, item.height, item.bucket)
        assert (item.crop.width, item.crop.height) == (across, down)
        assert item.bucket[0] * item.bucket[1] <= 256 * 256
    assert dataset.findings == []


def test_a_small_photo_goes_into_a_smaller_bucket_and_is_enlarged_only_at_the_smallest(tmp_path: Path) -> None:
    photos = [store(subject_at(50, 50, side, side), tmp_path, f"{side}.jpg") for side in (300, 240, 200, 150, 60)]
    made, findings = manifest.freeze(
        SUBJECT, photos, {}, photo_path=tmp_path.joinpath, resolution=256, resolutions=RESOLUTIONS
    )
    sizes = {item.width: item.bucket[0] for item in made.items}
    assert sizes == {300: 256, 240: 256, 200: 192, 150: 128, 60: 128}
    assert [finding.code for finding in findings] == ["photo-enlarged"]
    assert "60.jpg" in findings[0].message


def test_few_photos_are_refused_or_allowed_with_a_warning(dataset: Frozen) -> None:
    with pytest.raises(PhotoRefused, match="3 of at least 4"):
        freeze(dataset, photos=dataset.photos[:3])
    with pytest.raises(PhotoRefused, match="no photo"):
        freeze(dataset, photos=[], min_photos=0)
    # The same photo four times is one photo.
    with pytest.raises(PhotoRefused, match="1 of at least 4"):
        freeze(dataset, photos=dataset.photos[:1] * 4)
    _, findings = manifest.freeze(
        SUBJECT,
        dataset.photos[:1],
        dataset.captions,
        photo_path=dataset.path,
        resolution=256,
        resolutions=RESOLUTIONS,
        min_photos=1,
    )
    assert [finding.code for finding in findings] == ["few-photos", "caption-without-photo"]


def test_captions_without_the_trigger_are_warned_of_by_name(dataset: Frozen) -> None:
    captions = {**dataset.captions, dataset.photos[1].digest: "a photo of a dog"}
    _, findings = manifest.freeze(
        SUBJECT, dataset.photos, captions, photo_path=dataset.path, resolution=256, resolutions=RESOLUTIONS
    )
    (finding,) = findings
    assert finding.code == "caption-without-trigger" and finding.severity is Severity.WARNING
    assert "1 of 5" in finding.message and dataset.photos[1].report.source in finding.message


def test_wrong_resolutions_crops_and_lost_photos_are_refused(dataset: Frozen, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="1000"):
        freeze(dataset, resolution=1000)
    with pytest.raises(InputRefused, match="not inside"):
        freeze(dataset, crops={dataset.photos[0].digest: Crop(0, 0, 9999, 10)})
    with pytest.raises(StorageFailed):
        freeze(dataset, photo_path=tmp_path.joinpath, resolution=192)
