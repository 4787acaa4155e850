"""The stand-ins' rows of the catalog are whole, can be read back, and keep the real models' fields and prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.catalog.bases import find_base, read_bases
from limner.catalog.hosted import find_hosted, read_hosted
from limner.stand_ins.catalog import MODELS, StandInModel, stand_in_rows, write_catalog
from limner.stand_ins.random_flux2 import FLUX2_RANDOM


def test_what_is_written_can_be_read_back(tmp_path: Path) -> None:
    folder = write_catalog(tmp_path / "catalog")
    assert read_bases((folder / "bases.toml").read_text())[FLUX2_RANDOM.id] == FLUX2_RANDOM
    assert read_hosted((folder / "hosted.toml").read_text()) == stand_in_rows()


@pytest.mark.parametrize("offered", MODELS, ids=lambda one: f"{one.vendor}-{one.model}")
def test_every_model_has_a_row_like_the_real_one(offered: StandInModel) -> None:
    rows = [
        row
        for row in stand_in_rows().values()
        if (row.vendor, row.does, row.model) == (offered.vendor, offered.does, offered.model)
    ]
    assert len(rows) == 1
    [row] = rows
    reals = find_hosted(offered.vendor, offered.does)
    [real] = [real for real in reals if real.model == offered.like]
    assert (row.fixed, row.price, row.choices) == (real.fixed, real.price, real.choices)
    assert set(real.fields.items()) <= set(row.fields.items())
    assert row.base == offered.base
    if offered.does == "generate":
        base = FLUX2_RANDOM if offered.base == FLUX2_RANDOM.id else find_base(offered.base)
        assert row.sizes[0] <= base.size <= row.sizes[1]
    assert not row.withdrawn


def test_no_row_of_ours_takes_the_place_of_a_real_one() -> None:
    assert all(row.id.startswith("stand-in-") for row in stand_in_rows().values())
    assert len(stand_in_rows()) <= len(MODELS)
