"""The catalog is data: adding a base is adding a row, and a wrong row is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.catalog import base_location, bases, find_base
from limner.catalog.bases import read_bases
from limner.errors import InputRefused, NotReady
from limner.types import Base, Family

ROW = """
[my-flux]
title = "Mine"
family = "flux1"
repo = "me/my-flux"
licence = "apache-2.0"
licence_name = "Apache License 2.0"
licence_url = "https://example.org"
commercial_use = true
gated = false
parameters = 1
text_encoders = ["CLIPTextModel"]
max_text_tokens = 77
guidance_embedded = false
steps = 4
guidance = 1.0
size = 512
size_multiple = 16
size_min = 64
size_max = 1024
resolutions = [512]
shape = { double_blocks = 1, single_blocks = 1, width = 64 }
source = "test"
as_of = "2026-11-23"
"""


def test_the_bases_of_the_issue_are_there_with_source_and_date() -> None:
    wanted = {"limner-tiny", "flux1-dev", "flux1-schnell", "flux2-dev", "flux2-klein-4b", "flux2-klein-9b"}
    assert wanted <= set(bases())
    for base in bases().values():
        assert base.source
        assert base.as_of.startswith("20")
        assert base.size in range(base.size_min, base.size_max + 1)
        assert all(resolution % base.size_multiple == 0 for resolution in base.resolutions)
        if base.licence == "other":
            assert not base.commercial_use


def test_adding_a_base_is_adding_a_row() -> None:
    base = read_bases(ROW)["my-flux"]
    assert base.family is Family.FLUX1
    assert base.resolutions == (512,)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("gated = false", "gate = false", "gate"),
        ('title = "Mine"', "", "title"),
        ("steps = 4", 'steps = "four"', "steps"),
        ("steps = 4", "steps = 4.5", "steps"),
        ('family = "flux1"', 'family = "sdxl"', "family"),
        ("resolutions = [512]", "resolutions = []", "resolution"),
        ("resolutions = [512]", "resolutions = [500]", "multiples of 16"),
        ("size = 512", "size = 4096", "4096"),
        ("width = 64", "depth = 64", "shape"),
        ("width = 64", "width = 0", "shape"),
        ("[my-flux]", "my-flux = 1", "not a table"),
        ("[my-flux]", "[my-flux", "TOML"),
        ('as_of = "2026-11-23"', "as_of = [2026]", "as_of"),
    ],
)
def test_a_wrong_row_is_refused_by_name(old: str, new: str, named: str) -> None:
    with pytest.raises(InputRefused, match=named):
        read_bases(ROW.replace(old, new))


@given(st.text(max_size=60), st.sampled_from(ROW.strip().splitlines()[1:]))
def test_whatever_stands_in_a_row_is_read_or_refused(value: str, line: str) -> None:
    field = line.partition(" = ")[0]
    changed = ROW.replace(line, f"{field} = {value}")
    try:
        read = read_bases(changed)
    except InputRefused as refusal:
        assert refusal.remedy
    else:
        assert all(isinstance(base, Base) for base in read.values())


def test_an_unknown_base_names_the_known_ones() -> None:
    with pytest.raises(InputRefused, match="limner-tiny"):
        find_base("sdxl")
    assert find_base("black-forest-labs/FLUX.1-dev").id == "flux1-dev"


def test_the_tiny_base_ships_and_others_come_from_the_hub(tmp_path: Path) -> None:
    assert (Path(base_location(find_base("limner-tiny"))) / "model_index.json").is_file()
    assert base_location(find_base("flux1-dev")) == "black-forest-labs/FLUX.1-dev"
    with pytest.raises(NotReady, match="model_index"):
        base_location(find_base("flux1-dev"), {"flux1-dev": tmp_path})
    (tmp_path / "model_index.json").write_text("{}")
    assert base_location(find_base("flux1-dev"), {"flux1-dev": tmp_path}) == str(tmp_path)
