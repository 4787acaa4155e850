"""What the Create page shows: loras that go together, shapes, and each generator with its price for the wish."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from limner.errors import InputRefused, LimnerError
from limner.options import GenerateOptions
from limner.records import Choice, Choices, Lora, PromptTemplate, Subject
from limner.studio import Studio
from limner.types import Base, Estimate, Finding, Severity
from limner.web.pages.create.form import CreateForm
from limner.web.pages.create.grid import GridForm, GridView, grid_view
from limner.web.pages.create.sizes import Size, sizes

__all__ = ["CreateView", "LoraRow", "view_of"]

FIELD_OF = {"count": "count", "loras": "loras", "address": "address", "consent_above": "yes", "wish": "wish"}
"""Which field an error's thing belongs to, where it names one."""
NONE_OF_THEM = Finding("no-generator", Severity.REFUSAL, "None of them can draw this.")


@dataclass(frozen=True, slots=True)
class LoraRow:
    """A lora in the list; ``reason`` says why it cannot be added to those that are chosen."""

    lora: Lora
    subject: Subject
    chosen: bool
    scale: str
    reason: str = ""


@dataclass(slots=True)
class CreateView:
    """Everything that the templates of the Create page need. ``options``: each generator, and each order of several."""

    form: CreateForm
    base: Base
    rows: list[LoraRow]
    shapes: list[Size]
    templates: list[PromptTemplate]
    kinds: set[str]
    bases: list[Base]
    choices: Choices | None = None
    options: list[Choice] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    refused: LimnerError | None = None
    looked: bool = True
    grid: GridView = field(default_factory=lambda: GridView(GridForm()))

    @property
    def picked(self) -> Choice | None:
        """The generator that is chosen, or would be."""
        return next((one for one in self.options if one.generator == self.form.generator), None)

    @property
    def estimate(self) -> Estimate:
        """What the button says that drawing costs."""
        picked = self.picked
        return Estimate(Decimal(0), certain=False) if picked is None else Estimate(picked.cost, certain=picked.certain)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is noticed about the prompt."""
        return () if self.choices is None else self.choices.findings

    @property
    def wanted(self) -> GenerateOptions:
        """The options of what the form asks for, by the generator that is chosen."""
        return {**self.form.options(self.base), "generator": self.form.generator}

    def suits(self, template: PromptTemplate) -> bool:
        """Whether a template is for a kind of subject that is chosen, or that there is."""
        return not self.kinds or bool(self.kinds & set(template.kinds))

    @property
    def agreed(self) -> bool:
        """Whether the user said yes to the generator that is chosen, at the price that it has now."""
        return self.picked is not None and self.yes_to(self.picked) in self.form.yes

    @staticmethod
    def yes_to(option: Choice) -> str:
        """The yes to this generator at this price, and to no other."""
        return f"{option.generator}={option.cost:f}"

    @staticmethod
    def told(option: Choice) -> str:
        """With which model, and who gets to see what."""
        sees = option.sees.removeprefix("no photos; ")
        model = f"{option.model}. " if option.model else ""
        return f"{model}{sees[:1].upper()}{sees[1:]}."


NOT_LOOKED_AT = "A page elsewhere sent you here with this address, so it was not looked at. Draw, if you know it."


def view_of(studio: Studio, form: CreateForm, refused: LimnerError | None = None, *, look: bool = True) -> CreateView:
    """Judge a form: which loras go together, and who could draw it at what price. Errors become those of fields.

    Without ``look`` no address in it is asked for anything.
    """
    looked = look or not form.addresses
    loras = studio.loras.all()
    subjects = {subject.slug: subject for subject in studio.subjects.all()}
    catalog = studio.maintenance.bases()
    base = _base(studio, form, loras, catalog)
    errors = form.wrong()
    choices = None
    try:
        if not looked:
            raise InputRefused(NOT_LOOKED_AT, thing="address")
        choices = studio.generations.offers(form.prompt, **form.options(base))
        if choices.base != base.id:
            # The base of a lora from elsewhere is known only now: the shapes are those of that base.
            base = next(one for one in catalog if one.id == choices.base)
            choices = studio.generations.offers(form.prompt, **form.options(base))
    except LimnerError as wrong:
        place = _field(wrong, form)
        errors.setdefault(place, f"{wrong.message} {wrong.remedy}".strip())
    if refused is not None and not errors:
        errors.setdefault(_field(refused, form), f"{refused.message} {_web_words(refused)}".strip())
    rows = _rows(form, loras, subjects, base)
    kinds = {row.subject.kind.value for row in rows if row.chosen}
    view = CreateView(
        form=form,
        base=base,
        rows=rows,
        shapes=sizes(base),
        templates=studio.generations.prompt_templates(),
        kinds=kinds or {subject.kind.value for subject in subjects.values()},
        bases=catalog,
        choices=choices,
        options=_options(studio, form, choices) if choices is not None else [],
        errors=errors,
        refused=refused,
        looked=looked,
    )
    _choose(studio, view)
    view.grid = grid_view(studio, form.grid, form.prompt, view.wanted) if looked else GridView(form.grid)
    return view


def _web_words(refused: LimnerError) -> str:
    return "Say yes beside the generator below." if refused.code == "consent-needed" else refused.remedy


def _field(wrong: LimnerError, form: CreateForm) -> str:
    """The field that an error belongs beside; "" for the form as a whole."""
    if wrong.thing in FIELD_OF:
        return FIELD_OF[wrong.thing]
    if wrong.thing.startswith(("{trigger", "{class_word", "prompt")):
        return "prompt"
    if any(one.name == wrong.thing or one.name in wrong.message for one in form.loras):
        return "loras"
    # A repo's name may have been taken apart before it was looked at; own loras have no slash in their names.
    at_fault = [one for one in form.addresses if one.name in wrong.message or (wrong.thing and wrong.thing in one.name)]
    return "address" if at_fault or (form.addresses and "/" in wrong.thing) else ""


def _base(studio: Studio, form: CreateForm, loras: list[Lora], catalog: list[Base]) -> Base:
    """The base of the wish, as far as it is known here: named, that of the first own lora, or the usual one."""
    chosen = {one.name for one in form.loras}
    of_loras = [lora.base for lora in loras if lora.name in chosen]
    # The base that a link brought along gives way when another lora is chosen.
    if of_loras and form.base not in of_loras:
        form.base = ""
    wanted = form.base or next(iter(of_loras), "") or studio.settings.base
    found = next((one for one in catalog if one.id == wanted), None)
    if found is None:
        form.base = ""
        found = next((one for one in catalog if one.id == studio.settings.base), catalog[0])
    return found


def _rows(form: CreateForm, loras: list[Lora], subjects: dict[str, Subject], base: Base) -> list[LoraRow]:
    order = {one.name: place for place, one in enumerate(form.loras)}
    bound = bool(order or form.addresses)
    rows = []
    for lora in loras:
        subject = subjects.get(lora.subject)
        if subject is None:
            continue
        chosen = lora.name in order
        reason = ""
        if bound and not chosen and lora.base != base.id:
            reason = f"It belongs to {lora.base}; what is chosen belongs to {base.id}."
        rows.append(LoraRow(lora, subject, chosen, form.scale_of(lora.name), reason))
    return sorted(rows, key=lambda row: order.get(row.lora.name, len(order)))


def _options(studio: Studio, form: CreateForm, choices: Choices) -> list[Choice]:
    found = list(choices.choices)
    for order in dict.fromkeys((form.generator, studio.settings.generator)):
        if "," in order:
            found.insert(0, _several(order, found))
    return found


def _several(order: str, options: list[Choice]) -> Choice:
    """Several generators of which the next is tried where one cannot: at most as dear as the dearest of them."""
    names = [name.strip() for name in order.split(",") if name.strip()]
    able = [one for one in options if one.generator in names and one.usable]
    dearest = max(able, key=lambda one: (one.cost, not one.certain), default=None)
    return Choice(
        generator=order,
        title=", then ".join(next((one.title for one in options if one.generator == name), name) for name in names),
        summary="In this order: the next is tried where one cannot draw.",
        vendor="",
        model="",
        cost=Decimal(0) if dearest is None else dearest.cost,
        certain=dearest is not None and all(one.certain for one in able),
        seconds=None,
        note="",
        sees="",
        refusals=() if able else (NONE_OF_THEM,),
        asks=any(one.asks for one in able),
    )


def _choose(studio: Studio, view: CreateView) -> None:
    """Keep the generator that was chosen; else the usual one, or the best that can draw this."""
    form = view.form
    if any(one.generator == form.generator for one in view.options):
        return
    usable = [one.generator for one in view.options if one.usable]
    usual = studio.settings.generator
    form.generator = usual if usual in usable else next(iter(usable), usual)
