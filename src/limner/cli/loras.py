"""limner lora and limner publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.output import Detach, Json, ago, follow, show, size, studio, table
from limner.types import Visibility

__all__ = ["add_to"]

group = typer.Typer(help="LoRAs: versions of a subject's weights.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="lora")
    app.command("publish")(publish)


@group.command("list")
def list_all(slug: Annotated[str, typer.Argument()] = "", as_json: Json = False) -> None:
    """List the loras, newest first."""
    with studio() as it:
        found = it.loras(slug)
    rows = [(lo.name, lo.base, lo.rank, size(lo.byte_size), lo.digest[:12], ago(lo.created_at)) for lo in found]
    columns = ("lora", "base", "rank", "size", "digest", "made")
    show(found, as_json, lambda out: table(out, columns, rows, "No lora yet: limner train SLUG"))


@group.command("show")
def show_one(lora: str, as_json: Json = False) -> None:
    """Show one lora, and whether its publications are ready for use."""
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
        ("training", found.training or ""),
    ]
    for hub, repo, health in places:
        state = f"ready, usable by {health.usable_by}" if health.ready else "; ".join(health.problems)
        rows.append((f"on {hub}", f"{repo} at {health.revision[:8]} ({health.visibility}): {state}"))
    show({"lora": found, "publications": places}, as_json, lambda out: table(out, (found.name, ""), rows, ""))


@group.command("export")
def export(
    lora: str, destination: Annotated[Path, typer.Argument(help="A file or a folder.")], as_json: Json = False
) -> None:
    """Copy a lora's safetensors to a place of yours."""
    with studio() as it:
        path = it.export_lora(lora, destination)
    show({"path": path}, as_json, lambda out: out.print(f"Wrote {path}."))


def publish(
    lora: Annotated[str, typer.Argument(help="A lora: slug, slug@v2.")],
    hub: Annotated[str, typer.Option(help="Where to; see `limner backends`.")] = "",
    repo: Annotated[str, typer.Option(help="owner/name; made from the slug if left out.")] = "",
    public: Annotated[bool, typer.Option("--public", help="Let anyone see it; private otherwise.")] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Publish a lora with its model card and samples."""
    visibility = Visibility.PUBLIC if public else Visibility.PRIVATE
    with studio() as it:
        job = follow(it, it.publish(lora, hub=hub, repo=repo, visibility=visibility), detach=detach, as_json=as_json)
        if job is None:
            return
        found = it.publications(it.lora(lora).subject)[0]
    words = (
        f"Published {found.lora} to {found.repo} on {found.hub} ({found.visibility}), "
        f"revision {found.revision[:12]}\n{found.url}"
    )
    show(found, as_json, lambda out: out.print(words))
