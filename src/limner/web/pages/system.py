"""System health: the doctor as a page, with the log and the back ends."""

from __future__ import annotations

import platform
import shutil
from itertools import groupby
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from limner._version import __version__
from limner.studio import Studio
from limner.types import UNDER_WAY
from limner.web.access import require
from limner.web.visit import Notice, StudioOf, back, page

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(require("admin"))])

LOG_LINES = 200
READING = "Every file is being read again; the page of jobs shows how far it is."


@router.get("/system")
def system(request: Request, studio: StudioOf, live: bool = False, whole: bool = False) -> Response:
    """The disk, the files and the log, at once; what the doctor says comes after it, or with it if ``whole``."""
    return page(
        request,
        "pages/system.html",
        live=live,
        whole=whole,
        version=__version__,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        disk=shutil.disk_usage(studio.settings.home),
        log=studio.maintenance.log_tail(LOG_LINES),
        verified=studio.maintenance.verification(),
        verifying=next(iter(studio.jobs.all(limit=1, states=UNDER_WAY, kind="verify")), None),
        **(_doctor(studio, live) if whole else {}),
    )


@router.get("/system/checks")
def checks(request: Request, studio: StudioOf, live: bool = False) -> Response:
    """What is installed, used and missing, and how to get it; ``live`` asks the vendors too."""
    return page(request, "fragments/doctor.html", live=live, **_doctor(studio, live))


def _doctor(studio: Studio, live: bool) -> dict[str, Any]:
    report = studio.maintenance.doctor(live=live)
    return {
        "areas": [(area, list(found)) for area, found in groupby(report.checks, key=lambda check: check.area)],
        "problems": [check for check in report.checks if check.state == "problem"],
        "back_ends": [(kind, end) for kind, ends in report.back_ends.items() for end in ends],
    }


@router.post("/system/verify")
def verify(studio: StudioOf) -> Response:
    """Begin to read every file of the home again; sent twice it is one job."""
    if not studio.jobs.all(limit=1, states=UNDER_WAY, kind="verify"):
        studio.maintenance.verify()
    return back("/system#verified", Notice("note", READING))
