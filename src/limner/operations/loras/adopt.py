"""Importing: a lora of somebody else becomes one here, or is looked at from afar by the start of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import ColumnElement, select

from limner.catalog import find_base
from limner.datasets.triggers import check_slug, check_trigger
from limner.errors import Conflict, LoraRefused, NameRefused, NotFound
from limner.hubs.hub import WEIGHTS_NAME
from limner.loras.file import header
from limner.operations.home import blob_erasure
from limner.operations.home.scratch import scratch
from limner.operations.home.workspace import Workspace
from limner.operations.loras import queries as lora_queries
from limner.operations.loras import sources as lora_sources
from limner.operations.loras.normalise import MENDED
from limner.operations.loras.remote import LONGEST_TRIGGER
from limner.operations.loras.sources import Found
from limner.operations.loras.versions import add_lora
from limner.operations.members import actions as members
from limner.operations.subjects import queries as subject_queries
from limner.operations.subjects.actions import Subjects
from limner.records import Lora
from limner.store.models import LoraOriginalRow, LoraRow, SubjectRow
from limner.types import Base, Finding, LoraFacts, SubjectKind, TensorNaming
from limner.vendors.http.public_web import PublicWeb

__all__ = [
    "Adoption",
    "adopt",
    "bring_config",
    "import_lora",
    "no_file",
]


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """What a lora of somebody else becomes here: a version of this subject, which is made if it is not there.

    The rest is as in ``AdoptOptions``; a ``rank`` of 0 is as high as needed.
    """

    subject: str
    kind: SubjectKind | str = SubjectKind.STYLE
    trigger: str = ""
    name: str = ""
    base: str = ""
    rank: int = 0
    drop_additions: bool = False
    from_here: bool | None = None


def import_lora(workspace: Workspace, source: str | Path, adoption: Adoption) -> Lora:
    """Adopt a LoRA as the subject's next version; the subject is made if it is not there.

    ``source`` is a file or PEFT's folder, ``owner/repo``, ``owner/repo@revision``, ``owner/repo/file.safetensors``, a
    page of the Hub or an https address; an ``adapter_config.json`` beside it is read. It is checked, and written in
    diffusers' naming with its strength in its weights; its findings say what was noticed and left out. Changes of
    biases and whole weights are left out with ``drop_additions``, and refused without. A LoKr or LoHa becomes the
    nearest LoRA, of ``rank`` if one is given, and is kept beside it. The same weights again give the lora that is
    there. LoraRefused: it is no LoRA for a base that Limner knows, or not sound; BaseUnclear: several bases fit, and
    none was named; Conflict: it is here already as another subject's; NotFound, InputRefused, AccountRefused,
    VendorFailed: it cannot be had. Unless ``from_here``, by default the workspace's, no file and no address of this
    machine may be named.
    """
    check_slug(adoption.subject)
    inside = workspace.from_here if adoption.from_here is None else adoption.from_here
    with scratch(workspace.home, "import-") as folder:
        path, found = _bring(workspace, str(source), folder, from_here=inside)
        return adopt(workspace, path, found, adoption, folder)


def _bring(workspace: Workspace, source: str, folder: Path, *, from_here: bool) -> tuple[Path, Found]:
    """The file on this disk, and what its place says of it."""
    place = lora_sources.parse(source, workspace.settings, files=from_here)
    if isinstance(place, Path):
        place = lora_sources.weights_of(place)
        if not place.is_file():
            raise no_file(place)
        return place, Found("", place.name, public=False)
    anonymous = not members.manages(workspace)
    found = lora_sources.find(place, workspace.settings, anonymous=anonymous)
    web = lora_sources.web_for(workspace.settings, loopback=from_here, anonymous=anonymous)
    bring_config(web, found, folder)
    return web.download(found.url, folder / WEIGHTS_NAME, most=header.LARGEST_FILE, sha256=found.sha256), found


def bring_config(web: PublicWeb, found: Found, folder: Path) -> None:
    """Fetch the ``adapter_config.json`` of a repo, which gives the strength, to beside where the weights will be."""
    from limner.loras.file.adapter_config import CONFIG_NAME, LONGEST_CONFIG

    if found.config:
        web.download(found.config, folder / CONFIG_NAME, most=LONGEST_CONFIG)


def no_file(path: Path) -> NotFound:
    return NotFound(f"There is no file {path}.", remedy="Check the path.", thing=str(path))


def adopt(workspace: Workspace, path: Path, found: Found, adoption: Adoption, folder: Path) -> Lora:
    """Check a file that is here, and make it a lora; the same weights again give the one that is there."""
    checked = _checked(path, folder, adoption, found.model or found.base)
    facts = checked.facts
    word = (adoption.trigger or facts.trigger or found.trigger)[:LONGEST_TRIGGER].strip()
    known = _known(workspace, checked, adoption.subject)
    if known is not None:
        return known
    _ensure_subject(workspace, adoption, word)
    for file in (facts.path, checked.original):
        if file is not None:
            workspace.blobs.put(file)
    return _store(workspace, adoption.subject, checked, word)


@dataclass(frozen=True, slots=True)
class _Checked:
    """The facts of the lora to be; ``original`` is the file as it came, where that was ``kind``, no LoRA."""

    facts: LoraFacts
    kind: str = ""
    original: Path | None = None
    digest: str = ""


def _checked(path: Path, folder: Path, adoption: Adoption, card: str) -> _Checked:
    """The facts of a sound file. Its own tensors say which base; header and ``card`` decide where several fit.

    LoKr and LoHa become the nearest LoRA first. It is written in diffusers' naming where it has another, or something
    that conversion mends. BaseUnclear: several bases fit, and nothing says which.
    """
    from limner.loras.checks.base_choice import unclear
    from limner.loras.checks.inspection import inspect
    from limner.loras.checks.validation import refuse_unsound

    if adoption.base:
        find_base(adoption.base)  # refused before the work that may follow
    came = facts = inspect(path, card=card)
    refuse_unsound(came)
    wanted = adoption.base or came.base
    if not wanted and came.candidates:
        raise unclear(came.findings, came.candidates)
    if not wanted:
        reason = " ".join(finding.message for finding in came.findings if finding.code == "no-base")
        raise LoraRefused(
            f"{path.name} fits no base that Limner knows. {reason}".strip(),
            remedy="See what it is: limner inspect FILE. Known bases: limner bases.",
            thing=path.name,
        )
    told = [one for one in came.findings if one.code not in (*MENDED, "several-bases", "additions", came.kind)]
    if adoption.base:
        told = [one for one in told if one.code != "base-by-hint"]
    if came.kind != "lora":
        from limner.loras.lycoris.nearest import nearest_lora

        if find_base(wanted).id not in came.candidates:  # said before the work
            fits = f" It fits {' or '.join(came.candidates)}." if came.candidates else ""
            raise LoraRefused(
                f"{path.name} does not fit {wanted}: blocks or widths are of another model.{fits}",
                remedy=f"Use {came.candidates[0]}." if came.candidates else "See what it is: limner inspect FILE.",
                thing=path.name,
            )
        nearest = nearest_lora(path, folder / "nearest.safetensors", rank=adoption.rank)
        facts = inspect(nearest.path, card=card)
        told += nearest.findings
    elif adoption.rank:
        raise LoraRefused(
            f"{path.name} is a LoRA of rank {came.rank} already.",
            remedy="Leave the rank out: it is for LoKr and LoHa, which become the nearest LoRA.",
            thing="rank",
        )
    into = folder / "converted.safetensors"
    sound = _sound(facts, find_base(wanted), into, drop_additions=adoption.drop_additions)
    told += [one for one in sound.findings if one.code not in {known.code for known in told}]
    sound = replace(sound, findings=tuple(told))
    return _Checked(sound) if came.kind == "lora" else _Checked(sound, came.kind, path, came.digest)


def _sound(facts: LoraFacts, base: Base, into: Path, *, drop_additions: bool) -> LoraFacts:
    """The file converted where it has to be, and validated. LoraRefused."""
    from limner.loras.checks.validation import validate
    from limner.loras.conversion.convert import convert

    mended = any(finding.code in MENDED for finding in facts.findings)
    mended |= drop_additions and any(finding.code == "additions" for finding in facts.findings)
    if facts.naming is TensorNaming.DIFFUSERS and not mended:
        return validate(facts.path, base)
    try:
        done = convert(
            facts.path, TensorNaming.DIFFUSERS, into, base=base, drop_unread=True, drop_additions=drop_additions
        )
    except LoraRefused:
        validate(facts.path, base)  # says better what is wrong with it, if it knows
        raise
    return _with(validate(into, base), done.findings)


def _with(facts: LoraFacts, findings: Sequence[Finding]) -> LoraFacts:
    """The facts with what a conversion said first."""
    said = {finding.code for finding in findings}
    return replace(facts, findings=(*findings, *(one for one in facts.findings if one.code not in said)))


def _same(checked: _Checked) -> ColumnElement[bool]:
    """The loras that are of the same bytes: their own, or those that they were made of for this rank."""
    same = LoraRow.digest == checked.facts.digest
    if not checked.digest:
        return same
    of_it = select(LoraOriginalRow.lora).where(LoraOriginalRow.digest == checked.digest)
    return same | (LoraRow.id.in_(of_it) & (LoraRow.rank == checked.facts.rank))


def _known(workspace: Workspace, checked: _Checked, subject: str) -> Lora | None:
    """The lora of these bytes that is here already. Conflict: it is another subject's."""
    with workspace.database.read() as session:
        rows = session.scalars(select(LoraRow).where(_same(checked)).order_by(LoraRow.version)).all()
        own = next((row for row in rows if row.subject == subject), None)
        if own is not None:
            return lora_queries.lora_record(workspace, own)
        if rows:
            other = f"{rows[0].subject}@v{rows[0].version}"
            raise Conflict(f"This lora is here already as {other}.", remedy=f"Use {other}.", thing=other)
    return None


def _ensure_subject(workspace: Workspace, adoption: Adoption, word: str) -> None:
    def is_there() -> bool:
        with workspace.database.read() as session:
            return session.get(SubjectRow, adoption.subject) is not None

    if is_there():
        return
    try:
        check_trigger(word, "word")
    except NameRefused:
        word = ""  # a whole sentence, or none: the subject's own is made from its name
    try:
        Subjects(workspace).add(adoption.subject, name=adoption.name, kind=adoption.kind, trigger=word)
    except Conflict:
        # It is somebody else's, or another import of this user's was faster.
        if not is_there():
            raise


def _store(workspace: Workspace, subject: str, checked: _Checked, word: str) -> Lora:
    facts = checked.facts
    with workspace.database.write() as session:
        subject_queries.find_subject_row(session, subject)
        blob_erasure.add_blob(session, workspace, facts.digest, "application/safetensors", facts.path)
        row = session.scalars(select(LoraRow).where(LoraRow.subject == subject, _same(checked))).first()
        if row is None:
            row = add_lora(session, subject, facts, trigger=word, original=checked.kind)
            if checked.original is not None:
                blob_erasure.add_blob(session, workspace, checked.digest, "application/safetensors", checked.original)
                session.add(LoraOriginalRow(lora=row.id, digest=checked.digest))
        return lora_queries.lora_record(workspace, row)


# --- from afar ------------------------------------------------------------------------------------------------------
