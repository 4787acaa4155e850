"""limner jobs: durable work, past and running."""

from __future__ import annotations

import typer

from limner.cli.arguments import Detach, JobName, Json, OnlySlug, WhatIf, Yes
from limner.cli.consent_prompt import show_what_if, with_consent
from limner.cli.help_layout import Noun
from limner.cli.output import ago, short, show, studio, table
from limner.cli.progress import follow
from limner.humanize import spoken

__all__ = ["add_to"]

group = typer.Typer(cls=Noun, help="Jobs: durable work, past and running.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="jobs")


@group.command("list")
def list_all(slug: OnlySlug = "", as_json: Json = False) -> None:
    """List the newest jobs."""
    with studio() as it:
        found = it.jobs.all(slug)
    rows = [
        (
            short(j.id),
            j.kind,
            j.subject or "",
            j.state.value,
            f"{len(j.stages)}/{len(j.stage_names)}",
            ago(j.created_at),
        )
        for j in found
    ]
    columns = ("job", "kind", "subject", "state", "stages", "started")
    show(found, as_json, lambda out: table(out, columns, rows, "No job yet."))


@group.command("show")
def show_one(job: JobName, as_json: Json = False) -> None:
    """Show one job with its stages."""
    with studio() as it:
        found = it.jobs.get(job)
    rows: list[tuple[str, object, object]] = [
        (run.stage, run.state.value, spoken(run.seconds) if run.seconds is not None else "") for run in found.stages
    ]
    if found.error:
        rows.append(("error", found.error.message, found.error.remedy))
    columns = (f"{short(found.id)}: {found.kind}, {found.state}", "", "")
    show(found, as_json, lambda out: table(out, columns, rows, "It has not started yet."))


@group.command("watch")
def watch(job: JobName, as_json: Json = False) -> None:
    """Follow a job until it has ended; Ctrl-C stops the watching only."""
    with studio() as it:
        found = follow(it, it.jobs.get(job), as_json=as_json)
    show(found, as_json, lambda out: out.print("Done."))


@group.command("cancel")
def cancel(job: JobName, as_json: Json = False) -> None:
    """Stop a job at its next safe point; what was done is kept."""
    with studio() as it:
        found = it.cancel(job)
    words = (
        f"{short(found.id)} stops at its next safe point.\nGo on with it later: limner jobs resume {short(found.id)}"
    )
    show(found, as_json, lambda out: out.print(words))


@group.command("resume")
def resume(
    job: JobName, yes: Yes = False, what_if: WhatIf = False, detach: Detach = False, as_json: Json = False
) -> None:
    """Do a stopped job again from where it stopped."""
    with studio() as it:
        if what_if:
            show_what_if(it.runs.resume(job, what_if=True), as_json)
        again = with_consent(lambda agreed: it.resume(job, yes=agreed), yes=yes, as_json=as_json)
        found = follow(it, again, detach=detach, as_json=as_json)
    show(found, as_json, lambda out: out.print("Done."))
