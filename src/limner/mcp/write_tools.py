"""Tools that do something: photos in, training, publishing, drawing, erasing.

What may cost takes a key and a limit. The key is the wish's, not the call's: a call repeated with the same key is the
same wish and gives the same job, so nothing is paid for twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp_types import ImageContent, TextContent
from pydantic import Field

from limner.errors import InputRefused, SpendingRefused
from limner.mcp import summaries
from limner.mcp.folders import Folders
from limner.mcp.pictures import shown
from limner.mcp.read_tools import SubjectSlug
from limner.mcp.tool import verb
from limner.records import Job, KeptAnswer
from limner.studio import Studio
from limner.types import Estimate, JobState, SubjectKind

__all__ = ["add_to"]

LOOK_SECONDS = 0.5
Key = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9_-]{8,100})?$",
        description="Same key for the same wish. Choose one when the user asks for something new (8 to 100 letters, "
        "digits, - or _), and send that same key again with every repetition, retry or doubt: the same key gives the "
        "job that is there and is never paid twice. A new key is a new wish, and pays anew.",
    ),
]
MaxCost = Annotated[
    float,
    Field(
        ge=0,
        le=100_000,
        description="The most it may cost in US dollars, as the user agreed to; 0 for what costs nothing. Dearer is "
        "refused before anything is sent.",
    ),
]
WhatIfFirst = Annotated[
    bool,
    Field(
        description="true: only say what would be done, its price and what speaks against it; nothing is sent that "
        "costs. Ask so first, tell the user the price, and only then call with false, a key and max_cost."
    ),
]
WaitSeconds = Annotated[float, Field(ge=0, le=600, description="How long to wait for the end.")]


def add_to(server: MCPServer, studio: Studio, folders: Folders) -> None:
    """Add the tools that change something; photos come out of the folders alone."""
    _add_subjects(server, studio, folders)
    _add_making(server, studio)
    _add_ending(server, studio)


def _add_subjects(server: MCPServer, studio: Studio, folders: Folders) -> None:

    @verb(server, "Add a subject")
    def add_subject(
        slug: SubjectSlug,
        kind: Literal["person", "pet", "product", "character", "style"],
        name: Annotated[str, Field(max_length=200)] = "",
        class_word: Annotated[str, Field(max_length=60, description="What it is: dog, woman, mug.")] = "",
    ) -> dict[str, Any]:
        """Add a subject: who or what is to be learned. The consent of a person is recorded by the user, not here."""
        return summaries.of_subject(studio.subjects.add(slug, name=name, kind=SubjectKind(kind), class_word=class_word))

    @verb(server, "Add photos", repeats=True)
    def add_photos(
        slug: SubjectSlug,
        paths: Annotated[
            list[str],
            Field(
                min_length=1,
                max_length=500,
                description="Whole paths of files, folders or zips, in the folders that the user lets you read.",
            ),
        ],
        captions: Annotated[
            list[str], Field(max_length=20, description="Tables of captions; those beside photos are found.")
        ] = [],  # noqa: B006 - read only
        replace_captions: Annotated[
            bool, Field(description="true: captions that differ go in place of what photos have. Ask the user first.")
        ] = False,
        captions_from_photos: Annotated[bool, Field(description="Also what the photos' own metadata says.")] = False,
        wait_seconds: WaitSeconds = 60,
    ) -> dict[str, Any]:
        """Take photos in from this machine; the same photo again is known. `photo_report` says what became of each.

        Captions reach photos that are there too: they fill empty ones and are told in the job where they differ.
        """
        job = studio.photos.add(
            slug,
            [folders.path_of(one) for one in paths],
            captions=[folders.path_of(one) for one in captions],
            replace_captions=replace_captions,
            captions_from_photos=captions_from_photos,
        )
        return summaries.of_job(_waited(studio, job, wait_seconds))


def _add_making(server: MCPServer, studio: Studio) -> None:

    @verb(server, "Train", repeats=True, reaches_out=True)
    def train(
        slug: SubjectSlug,
        what_if: WhatIfFirst = True,
        key: Key = "",
        max_cost: MaxCost = 0,
        trainer: Annotated[str, Field(max_length=60, description="Who trains; see `routes`.")] = "",
        base: Annotated[str, Field(max_length=100)] = "",
        preset: Literal["", "quick", "balanced", "thorough"] = "",
        settings: Annotated[
            dict[str, str | float | int | bool], Field(description="Recipe fields over the preset's: steps, rank.")
        ] = {},  # noqa: B006 - read only
    ) -> dict[str, Any]:
        """Train a lora of the subject's photos. It may cost money and send the photos away: ask with what_if first."""
        said = {"slug": slug, **_given(trainer=trainer, base=base, preset=preset), "settings": dict(settings)}
        start = studio.trainings.start
        return _asked_or_done(studio, start, said, tool="train", what_if=what_if, key=key, max_cost=max_cost)

    @verb(server, "Publish", repeats=True, reaches_out=True)
    def publish(
        lora: Annotated[str, Field(max_length=120, description="Such as 'zibbo@v1'.")],
        key: Key,
        hub: Annotated[str, Field(max_length=60, description="folder, huggingface, s3; the usual one if empty.")] = "",
        repo: Annotated[str, Field(max_length=200, description="owner/name; made of the subject if empty.")] = "",
        visibility: Annotated[
            Literal["private", "public"],
            Field(description="public only if the user said so in so many words: everybody may then use it."),
        ] = "private",
        wait_seconds: WaitSeconds = 60,
    ) -> dict[str, Any]:
        """Publish a lora with its model card. It costs nothing; what is public can be copied by anybody at once."""
        said: dict[str, Any] = {"lora": lora, "hub": hub, "repo": repo, "visibility": visibility}
        job = _once(studio, "publish", key, said, lambda: studio.publications.start(**said))
        return summaries.of_job(_waited(studio, job, wait_seconds))

    @verb(server, "Generate", repeats=True, reaches_out=True, structured=False)
    def generate(
        prompt: Annotated[str, Field(min_length=1, max_length=10_000, description="{trigger} is filled in.")],
        what_if: WhatIfFirst = True,
        key: Key = "",
        max_cost: MaxCost = 0,
        loras: Annotated[
            list[str],
            Field(max_length=10, description="'zibbo@v1', owner/repo or an https address; each may end in ':0.8'."),
        ] = [],  # noqa: B006 - read only
        generator: Annotated[str, Field(max_length=120)] = "",
        base: Annotated[str, Field(max_length=100)] = "",
        width: Annotated[int | None, Field(ge=64, le=4096)] = None,
        height: Annotated[int | None, Field(ge=64, le=4096)] = None,
        steps: Annotated[int | None, Field(ge=1, le=200)] = None,
        guidance: Annotated[float | None, Field(ge=0, le=50)] = None,
        seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None,
        count: Annotated[int, Field(ge=1, le=20)] = 1,
        wait_seconds: WaitSeconds = 120,
    ) -> list[TextContent | ImageContent]:
        """Draw pictures, with loras or without, and see small copies. It may cost money: ask with what_if first."""
        wanted: dict[str, Any] = {
            "prompt": prompt,
            "loras": loras,
            "width": width,
            "height": height,
            "steps": steps,
            "guidance": guidance,
            "seed": seed,
            "count": count,
            **_given(generator=generator, base=base),
        }
        start = studio.generations.start
        said = _asked_or_done(studio, start, wanted, tool="generate", what_if=what_if, key=key, max_cost=max_cost)
        if what_if:
            return [_text(said)]
        job = _waited(studio, studio.jobs.get(said["job"]), wait_seconds)
        made = [image.id for image in studio.generations.get(job.target).images]
        return [_text(summaries.of_job(job)), *(shown(studio, made) if made else ())]


def _add_ending(server: MCPServer, studio: Studio) -> None:
    @verb(server, "Wait for a job", reads=True)
    def wait_for_job(
        job: Annotated[str, Field(max_length=80, description="Its id.")], wait_seconds: WaitSeconds = 120
    ) -> dict[str, Any]:
        """Wait until a job has ended, or so long; call it again while `ended` is false."""
        return summaries.of_job(_waited(studio, studio.jobs.get(job), wait_seconds))

    @verb(server, "Resume a job", repeats=True, reaches_out=True)
    def resume_job(
        job: Annotated[str, Field(max_length=80, description="The id of one that failed or was cancelled.")],
        what_if: WhatIfFirst = True,
        key: Key = "",
        max_cost: MaxCost = 0,
    ) -> dict[str, Any]:
        """Go on with a stopped job from where it stopped. It may be paid anew: ask with what_if first."""
        start = studio.runs.resume
        return _asked_or_done(
            studio, start, {"job": job}, tool="resume_job", what_if=what_if, key=key, max_cost=max_cost
        )

    @verb(server, "Cancel a job", destroys=True, repeats=True)
    def cancel_job(job: Annotated[str, Field(max_length=80, description="Its id.")]) -> dict[str, Any]:
        """Ask a job to stop at its next safe point. What was done is kept; what a vendor has begun may be paid."""
        return summaries.of_job(studio.cancel(job))

    @verb(server, "Erase a subject", destroys=True, repeats=True, reaches_out=True)
    def erase_subject(
        slug: SubjectSlug,
        slug_again: Annotated[
            str, Field(max_length=64, description="The slug typed again by the user, who knows what will be gone.")
        ],
    ) -> dict[str, Any]:
        """Erase a subject everywhere for good: photos, loras, pictures, publications. It cannot be taken back."""
        if slug_again != slug:
            raise InputRefused(
                "The slug typed again is not the same, so nothing was erased.",
                remedy="Ask the user to type the slug of the subject to be erased.",
                thing="slug_again",
            )
        gone = studio.erasure.erase(slug)
        return {"subject": gone.subject, "erased": dict(gone.erased), "could_not_be_erased": list(gone.left)}


def _given(**options: str) -> dict[str, str]:
    """Those that are not empty: the rest is as the studio has it."""
    return {name: value for name, value in options.items() if value}


def _once(studio: Studio, tool: str, key: str, said: Mapping[str, Any], make: Callable[[], Job]) -> Job:
    """The job of a wish, made now or before. InputRefused: there is no key, or it belongs to another wish."""
    if not key:
        raise InputRefused(
            "There is no key, so nothing was done.",
            remedy="Choose one for this wish and send it; the same key for the same wish.",
            thing="key",
        )
    kept = studio.answers.begin(key, f"mcp {tool}", (json.dumps(said, sort_keys=True).encode(),))
    if kept is not None:
        return studio.jobs.get(kept.body.decode())
    try:
        mark = hashlib.sha256(f"{tool} {key}".encode()).hexdigest()
        job = studio.jobs.once(f"mcp-{mark[:40]}", make)
        studio.answers.keep(key, KeptAnswer(202, {}, job.id.encode()))
    except BaseException:
        studio.answers.forget(key)
        raise
    return job


def _asked_or_done(
    studio: Studio,
    start: Callable[..., Any],
    said: Mapping[str, Any],
    *,
    tool: str,
    what_if: bool,
    key: str,
    max_cost: float,
) -> dict[str, Any]:
    """The plan, or the job of the wish; the price is looked at before a wish is fulfilled for the first time.

    ``start`` does what is ``said``; it takes ``what_if`` and ``yes`` besides.
    """
    if what_if:
        return summaries.of_what_if(start(**said, what_if=True))

    def make() -> Job:
        found: Estimate = start(**said, what_if=True).estimate
        if found.amount > Decimal(str(max_cost)):
            raise SpendingRefused(
                f"This costs about ${found.amount:.2f}, more than max_cost (${max_cost:.2f}). Nothing was sent.",
                remedy="Tell the user the price; call again with a max_cost that they agreed to.",
                thing="max_cost",
            )
        if found.amount == 0 and not found.certain and max_cost == 0:
            raise SpendingRefused(
                "Nobody can say what this costs. Nothing was sent.",
                remedy="Tell the user so; call again with the max_cost that they agreed to.",
                thing="max_cost",
            )
        job: Job = start(**said, yes=True)
        return job

    return summaries.of_job(_once(studio, tool, key, said, make))


def _waited(studio: Studio, job: Job, seconds: float) -> Job:
    """The job as it is at its end, or after so long."""
    until = time.monotonic() + seconds
    while not job.state.ended and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        job = studio.jobs.get(job.id)
    return job


def _text(said: dict[str, Any]) -> TextContent:
    lead = "The job failed. " if said.get("state") == JobState.FAILED else ""
    return TextContent(type="text", text=lead + json.dumps(said, ensure_ascii=False))
