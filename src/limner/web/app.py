"""The web app: pages for people and the REST API beneath them, over one Studio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from importlib import import_module

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from limner._version import __version__
from limner.settings import Settings
from limner.studio import Studio
from limner.web import access, live
from limner.web.api.openapi import describe
from limner.web.problems import answer_errors
from limner.web.rendering import static
from limner.web.rendering.templates import page_templates

__all__ = ["API", "PAGES", "create_app"]

PAGES = (
    "home",
    "subjects",
    "photos",
    "training.page",
    "jobs",
    "loras",
    "grids.page",
    "create.page",
    "gallery.page",
    "gallery.files",
    "costs",
    "settings",
    "accounts",
    "system",
    "login",
    "api",
    "styleguide",
)
"""The modules of ``pages``, each with a ``router``; the order matters only where paths overlap."""

API = (
    "subjects",
    "uploads",
    "photos",
    "datasets",
    "trainings",
    "loras",
    "generations",
    "images",
    "grids",
    "jobs",
    "costs",
    "system",
    "webhooks",
    "users",
)
"""The modules of ``api``, each with a ``router``."""


@cache
def _routes() -> list[BaseRoute]:
    """The routes of all pages and of the API, one list a process: FastAPI works them out anew for each inclusion."""
    whole = APIRouter()
    for name in PAGES:
        whole.include_router(import_module(f"limner.web.pages.{name}").router, include_in_schema=False)
    for name in API:
        whole.include_router(import_module(f"limner.web.api.{name}").router, prefix="/api/v1")
    return whole.routes


def create_app(settings: Settings, *, rules: access.Rules | None = None) -> FastAPI:
    """The app of one home. ``rules`` say who is let in; without any: who asks from this machine, by loopback."""
    # Who asks may sit elsewhere: what this machine can reach is not theirs to look at.
    studio = Studio(settings=settings, from_here=False)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(studio.close)
            stack.enter_context(studio.webhooks.delivering())
            await stack.enter_async_context(live.working(studio))
            app.state.live = await stack.enter_async_context(live.following(studio))
            yield

    app = FastAPI(
        title="Limner",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.studio = studio
    app.state.templates = page_templates()
    app.router.routes.extend(_routes())
    describe(app)
    static.mount(app)
    answer_errors(app)
    access.guard(app, studio, rules or access.Rules())
    return app
