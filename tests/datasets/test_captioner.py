"""A captioner is a plug-in that someone else writes: whatever it answers, the captions are usable or it is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from frozen import SUBJECT
from hypothesis import given
from hypothesis import strategies as st

from limner.datasets.captions.captioner import Captioner
from limner.datasets.captions.captioning import apply_captioner
from limner.datasets.captions.template import fill, has_trigger
from limner.errors import Cancelled, NotReady, WorkFailed
from limner.types import BackEnd, Need, SubjectFacts


@dataclass
class NameCaptioner:
    """A captioner that reads the caption off the file's name, or does as told."""

    answer: Callable[[Sequence[Path]], Sequence[str]] = lambda photos: [path.stem for path in photos]
    needs: tuple[Need, ...] = ()
    asked: list[int] = field(default_factory=list)

    def describe(self) -> BackEnd:
        return BackEnd("names", "Names", "Captions by file name.", needs=self.needs)

    def caption(self, photos: Sequence[Path], subject: SubjectFacts) -> Sequence[str]:
        self.asked.append(len(photos))
        return self.answer(photos)


def test_captions_come_in_order_and_name_the_trigger() -> None:
    captioner = NameCaptioner()
    assert isinstance(captioner, Captioner)
    photos = [Path("on grass.jpg"), Path("rex_dog asleep.jpg"), Path("{trigger} the {class_word}.jpg")]
    made = apply_captioner(captioner, photos, SUBJECT)
    assert [fill(caption, SUBJECT) for caption in made] == ["rex_dog, on grass", "rex_dog asleep", "rex_dog the dog"]


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_becomes_a_caption_that_can_be_filled(texts: list[str]) -> None:
    photos = [Path(f"{n}.jpg") for n in range(len(texts))]
    made = apply_captioner(NameCaptioner(lambda _: texts), photos, SUBJECT)
    assert len(made) == len(texts)
    for caption in made:
        assert not caption or has_trigger(fill(caption, SUBJECT), "rex_dog")


def test_no_photo_asks_nothing() -> None:
    captioner = NameCaptioner()
    assert apply_captioner(captioner, [], SUBJECT) == [] and captioner.asked == []


def test_what_is_wrong_with_a_captioner_is_said() -> None:
    photos = [Path("a.jpg"), Path("b.jpg")]
    with pytest.raises(NotReady) as unready:
        apply_captioner(NameCaptioner(needs=(Need("a GPU", False, "Rent one."),)), photos, SUBJECT)
    assert "a GPU" in unready.value.message and unready.value.remedy == "Rent one."
    with pytest.raises(WorkFailed, match="1 captions for 2"):
        apply_captioner(NameCaptioner(lambda _: ["one"]), photos, SUBJECT)
    with pytest.raises(WorkFailed, match="by zero"):
        apply_captioner(NameCaptioner(lambda _: [str(1 // 0)]), photos, SUBJECT)

    def stop(_: Sequence[Path]) -> Sequence[str]:
        raise Cancelled("The user stopped it.")

    with pytest.raises(Cancelled):
        apply_captioner(NameCaptioner(stop), photos, SUBJECT)
