"""Choices: which generators could draw a wish here and now, at what price, and if not, why and what mends it.

No vendor is asked: whether it still lists a model is asked right before that is used. Hubs are asked once where
the loras can be fetched, for a few seconds at most, and for the start of a lora's file that is not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import String, cast, select
from sqlalchemy.orm import Session

from limner import plugins
from limner.catalog import find_hosted
from limner.errors import InputRefused, LimnerError, NotFound
from limner.generation.checks import count_tokens
from limner.generation.generator import GenerationOrder, Generator
from limner.money.budgets import check_budgets
from limner.money.consent import check_consent
from limner.operations import ids
from limner.operations.generations import orders, reach
from limner.operations.generations import submission as generations
from limner.operations.generations.orders import Drawing
from limner.operations.home.workspace import Workspace
from limner.operations.payments import ledger
from limner.records import Choice, Choices, LoraAsked, Wish
from limner.store.models import LARGEST, GenerationRow, ImageRow, JobRow
from limner.types import BackEnd, Budget, Estimate, Finding, Severity

__all__ = ["choices", "wish_of"]

GROUP = "limner.generators"
DECISIVE = ("broken", "no-model", "model", "model-unknown", "model-of-another-base", "base", "lora-does-not-fit")
"""What no token and no publishing mends: said first."""
BLANK = "a picture"
"""Stands in for a prompt that is not written yet, so that all else can be judged."""
OF_PROMPT = ("prompt-empty", "prompt-too-long", "prompt-not-text", "prompt-cut", "trigger-missing")
"""What generators find in a prompt: said once, not by each of them."""


def choices(workspace: Workspace, **options: Any) -> Choices:
    """Every installed generator for a wish. A generator named in the options is not asked alone.

    InputRefused, NotFound: the loras do not go together or are not here, or the count is not possible.
    """
    request = generations.make_request(workspace, **{**options, "generator": ""}, again=False)
    written = request.prompt
    about_prompt: list[Finding] = []
    ends, found = _ends(workspace)
    drawing = orders.find_drawing(workspace, request, [about for _, about in ends], again=False)
    prompt = written
    try:
        prompt = drawing.prompt
    except InputRefused as refusal:
        about_prompt.append(Finding("prompt-slot", Severity.REFUSAL, refusal.message, refusal.remedy))
    order = replace(drawing.bare, prompt=prompt if prompt.strip() else BLANK)
    drawing = replace(drawing, bare=order, filled=True)
    budgets = ledger.budgets(workspace, drawing.subjects[0] if drawing.subjects else "")
    publish = request.publish_if_needed
    for generator, about in ends:
        choice, said = _choice(workspace, drawing, generator, about, budgets, publish=publish)
        found.append(choice)
        about_prompt += said
    return Choices(
        base=order.base.id,
        prompt=prompt,
        tokens=_tokens(prompt, order),
        most_tokens=order.base.max_text_tokens,
        width=order.width,
        height=order.height,
        steps=order.steps,
        guidance=order.guidance,
        count=order.count,
        choices=tuple(sorted(found, key=_order)),
        findings=tuple({one.code + one.message: one for one in about_prompt}.values()) if written.strip() else (),
    )


def _tokens(prompt: str, order: GenerationOrder) -> int | None:
    try:
        prompt.encode()
    except UnicodeEncodeError:
        return None
    return count_tokens(prompt, order.base, order.base_path)


def _order(choice: Choice) -> tuple[Any, ...]:
    return not choice.usable, choice.mended_by == "", choice.cost, choice.generator


def _ends(workspace: Workspace) -> tuple[list[tuple[Generator, BackEnd]], list[Choice]]:
    """The installed generators with what they say of themselves, and as choices those that are broken here."""
    ends: list[tuple[Generator, BackEnd]] = []
    broken: list[Choice] = []
    for name in plugins.names(GROUP):
        try:
            generator = workspace.back_ends.generator(name)
            ends.append((generator, generator.describe()))
        except LimnerError as failure:
            refused = Finding("broken", Severity.REFUSAL, failure.message, failure.remedy)
            broken.append(_told(BackEnd(name, name, ""), "", Estimate(certain=False), [refused]))
    return ends, broken


def _choice(
    workspace: Workspace,
    drawing: Drawing,
    generator: Generator,
    about: BackEnd,
    budgets: Sequence[Budget],
    *,
    publish: bool,
) -> tuple[Choice, list[Finding]]:
    """One generator for the wish, and what it finds in the prompt."""
    order = drawing.order(about, among=True)
    checked = generator.check(order)

    def findings(*, publish: bool) -> list[Finding]:
        return reach.reach_findings(workspace, drawing.loras, about, checked, publish_if_needed=publish)

    found = findings(publish=publish)
    # What a prompt that is not written yet lacks is no news.
    said = [one for one in found if one.code in OF_PROMPT]
    rest = [one for one in found if one.code not in OF_PROMPT]
    stands = _refusals(rest)
    mended = ""
    if stands == {"need"}:
        mended = "account" if about.vendor else ""
    elif stands and stands <= {"need", *reach.ADDRESS_CODES} and not publish:
        mended = "" if _refusals(findings(publish=True)) - {*OF_PROMPT} else "publishing"
    estimate = generator.estimate(order)
    rows = find_hosted(about.vendor, "generate", base=order.base.id) if about.vendor else []
    model = order.model or next((row.model for row in rows if not row.withdrawn), "")
    told = _told(about, model, estimate, [*rest, *_budget(budgets, estimate)], mended)
    return replace(told, asks=_asks(workspace, estimate)), said


def _refusals(found: Sequence[Finding]) -> set[str]:
    return {one.code for one in found if one.severity is Severity.REFUSAL}


def _budget(budgets: Sequence[Budget], estimate: Estimate) -> list[Finding]:
    try:
        check_budgets(budgets, estimate.amount, what="generation")
    except LimnerError as refusal:
        return [Finding("budget", Severity.REFUSAL, refusal.message, refusal.remedy)]
    return []


def _asks(workspace: Workspace, estimate: Estimate) -> bool:
    try:
        check_consent(estimate, workspace.settings.consent_above, yes=False)
    except LimnerError:
        return True
    return False


def _told(about: BackEnd, model: str, estimate: Estimate, found: Sequence[Finding], mended: str = "") -> Choice:
    return Choice(
        generator=about.name,
        title=about.title,
        summary=about.summary,
        vendor=about.vendor,
        model=model,
        cost=estimate.amount,
        seconds=estimate.seconds,
        certain=estimate.certain,
        note=estimate.note,
        sees=about.sees_photos,
        refusals=tuple(sorted((one for one in found if one.severity is Severity.REFUSAL), key=_weight)),
        warnings=tuple(one for one in found if one.severity is Severity.WARNING),
        mended_by=mended,
    )


def _weight(found: Finding) -> int:
    return 0 if found.code in DECISIVE else 1 if found.code == "need" else 2


# --- what was asked for before ----------------------------------------------------------------------------------


def wish_of(workspace: Workspace, thing: int | str) -> Wish:
    """The wish behind a picture (its number) or a generation (its id). NotFound: there is none."""
    with workspace.database.read() as session:
        image = None
        if isinstance(thing, int):
            image = session.get(ImageRow, thing) if 0 <= thing <= LARGEST else None
            if image is None:
                raise NotFound(f"There is no image {thing}.", remedy="List them: limner images list", thing=str(thing))
        name = image.generation if image is not None else str(thing)
        row = ids.by_id(session, "generation", GenerationRow, name)
        if row is None:
            raise NotFound(f"There is no generation '{name}'.", remedy="List images: limner images list", thing=name)
        request = _request(session, row.id)
        # A generation's row names its loras as they were found; a picture made within a longer job has only those.
        loras = [LoraAsked(str(use["name"]), float(use["scale"])) for use in row.loras]
        return Wish(
            prompt=str(request.get("prompt", row.prompt)),
            loras=tuple(loras),
            base=row.base,
            generator=row.generator,
            model=str(request.get("model", "")),
            width=row.width,
            height=row.height,
            steps=row.steps,
            guidance=row.guidance,
            seed=row.seed if image is None else image.seed,
            count=row.count,
        )


def _request(session: Session, generation: str) -> Mapping[str, Any]:
    """The request that a job keeps of a generation; {} where the job is gone."""
    row = session.scalars(select(JobRow).where(JobRow.target == generation).limit(1)).first()
    if row is None:
        # Within a longer job the generation is one of its stages.
        query = select(JobRow).where(cast(JobRow.request, String).contains(generation)).limit(1)
        row = session.scalars(query).first()
    stages = row.request["stages"] if row is not None else ()
    return next((one for one in stages if one.get("generation") == generation), {})
