"""Tools that only look."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp_types import ImageContent, TextContent
from pydantic import Field

from limner.mcp import summaries
from limner.mcp.pictures import shown
from limner.mcp.tool import verb
from limner.plain_text import plain
from limner.records import GalleryFilter
from limner.studio import Studio

__all__ = ["SubjectSlug", "add_to"]

SubjectSlug = Annotated[str, Field(max_length=64, description="The subject's slug, such as 'zibbo'.")]
AnySubject = Annotated[str, Field(max_length=64, description="Only this subject's; of all if empty.")]


def add_to(server: MCPServer, studio: Studio) -> None:
    """Add the tools that change nothing."""
    _add_things(server, studio)
    _add_money_and_machine(server, studio)


def _add_things(server: MCPServer, studio: Studio) -> None:

    @verb(server, "List subjects", reads=True)
    def subjects() -> dict[str, Any]:
        """List who or what was learned, or is to be: each subject's slug, kind, trigger, photos and loras."""
        return {"subjects": [summaries.of_subject(one) for one in studio.subjects.all()]}

    @verb(server, "See a subject", reads=True)
    def subject(slug: SubjectSlug) -> dict[str, Any]:
        """See one subject with its loras, its trainings and where it is published."""
        return {
            **summaries.of_subject(studio.subjects.get(slug)),
            "versions": [summaries.of_lora(one) for one in studio.loras.all(slug)],
            "trainings": [
                {"training": one.id, **summaries.fields_of(one, "state", "base", "trainer")}
                for one in studio.trainings.all(slug)
            ],
            "publications": plain(studio.publications.all(slug)),
        }

    @verb(server, "Photo report", reads=True)
    def photo_report(slug: SubjectSlug) -> dict[str, Any]:
        """What the newest intake said of each file, the refused ones too, and how fit the photos are as a set."""
        health = studio.photos.health(slug) if studio.photos.all(slug) else None
        return {
            "files": [summaries.in_photo_report(entry) for entry in studio.photos.report(slug)],
            "set": plain(health.findings) if health is not None else [],
        }

    @verb(server, "List loras", reads=True)
    def loras(subject: AnySubject = "") -> dict[str, Any]:
        """List the loras, newest first. Their names, such as 'zibbo@v1', are what `generate` and `publish` take."""
        return {"loras": [summaries.of_lora(one) for one in studio.loras.all(subject)]}

    @verb(server, "See a job", reads=True)
    def job(job: Annotated[str, Field(max_length=80, description="Its id, or that of its target.")]) -> dict[str, Any]:
        """See how far a job is. To wait for its end use `wait_for_job`."""
        return summaries.of_job(studio.jobs.get(job))

    @verb(server, "List jobs", reads=True)
    def jobs(subject: AnySubject = "", limit: Annotated[int, Field(ge=1, le=100)] = 20) -> dict[str, Any]:
        """List the newest jobs."""
        return {"jobs": [summaries.of_job(one) for one in studio.jobs.all(subject, limit=limit)]}

    @verb(server, "Search pictures", reads=True, structured=False)
    def images(
        subject: AnySubject = "",
        lora: Annotated[str, Field(max_length=120, description="Made with it: 'zibbo@v1', or a slug.")] = "",
        text: Annotated[str, Field(max_length=500, description="A part of the prompt.")] = "",
        favourite: Annotated[bool, Field(description="Only favourites.")] = False,
        limit: Annotated[int, Field(ge=1, le=20)] = 6,
    ) -> list[TextContent | ImageContent]:
        """Find pictures that were made, newest first, and see small copies of them."""
        wanted = GalleryFilter(subject=subject, lora=lora, text=text, favourite=favourite)
        found = studio.gallery.page(wanted, limit=limit)
        return shown(studio, [one.id for one in found.images])


def _add_money_and_machine(server: MCPServer, studio: Studio) -> None:
    @verb(server, "Costs", reads=True)
    def costs(
        subject: AnySubject = "", days: Annotated[int, Field(ge=1, le=3650, description="How far back.")] = 30
    ) -> dict[str, Any]:
        """What was spent, by vendor, subject and day, how the budgets stand, and what only the user can decide."""
        found = studio.payments.costs(subject, days=days)
        return {
            "total_usd": plain(found.total),
            "of_which_estimated_usd": plain(found.estimated),
            **summaries.fields_of(found, "by_vendor", "by_subject", "by_day"),
            "budgets": [
                {"for": one.words, "limit_usd": plain(one.limit), "spent_usd": plain(one.spent)}
                for one in found.budgets
            ],
            "the_user_must_decide": plain(studio.payments.open()),
        }

    @verb(server, "Routes", reads=True)
    def routes(
        base: Annotated[str, Field(max_length=100, description="Only those of this base.")] = "",
        works_only: Annotated[bool, Field(description="Only those that work here and now.")] = True,
    ) -> dict[str, Any]:
        """Every way from photos to pictures: who trains and draws, price, time, and who gets to see the photos."""
        found = studio.runs.routes(base=base)
        return {
            "routes": [
                {
                    **summaries.fields_of(one, "base", "trainer", "hub", "generator", "works", "reasons"),
                    "cost_usd": plain(one.cost),
                    "price_is_certain": one.certain,
                    **summaries.fields_of(one, "seconds", "sees_photos"),
                }
                for one in found
                if one.works or not works_only
            ]
        }

    @verb(server, "Doctor", reads=True)
    def doctor() -> dict[str, Any]:
        """What is installed, what is used by default, what is missing and how to get it."""
        found = studio.maintenance.doctor()
        return summaries.fields_of(found, "version", "healthy", "checks")
