"""limner lora and limner publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.arguments import Detach, HubName, Json, LoraName, OnlySlug
from limner.cli.commands import Noun
from limner.cli.output import ago, short, show, size, studio, table
from limner.cli.progress import follow
from limner.types import Visibility

__all__ = ["add_to"]

group = typer.Typer(cls=Noun, help="LoRAs: the versions of a subject's weights.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="lora")
    app.command("publish")(publish)


@group.command("list")
def list_all(slug: OnlySlug = "", as_json: Json = False) -> None:
    """List the loras, newest first."""
    with studio() as it:
        found = it.loras(slug)
    rows = [(lo.name, lo.base, lo.rank, size(lo.byte_size), short(lo.digest), ago(lo.created_at)) for lo in found]
    columns = ("lora", "base", "rank", "size", "digest", "made")
    show(found, as_json, lambda out: table(out, columns, rows, "No lora yet: limner train SLUG"))


@group.command("show")
def show_one(lora: LoraName, as_json: Json = False) -> None:
    """Show one lora, and whether its publications are ready."""
    with studio() as it:
        found = it.lora(lora)
        places = it.lora_status(lora)
    rows: list[tuple[str, object]] = [
        ("base", found.base),
        ("naming", found.naming),
        ("rank", found.rank),
        ("alpha", found.alpha),
        ("trigger", found.trigger),
        ("size", size(found.byte_size)),
        ("digest", found.digest),
        ("AutoV3", found.tensor_digest[:12]),
        ("file", found.path),
        ("training", short(found.training) if found.training else ""),
    ]
    for hub, repo, health in places:
        state = f"ready, usable by {health.usable_by}" if health.ready else "; ".join(health.problems)
        rows.append((f"on {hub}", f"{repo} at {short(health.revision)} ({health.visibility}): {state}"))
    show({"lora": found, "publications": places}, as_json, lambda out: table(out, (found.name, ""), rows, ""))


@group.command("export")
def export(
    lora: LoraName,
    destination: Annotated[Path, typer.Argument(metavar="PATH", help="A file or a folder.")],
    as_json: Json = False,
) -> None:
    """Copy a lora's safetensors to a place of yours.

    \b
    Example:
      limner lora export rex@v2 ~/ComfyUI/models/loras/
    """
    with studio() as it:
        path = it.export_lora(lora, destination)
    show({"path": path}, as_json, lambda out: out.print(f"Wrote {path}.", soft_wrap=True))


def publish(
    lora: LoraName,
    hub: HubName = "",
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The repo; made from the slug if left out.")] = "",
    public: Annotated[bool, typer.Option("--public", help="Let anyone see it; it is private otherwise.")] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Publish a lora with its model card and samples.

    Publishing the same lora to the same repo again changes nothing. It is private unless you say --public.

    \b
    Examples:
      limner publish rex
      limner publish rex@v2 --repo ann/rex-lora --public
    """
    visibility = Visibility.PUBLIC if public else Visibility.PRIVATE
    with studio() as it:
        job = follow(it, it.publish(lora, hub=hub, repo=repo, visibility=visibility), detach=detach, as_json=as_json)
        if job is None:
            return
        # Publishing what was there already makes no new row, so the newest is not always the one.
        made = {(p.lora, p.hub, p.repo, p.revision): p for p in it.publications(job.subject or "")}
        found = made[job.target, job.result["hub"], job.result["repo"], job.result["revision"]]
    words = (
        f"Published {found.lora} to {found.repo} on {found.hub} ({found.visibility}), "
        f"revision {short(found.revision)}.\n{found.url}"
    )
    show(found, as_json, lambda out: out.print(words, soft_wrap=True))
