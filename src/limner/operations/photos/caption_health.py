"""What can be said of a subject's captions: which are missing, and which tell what the trigger should carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from limner.catalog import base_location
from limner.catalog.text_encoders import cut_text, encoders_of
from limner.datasets.captions.leaks import find_leaks, trigger_count
from limner.datasets.captions.template import DEFAULT_TEMPLATE, check_template, fill
from limner.errors import CaptionRefused, NotReady
from limner.operations.home.workspace import Workspace
from limner.records import HealthFinding, PhotoEntry
from limner.types import Base, Finding, Severity, SubjectFacts

__all__ = ["CaptionHealth", "cut_captions", "examine", "path_of"]

REMEDY = {
    "caption-unusable": "Correct it; a dataset cannot be frozen with it.",
    "caption-without-trigger": "Write {trigger} where the subject is named.",
    "trigger-doubled": "Name the trigger once.",
    "caption-tells-name": "Leave the name out; the trigger stands for it.",
    "caption-cut": "Shorten it, or put what matters first.",
    "caption-tells-trait": "Leave it out, so that the trigger carries it; keep it if it should stay changeable.",
}


@dataclass(slots=True)
class CaptionHealth:
    """``uncaptioned`` and the findings as in ``DatasetHealth``; ``by_photo`` by digest."""

    uncaptioned: tuple[str, ...] = ()
    findings: tuple[HealthFinding, ...] = ()
    by_photo: dict[str, tuple[Finding, ...]] = field(default_factory=dict)


def examine(subject: SubjectFacts, photos: Sequence[PhotoEntry], base: Base, base_path: str) -> CaptionHealth:
    """Look at the captions of the photos, as they are before they are filled in; how long they may be says the base."""
    health = CaptionHealth(uncaptioned=tuple(photo.digest for photo in photos if not photo.caption))
    for photo in photos:
        if photo.caption and (
            found := (*_of_caption(photo.caption, subject), *_of_length(photo.caption, subject, base, base_path))
        ):
            health.by_photo[photo.digest] = found
    health.findings = tuple(_of_all(subject, photos, health))
    return health


def _of_caption(caption: str, subject: SubjectFacts) -> Iterable[Finding]:
    try:
        check_template(caption)
    except CaptionRefused as refused:
        yield Finding("caption-unusable", Severity.WARNING, refused.message, refused.remedy)
    named = trigger_count(caption, subject.trigger)
    if not named:
        message = f"The caption does not name the trigger '{subject.trigger}'."
        yield _warning("caption-without-trigger", message)
    elif named > 1:
        yield _warning("trigger-doubled", f"The caption names the trigger '{subject.trigger}' {named} times.")
    leaks = find_leaks(caption, subject)
    for leak in leaks:
        if leak.trait == "name":
            yield _warning("caption-tells-name", f"The caption says the name: '{leak.words}'.")
    if told := [leak for leak in leaks if leak.trait != "name"]:
        words = ", ".join(f"{leak.trait} ('{leak.words}')" for leak in told)
        yield _warning("caption-tells-trait", f"The caption tells the subject's {words}.")


def path_of(workspace: Workspace, base: Base) -> str:
    """Where the base lies; its repo's name where the folder that was set holds none, which the doctor says."""
    try:
        return base_location(base, workspace.settings.base_paths)
    except NotReady:
        return base.repo


def cut_captions(workspace: Workspace, subject: SubjectFacts, captions: Iterable[str], base: Base) -> list[Finding]:
    """One finding for all captions that are cut, for those who are about to train."""
    path = path_of(workspace, base)
    cut = [found for caption in captions for found in _of_length(caption, subject, base, path)]
    if not cut:
        return []
    worst = next((found for found in cut if found.severity is Severity.WARNING), cut[0])
    count = "1 caption is" if len(cut) == 1 else f"{len(cut)} captions are"
    message = f"{count} longer than a text encoder reads. {worst.message}"
    return [Finding("caption-cut", worst.severity, message, worst.remedy)]


def _of_length(caption: str, subject: SubjectFacts, base: Base, base_path: str) -> Iterable[Finding]:
    """What the base's text encoders will not read of a caption, filled in as a dataset has it."""
    try:
        text = fill(caption, subject)
    except CaptionRefused:
        return
    cuts = [(encoder, words) for encoder in encoders_of(base) if (words := cut_text(text, encoder, base_path))]
    if cuts:
        # What only the smaller encoder leaves out still reaches the picture by the main one.
        severity = Severity.WARNING if any(encoder.main for encoder, _ in cuts) else Severity.NOTE
        message = f"The caption is long: {'; '.join(words for _, words in cuts)}."
        yield Finding("caption-cut", severity, message, REMEDY["caption-cut"])


def _warning(code: str, message: str) -> Finding:
    return Finding(code, Severity.WARNING, message, REMEDY[code])


def _of_all(subject: SubjectFacts, photos: Sequence[PhotoEntry], health: CaptionHealth) -> Iterable[HealthFinding]:
    if bare := health.uncaptioned:
        caption = fill(DEFAULT_TEMPLATE, subject)
        if len(bare) == 1:
            message = f"1 photo has no caption of its own and gets '{caption}'."
        else:
            whole = "No photo has a caption of its own; all" if len(bare) == len(photos) else ""
            message = f"{whole or f'{len(bare)} photos have no caption of their own and'} get '{caption}'."
        yield HealthFinding(
            "no-caption",
            Severity.NOTE,
            message,
            "That is enough for a start; captions that tell light, place and pose make the lora more flexible.",
            bare,
        )
    ways = {
        "caption-unusable": ("cannot be used", "cannot be used"),
        "caption-without-trigger": (f"lacks the trigger '{subject.trigger}'", f"lack the trigger '{subject.trigger}'"),
        "trigger-doubled": ("names the trigger more than once", "name the trigger more than once"),
        "caption-cut": ("is longer than a text encoder reads", "are longer than a text encoder reads"),
        "caption-tells-name": ("says the subject's name", "say the subject's name"),
        "caption-tells-trait": ("tells what the trigger should carry", "tell what the trigger should carry"),
    }
    for code, (one, several) in ways.items():
        concerned = {
            photo.digest: [finding for finding in health.by_photo.get(photo.digest, ()) if finding.code == code]
            for photo in photos
        }
        concerned = {digest: found for digest, found in concerned.items() if found}
        if concerned:
            severity = Severity.REFUSAL if code == "caption-unusable" else Severity.WARNING
            if all(one.severity is Severity.NOTE for several in concerned.values() for one in several):
                severity = Severity.NOTE
            message = f"1 caption {one}." if len(concerned) == 1 else f"{len(concerned)} captions {several}."
            yield HealthFinding(code, severity, message, REMEDY[code], tuple(concerned))
