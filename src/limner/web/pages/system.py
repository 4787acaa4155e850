"""System health: the doctor as a page, with the log and the back ends."""

from __future__ import annotations

import platform
import shutil
from itertools import groupby

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from limner.web.access import require
from limner.web.visit import StudioOf, Visit, page

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(require("admin"))])

LOG_LINES = 200


@router.get("/system")
def system(request: Request, visit: Visit, studio: StudioOf, live: bool = False) -> Response:
    """What is installed, used and missing, and how to get it; ``live`` asks the vendors too."""
    report = studio.doctor(live=live)
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
        log=studio.log_tail(LOG_LINES),
        back_ends=[(kind, end) for kind, ends in report.back_ends.items() for end in ends],
        nav="settings",
    )
