"""The demo's run: two subjects through the whole pipeline in a home of their own, then the contact sheet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from limner._version import __version__
from limner.demo.sheet import SheetPicture, SheetSubject, contact_sheet
from limner.errors import Conflict
from limner.records import Generation, Job
from limner.settings import Settings
from limner.studio import Studio
from limner.types import SubjectKind

__all__ = ["SUBJECTS", "DemoSubject", "fresh_home", "prepare", "run_demo", "save_pictures", "shown"]

MARK = ".limner-demo"
"""A file in the demo's home, so that only a folder that a demo made is ever emptied by the next."""
STAGES = {
    "intake": "photos",
    "freeze": "dataset",
    "train": "training",
    "publish": "publication",
    "generate": "pictures",
}


@dataclass(frozen=True, slots=True)
class DemoSubject:
    """One subject of the demo: ``folder`` is inside this package, ``count`` the pictures a prompt, from ``seed`` on."""

    slug: str
    title: str
    kind: SubjectKind
    class_word: str
    trigger: str
    folder: str
    prompts: tuple[str, ...]
    seed: int
    count: int
    recipe: Mapping[str, Any]


SUBJECTS = (
    DemoSubject(
        slug="zibbo",
        title="Zibbo, a drawn character",
        kind=SubjectKind.CHARACTER,
        class_word="character",
        trigger="zibbo",
        folder="character",
        prompts=(
            "a drawing of {trigger} character wearing a white shirt, smiling, in the desert, close-up",
            "a drawing of {trigger} character wearing a striped red shirt, laughing, in the city, half figure",
            "a drawing of {trigger} character wearing sunglasses and a black shirt, smiling, on the beach, half figure",
            "a drawing of {trigger} character wearing a purple shirt, sad, in the snow, close-up",
            "a drawing of {trigger} character wearing a dotted blue shirt, surprised, at night, half figure",
            "a drawing of {trigger} character wearing an orange shirt, smiling, waving, in a garden, half figure",
        ),
        seed=11,
        count=1,
        recipe={"steps": 200, "learning_rate": 1e-3},
    ),
    DemoSubject(
        slug="corgi",
        title="A corgi, on real photos",
        kind=SubjectKind.PET,
        class_word="dog",
        trigger="mozu_ka",
        folder="photos",
        prompts=("a photo of {trigger} dog",),
        seed=5,
        count=6,
        recipe={"steps": 320, "learning_rate": 3e-3},
    ),
)

Follow = Callable[[Studio, str, Job], Job]


def run_demo(
    out: Path,
    follow: Follow,
    *,
    subjects: Sequence[DemoSubject] = SUBJECTS,
    recipe: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run every subject of the demo and draw ``contact-sheet.png`` into ``out``.

    ``follow`` is given a title and a job, and waits for the job, showing it as it likes. ``recipe`` holds fields over
    those of the subject. Gives the paths of the sheet, the pictures and the publications, and the seconds that
    the stages took together. Conflict: ``out`` holds a ``home`` that no demo made.
    """
    out = out.absolute()
    settings = Settings(home=fresh_home(out), hub_folder=out / "hub", base="limner-tiny")
    # Whoever opens this home afterwards, by `limner serve` say, finds the publications too.
    (settings.home / "limner.toml").write_text(f"hub_folder = {json.dumps(str(settings.hub_folder))}\n")
    sections, pictures, published, seconds = [], [], [], 0.0
    with Studio(settings=settings) as studio:
        for subject in subjects:
            job = _start(studio, subject, {**subject.recipe, **(recipe or {})})
            ended = follow(studio, subject.title, job)
            drawn = [
                studio.generations.get(run.result["generation"]) for run in ended.stages if run.stage == "generate"
            ]
            sections.append(shown(studio, subject, ended, drawn))
            pictures += save_pictures(drawn, out / "pictures")
            published.append(str(ended.result["url"]))
            seconds += sum(run.seconds or 0.0 for run in ended.stages)
    sheet = out / "contact-sheet.png"
    subtitle = "What went in, what the model draws without and with the LoRA, how it learned and how long it took."
    footer = (
        f"Limner {__version__}, base limner-tiny, 128 px, on a CPU. Photos: DreamBooth dataset, CC BY 4.0, @alvannee."
    )
    sheet.write_bytes(contact_sheet("From photos to pictures", sections, subtitle=subtitle, footer=footer))
    return {"sheet": sheet, "pictures": pictures, "publications": published, "seconds": round(seconds, 1)}


def fresh_home(out: Path) -> Path:
    """An empty home folder in ``out``, in place of an earlier demo's. Conflict: a home that no demo made is there."""
    home = out / "home"
    if home.exists() and not (home / MARK).exists():
        raise Conflict(
            f"{home} exists and was not made by a demo.", remedy="Choose another folder with --out.", thing=str(home)
        )
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / MARK).touch()
    for made in ("hub", "pictures"):
        shutil.rmtree(out / made, ignore_errors=True)
    return home


def prepare(studio: Studio, subject: DemoSubject) -> Path:
    """Add the subject; its photos as files in a folder of the home."""
    studio.subjects.add(
        subject.slug,
        name=subject.title,
        kind=subject.kind,
        class_word=subject.class_word,
        trigger=subject.trigger,
    )
    photos = studio.settings.home / "photos" / subject.slug
    with as_file(files("limner.demo") / subject.folder) as folder:
        shutil.copytree(folder, photos, ignore=shutil.ignore_patterns("*.md"))
    return photos


def _start(studio: Studio, subject: DemoSubject, recipe: Mapping[str, Any]) -> Job:
    return studio.run(
        subject.slug,
        [prepare(studio, subject)],
        subject.prompts,
        train={"settings": recipe},
        generate={"seed": subject.seed, "count": subject.count},
        with_base=True,
    )


def shown(studio: Studio, subject: DemoSubject, job: Job, drawn: Sequence[Generation]) -> SheetSubject:
    """What the contact sheet shows of a subject whose job is done."""
    training = studio.trainings.get(job.target)
    recipe = training.recipe
    took: dict[str, float] = {}
    for run in job.stages:
        took[STAGES[run.stage]] = took.get(STAGES[run.stage], 0.0) + (run.seconds or 0.0)
    lora = studio.loras.get(str(job.result["lora"]))
    return SheetSubject(
        title=subject.title,
        photos=[
            SheetPicture(photo.path, photo.caption.replace("{trigger}", subject.trigger))
            for photo in studio.photos.all(subject.slug)
        ],
        base_pictures=_pictures(drawn, subject, with_lora=False),
        pictures=_pictures(drawn, subject, with_lora=True),
        losses=training.losses,
        stages=tuple(took.items()),
        facts=(
            ("trigger", subject.trigger),
            ("steps", str(recipe["steps"])),
            ("rank", str(recipe["rank"])),
            ("LoRA", f"{lora.byte_size / 1e6:.1f} MB"),
        ),
    )


def _pictures(drawn: Sequence[Generation], subject: DemoSubject, *, with_lora: bool) -> list[SheetPicture]:
    return [
        SheetPicture(image.path, generation.prompt.replace("{trigger}", subject.trigger))
        for generation in drawn
        if bool(generation.loras) is with_lora
        for image in generation.images
    ]


def save_pictures(drawn: Sequence[Generation], folder: Path) -> list[Path]:
    """Copy pictures into a folder, named after their loras."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for generation in drawn:
        for image in generation.images:
            name = "-".join(lora["name"].replace("@", "-") for lora in generation.loras) or "base"
            path = folder / f"{image.id:03d}-{name}.png"
            shutil.copyfile(image.path, path)
            saved.append(path)
    return saved
