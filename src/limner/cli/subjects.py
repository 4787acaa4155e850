"""limner subjects: who or what is learned."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from limner.cli.arguments import ClassWord, Json, Kind, Slug, Sure
from limner.cli.consent_prompt import agree
from limner.cli.help_layout import Noun
from limner.cli.output import ago, remarks, show, studio, table
from limner.types import Consent, SubjectKind

__all__ = ["add_to"]

AGREED = "Agreed to the use of these photos for training a LoRA and for pictures made with it."

group = typer.Typer(cls=Noun, help="Subjects: the people, pets, products, characters, styles.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="subjects")


@group.command("add")
def add(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="A short name in lower case, such as john-doe.")],
    name: Annotated[str, typer.Option(metavar="TEXT", help="The name shown to people.")] = "",
    kind: Kind = SubjectKind.PERSON,
    class_word: ClassWord = "",
    trigger: Annotated[
        str, typer.Option(metavar="WORD", help="The rare word that stands for it in prompts; made up if left out.")
    ] = "",
    consent_by: Annotated[
        str, typer.Option(metavar="WHO", help="Who agreed that their photos are used (for people).")
    ] = "",
    consent: Annotated[str, typer.Option(metavar="TEXT", help="What they agreed to.")] = "",
    as_json: Json = False,
) -> None:
    """Add a subject.

    \b
    Examples:
      limner subjects add rex --kind pet --class-word dog
      limner subjects add john-doe --trigger john_doe --consent-by "John Doe"
    """
    given = Consent(consent or AGREED, consent_by, datetime.now(UTC)) if consent_by else None
    with studio() as it:
        subject = it.subjects.add(slug, name=name, kind=kind, class_word=class_word, trigger=trigger, consent=given)
    remarks(subject.findings, as_json=as_json)
    words = (
        f"Added {subject.slug}: trigger '{subject.trigger}', class word '{subject.class_word}'.\n"
        f"Next: limner photos add {subject.slug} PATH..."
    )
    show(subject, as_json, lambda out: out.print(words))


@group.command("list")
def list_all(as_json: Json = False) -> None:
    """List the subjects."""
    with studio() as it:
        found = it.subjects.all()
    rows = [(s.slug, s.name, s.kind, s.trigger, s.class_word, s.photos, s.loras) for s in found]
    columns = ("slug", "name", "kind", "trigger", "class word", "photos", "loras")
    empty = "No subject yet. Add one with: limner subjects add SLUG"
    show(found, as_json, lambda out: table(out, columns, rows, empty))


@group.command("show")
def show_one(slug: Slug, as_json: Json = False) -> None:
    """Show one subject, with the consent that was recorded."""
    with studio() as it:
        subject = it.subjects.get(slug)
    consent = f"{subject.consent.given_by}: {subject.consent.statement}" if subject.consent else "none recorded"
    rows = [
        ("name", subject.name),
        ("kind", subject.kind.value),
        ("trigger", subject.trigger),
        ("class word", subject.class_word),
        ("photos", subject.photos),
        ("loras", subject.loras),
        ("consent", consent),
        ("added", ago(subject.created_at)),
    ]
    show(subject, as_json, lambda out: table(out, (subject.slug, ""), rows, ""))


@group.command("consent")
def consent(
    slug: Slug,
    by: Annotated[str, typer.Option(metavar="WHO", help="Who agreed.")] = "",
    statement: Annotated[str, typer.Option(metavar="TEXT", help="What they agreed to.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Note that the consent was withdrawn.")] = False,
    as_json: Json = False,
) -> None:
    """Record a person's consent, or its withdrawal.

    Without one no lora of a person is made public and no sample of it is shown on a model card.
    """
    if bool(by) == withdraw:
        raise typer.BadParameter("give --by WHO, or --withdraw.")
    with studio() as it:
        if withdraw:
            subject = it.subjects.withdraw_consent(slug)
        else:
            subject = it.subjects.record_consent(slug, Consent(statement or AGREED, by, datetime.now(UTC)))
    words = f"The consent for {slug} is {'withdrawn' if withdraw else f'on record: {by}'}."
    show(subject, as_json, lambda out: out.print(words))


@group.command("remove")
def remove(
    slug: Slug,
    yes: Sure = False,
    keep_publications: Annotated[
        bool, typer.Option("--keep-publications", help="Leave what was published on hubs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase a subject and everything made of it.

    Erased are its photos, datasets, trainings, loras, pictures and publications. Where there is no terminal to ask
    on, --yes is needed. What could not be erased is named, and the exit code is then 1.
    """
    with studio() as it:
        subject = it.subjects.get(slug)
        all_of_it = f"{slug} with {subject.photos} photos, {subject.loras} loras and all its pictures"
        agree(f"Erase {all_of_it}?", yes=yes, as_json=as_json)
        erasure = it.erasure.erase(slug, publications=not keep_publications)
    words = ", ".join(f"{count} {kind}" for kind, count in erasure.erased.items() if count) or "its record"
    left = "".join(f"\nNot erased: {thing}" for thing in erasure.left)
    show(erasure, as_json, lambda out: out.print(f"Erased {slug}: {words}.{left}"))
    if erasure.left:
        raise typer.Exit(1)
