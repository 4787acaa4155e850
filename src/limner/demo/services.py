"""The demo by way of the services: real clients, real sockets, and stand-ins for the vendors on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from limner._version import __version__
from limner.demo.sheet import contact_sheet
from limner.demo.show import SUBJECTS, DemoSubject, fresh_home, prepare, save_pictures, shown
from limner.records import Job
from limner.settings import Settings
from limner.stand_ins.engine import Engine
from limner.stand_ins.rehearsal import Rehearsal, rehearsal
from limner.studio import Studio

__all__ = ["WAYS", "Way", "run_services_demo"]

Follow = Callable[[Studio, str, Job], Job]


@dataclass(frozen=True, slots=True)
class Way:
    """One way from photos to pictures: who trains a lora of which base, who publishes it, who draws."""

    title: str
    subject: DemoSubject
    base: str
    trainer: str
    hub: str
    generator: str
    recipe: Mapping[str, Any]
    drawing: Mapping[str, Any]


_CHARACTER = SUBJECTS[0]
WAYS = (
    Way(
        title="limner-tiny by Replicate, Hugging Face and Together AI",
        subject=_CHARACTER,
        base="limner-tiny",
        trainer="replicate",
        hub="huggingface",
        generator="together",
        recipe={"steps": 200, "learning_rate": 1e-3, "rank": 16},
        drawing={},
    ),
    Way(
        title="a FLUX.2 of random weights (its pictures are noise) by fal, Hugging Face and Together AI",
        subject=replace(_CHARACTER, slug="zibbo-two", title="Zibbo on FLUX.2", prompts=_CHARACTER.prompts[:2]),
        base="flux2-random",
        trainer="fal",
        hub="huggingface",
        generator="together",
        recipe={"steps": 24, "warmup_steps": 0, "resolution": 128},
        drawing={"steps": 4},
    ),
)


def run_services_demo(
    out: Path, follow: Follow, *, ways: Sequence[Way] = WAYS, engine: Engine | None = None
) -> dict[str, Any]:
    """Go every way, end to end, and draw ``contact-sheet.png`` into ``out``.

    The stand-ins train and draw on this machine with ``engine``, the local one if none is given. Gives the paths of the
    sheet and the pictures, the publications, the seconds of all stages, and what it would have cost in US dollars.
    Conflict: ``out`` holds a ``home`` that no demo made.
    """
    out = out.absolute()
    home = fresh_home(out)
    sections, pictures, published, seconds = [], [], [], 0.0
    with rehearsal(out / "stand-ins", engine=engine) as stand_ins, _environment(stand_ins):
        settings = Settings(home=home, base="limner-tiny", **stand_ins.settings)
        with Studio(settings=settings) as studio:
            for way in ways:
                ended = follow(studio, way.title, _start(studio, way))
                drawn = [
                    studio.generations.get(run.result["generation"]) for run in ended.stages if run.stage == "generate"
                ]
                sections.append(shown(studio, way.subject, ended, drawn))
                pictures += save_pictures(drawn, out / "pictures")
                published.append(str(ended.result["url"]))
                seconds += sum(run.seconds or 0.0 for run in ended.stages)
            cost = studio.payments.costs().total
    sheet = out / "contact-sheet.png"
    subtitle = "; ".join(way.title for way in ways)
    footer = f"Limner {__version__}. The vendors were stand-ins on this machine: nothing was sent, nothing was paid."
    sheet.write_bytes(contact_sheet("By way of the services", sections, subtitle=subtitle, footer=footer))
    return {
        "sheet": sheet,
        "pictures": pictures,
        "publications": published,
        "seconds": round(seconds, 1),
        "would_have_cost": Decimal(cost),
    }


def _start(studio: Studio, way: Way) -> Job:
    photos = prepare(studio, way.subject)
    return studio.run(
        way.subject.slug,
        [photos],
        way.subject.prompts,
        train={"base": way.base, "trainer": way.trainer, "settings": way.recipe},
        publish={"hub": way.hub, "visibility": "public"},
        generate={"generator": way.generator, "seed": way.subject.seed, "count": way.subject.count, **way.drawing},
        with_base=True,
        yes=True,
    )


@contextmanager
def _environment(stand_ins: Rehearsal) -> Iterator[None]:
    """The stand-ins' tokens in the environment, where the worker will find them; what was there is put back."""
    before = {name: os.environ.get(name) for name in stand_ins.environment}
    os.environ.update(stand_ins.environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
