"""limner subject: who or what is learned."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from limner.cli.output import Json, ago, show, studio, table
from limner.types import Consent, SubjectKind

__all__ = ["add_to"]

group = typer.Typer(help="Who or what is learned: people, pets, products, characters, styles.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="subject")


@group.command("add")
def add(
    slug: Annotated[str, typer.Argument(help="A short name in lower case, such as john-doe.")],
    name: Annotated[str, typer.Option(help="The name shown to people.")] = "",
    kind: Annotated[SubjectKind, typer.Option(help="What it is.")] = SubjectKind.PERSON,
    class_word: Annotated[str, typer.Option(help="The plain word for it: person, dog, teapot.")] = "",
    trigger: Annotated[str, typer.Option(help="The rare word that will stand for it in prompts.")] = "",
    consent_by: Annotated[str, typer.Option(help="Who agreed that their photos are used (for people).")] = "",
    consent: Annotated[str, typer.Option(help="What they agreed to.")] = "",
    as_json: Json = False,
) -> None:
    """Add a subject.

    Example: limner subject add rex --kind pet --class-word dog
    """
    given = None
    if consent_by:
        words = consent or "Agreed to the use of these photos for training a LoRA and for pictures made with it."
        given = Consent(words, consent_by, datetime.now(UTC))
    with studio() as it:
        subject = it.add_subject(slug, name=name, kind=kind, class_word=class_word, trigger=trigger, consent=given)
    for finding in subject.findings:
        sys.stderr.write(f"! {finding.message} {finding.remedy}\n")
    show(
        subject,
        as_json,
        lambda out: out.print(
            f"Added {subject.slug}: trigger '{subject.trigger}', class word '{subject.class_word}'.\n"
            f"Next: limner photos add {subject.slug} PATH..."
        ),
    )


@group.command("list")
def list_all(as_json: Json = False) -> None:
    """List the subjects."""
    with studio() as it:
        found = it.subjects()
    rows = [(s.slug, s.name, s.kind, s.trigger, s.class_word, s.photos, s.loras) for s in found]
    columns = ("slug", "name", "kind", "trigger", "class word", "photos", "loras")
    empty = "No subject yet. Add one with: limner subject add SLUG"
    show(found, as_json, lambda out: table(out, columns, rows, empty))


@group.command("show")
def show_one(slug: str, as_json: Json = False) -> None:
    """Show one subject."""
    with studio() as it:
        subject = it.subject(slug)
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


@group.command("remove")
def remove(
    slug: str,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    keep_publications: Annotated[bool, typer.Option(help="Leave what was published on hubs.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a subject everywhere: photos, datasets, trainings, loras, images, publications."""
    with studio() as it:
        subject = it.subject(slug)
        if not yes:
            if not sys.stdin.isatty():
                typer.echo("Nothing was erased: there is no terminal to ask on. Give --yes.", err=True)
                raise typer.Exit(2)
            typer.confirm(
                f"Erase {slug} with {subject.photos} photos, {subject.loras} loras and all its pictures?", abort=True
            )
        erasure = it.remove_subject(slug, publications=not keep_publications)
    words = ", ".join(f"{count} {kind}" for kind, count in erasure.erased.items() if count) or "its record"
    left = "".join(f"\nNot erased: {thing}" for thing in erasure.left)
    show(erasure, as_json, lambda out: out.print(f"Erased {slug}: {words}.{left}"))
    if erasure.left:
        raise typer.Exit(1)
