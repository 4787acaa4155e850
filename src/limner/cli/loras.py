"""limner loras and limner publish."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.arguments import BaseName, Detach, HubName, Json, LoraName, OnlySlug, Sure, TrainingName
from limner.cli.consent_prompt import agree, with_base
from limner.cli.help_layout import Noun
from limner.cli.output import ago, remarks, short, show, size, studio, table
from limner.cli.progress import follow
from limner.options import AdoptOptions
from limner.types import Visibility

if TYPE_CHECKING:
    from limner.records import Lora

__all__ = ["add_to"]

KINDS = {"lokr": "LoKr; this is the nearest LoRA", "loha": "LoHa; this is the nearest LoRA"}

group = typer.Typer(cls=Noun, help="LoRAs: the versions of a subject's weights.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="loras")
    app.command("publish")(publish)


@group.command("list")
def list_all(slug: OnlySlug = "", as_json: Json = False) -> None:
    """List the loras, newest first."""
    with studio() as it:
        found = it.loras.all(slug)
    rows = [(lo.name, lo.base, lo.rank, size(lo.byte_size), short(lo.digest), ago(lo.created_at)) for lo in found]
    columns = ("lora", "base", "rank", "size", "digest", "made")
    show(found, as_json, lambda out: table(out, columns, rows, "No lora yet: limner train SLUG"))


@group.command("show")
def show_one(lora: LoraName, as_json: Json = False) -> None:
    """Show one lora, and whether its publications are ready."""
    with studio() as it:
        found = it.loras.get(lora)
        places = it.publications.status(lora)
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
        ("step", "" if found.step is None else found.step),
        ("came as", KINDS.get(found.original, "")),
    ]
    for hub, repo, health in places:
        state = f"ready, usable by {health.usable_by}" if health.ready else "; ".join(health.problems)
        rows.append((f"on {hub}", f"{repo} at {short(health.revision)} ({health.visibility}): {state}"))
    show({"lora": found, "publications": places}, as_json, lambda out: table(out, (found.name, ""), rows, ""))
    remarks(found.findings, as_json=as_json)


@group.command("export")
def export(
    lora: LoraName,
    destination: Annotated[Path, typer.Argument(metavar="PATH", help="A file or a folder.")],
    naming: Annotated[
        str, typer.Option(metavar="NAMING", help="Of the tensors: diffusers (as it is), kohya or bfl; or original.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Copy a lora's safetensors to a place of yours.

    With --naming in another program's tensor naming; original is the LoKr or LoHa that it came as, byte for byte.

    \b
    Examples:
      limner loras export rex@v2 ~/ComfyUI/models/loras/
      limner loras export rex@v2 rex-kohya.safetensors --naming kohya
    """
    with studio() as it:
        path = it.loras.export(lora, destination, naming=naming)
    show({"path": path}, as_json, lambda out: out.print(f"Wrote {path}.", soft_wrap=True))


@group.command("import")
def import_one(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A file or folder, owner/repo[@REVISION][/FILE], a page of the Hub, or a URL."
        ),
    ],
    subject: Annotated[str, typer.Option(metavar="SLUG", help="Whose next version it becomes; made if new.")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="What a new subject is: person, pet, style ...")] = "style",
    trigger: Annotated[str, typer.Option(metavar="WORD", help="Its trigger, if neither file nor card says it.")] = "",
    name: Annotated[str, typer.Option(metavar="TEXT", help="A new subject's name.")] = "",
    base: BaseName = "",
    rank: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the LoRA nearest to a LoKr or LoHa; as needed if left out.")
    ] = 0,
    drop_additions: Annotated[
        bool,
        typer.Option("--drop-additions", help="Leave out changes of biases and whole weights."),
    ] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Adopt a LoRA from a file, the Hub or an https address.

    It is checked, its base is found out by its tensors, and it is written in diffusers' naming where that changes
    nothing. Where several bases fit and nothing says which, you are asked. A LoKr or LoHa becomes the nearest LoRA;
    what that costs is said, and the file is kept. The same weights again are no second lora. What has to be fetched is
    a job, which goes on where it broke off.

    \b
    Examples:
      limner loras import ann/watercolour-flux --subject watercolour
      limner loras import ./old-kohya.safetensors --subject rex --kind pet
      limner loras import ./lokr.safetensors --subject ink --rank 128
    """

    def bring(chosen: str) -> Lora:
        options: AdoptOptions = {
            "kind": kind,
            "trigger": trigger,
            "name": name,
            "base": chosen,
            "rank": rank,
            "drop_additions": drop_additions,
        }
        if _is_here(source):
            return it.loras.adopt(source, subject=subject, **options)
        job = follow(it, it.loras.fetch(source, subject=subject, **options), detach=detach, as_json=as_json)
        return it.loras.get(job.result["lora"])

    with studio() as it:
        found = with_base(bring, base, as_json=as_json)
    remarks(found.findings, as_json=as_json)
    words = f"Imported {found.name}: {found.base}, rank {found.rank}, {size(found.byte_size)}" + (
        f", trigger {found.trigger}." if found.trigger else "."
    )
    show(found, as_json, lambda out: out.print(words, soft_wrap=True))


def _is_here(source: str) -> bool:
    """Whether it is a file, or a folder with weights in it."""
    try:
        path = Path(source).expanduser()
        return path.is_file() or (path.is_dir() and any(path.glob("*.safetensors")))
    except (OSError, RuntimeError):  # too long to be a name, or nobody's home
        return False


@group.command("pick")
def pick(
    training: TrainingName,
    step: Annotated[
        int | None, typer.Argument(metavar="[STEP]", help="The checkpoint's; all are listed if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a checkpoint of a training the subject's next version.

    Without a step it lists the checkpoints that there are.
    """
    with studio() as it:
        if step is None:
            found = it.trainings.checkpoints(training)
            rows = [(one.step, one.name, size(one.byte_size), one.lora) for one in found]
            columns = ("step", "as a lora", "size", "picked as")
            show(found, as_json, lambda out: table(out, columns, rows, "This training keeps no checkpoints."))
            return
        made = it.trainings.pick(training, step)
    show(made, as_json, lambda out: out.print(f"Step {step} is {made.name}.\nNext: limner publish {made.name}"))


@group.command("card")
def card(
    lora: LoraName,
    words: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep this Markdown as your own words; - for stdin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a lora's model card, or keep your words for it.

    It is printed as it would be published now.
    """
    with studio() as it:
        if words is not None:
            text = sys.stdin.read() if str(words) == "-" else words.read_text(encoding="utf-8")
            it.publications.set_card(lora, text)
        found = it.publications.card(lora)
    show({"card": found}, as_json, lambda out: out.print(found, soft_wrap=True, markup=False, highlight=False))


@group.command("delete")
def delete(
    lora: LoraName,
    unpublish: Annotated[
        bool, typer.Option("--unpublish", help="Also delete the repos that it is published in, with all versions.")
    ] = False,
    yes: Sure = False,
    as_json: Json = False,
) -> None:
    """Delete one version and its weights.

    Pictures made with it stay. Where there is no terminal to ask on, --yes is needed.
    """
    with studio() as it:
        name = it.loras.get(lora).name
        agree(f"Delete {name}?", yes=yes, as_json=as_json)
        gone = it.publications.delete_lora(name, unpublish=unpublish)
    show(gone, as_json, lambda out: out.print(f"Deleted {name}.", soft_wrap=True))


@group.command("visibility")
def visibility(
    lora: LoraName,
    who: Annotated[Visibility, typer.Argument(metavar="WHO", help="public or private.")],
    hub: HubName = "",
    as_json: Json = False,
) -> None:
    """Open or close the repos of a lora.

    A repo is open or closed with all versions in it. What the hub made of it is read back.
    """
    with studio() as it:
        found = it.publications.set_visibility(lora, who, hub=hub)
    show(found, as_json, lambda out: table(out, ("hub", "repo", "now"), found, ""))


@group.command("unpublish")
def unpublish(
    lora: LoraName,
    hub: HubName = "",
    yes: Sure = False,
    as_json: Json = False,
) -> None:
    """Delete the repos that a lora was published in.

    All versions in them go; the lora itself stays here. Where there is no terminal to ask on, --yes is needed.
    """
    with studio() as it:
        name = it.loras.get(lora).name
        places = {(place.hub, place.repo) for place in it.publications.all() if place.lora == name}
        named = ", ".join(sorted(f"{repo} on {where}" for where, repo in places if hub in ("", where)))
        if named:
            agree(f"Delete {named} with all versions?", yes=yes, as_json=as_json)
        gone = it.publications.unpublish(lora, hub=hub)
    words = "\n".join(f"Deleted {repo} on {name}." for name, repo in gone)
    show(gone, as_json, lambda out: out.print(words, soft_wrap=True))


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
        begun = it.publications.start(lora, hub=hub, repo=repo, visibility=visibility)
        job = follow(it, begun, detach=detach, as_json=as_json)
        # Publishing what was there already makes no new row, so the newest is not always the one.
        made = {(p.lora, p.hub, p.repo, p.revision): p for p in it.publications.all(job.subject or "")}
        found = made[job.target, job.result["hub"], job.result["repo"], job.result["revision"]]
    words = (
        f"Published {found.lora} to {found.repo} on {found.hub} ({found.visibility}), "
        f"revision {short(found.revision)}.\n{found.url}"
    )
    show(found, as_json, lambda out: out.print(words, soft_wrap=True))
