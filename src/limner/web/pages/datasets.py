"""The frozen datasets of a subject: freeze, look at the crops, download a package. Included by ``photos``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from limner.errors import InputRefused, NotFound
from limner.studio import Studio
from limner.web.files.responses import made_file
from limner.web.rendering.templates import plural
from limner.web.visit import Notice, StudioOf, back, page

__all__ = ["LAYOUTS", "router"]

router = APIRouter()

LAYOUTS = (
    ("replicate", "Replicate"),
    ("fal", "fal"),
    ("kohya", "Kohya"),
    ("ai-toolkit", "ai-toolkit"),
    ("diffusers", "diffusers"),
)
"""Names of the layouts and of who reads them."""


@router.get("/datasets")
def datasets(request: Request, studio: StudioOf, slug: str) -> Response:
    """The frozen datasets of a subject, the newest first, and the form that freezes another."""
    return _page(request, studio, slug)


def _page(
    request: Request,
    studio: Studio,
    slug: str,
    *,
    typed: dict[str, str] | None = None,
    refused: InputRefused | None = None,
) -> Response:
    subject = studio.subjects.get(slug)
    return page(
        request,
        "pages/datasets.html",
        status=422 if refused else 200,
        nav="subjects",
        subject=subject,
        datasets=studio.datasets.all(slug),
        bases=studio.maintenance.bases(),
        default_base=studio.settings.base,
        layouts=LAYOUTS,
        typed=typed or {},
        refused=refused,
    )


@router.post("/datasets")
def freeze(
    request: Request,
    studio: StudioOf,
    slug: str,
    base: Annotated[str, Form()] = "",
    resolution: Annotated[str, Form()] = "",
    allow_few: Annotated[bool, Form()] = False,
) -> Response:
    """Freeze the photos as they are now; the same photos give the same dataset, so twice does no harm."""
    typed = {"base": base, "resolution": resolution, "allow_few": "on" if allow_few else ""}
    try:
        size = int(resolution) if resolution.strip() else None
    except ValueError:
        wrong = InputRefused(f"The resolution '{resolution[:20]}' is not a number.", remedy="Leave it empty.")
        return _page(request, studio, slug, typed=typed, refused=wrong)
    try:
        dataset = studio.datasets.freeze(slug, base=base, resolution=size, allow_few=allow_few)
    except InputRefused as refused:
        return _page(request, studio, slug, typed=typed, refused=refused)
    words = f"Frozen: {plural(dataset.photos, 'photo')} at {dataset.resolution} px."
    return back(f"/subjects/{slug}/datasets#d-{dataset.digest[:12]}", Notice("note", words))


@router.get("/datasets/{digest}/sheet")
def crop_sheet(studio: StudioOf, slug: str, digest: str) -> Response:
    """Each photo of a dataset with its crop, bucket and caption, as one PNG."""
    dataset = _digest(studio, slug, digest)
    with tempfile.TemporaryDirectory() as folder:
        data = studio.datasets.crop_sheet(dataset, Path(folder) / "sheet.png").read_bytes()
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=86400, immutable"})


@router.get("/datasets/{digest}/package/{layout}")
def package(studio: StudioOf, slug: str, digest: str, layout: str) -> Response:
    """A dataset in a trainer's layout, as a zip."""
    dataset = _digest(studio, slug, digest)
    if layout not in dict(LAYOUTS):
        raise NotFound(f"There is no layout '{layout[:40]}'.", remedy=f"One of {', '.join(dict(LAYOUTS))}.")
    name = f"{slug}-{dataset[:8]}-{layout}.zip"
    return made_file(
        lambda folder: studio.datasets.package(dataset, layout, folder / name, zipped=True), "application/zip"
    )


def _digest(studio: Studio, slug: str, name: str) -> str:
    """The digest of a dataset of this subject; NotFound for one of another."""
    dataset = studio.datasets.get(name)
    if dataset.subject != slug:
        raise NotFound(
            f"'{name[:64]}' is no dataset of '{slug}'.", remedy="See the list of its datasets.", thing=name[:64]
        )
    return dataset.digest
