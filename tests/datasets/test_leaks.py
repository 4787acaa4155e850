"""Leaks: what captions tell that the trigger should carry, and what they may well tell."""

from __future__ import annotations

import pytest

from limner.datasets.captions.leaks import find_leaks, leak_table, trigger_count
from limner.types import SubjectFacts, SubjectKind

PERSON = SubjectFacts("ann", "Ann Marlow", SubjectKind.PERSON, "woman", "annmar")
PET = SubjectFacts("rex", "Rex", SubjectKind.PET, "dog", "rex_dog")
PRODUCT = SubjectFacts("pot", "Copper Kettle", SubjectKind.PRODUCT, "kettle", "kttl_one")
STYLE = SubjectFacts("ink", "My ink", SubjectKind.STYLE, "style", "inkish")


def told(caption: str, subject: SubjectFacts) -> list[tuple[str, str]]:
    return [(leak.trait, leak.words) for leak in find_leaks(caption, subject)]


@pytest.mark.parametrize(
    ("subject", "caption", "leaks"),
    [
        (PERSON, "{trigger} woman with long dark brown hair", [("hair", "dark brown hair")]),
        (PERSON, "a Blonde-haired {class_word}", [("hair", "Blonde-haired")]),
        (PERSON, "annmar, blue eyes", [("eye colour", "blue eyes")]),
        (PERSON, "a young [trigger] in an old town", [("age", "young [trigger]")]),
        (PERSON, "annmar, a 30-year-old woman", [("age", "year-old woman")]),
        (PERSON, "Ann smiling with freckles", [("name", "Ann"), ("face and skin", "freckles")]),
        (PET, "a black and white {trigger} dog", [("coat", "black and white {trigger}")]),
        (PET, "rex_dog, a Labrador with floppy ears", [("breed", "Labrador"), ("body", "floppy ears")]),
        (PRODUCT, "a shiny red kttl_one kettle", [("colour and material", "shiny red kttl_one")]),
        (STYLE, "inkish style, an oil painting of a harbour", [("style", "oil painting")]),
    ],
)
def test_what_gives_the_subject_away(subject: SubjectFacts, caption: str, leaks: list[tuple[str, str]]) -> None:
    assert told(caption, subject) == leaks


@pytest.mark.parametrize(
    ("subject", "caption"),
    [
        (PERSON, "annmar woman in a red dress and black hat, brown leather sofa, green eyeshadow"),
        (PERSON, "annmar, smiling, a grey cat beside her, in a fair at night"),
        (PERSON, "annmar planning a trip, an annual party"),
        (PET, "rex_dog dog on a red sofa, green grass, black and white photo"),
        (PRODUCT, "kttl_one on a red table, white wall"),
        (PRODUCT, "the kttl_one with copper pans"),
        (STYLE, "inkish, a woman with brown hair by the sea"),
    ],
)
def test_what_should_stay_changeable_is_let_go(subject: SubjectFacts, caption: str) -> None:
    assert told(caption, subject) == []


def test_a_common_word_in_the_name_is_no_name() -> None:
    assert told("a kettle of copper tea", PRODUCT) == []
    assert ("name", "Marlow") in told("annmar and Marlow", PERSON)


def test_triggers_are_counted_as_words_of_their_own() -> None:
    assert trigger_count("a photo of {trigger} and [trigger], rex_dog", "rex_dog") == 3
    assert trigger_count("a rex_dogs and myrex_dog", "rex_dog") == 0


def test_the_table_names_only_kinds_that_there_are() -> None:
    kinds = {kind for trait in leak_table()["traits"] for kind in trait["kinds"]}
    assert kinds == {kind.value for kind in SubjectKind}
    assert all(trait.get("words") or (trait["first"] and trait["then"]) for trait in leak_table()["traits"])
