"""System health: the doctor as a page, with the log and the back ends."""

from __future__ import annotations

import platform
import shutil
from itertools import groupby

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from limner.types import UNDER_WAY
from limner.web.access import require
from limner.web.visit import Notice, StudioOf, Visit, back, page

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(require("admin"))])

LOG_LINES = 200
READING = "Every file is being read again; the page of jobs shows how far it is."


@router.get("/system")
def system(request: Request, visit: Visit, studio: StudioOf, live: bool = False) -> Response:
    """What is installed, used and missing, and how to get it; ``live`` asks the vendors too."""
    report = studio.maintenance.doctor(live=live)
    disk = shutil.disk_usage(report.home)
    by_area = [(area, list(checks)) for area, checks in groupby(report.checks, key=lambda check: check.area)]
    worker = next((check for check in report.checks if check.name == "worker"), None)
    return page(
        request,
        visit,
        "pages/system.html",
        report=report,
        areas=by_area,
        problems=[check for check in report.checks if check.state == "problem"],
        live=live,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        disk=disk,
        worker=worker,
        log=studio.maintenance.log_tail(LOG_LINES),
        back_ends=[(kind, end) for kind, ends in report.back_ends.items() for end in ends],
        verified=studio.maintenance.verification(),
        verifying=next(iter(studio.jobs.all(limit=1, states=UNDER_WAY, kind="verify")), None),
        nav="settings",
    )


@router.post("/system/verify")
def verify(visit: Visit, studio: StudioOf) -> Response:
    """Begin to read every file of the home again; sent twice it is one job."""
    del visit
    if not studio.jobs.all(limit=1, states=UNDER_WAY, kind="verify"):
        studio.maintenance.verify()
    return back("/system#verified", Notice("note", READING))
