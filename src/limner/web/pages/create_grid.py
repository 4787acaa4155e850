"""From a generation to a grid: the same wish again, with one or two settings that differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import FormData

from limner.errors import ConsentNeeded, InputRefused, LimnerError
from limner.options import GenerateOptions
from limner.studio import Studio
from limner.web.access.identity import Visitor
from limner.web.pages.create_results import Results, results_of
from limner.web.visit import StudioOf, Visit, back, page

__all__ = ["GridForm", "generation_page", "router"]

router = APIRouter()

AXES = {"scale": float, "steps": int, "seed": int, "guidance": float, "lora": str}
"""The settings that may differ, and what their values are."""
MOST_VALUES = 10


@dataclass(slots=True)
class GridForm:
    """What the fields of the grid's form hold. ``asks`` are the words of a yes that is needed."""

    x: str = "scale"
    x_values: str = ""
    y: str = ""
    y_values: str = ""
    wish: str = field(default_factory=lambda: uuid4().hex)
    error: str = ""
    asks: str = ""
    names: tuple[str, ...] = tuple(AXES)

    def axis(self, side: str) -> tuple[str, list[float | int | str]] | None:
        """One side's setting and values; None where nothing differs. InputRefused."""
        name, text = (self.x, self.x_values) if side == "x" else (self.y, self.y_values)
        if not name:
            return None
        if name not in AXES:
            raise InputRefused(f"'{name[:40]}' is no setting of a grid.", remedy=f"Choose one of {', '.join(AXES)}.")
        words = [part.strip() for part in text.split(",") if part.strip()]
        if not 2 <= len(words) <= MOST_VALUES:
            raise InputRefused(
                f"{name.capitalize()} has {len(words)} values.",
                remedy=f"Write 2 to {MOST_VALUES} values, with commas between them.",
            )
        try:
            return name, [AXES[name](word) for word in words]
        except ValueError:
            raise InputRefused(
                f"'{text[:80]}' are no values of {name}.", remedy="Write numbers, with commas between them."
            ) from None


def generation_page(
    request: Request,
    visit: Visitor,
    found: Results,
    *,
    question: LimnerError | None = None,
    grid: GridForm | None = None,
    status: int = 200,
) -> HTMLResponse:
    """The page of a generation, with a question that is open or a grid's form that was refused."""
    first = GridForm(x="scale" if found.generation.loras else "steps")
    return page(
        request,
        visit,
        "pages/generation.html",
        status=status,
        results=found,
        question=question,
        grid=grid or first,
        heading=False,
    )


async def _sent(request: Request) -> FormData:
    return await request.form()


@router.post("/generations/{generation}/grid")
def start(
    request: Request, visit: Visit, studio: StudioOf, generation: str, sent: Annotated[FormData, Depends(_sent)]
) -> Response:
    """Draw a grid of this generation's wish."""
    found = results_of(studio, generation)
    form = GridForm()
    for name in ("x", "x_values", "y", "y_values", "wish"):
        setattr(form, name, str(sent.get(name, ""))[:400])
    try:
        return back(f"/grids/{_start(studio, found, form, yes=bool(sent.get('yes')))}")
    except ConsentNeeded as question:
        form.asks = "Yes, draw it at that price"
        form.error = question.message
    except LimnerError as refused:
        form.error = str(refused)
    return generation_page(request, visit, found, grid=form, status=422)


def _start(studio: Studio, found: Results, form: GridForm, *, yes: bool) -> str:
    x, y = form.axis("x"), form.axis("y")
    if x is None:
        raise InputRefused("A grid needs a setting that differs across.", remedy="Choose one.")
    wish = studio.wish_of(found.generation.id)
    options = GenerateOptions(
        loras=[f"{name}:{scale:g}" for name, scale in wish.loras],
        base=wish.base,
        generator=wish.generator,
        model=wish.model,
        width=wish.width,
        height=wish.height,
        steps=wish.steps,
        guidance=wish.guidance,
        seed=wish.seed,
        count=1,
    )
    return studio.grids.start(wish.prompt, x=x, y=y, yes=yes, wish=form.wish, **options).id
