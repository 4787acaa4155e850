"""The form of the Create page: read from a link or from what was sent, and turned into the options of a generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from starlette.datastructures import FormData, QueryParams

from limner.errors import LimnerError
from limner.options import GenerateOptions
from limner.records import Lora, Wish
from limner.studio import Studio
from limner.types import Base
from limner.web.pages.create.grid import GridForm, read_grid
from limner.web.pages.create.sizes import OWN, shape_of, sizes

__all__ = ["CreateForm", "Picked", "from_link", "from_sent"]

MOST_WORDS = 40_000
"""Characters of a field that are kept; longer prompts are refused in any case."""
NUMBERS = {
    "width": (int, "Write the width in whole pixels."),
    "height": (int, "Write the height in whole pixels."),
    "steps": (int, "Write a whole number of steps."),
    "guidance": (float, "Write guidance as a number, such as 3.5."),
    "seed": (int, "Write the seed as a whole number, or leave it empty for a new one."),
    "count": (int, "Write how many pictures, 1 to 1000."),
}


@dataclass(frozen=True, slots=True)
class Picked:
    """A lora that was chosen: its name or address, and its scale as it was written."""

    name: str
    scale: str = "1"


@dataclass(slots=True)
class CreateForm:
    """What the fields hold, as text, so that a form that is refused comes back as it was sent."""

    prompt: str = ""
    loras: list[Picked] = field(default_factory=list)
    addresses: list[Picked] = field(default_factory=list)
    base: str = ""
    generator: str = ""
    model: str = ""
    size: str = "square"
    width: str = ""
    height: str = ""
    steps: str = ""
    guidance: str = ""
    seed: str = ""
    lock: bool = False
    count: str = "1"
    publish: bool = False
    yes: tuple[str, ...] = ()
    wish: str = field(default_factory=lambda: uuid4().hex)
    begins_at_prompt: bool = False
    notes: list[str] = field(default_factory=list)
    grid: GridForm = field(default_factory=GridForm)

    def scale_of(self, name: str) -> str:
        """The scale of a lora as it was written; 1 for one that is not chosen."""
        return next((one.scale for one in self.loras if one.name == name), "1")

    def wrong(self) -> dict[str, str]:
        """What cannot be read of the fields, by their names."""
        found = {}
        for name, (kind, words) in NUMBERS.items():
            text = getattr(self, name).strip()
            if name in ("width", "height") and self.size != OWN:
                continue
            if text and _number(kind, text) is None:
                found[name] = words
        for one in (*self.loras, *self.addresses):
            if _number(float, one.scale.strip() or "1") is None:
                found["loras"] = f"Write the weight of {one.name} as a number, such as 0.8."
        if self.size == OWN and not (self.width.strip() and self.height.strip()):
            found.setdefault("width", "Write width and height.")
        return found

    def options(self, base: Base | None) -> GenerateOptions:
        """The options of the generation; fields that cannot be read are left out. Shapes are those of ``base``."""
        numbers = {
            name: _number(kind, getattr(self, name).strip()) for name, (kind, _) in NUMBERS.items() if name != "count"
        }
        if self.size != OWN:
            shape = next((one for one in sizes(base) if one.key == self.size), None) if base is not None else None
            numbers["width"], numbers["height"] = (shape.width, shape.height) if shape is not None else (None, None)
        count = _number(int, self.count.strip() or "1")
        options: dict[str, Any] = {
            "loras": [f"{one.name}:{_scale(one.scale)}" for one in (*self.loras, *self.addresses)],
            "count": 1 if count is None else count,
            "publish_if_needed": self.publish,
            **{name: value for name, value in numbers.items() if value is not None},
            **{name: getattr(self, name) for name in ("base", "generator", "model") if getattr(self, name)},
        }
        return cast(GenerateOptions, options)


def _number(kind: type[int] | type[float], text: str) -> Any:
    try:
        found = kind(text)
    except ValueError:
        return None
    return found if abs(found) < 2**63 else None  # neither infinite nor more than a row can keep


def _scale(text: str) -> str:
    number = _number(float, text.strip() or "1")
    return "1" if number is None else f"{number:.4f}".rstrip("0").rstrip(".")


# --- what was sent ----------------------------------------------------------------------------------------------


def from_sent(sent: FormData) -> CreateForm:
    """The form as it was sent: a lora's checkbox is ``lora``, its weight ``scale:NAME``; addresses come in pairs."""

    def text(name: str) -> str:
        value = sent.get(name, "")
        return value[:MOST_WORDS] if isinstance(value, str) else ""

    def texts(name: str) -> list[str]:
        return [value[:MOST_WORDS] for value in sent.getlist(name) if isinstance(value, str)]

    scales = texts("address_scale")
    form = CreateForm(
        prompt=text("prompt").replace("\r\n", "\n"),
        loras=[Picked(name, text(f"scale:{name}") or "1") for name in dict.fromkeys(texts("lora"))],
        addresses=[
            Picked(address.strip(), (scales[place] if place < len(scales) else "") or "1")
            for place, address in enumerate(texts("address"))
            if address.strip()
        ],
        lock=bool(text("lock")),
        publish=bool(text("publish")),
        yes=tuple(texts("yes")),
        grid=read_grid(sent),
    )
    for name in ("base", "generator", "model", "size", "width", "height", "steps", "guidance", "seed", "count", "wish"):
        setattr(form, name, text(name).strip() or getattr(form, name))
    return form


# --- a link -----------------------------------------------------------------------------------------------------


def from_link(studio: Studio, query: QueryParams) -> CreateForm:
    """The form as a link fills it in. What it names and is not here is left out, with a note."""
    form = CreateForm(grid=read_grid(query))
    if query.get("from"):
        _from_wish(studio, form, query["from"], query.get("vary", ""))
    _loras_of_link(studio, form, query)
    for name in ("prompt", "base", "generator", "model", "steps", "guidance", "seed", "count"):
        if name in query:
            setattr(form, name, query[name][:MOST_WORDS])
    if query.get("template"):
        chosen = next((one for one in studio.generations.prompt_templates() if one.id == query["template"]), None)
        form.prompt = chosen.prompt if chosen is not None else form.prompt
    if query.get("width") and query.get("height"):
        form.size, form.width, form.height = OWN, query["width"], query["height"]
    elif query.get("size"):
        form.size = query["size"]
    form.lock = form.lock or bool(query.get("lock"))
    return form


def _loras_of_link(studio: Studio, form: CreateForm, query: QueryParams) -> None:
    if query.get("subject"):
        newest = next((lora.name for lora in studio.loras.all(query["subject"])), "")
        form.loras = [Picked(newest)] if newest else []
        if not newest:
            form.notes.append(f"{query['subject']} has no lora yet.")
    if query.getlist("lora"):
        form.loras, form.addresses = [], []
        for words in query.getlist("lora"):
            name, scale = _parted(words)
            (form.addresses if "/" in name else form.loras).append(Picked(name, scale))
    form.loras = _here(form, {lora.name: lora for lora in reversed(studio.loras.all())})


def _here(form: CreateForm, known: Mapping[str, Lora]) -> list[Picked]:
    """The loras that are here, by their whole names."""
    found: dict[str, Picked] = {}
    for one in form.loras:
        newest = [lora for lora in known.values() if one.name in (lora.name, lora.subject)]
        if newest:
            found[newest[-1].name] = Picked(newest[-1].name, one.scale)
        else:
            form.notes.append(f"The lora {one.name} is not here any more.")
    return list(found.values())


def _parted(words: str) -> tuple[str, str]:
    head, colon, tail = words.rpartition(":")
    return (head, tail) if colon and _number(float, tail) is not None else (words, "1")


def _from_wish(studio: Studio, form: CreateForm, thing: str, vary: str) -> None:
    try:
        wish = studio.generations.request_of(int(thing) if thing.isdecimal() and len(thing) < 19 else thing)
    except LimnerError as missing:
        form.notes.append(missing.message)
        return
    single = thing.isdecimal() and not vary
    _take(form, wish, studio.maintenance.bases())
    form.count = "1" if single else str(wish.count)
    form.lock = vary != "seed"
    form.seed = str(wish.seed) if form.lock else ""
    form.begins_at_prompt = vary == "prompt"


def _take(form: CreateForm, wish: Wish, bases: Sequence[Base]) -> None:
    form.prompt, form.model = wish.prompt, wish.model
    form.base, form.generator = wish.base, wish.generator
    for name, scale in wish.loras:
        (form.addresses if "/" in name else form.loras).append(Picked(name, f"{scale:g}"))
    base = next((one for one in bases if one.id == wish.base), None)
    form.size = OWN if base is None else shape_of(base, wish.width, wish.height)
    if form.size == OWN:
        form.width, form.height = str(wish.width), str(wish.height)
    form.steps = "" if base is not None and base.steps == wish.steps else str(wish.steps)
    form.guidance = "" if base is not None and base.guidance == wish.guidance else f"{wish.guidance:g}"
