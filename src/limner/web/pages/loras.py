"""LoRAs: all versions, and one version's page: files, card, where it is published, and taking it away."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from limner.errors import BaseUnclear, InputRefused, LimnerError
from limner.records import Job, Lora
from limner.studio import Studio
from limner.types import SubjectKind, TensorNaming, Visibility
from limner.web.files.lora_form import LoraForm
from limner.web.files.responses import SentFile, made_file
from limner.web.rendering.markdown import card_html, split_card
from limner.web.visit import Notice, Sent, StudioOf, back, is_partial, page, wish_of

__all__ = ["router"]

router = APIRouter()

FILES = (
    (TensorNaming.DIFFUSERS, "diffusers", "As it is: diffusers, ComfyUI, the Hugging Face Hub"),
    (TensorNaming.KOHYA, "kohya", "Kohya's sd-scripts, Forge, many WebUIs"),
    (TensorNaming.BFL, "bfl", "Black Forest Labs' own code"),
)
IMPORT_FIELDS = ("source", "subject", "kind", "trigger", "name", "base", "rank", "drop_additions")
ORIGINALS = {"lokr": "LoKr", "loha": "LoHa"}


def _path(lora: Lora) -> str:
    return f"/loras/{lora.name}"


# --- all of them ----------------------------------------------------------------------------------------------------


@router.get("/loras")
def list_all(request: Request, studio: StudioOf, subject: str = "", source: str = "", base: str = "") -> Response:
    """All versions, newest first, and a form to import one, which ``source`` and ``base`` fill."""
    known = {"kind": SubjectKind.STYLE, "subject": subject, "source": source[:2000], "base": base[:100]}
    return _list(request, studio, "" if source else subject, form=dict.fromkeys(IMPORT_FIELDS, "") | known)


def _list(
    request: Request,
    studio: Studio,
    subject: str = "",
    *,
    form: dict[str, str] | None = None,
    refusal: LimnerError | None = None,
) -> Response:
    places: dict[str, list[str]] = {}
    for one in studio.publications.all(subject):
        places.setdefault(one.lora, []).append(one.hub)
    return page(
        request,
        "pages/loras.html",
        status=refusal.status if refusal else 200,
        loras=studio.loras.all(subject),
        places=places,
        subject=subject,
        subjects=studio.subjects.all(),
        kinds=list(SubjectKind),
        bases=studio.maintenance.bases(),
        candidates=refusal.candidates if isinstance(refusal, BaseUnclear) else (),
        form=form or dict.fromkeys(IMPORT_FIELDS, "") | {"kind": SubjectKind.STYLE, "subject": subject},
        refusal=refusal,
        wish=uuid4().hex,
        nav="subjects",
    )


@router.post("/loras/import")
async def import_one(request: Request, studio: StudioOf) -> Response:
    """Adopt a LoRA from a file that is sent along, the Hub or an https address."""
    sent = LoraForm(studio)

    def form() -> dict[str, str]:
        return {name: sent.fields.get(name, "").strip()[:2000] for name in IMPORT_FIELDS}

    try:
        await sent.receive(request)
        if sent.file is None:
            job = await run_in_threadpool(_fetched, studio, form(), wish_of(FormData(sent.fields)))
            return back(f"/jobs/{job.id}")
        made = await run_in_threadpool(_imported, studio, form(), sent.file)
    except LimnerError as refusal:
        return await run_in_threadpool(_list, request, studio, form=form(), refusal=refusal)
    finally:
        await run_in_threadpool(sent.discard)
    return back(_path(made), Notice("note", f"{made.name} is here: {made.base}, rank {made.rank}."))


def _imported(studio: Studio, form: dict[str, str], file: Path) -> Lora:
    return studio.loras.adopt(file, from_here=True, **_options(form))


def _fetched(studio: Studio, form: dict[str, str], wish: str) -> Job:
    options = _options(form)
    if not form["source"]:
        raise InputRefused("There is nothing to import.", remedy="Choose a file, or write an address.", thing="source")
    return studio.jobs.once(wish, lambda: studio.loras.fetch(form["source"], **options))


def _options(form: dict[str, str]) -> dict[str, Any]:
    if not form["subject"]:
        raise InputRefused("Whose LoRA is it?", remedy="Name a subject, an old one or a new one.", thing="subject")
    if form["rank"] and not (form["rank"].isascii() and form["rank"].isdigit()):
        raise InputRefused("The rank is no number.", remedy="Leave it out, or write one such as 64.", thing="rank")
    texts = {name: form[name] for name in IMPORT_FIELDS if name not in ("source", "rank", "drop_additions")}
    return {**texts, "rank": int(form["rank"][:9] or 0), "drop_additions": bool(form["drop_additions"])}


# --- one of them ----------------------------------------------------------------------------------------------------


@router.get("/loras/{name}")
def show(request: Request, studio: StudioOf, name: str, check: bool = False) -> Response:
    """A version: what it is, where it came from, its files, its card, where it is published."""
    lora = studio.loras.get(name)
    if lora.name != name:
        return back(_path(lora))
    return _page(request, studio, lora, check=check)


def _page(
    request: Request,
    studio: Studio,
    lora: Lora,
    *,
    check: bool = False,
    refusal: LimnerError | None = None,
    at: str = "",
    form: dict[str, str] | None = None,
) -> Response:
    """``refusal`` is shown ``at`` the form that it is about, with what was sent back in it."""
    header, markdown = split_card(studio.publications.card(lora.name))
    subject = studio.subjects.get(lora.subject)
    places = [one for one in studio.publications.all(lora.subject) if one.lora == lora.name]
    return page(
        request,
        "pages/lora.html",
        status=refusal.status if refusal else 200,
        lora=lora,
        subject=subject,
        versions=studio.loras.all(lora.subject),
        files=FILES,
        original=ORIGINALS.get(lora.original, ""),
        places=_newest(places),
        health=studio.publications.status(lora.name) if check and places else None,
        card_header=header,
        card=card_html(markdown),
        words=form["words"] if form and at == "card" else lora.card,
        hubs=studio.maintenance.back_ends()["hubs"],
        form=form or {"hub": studio.settings.hub, "repo": "", "visibility": "private"},
        wish=uuid4().hex,
        refusal=refusal,
        at=at,
        nav="subjects",
    )


def _newest(places: list[Any]) -> list[Any]:
    """One publication a repo: the newest revision."""
    found: dict[tuple[str, str], Any] = {}
    for one in places:
        found.setdefault((one.hub, one.repo), one)
    return list(found.values())


@router.get("/loras/{name}/places")
def places(request: Request, studio: StudioOf, name: str) -> Response:
    """Whether its publications are ready, as the hubs say now."""
    lora = studio.loras.get(name)
    if not is_partial(request):
        return back(f"{_path(lora)}?check=1")
    try:
        health = studio.publications.status(lora.name)
    except LimnerError as failure:
        return page(request, "fragments/refused.html", failure=failure)
    return page(request, "fragments/lora_health.html", health=health)


@router.get("/loras/{name}/file")
def file(studio: StudioOf, name: str, naming: str = "") -> Response:
    """The weights, in one of the namings."""
    lora = studio.loras.get(name)
    stem = f"{lora.subject}-v{lora.version}"
    if naming in ("", lora.naming):
        weights = studio.loras.file(lora.name)
        return SentFile(weights, media_type="application/octet-stream", filename=f"{stem}.safetensors")
    # What was asked for is no part of a path before it is known.
    return made_file(
        lambda folder: studio.loras.export(lora.name, folder / "weights.safetensors", naming=naming),
        "application/octet-stream",
        f"{stem}-{naming}.safetensors",
    )


@router.post("/loras/{name}/card")
def card(request: Request, studio: StudioOf, name: str, sent: Sent) -> Response:
    """Keep the owner's own words for the card; or only show what they would look like."""
    lora = studio.loras.get(name)
    words = str(sent.get("words", ""))
    try:
        kept = studio.publications.set_card(lora.name, words)
    except LimnerError as refusal:
        return _page(request, studio, lora, refusal=refusal, at="card", form={"words": words})
    return back(f"{_path(kept)}#card", Notice("note", "The card is kept. It goes out with the next publication."))


@router.post("/loras/{name}/publish")
def publish(request: Request, studio: StudioOf, name: str, sent: Sent) -> Response:
    """Publish this version with its card and samples."""
    lora = studio.loras.get(name)
    form = {key: str(sent.get(key, ""))[:200].strip() for key in ("hub", "repo", "visibility")}
    try:
        job = studio.jobs.once(
            wish_of(sent),
            lambda: studio.publications.start(
                lora.name, hub=form["hub"], repo=form["repo"], visibility=_visibility(form["visibility"])
            ),
        )
    except LimnerError as refusal:
        return _page(request, studio, lora, refusal=refusal, at="publish", form=form)
    return back(f"/jobs/{job.id}")


def _visibility(word: str) -> Visibility:
    try:
        return Visibility(word)
    except ValueError:
        raise InputRefused("Who may see it?", remedy="Choose private or public.", thing="visibility") from None


@router.post("/loras/{name}/visibility")
def visibility(request: Request, studio: StudioOf, name: str, sent: Sent) -> Response:
    """Open or close the repos that it was published in."""
    lora = studio.loras.get(name)
    try:
        seen = studio.publications.set_visibility(
            lora.name, _visibility(str(sent.get("visibility", ""))), hub=str(sent.get("hub", ""))
        )
    except LimnerError as refusal:
        return _page(request, studio, lora, refusal=refusal, at="places")
    words = ", ".join(f"{repo} on {hub} is {now}" for hub, repo, now in seen)
    return back(f"{_path(lora)}#places", Notice("note", f"{words} now."))


@router.post("/loras/{name}/unpublish")
def unpublish(request: Request, studio: StudioOf, name: str, sent: Sent) -> Response:
    """Delete the repos that it was published in, with all versions in them."""
    lora = studio.loras.get(name)
    try:
        gone = studio.publications.unpublish(lora.name, hub=str(sent.get("hub", "")))
    except LimnerError as refusal:
        return _page(request, studio, lora, refusal=refusal, at="places")
    words = ", ".join(f"{repo} on {hub}" for hub, repo in gone)
    return back(f"{_path(lora)}#places", Notice("note", f"Deleted {words}."))


@router.post("/loras/{name}/delete")
def delete(request: Request, studio: StudioOf, name: str, sent: Sent) -> Response:
    """Delete this version; pictures made with it stay."""
    lora = studio.loras.get(name)
    try:
        studio.publications.delete_lora(lora.name, unpublish=sent.get("unpublish") == "yes")
    except LimnerError as refusal:
        return _page(request, studio, lora, refusal=refusal, at="delete")
    return back("/loras", Notice("note", f"{lora.name} is deleted. Pictures made with it stay."))
