"""How a captioner found by entry point is used: its answer is checked and brought into the form of a caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limner.datasets.captions.captioner import Captioner
from limner.datasets.captions.template import clean_caption, has_trigger, plain_braces
from limner.errors import CaptionRefused, LimnerError, NotReady, WorkFailed
from limner.types import SubjectFacts

__all__ = ["apply_captioner"]


def apply_captioner(captioner: Captioner, photos: Sequence[Path], subject: SubjectFacts) -> list[str]:
    """Give one caption a photo, in the same order, each naming the trigger; '' where the captioner had none.

    A caption that lacks the trigger gets ``{trigger}, `` in front. NotReady: the captioner lacks something here.
    WorkFailed: it broke, or gave another number of captions than there are photos.
    """
    about = captioner.describe()
    missing = [need for need in about.needs if not need.met]
    if missing:
        raise NotReady(
            f"The captioner '{about.name}' needs {', '.join(need.name for need in missing)}.",
            remedy=" ".join(need.how_to_get for need in missing),
            thing=about.name,
        )
    try:
        given = list(captioner.caption(photos, subject)) if photos else []
    except LimnerError:
        raise
    except Exception as failure:
        raise WorkFailed(
            f"The captioner '{about.name}' broke: {failure}.",
            remedy="Caption by hand or by template, or try another captioner.",
            thing=about.name,
        ) from failure
    if len(given) != len(photos):
        raise WorkFailed(
            f"The captioner '{about.name}' gave {len(given)} captions for {len(photos)} photos.",
            remedy="Caption by hand or by template, or try another captioner.",
            thing=about.name,
        )
    return [_usable(text, subject) for text in given]


def _usable(text: str, subject: SubjectFacts) -> str:
    try:
        caption = plain_braces(clean_caption(text))
    except CaptionRefused:
        return ""
    if not caption or has_trigger(caption, subject.trigger):
        return caption
    return f"{{trigger}}, {caption}"
