"""A home with one of everything, as work leaves it, and a user with tokens: what the API is tried on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limner.settings import Settings
from limner.studio import Studio
from limner.types import Consent
from tests.operations.loras_made import TRAINING, add_training, draw
from tests.operations.photos_kept import keep as keep_photo
from tests.web.pictures_made import add_generation

__all__ = ["NOWHERE", "Seeded", "seed"]

NOWHERE = "http://127.0.0.1:9"
"""Where nothing answers: no test asks a vendor."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """The names of what is there."""

    settings: Settings
    photo: str
    dataset: str
    training: str
    lora: str
    generation: str
    image: int
    grid: str
    job: str
    token: str
    reader: str
    writer: str


def settings_of(home: Path) -> Settings:
    return Settings(
        home=home,
        start_worker=False,
        replicate_url=NOWHERE,
        together_url=NOWHERE,
        huggingface_url=NOWHERE,
        fal_queue_url=NOWHERE,
        fal_rest_url=NOWHERE,
        fal_api_url=NOWHERE,
    )


def seed(home: Path) -> Seeded:
    """Fill a home. Its jobs stay waiting, since nobody works there."""
    settings = settings_of(home)
    with Studio(settings=settings) as studio:
        studio.subjects.add("zib", name="Zibbo", kind="person", class_word="person", trigger="zibbo")
        consent = Consent("My photos may be used.", "Anna Berg", datetime(2026, 9, 1, tzinfo=UTC))
        studio.subjects.record_consent("zib", consent)
        studio.subjects.add("rex", kind="pet", class_word="dog")
        photos = [keep_photo(studio, "zib", number) for number in range(1, 7)]
        dataset = studio.datasets.freeze("zib", base="limner-tiny")
        add_training(studio)
        lora = studio.trainings.pick(TRAINING, 20)
        images = add_generation(studio, "0123456789abcdef", count=5, subjects=["zib"], loras=[lora.name])
        grid = studio.grids.start(
            "a drawing of {trigger}", x=("scale", [0.5, 1.0]), loras=[lora.name], generator="local", seed=1
        )
        draw(studio, grid)
        job = studio.generate("a photo of {trigger}", loras=[lora.name], generator="local", seed=3)
        studio.members.add("anna", "a long pass phrase", admin=True)
        tokens = {
            name: studio.members.add_token(name, scopes=scopes, owner="anna").secret
            for name, scopes in {
                "all": ("read", "write", "spend", "admin"),
                "reader": ("read",),
                "writer": ("read", "write"),
            }.items()
        }
        return Seeded(
            settings,
            photos[0],
            dataset.digest,
            TRAINING,
            lora.name,
            "generation_0123456789abcdef",
            images[0],
            grid.id,
            job.id,
            tokens["all"],
            tokens["reader"],
            tokens["writer"],
        )
