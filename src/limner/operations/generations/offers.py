"""Choices: which generators could draw a wish here and now, at what price, and if not, why and what mends it.

Nobody is asked over the network, except for the start of a lora's file that is not here: whether a vendor still lists a
model is asked right before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from limner.operations import ids as lookups
from limner.operations.generations import orders as ordering
from limner.operations.generations import submission as generating
from limner.operations.home.workspace import Workspace
from limner.operations.payments import ledger as costs
from limner.records import Choice, Choices, Wish
from limner.store.models import LARGEST, GenerationRow, ImageRow, JobRow
from limner.types import BackEnd, Estimate, Finding, Severity

__all__ = ["choices", "wish_of"]

GROUP = "limner.generators"
DECISIVE = ("broken", "no-model", "model", "base", "lora-does-not-fit")
"""What no token and no publishing mends: said first."""
BLANK = "a picture"
"""Stands in for a prompt that is not written yet, so that all else can be judged."""
OF_PROMPT = ("prompt-empty", "prompt-too-long", "prompt-not-text", "prompt-cut", "trigger-missing")
"""What generators find in a prompt: said once, not by each of them."""


def choices(workspace: Workspace, **options: Any) -> Choices:
    """Every installed generator for a wish. A generator named in the options is not asked alone.

    InputRefused, NotFound: the loras do not go together or are not here, or the count is not possible.
    """
    wanted = generating.request(workspace, **{**options, "generator": ""})
    written: str = wanted["prompt"]
    about_prompt: list[Finding] = []
    first = generating.generators_of(wanted["generator"])[0]
    order, subjects = ordering.order_of(workspace, {**wanted, "filled": True}, {}, first)
    prompt = written
    try:
        prompt = ordering.order_of(workspace, wanted, {}, first)[0].prompt
    except InputRefused as refusal:
        about_prompt.append(Finding("prompt-slot", Severity.REFUSAL, refusal.message, refusal.remedy))
    ready = {**wanted, "prompt": prompt if prompt.strip() else BLANK, "filled": True}
    found: list[Choice] = []
    for name in plugins.names(GROUP):
        choice, said = _choice(workspace, ready, name, subjects[0] if subjects else "")
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


def _choice(workspace: Workspace, wanted: dict[str, Any], name: str, subject: str) -> tuple[Choice, list[Finding]]:
    """One generator for the wish, and what it finds in the prompt."""
    try:
        generator: Generator = plugins.back_end(GROUP, name, settings=workspace.settings)
        about = generator.describe()
    except LimnerError as broken:
        refused = Finding("broken", Severity.REFUSAL, broken.message, broken.remedy)
        return _told(BackEnd(name, name, ""), "", Estimate(certain=False), [refused]), []
    model = wanted.get("model", "")
    mine = {**wanted, "generator": name, "model": model if model in about.models else ""}
    order, _ = ordering.order_of(workspace, mine, {}, name)
    found = _findings(workspace, mine, order, generator)
    estimate = generator.estimate(order)
    rows = find_hosted(about.vendor, "generate", base=order.base.id) if about.vendor else []
    model = order.model or next((row.model for row in rows if not row.withdrawn), "")
    # What a prompt that is not written yet lacks is no news.
    said = [one for one in found if one.code in OF_PROMPT]
    rest = [one for one in found if one.code not in OF_PROMPT]
    mended = ""
    if any(one.severity is Severity.REFUSAL for one in rest):
        mended = _mended_by(workspace, mine, order, generator, rest)
    told = _told(about, model, estimate, [*rest, *_budget(workspace, estimate, subject)], mended)
    return replace(told, asks=_asks(workspace, estimate)), said


def _findings(
    workspace: Workspace, wanted: dict[str, Any], order: GenerationOrder, generator: Generator
) -> list[Finding]:
    about = generator.describe()
    needs = [
        Finding("need", Severity.REFUSAL, f"{about.title} needs {need.name}.", need.how_to_get)
        for need in about.needs
        if not need.met
    ]
    found = [one for one in generator.check(order) if one.code != "need"]
    return [*needs, *ordering.reach_findings(workspace, wanted, order, about, found)]


def _mended_by(
    workspace: Workspace, wanted: dict[str, Any], order: GenerationOrder, generator: Generator, found: Sequence[Finding]
) -> str:
    """What alone would mend all that stands in the way: a token, or to publish the lora for everyone."""
    refusals = {one.code for one in found if one.severity is Severity.REFUSAL}
    if refusals == {"need"}:
        return "account" if generator.describe().vendor else ""
    if not refusals <= {"need", *ordering.ADDRESS_CODES} or wanted.get("publish_if_needed"):
        return ""
    published = _findings(workspace, {**wanted, "publish_if_needed": True}, order, generator)
    left = {one.code for one in published if one.severity is Severity.REFUSAL and one.code not in OF_PROMPT}
    return "publishing" if not left else ""


def _budget(workspace: Workspace, estimate: Estimate, subject: str) -> list[Finding]:
    try:
        check_budgets(costs.budgets(workspace, subject), estimate.amount, what="generation")
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
        row = lookups.by_id(session, "generation", GenerationRow, name)
        if row is None:
            raise NotFound(f"There is no generation '{name}'.", remedy="List images: limner images list", thing=name)
        asked = _asked(session, row.id)
        # A generation's row names its loras as they were found; a picture made within a longer job has only those.
        loras = [(str(use["name"]), float(use["scale"])) for use in row.loras]
        return Wish(
            prompt=str(asked.get("prompt", row.prompt)),
            loras=tuple(loras),
            base=row.base,
            generator=row.generator,
            model=str(asked.get("model", "")),
            width=row.width,
            height=row.height,
            steps=row.steps,
            guidance=row.guidance,
            seed=row.seed if image is None else image.seed,
            count=row.count,
        )


def _asked(session: Session, generation: str) -> dict[str, Any]:
    """The request that a job keeps of a generation; {} where the job is gone."""
    row = session.scalars(select(JobRow).where(JobRow.target == generation).limit(1)).first()
    if row is None:
        # Within a longer job the generation is one of its stages.
        query = select(JobRow).where(cast(JobRow.request, String).contains(generation)).limit(1)
        row = session.scalars(query).first()
    stages: list[dict[str, Any]] = row.request["stages"] if row is not None else []
    return next((stage for stage in stages if stage.get("generation") == generation), {})
