"""What speaks against a photo, in plain words, and the verdict that follows from it."""

from __future__ import annotations

from collections.abc import Iterable

from limner.photos.quality.duplicates import Likeness, Match
from limner.photos.quality.measures import Measures
from limner.photos.reading.limits import IntakeLimits
from limner.types import Finding, Severity, Verdict

__all__ = ["check", "compare", "outdone", "verdict"]

SOFT = 40.0
"""A photo whose sharpest tile has a smaller variance of the Laplacian is blurred everywhere."""
DARK, BRIGHT = 0.10, 0.94
LOST = 0.35
"""The share of pure black or white pixels above which light was lost, if it is no backdrop."""
BACKDROP = 0.6
"""The share of the border that is pure black or white where the picture has a backdrop of that colour."""
FLAT = 0.5
LONGEST_SHAPE = 3.0


def check(width: int, height: int, measures: Measures, faces: int | None, limits: IntakeLimits) -> list[Finding]:
    """Look at one photo by itself: its size in pixels as it came, what was measured, and the faces counted."""
    return [
        *_size(width, height, measures, limits),
        *_light(measures),
        *_faces(faces),
    ]


def _size(width: int, height: int, measures: Measures, limits: IntakeLimits) -> Iterable[Finding]:
    shortest, longest = sorted((width, height))
    if shortest < limits.small_side:
        yield _warning(
            "small",
            f"It has {width} × {height} pixels; a training would enlarge it.",
            f"Use the original, with {limits.small_side} pixels or more on its shortest side, if there is one.",
        )
    if longest > LONGEST_SHAPE * shortest:
        yield _warning(
            "long-shape",
            f"It is {longest / shortest:.1f} times as long as wide; a crop would lose most of it.",
            "Cut out the part that shows the subject.",
        )
    # What was enlarged to be measured is never sharp; the size says so already.
    if measures.sharpest < SOFT and shortest >= limits.small_side and not _is_flat(measures):
        yield _warning("blurred", "It is blurred everywhere; blur would be learned too.", "Use a sharper photo.")


def _light(measures: Measures) -> Iterable[Finding]:
    if _is_flat(measures):
        yield _warning("flat", "It shows almost nothing: one even colour.", "Leave it out.")
        return
    bright_backdrop = measures.framed_bright >= BACKDROP
    dark_backdrop = measures.framed_dark >= BACKDROP
    if not dark_backdrop and (measures.exposure < DARK or measures.dark > LOST):
        yield _warning("dark", "It is very dark; details are lost in black.", "Use a brighter photo, or brighten it.")
    if not bright_backdrop and (measures.exposure > BRIGHT or measures.bright > LOST):
        yield _warning("bright", "It is too bright; details are lost in white.", "Use a photo with less light.")


def _is_flat(measures: Measures) -> bool:
    return float(measures.thumb.reshape(-1, 3).std(axis=0).max()) < FLAT and measures.sharpest < 1.0


def _faces(faces: int | None) -> Iterable[Finding]:
    if faces is not None and faces > 1:
        yield _warning(
            "several-faces",
            f"It shows {faces} faces; a training cannot know whose is meant.",
            "Crop it to the subject, if the subject is a person.",
        )


def compare(match: Match, size: tuple[int, int]) -> Finding:
    """The finding for a photo, of that width and height, that is the same as, or much like, one before it."""
    if match.likeness is Likeness.ALIKE:
        return _warning(
            "near-duplicate",
            f"It looks much like {match.source}; what both show would count twice.",
            "Keep the better of the two, or leave it if they differ in what matters.",
        )
    if match.replaces:
        return Finding(
            "better-copy",
            Severity.NOTE,
            f"It takes the place of {match.source}, {_smaller(match.size, size, 'which is a lesser copy')}.",
        )
    if match.frozen:
        return Finding(
            "duplicate",
            Severity.REFUSAL,
            f"It is the same picture as {match.source}, {_smaller(match.size, size, 'which is a lesser copy')}; "
            "that one is in a frozen dataset and stays.",
            "To train on this one from now on, remove the other from the photos and add this one again.",
        )
    return _repeats(match.source)


def outdone(source: str, size: tuple[int, int], before: tuple[int, int]) -> Finding:
    """The finding for a photo whose place another one took: its name, its size and the size of this one."""
    if size[0] * size[1] > before[0] * before[1]:
        return _repeats(f"{source}, which is larger ({size[0]} × {size[1]} against {before[0]} × {before[1]})")
    return _repeats(f"{source}, which is the better copy")


def _repeats(what: str) -> Finding:
    remedy = "Nothing is to be done: the best one is kept."
    return Finding("duplicate", Severity.REFUSAL, f"It is the same picture as {what}.", remedy)


def _smaller(first: tuple[int, int], size: tuple[int, int], otherwise: str) -> str:
    if first[0] * first[1] < size[0] * size[1]:
        return f"which is smaller ({first[0]} × {first[1]} against {size[0]} × {size[1]})"
    return otherwise


def verdict(findings: Iterable[Finding]) -> Verdict:
    """Refused by any refusal, accepted with a warning by any warning, else accepted."""
    worst = {finding.severity for finding in findings}
    if Severity.REFUSAL in worst:
        return Verdict.REFUSED
    return Verdict.WARNED if Severity.WARNING in worst else Verdict.ACCEPTED


def _warning(code: str, message: str, remedy: str) -> Finding:
    return Finding(code, Severity.WARNING, message, remedy)
