"""The Kohya package, read and checked by sd-scripts' own parser and FLUX trainer; tests/engines says how to run it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from limner.datasets.packages import PackageOptions, package
from tests.engines.checkouts import run_with

from .frozen import Frozen

pytestmark = [pytest.mark.engine, pytest.mark.engine_checkout]


@pytest.mark.parametrize("resolution", [64, 96, 256, 512, 768, 1024])
@pytest.mark.parametrize("crop", [False, True])
def test_sd_scripts_takes_the_package(dataset: Frozen, tmp_path: Path, resolution: int, crop: bool) -> None:
    manifest = dataset.manifest if crop else replace(dataset.manifest, resolution=resolution)
    made = package("kohya", manifest, dataset.path, tmp_path / "made", options=PackageOptions(repeats=3, crop=crop))
    said = json.loads(run_with("sd-scripts", "parse_kohya.py", folder=made.path).splitlines()[-1])
    assert said["resolution"] == [manifest.resolution] * 2
    assert said["repeats"] == [3]
    assert list(said["captions"].values()) == [item.caption for item in manifest.items]
    assert all(side % 64 == 0 for bucket in said["buckets"] for side in bucket)
