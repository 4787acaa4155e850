"""The example in docs/example_back_end is installed as a stranger's package would be, and draws in a true job."""

from __future__ import annotations

import asyncio
import io
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from limner import Studio, plugins
from limner.catalog import base_location, find_base
from limner.generation.generator import GenerationOrder, Generator
from limner.settings import Settings
from limner.types import JobState, LoraUse, Severity

EXAMPLE = Path(__file__).parents[2] / "docs" / "example_back_end"
PAGE = EXAMPLE.parent / "architecture.md"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What pip would write for the example's pyproject.toml, on the path of this process and of its workers."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path / "site"
    about = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = []
    for group, entries in project["entry-points"].items():
        points += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(points) + "\n")
    (site / "limner_card.py").write_bytes((EXAMPLE / "limner_card.py").read_bytes())
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("LIMNER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIMNER_WORKER_IDLE_SECONDS", "1")
    plugins._points.cache_clear()
    yield
    plugins._points.cache_clear()


def order(**changes: object) -> GenerationOrder:
    base = find_base("limner-tiny")
    wanted: dict[str, object] = {
        "id": "generation_0", "prompt": "a card", "base": base, "base_path": base_location(base), "loras": (),
        "width": 64, "height": 48, "steps": 1, "guidance": 1.0, "seed": 7, "count": 3,
    }  # fmt: skip
    return GenerationOrder(**(wanted | changes))  # type: ignore[arg-type]


def test_it_is_found_by_its_entry_point_and_keeps_the_protocol() -> None:
    generator = plugins.back_end("limner.generators", "card", settings=Settings())
    assert isinstance(generator, Generator)
    assert generator.describe().ready
    assert list(generator.check(order())) == []
    (refused,) = generator.check(order(loras=(LoraUse(digest="0" * 64, scale=1.0, name="zib@v1"),)))
    assert refused.severity is Severity.REFUSAL

    async def draw(wanted: GenerationOrder) -> dict[int, bytes]:
        return {drawn.index: drawn.data async for drawn in generator.draw(wanted)}

    whole = asyncio.run(draw(order()))
    assert sorted(whole) == [0, 1, 2]
    assert len(set(whole.values())) == 3
    assert Image.open(io.BytesIO(whole[0])).size == (64, 48)
    assert asyncio.run(draw(order(done=frozenset({0, 2})))) == {1: whole[1]}


def test_it_draws_in_a_job_and_its_pictures_are_kept_like_any_other() -> None:
    with Studio(settings=Settings()) as studio:
        job = studio.generate("a card", generator="card", width=128, height=64, seed=7, count=2)
        ended = studio.wait(job.id)
        assert ended.state is JobState.DONE, ended.error
        images = studio.generations.get(job.target).images
        assert [(image.seed, image.width, image.height) for image in images] == [(7, 128, 64), (8, 128, 64)]
        with Image.open(images[0].path) as picture:
            assert "a card" in picture.info["parameters"]


def test_the_architecture_page_shows_the_file_as_it_is() -> None:
    example = (EXAMPLE / "limner_card.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```" in PAGE.read_text(encoding="utf-8")
