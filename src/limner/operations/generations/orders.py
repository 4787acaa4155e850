"""From a request to a generator's order: prompt filled in, loras found, and each where that generator can get it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from limner.catalog import base_location, find_base
from limner.generation.generator import GenerationOrder
from limner.generation.prompts import fill
from limner.operations.generations.reach import Located, Place, locate
from limner.operations.generations.request import GenerateRequest
from limner.operations.home.workspace import Workspace
from limner.operations.loras import queries as lora_queries
from limner.operations.subjects import queries as subject_queries
from limner.operations.trainings import actions as training_actions
from limner.store.models import (
    GenerationLoraRow,
    GenerationRow,
    GenerationSubjectRow,
    LoraRow,
    PublicationRow,
    SubjectRow,
)
from limner.types import BackEnd, JobState, LoraUse, Visibility

__all__ = ["Drawing", "add_row", "bare_order", "find_drawing", "model_for"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a request draws, found once for all generators: the loras and where each is, and the subjects shown.

    ``bare`` is the order without loras, with the prompt as it was written; ``words`` are the triggers that go into it.
    """

    bare: GenerationOrder
    loras: tuple[Located, ...]
    words: tuple[tuple[str, str], ...]
    subjects: tuple[str, ...]
    filled: bool = False

    @property
    def prompt(self) -> str:
        """The prompt with the triggers in it. InputRefused: it names one that there is not."""
        return self.bare.prompt if self.filled else fill(self.bare.prompt, list(self.words))

    def order(self, about: BackEnd, *, among: bool = False) -> GenerationOrder:
        """The order for one generator. ``among`` several a model is meant for the one that has it."""
        model = model_for(self.bare.model, about, among=among)
        uses = tuple(one.use_for(about) for one in self.loras)
        return replace(self.bare, prompt=self.prompt, loras=uses, model=model)


def model_for(model: str, about: BackEnd, *, among: bool) -> str:
    """The model that a request names, if it is meant for this generator."""
    return model if not among or model in about.models else ""


def find_drawing(
    workspace: Workspace,
    request: GenerateRequest,
    generators: Iterable[BackEnd],
    *,
    made: str = "",
    seconds: float | None = None,
    again: bool = True,
) -> Drawing:
    """What a request draws, and where those generators can fetch its loras; a hub has a few ``seconds`` to say so.

    While a job's own lora is yet to be made, one without file, digest and address stands for it. ``again``: a hub that
    did not answer a moment ago is asked again.
    """
    loras: list[Located] = []
    subjects: list[str] = []
    words: list[tuple[str, str]] = []

    def show(subject: SubjectRow, trigger: str = "") -> None:
        subjects.append(subject.slug)
        words.append((trigger or subject.trigger, subject.class_word))

    with workspace.database.read() as session:
        for name, scale in request.loras:
            if name in request.remote:
                use = replace(request.remote[name], scale=scale)
                words.append((use.trigger, ""))
                loras.append(Located(use))
            elif training_actions.is_checkpoint(name):
                training, checkpoint = training_actions.find_checkpoint(session, name)
                show(subject := session.get_one(SubjectRow, training.subject))
                loras.append(Located(training_actions.use_of(workspace, training, checkpoint, subject, scale)))
            elif not name and not made:
                show(subject := subject_queries.find_subject_row(session, request.subject))
                title = f"the new lora of {subject.slug}"
                loras.append(Located(LoraUse("", scale, title, subject.trigger, base=request.base)))
            else:
                row = lora_queries.find_lora_row(session, name or made)
                show(session.get_one(SubjectRow, row.subject), row.trigger)
                loras.append(_own(workspace, session, row, scale))
        if not loras and request.subject:
            # A picture of the base alone, for comparison: the same words, and it belongs to the subject it compares to.
            show(subject_queries.find_subject_row(session, request.subject))
    return Drawing(
        bare_order(workspace, request),
        locate(workspace, loras, generators, seconds=seconds, again=again),
        tuple(words),
        tuple(dict.fromkeys(subjects)),
        filled=request.filled,
    )


def bare_order(workspace: Workspace, request: GenerateRequest) -> GenerationOrder:
    """The order without its loras, and with the prompt as it was written."""
    base = find_base(request.base)
    return GenerationOrder(
        id=request.generation,
        prompt=request.prompt,
        base=base,
        base_path=base_location(base, workspace.settings.base_paths),
        loras=(),
        width=request.width,
        height=request.height,
        steps=request.steps,
        guidance=request.guidance,
        seed=request.seed,
        count=request.count,
        model=request.model,
        extra=request.extra,
    )


def _own(workspace: Workspace, session: Session, row: LoraRow, scale: float) -> Located:
    published = session.scalars(
        select(PublicationRow).where(PublicationRow.lora == row.id).order_by(PublicationRow.id.desc())
    )
    use = LoraUse(
        digest=row.digest,
        scale=scale,
        name=f"{row.subject}@v{row.version}",
        trigger=row.trigger,
        path=workspace.blobs.place(row.digest),
        base=row.base,
        tensor_digest=row.tensor_digest,
        byte_size=row.byte_size,
        hosted=row.hosted,
        naming=row.naming,
    )
    places = (Place(one.hub, one.repo, one.revision, one.visibility == Visibility.PUBLIC) for one in published)
    return Located(use, tuple(places))


def add_row(session: Session, request: GenerateRequest, order: GenerationOrder, subjects: Sequence[str]) -> None:
    """The generation's row, unless it is there. It belongs to whom its first subject belongs."""
    shown = select(SubjectRow.owner).where(SubjectRow.slug == (subjects[0] if subjects else ""))
    owner = session.scalar(shown)
    session.execute(
        insert(GenerationRow)
        .values(
            id=order.id,
            prompt=order.prompt,
            base=order.base.id,
            generator=request.generator,
            loras=[{"name": use.name, "digest": use.digest, "scale": use.scale} for use in order.loras],
            width=order.width,
            height=order.height,
            steps=order.steps,
            guidance=order.guidance,
            seed=order.seed,
            count=order.count,
            state=JobState.WAITING,
            **({"owner": owner} if owner else {}),
        )
        .on_conflict_do_nothing()
    )
    for subject in subjects:
        session.execute(
            insert(GenerationSubjectRow).values(generation=order.id, subject=subject).on_conflict_do_nothing()
        )
    for name in {use.name for use in order.loras if use.name}:
        session.execute(insert(GenerationLoraRow).values(generation=order.id, lora=name).on_conflict_do_nothing())
