"""Drawing a picture again from what it says of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from limner.errors import InputRefused, LimnerError, NotFound, NotReady
from limner.flux import sampling
from limner.generation.metadata.provenance import read_record, seal_image
from limner.operations.generations import reproduce
from limner.store.models import LoraRow
from tests.generation.bench import LORAS, Bench

pytestmark = pytest.mark.engine


def again(bench: Bench, path: Path) -> Any:
    job = reproduce.submit(bench.workspace, path)
    bench.run(job)
    return reproduce.reproduced(bench.workspace, path, job)


def as_if(path: Path, into: Path, **changes: Any) -> Path:
    """The same picture with another record."""
    into.write_bytes(seal_image(path.read_bytes(), replace(read_record(path), **changes)))
    return into


@pytest.mark.parametrize("loras", [(), LORAS[:1], LORAS])
def test_a_picture_is_drawn_again_bit_for_bit(bench: Bench, loras: list[tuple[str, float]], tmp_path: Path) -> None:
    job = bench.submit(count=3, loras=loras, prompt='"a cat",\n{not a slot}: 🎨')
    bench.run(job)
    kept = tmp_path / "kept.png"
    kept.write_bytes(bench.images(job)[2].read_bytes())
    sampling.forget_pipeline()
    result = again(bench, kept)
    assert result.equal
    assert result.differences == ()
    assert result.image.path != bench.images(job)[2]
    assert read_record(result.image.path).prompt == '"a cat",\n{not a slot}: 🎨'


def test_a_prompt_that_looks_like_a_slot_is_not_filled_again(bench: Bench, tmp_path: Path) -> None:
    job = bench.submit()
    bench.run(job)
    odd = as_if(bench.images(job)[0], tmp_path / "odd.png", prompt="{trigger} stays as it is")
    result = again(bench, odd)
    assert read_record(result.image.path).prompt == "{trigger} stays as it is"
    assert not result.equal


def test_other_versions_are_told(bench: Bench, tmp_path: Path) -> None:
    job = bench.submit()
    bench.run(job)
    [path] = bench.images(job)
    versions = {**read_record(path).versions, "torch": "1.0", "gpu": "one of them"}
    result = again(bench, as_if(path, tmp_path / "older.png", versions=versions))
    assert result.equal
    now = read_record(path).versions["torch"]
    assert result.differences == ("gpu: one of them then, unknown now", f"torch: 1.0 then, {now} now")


def test_a_picture_whose_pixels_were_changed_is_told(bench: Bench, tmp_path: Path) -> None:
    from limner.generation.metadata.png import read_chunks, write_chunks

    job = bench.submit(count=2)
    bench.run(job)
    first, second = (read_chunks(path.read_bytes()) for path in bench.images(job))
    mixed = [chunk for chunk in first if chunk.kind not in (b"IDAT", b"IEND", b"caBX")]
    path = tmp_path / "mixed.png"
    path.write_bytes(write_chunks([*mixed, *(chunk for chunk in second if chunk.kind in (b"IDAT", b"IEND"))]))
    result = again(bench, path)
    assert not result.equal
    assert result.differences == ("the picture: its pixels were changed after it was drawn",)


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"generator": "gone"}, NotReady, "the generator 'gone', which is not installed"),
        ({"base": "gone"}, InputRefused, "no base 'gone'"),
        ({"steps": -4}, InputRefused, "-4 steps"),
        ({"width": 10**9}, InputRefused, "width 1000000000"),
        ({"seed": -1}, InputRefused, "seed -1"),
    ],
)
def test_a_record_that_cannot_be_followed(
    bench: Bench, tmp_path: Path, changes: dict[str, Any], error: type[LimnerError], reason: str
) -> None:
    job = bench.submit()
    bench.run(job)
    with pytest.raises(error, match=reason) as told:
        reproduce.submit(bench.workspace, as_if(bench.images(job)[0], tmp_path / "odd.png", **changes))
    assert told.value.remedy


def test_a_picture_whose_lora_is_not_here(bench: Bench, tmp_path: Path) -> None:
    job = bench.submit()
    bench.run(job)
    path = tmp_path / "kept.png"
    path.write_bytes(bench.images(job)[0].read_bytes())
    with bench.workspace.database.write() as session:
        session.delete(session.scalars(select(LoraRow).where(LoraRow.subject == "second")).one())
    with pytest.raises(NotFound, match=r"second@v1 \([0-9a-f]{12}…\) that made kept\.png is not here") as told:
        reproduce.submit(bench.workspace, path)
    assert told.value.remedy
