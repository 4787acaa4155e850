"""Findings that refuse: making one, and raising the first of several."""

from __future__ import annotations

from collections.abc import Iterable

from limner.errors import LimnerError
from limner.types import BackEnd, Finding, Severity

__all__ = ["refusal", "refuse", "unmet"]


def refusal(code: str, message: str, remedy: str) -> Finding:
    """A finding that stands in the way."""
    return Finding(code, Severity.REFUSAL, message, remedy)


def refuse(findings: Iterable[Finding], kind: type[LimnerError]) -> None:
    """Raise the first refusal among the findings as that kind of error."""
    for finding in findings:
        if finding.severity is Severity.REFUSAL:
            raise kind(finding.message, remedy=finding.remedy, thing=finding.code)


def unmet(about: BackEnd) -> list[Finding]:
    """What a back end needs and lacks here, as every one of them finds it."""
    return [
        Finding("need", Severity.REFUSAL, f"{about.title} needs {need.name}.", need.how_to_get)
        for need in about.needs
        if not need.met
    ]
