"""How the parts of intake refuse one file without stopping the others."""

from __future__ import annotations

from limner.types import Finding, Severity

__all__ = ["Refusal", "refusal"]


class Refusal(Exception):
    """A file cannot become a photo; ``finding`` says why. Never leaves the stage: it becomes a report."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def refusal(code: str, message: str, remedy: str = "") -> Refusal:
    """Make a refusal: a stable code, one plain sentence, and what the user can do."""
    return Refusal(Finding(code, Severity.REFUSAL, message, remedy))
