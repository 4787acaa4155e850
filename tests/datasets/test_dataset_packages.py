"""Packages, read back as their trainers read them; byte for byte the same each time; whole or not there."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.catalog import bases, find_base
from limner.datasets import manifest as manifests
from limner.datasets.packages import LAYOUTS, PackageOptions, package
from limner.datasets.packages.ai_toolkit import job_configuration
from limner.datasets.packages.kohya import dataset_toml
from limner.datasets.render import render
from limner.errors import Conflict, InputRefused, RecipeRefused, StorageFailed
from limner.training.recipe import Recipe
from limner.types import DatasetManifest, SubjectFacts, SubjectKind

from .frozen import Frozen

ZIPS, FOLDERS = LAYOUTS[:2], LAYOUTS[2:]

# What sd-scripts accepts where; an unknown key stops its run.
KOHYA_DATASET = {
    "resolution": int,
    "batch_size": int,
    "enable_bucket": bool,
    "min_bucket_reso": int,
    "max_bucket_reso": int,
    "bucket_reso_steps": int,
    "validation_split": float,
}
KOHYA_SUBSET = {
    "image_dir": str,
    "num_repeats": int,
    "caption_extension": str,
    "class_tokens": str,
    "is_reg": bool,
    "alpha_mask": bool,
    "keep_tokens": int,
    "shuffle_caption": bool,
    "caption_prefix": str,
    "flip_aug": bool,
    "color_aug": bool,
    "random_crop": bool,
    "caption_dropout_rate": float,
    "caption_tag_dropout_rate": float,
    "custom_attributes": dict,
}


def contents(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def pairs(files: dict[str, bytes]) -> list[tuple[str, str]]:
    """(digest of the picture, caption) for each picture with a .txt of the same stem, as all trainers read them."""
    found = []
    for name in sorted(files):
        stem, _, extension = name.rpartition(".")
        if extension in ("jpg", "jpeg", "png"):
            found.append((hashlib.sha256(files[name]).hexdigest(), files[stem + ".txt"].decode()))
    return found


def wanted(dataset: Frozen) -> list[tuple[str, str]]:
    return [(item.photo, item.caption) for item in dataset.manifest.items]


# --- every layout -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_dataset_gives_the_same_bytes_anywhere(
    dataset: Frozen, layout: str, crop: bool, tmp_path: Path
) -> None:
    options = PackageOptions(crop=crop)
    first = package(layout, dataset.manifest, dataset.path, tmp_path / "one", options=options)
    read = manifests.from_json(manifests.to_json(dataset.manifest))
    second = package(layout, read, dataset.path, tmp_path / "else/where", options=options)
    assert first.digest == second.digest and first.byte_size == second.byte_size and first.files == second.files
    assert contents(first.path) == contents(second.path)
    assert set(first.files) == set(contents(first.path))
    if first.path.is_file():
        assert first.path.read_bytes() == second.path.read_bytes()
        assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.digest
        assert first.path.stat().st_size == first.byte_size
    else:
        assert sum(map(len, contents(first.path).values())) == first.byte_size


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_different_caption_gives_another_digest(dataset: Frozen, layout: str, tmp_path: Path) -> None:
    changed = replace(
        dataset.manifest, items=(replace(dataset.manifest.items[0], caption="x"), *dataset.manifest.items[1:])
    )
    one = package(layout, dataset.manifest, dataset.path, tmp_path / "one")
    two = package(layout, changed, dataset.path, tmp_path / "two")
    assert one.digest != two.digest


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_are_numbered_flat_jpeg_or_png(dataset: Frozen, layout: str, tmp_path: Path) -> None:
    made = package(layout, dataset.manifest, dataset.path, tmp_path / "made")
    names = [name.rpartition("/")[2] for name in made.files if name.endswith((".jpg", ".png"))]
    assert sorted(name[:3] for name in names) == ["001", "002", "003", "004", "005"]
    for name, data in contents(made.path).items():
        if name.endswith((".jpg", ".png")):
            assert data.startswith(b"\xff\xd8\xff" if name.endswith(".jpg") else b"\x89PNG")


def test_cropped_pictures_are_the_buckets(dataset: Frozen, tmp_path: Path) -> None:
    made = package("diffusers", dataset.manifest, dataset.path, tmp_path / "made", options=PackageOptions(crop=True))
    for number, item in enumerate(dataset.manifest.items, start=1):
        extension = "png" if item.media_type == "image/png" else "jpg"
        with Image.open(made.path / f"{number:03d}.{extension}") as picture:
            assert picture.size == item.bucket
            difference = np.asarray(picture).astype(int) - render(item, dataset.path)
        assert np.abs(difference).mean() < (0.01 if extension == "png" else 4)


def test_a_thousand_photos_keep_their_order(dataset: Frozen, tmp_path: Path) -> None:
    many = replace(dataset.manifest, items=dataset.manifest.items[:1] * 1000)
    made = package("replicate", many, dataset.path, tmp_path / "a.zip")
    assert "0001.jpg" in made.files or "0001.png" in made.files
    assert list(made.files) == sorted(made.files)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_packaging_twice_is_harmless_and_overwrites_nothing(dataset: Frozen, layout: str, tmp_path: Path) -> None:
    first = package(layout, dataset.manifest, dataset.path, tmp_path / "made")
    assert package(layout, dataset.manifest, dataset.path, tmp_path / "made") == first
    other = replace(dataset.manifest, items=dataset.manifest.items[1:])
    before = contents(first.path)
    with pytest.raises(Conflict):
        package(layout, other, dataset.path, tmp_path / "made")
    assert contents(first.path) == before
    assert list(tmp_path.iterdir()) == [tmp_path / "made"]


def test_a_folder_with_other_files_is_left_alone(dataset: Frozen, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Conflict):
        package("kohya", dataset.manifest, dataset.path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    made = package("fal", dataset.manifest, dataset.path, tmp_path)
    assert made.path == tmp_path / "rex-fal.zip"


def test_an_unknown_layout_is_refused_with_the_known_ones(dataset: Frozen, tmp_path: Path) -> None:
    with pytest.raises(InputRefused) as refusal:
        package("onetrainer", dataset.manifest, dataset.path, tmp_path / "x")
    assert all(layout in refusal.value.remedy for layout in LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lost_or_damaged_photo_leaves_nothing_behind(dataset: Frozen, layout: str, tmp_path: Path) -> None:
    last = dataset.manifest.items[-1].photo
    (tmp_path / "damaged").write_bytes(b"\xff\xd8\xff damaged")

    def damaged(digest: str) -> Path:
        return tmp_path / "damaged" if digest == last else dataset.path(digest)

    def lost(digest: str) -> Path:
        return tmp_path / "lost" if digest == last else dataset.path(digest)

    for path in (damaged, lost):
        with pytest.raises(StorageFailed, match=last[:12]):
            package(layout, dataset.manifest, path, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


# A limit on the size of files makes writes fail half-way, as a full disk does.
FULL_DISK = """
import resource, sys
from pathlib import Path
from limner.datasets import manifest
from limner.datasets.packages import package
from limner.datasets.render import write_rendered
from limner.errors import StorageFailed
layout, blobs, made = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
frozen = manifest.from_json(sys.stdin.read())
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    if layout == "rendered":
        write_rendered(frozen, blobs.joinpath, made)
    else:
        package(layout, frozen, blobs.joinpath, made)
except StorageFailed as failure:
    print("StorageFailed", failure)
"""


@pytest.mark.parametrize("layout", ["replicate", "kohya", "rendered"])
def test_a_full_disk_leaves_nothing_behind(dataset: Frozen, layout: str, tmp_path: Path) -> None:
    sizes = sorted(photo.byte_size for photo in dataset.photos)
    limit = {"replicate": sum(sizes) // 2, "kohya": sizes[-1] - 1, "rendered": 20_000}[layout]
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, layout, str(dataset.folder), str(tmp_path / "made"), str(limit)],
        input=manifests.to_json(dataset.manifest),
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.stdout.startswith("StorageFailed"), child.stderr
    assert "made" in child.stdout
    assert not list(tmp_path.iterdir())


# --- one layout each --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ZIPS)
def test_the_zips_are_flat_with_unique_stems_and_fixed_metadata(dataset: Frozen, layout: str, tmp_path: Path) -> None:
    made = package(layout, dataset.manifest, dataset.path, tmp_path / "a.zip")
    assert zipfile.is_zipfile(made.path)
    with zipfile.ZipFile(made.path) as archive:
        for entry in archive.infolist():
            assert "/" not in entry.filename and not entry.filename.startswith((".", "_"))
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.create_system == 3 and entry.external_attr >> 16 == 0o100644
            assert entry.compress_type == zipfile.ZIP_STORED
        names = archive.namelist()
    assert names == sorted(names)
    stems = [name[:-4] for name in names if not name.endswith(".txt")]
    assert len(set(stems)) == len(stems) == 5
    assert not any(stem.endswith("_mask") for stem in stems)
    assert pairs(contents(made.path)) == wanted(dataset)


def check_kohya(text: str) -> dict[str, Any]:
    """Parse a dataset TOML and check it as sd-scripts does."""
    config = tomllib.loads(text)
    assert set(config) == {"general", "datasets"}
    ascendable = KOHYA_DATASET | KOHYA_SUBSET
    for part, known in [
        (config["general"], {name: kind for name, kind in ascendable.items() if name != "image_dir"}),
        *((dataset, {**ascendable, "subsets": list}) for dataset in config["datasets"]),
        *((subset, KOHYA_SUBSET) for dataset in config["datasets"] for subset in dataset["subsets"]),
    ]:
        assert set(part) <= set(known)
        assert all(type(value) is known[name] for name, value in part.items())
    return config


def test_kohya_finds_pictures_and_captions(dataset: Frozen, tmp_path: Path) -> None:
    made = package("kohya", dataset.manifest, dataset.path, tmp_path / "made")
    config = check_kohya((made.path / "dataset.toml").read_text(encoding="utf-8"))
    (section,) = config["datasets"]
    (subset,) = section["subsets"]
    folder = made.path / subset["image_dir"]
    assert config["general"] == {"caption_extension": ".txt", "enable_bucket": True}
    assert pairs(contents(folder)) == wanted(dataset)
    assert section["resolution"] == 256


@given(
    st.sampled_from([64, 96, 128, 192, 512, 768, 1024]),
    st.integers(1, 64),
    st.integers(1, 100),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_any_kohya_file_is_valid(resolution: int, batch_size: int, repeats: int, image_dir: str) -> None:
    subject = SubjectFacts("a", "A", SubjectKind.PET, "dog", "a_dog")
    options = PackageOptions(batch_size=batch_size, repeats=repeats, image_dir=image_dir)
    config = check_kohya(dataset_toml(DatasetManifest("", subject, resolution, ()), options))
    (section,) = config["datasets"]
    assert section["subsets"] == [{"image_dir": image_dir, "num_repeats": repeats}]
    assert section["bucket_reso_steps"] % 64 == 0
    assert section["min_bucket_reso"] % 64 == section["max_bucket_reso"] % 64 == 0
    assert 0 < section["min_bucket_reso"] <= resolution <= section["max_bucket_reso"]
    assert section["batch_size"] == batch_size


def test_kohya_refuses_to_train_nothing(dataset: Frozen, tmp_path: Path) -> None:
    with pytest.raises(InputRefused):
        package("kohya", dataset.manifest, dataset.path, tmp_path / "made", options=PackageOptions(repeats=0))
    assert not list(tmp_path.iterdir())


def test_diffusers_reads_an_imagefolder(dataset: Frozen, tmp_path: Path) -> None:
    made = package("diffusers", dataset.manifest, dataset.path, tmp_path / "made")
    lines = (made.path / "metadata.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    rows = [json.loads(line) for line in lines]
    assert all(set(row) == {"file_name", "text"} for row in rows)
    found = [(hashlib.sha256((made.path / row["file_name"]).read_bytes()).hexdigest(), row["text"]) for row in rows]
    assert found == wanted(dataset)
    assert {row["file_name"] for row in rows} | {"metadata.jsonl"} == set(contents(made.path))


def test_ai_toolkit_finds_pictures_captions_and_its_job(dataset: Frozen, tmp_path: Path) -> None:
    plain = package("ai-toolkit", dataset.manifest, dataset.path, tmp_path / "plain")
    assert pairs(contents(plain.path)) == wanted(dataset)
    assert not (plain.path / "config.yaml").exists()
    recipe = asdict(Recipe("flux1-dev", rank=8, alpha=8, steps=700, ema_decay=0.99, schedule="cosine"))
    options = PackageOptions(
        recipe=recipe, base=find_base("flux1-dev"), name="rex-v1", sample_prompts=("rex_dog: «hi»",)
    )
    made = package("ai-toolkit", dataset.manifest, dataset.path, tmp_path / "made", options=options)
    config = yaml.safe_load((made.path / "config.yaml").read_text(encoding="utf-8"))
    assert config["job"] == "extension" and config["config"]["name"] == "rex-v1"
    (process,) = config["config"]["process"]
    assert process["type"] == "sd_trainer" and process["trigger_word"] == "rex_dog"
    assert process["network"] == {"type": "lora", "linear": 8, "linear_alpha": 8}
    assert process["train"]["steps"] == 700 and process["train"]["lr"] == 1e-4
    assert process["train"]["ema_config"] == {"use_ema": True, "ema_decay": 0.99}
    assert process["save"]["push_to_hub"] is False
    assert process["model"]["name_or_path"] == "black-forest-labs/FLUX.1-dev" and process["model"]["is_flux"] is True
    assert process["sample"]["prompts"] == ["rex_dog: «hi»"]
    (section,) = process["datasets"]
    assert section["resolution"] == [256] and section["caption_ext"] == "txt"
    assert pairs(contents(made.path / section["folder_path"])) == wanted(dataset)


def test_ai_toolkit_names_flux2_by_its_architecture(dataset: Frozen) -> None:
    names = {}
    for base in bases().values():
        if base.id in ("limner-tiny", "flux1-schnell"):
            with pytest.raises(InputRefused, match=base.id):
                job_configuration(dataset.manifest, asdict(Recipe(base.id)), base)
            continue
        config = job_configuration(dataset.manifest, asdict(Recipe(base.id)), base)
        names[base.id] = config["config"]["process"][0]["model"].get("arch")
    assert names == {
        "flux1-dev": None,
        "flux2-dev": "flux2",
        "flux2-klein-4b": "flux2_klein_4b",
        "flux2-klein-9b": "flux2_klein_9b",
    }


def test_ai_toolkit_refuses_an_alpha_that_it_would_ignore(dataset: Frozen) -> None:
    with pytest.raises(RecipeRefused) as refusal:
        job_configuration(dataset.manifest, asdict(Recipe("flux1-dev", rank=16, alpha=8)), find_base("flux1-dev"))
    assert refusal.value.thing == "alpha"
