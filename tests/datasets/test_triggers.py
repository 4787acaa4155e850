"""Slugs and triggers: what is refused, what is warned of, and what is proposed."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limner.datasets.triggers import check_slug, check_trigger, is_common, propose_slug, propose_trigger
from limner.errors import NameRefused
from limner.types import Severity

ANYTHING = st.text(max_size=90)


@pytest.mark.parametrize("slug", ["zibbo", "john-doe", "john_doe", "a", "r2-d2", "x" * 64])
def test_good_slugs_pass(slug: str) -> None:
    assert check_slug(slug) == slug


@pytest.mark.parametrize(
    ("slug", "proposal"),
    [
        ("John Doe", "john-doe"),
        ("a/b", "a-b"),
        ("../etc/passwd", "etc-passwd"),
        ("..", None),
        ("", None),
        (" ", None),
        ("Ève & Bob", "eve-bob"),
        ("straße", "strasse"),
        ("-rf", "rf"),
        ("con", "con-1"),
        ("a--b", "a-b"),
        ("a__b", "a_b"),
        ("a\n", "a"),
        ("小明", None),
        ("x" * 65, "x" * 64),
        (".hidden", "hidden"),
        ("ａ", "a"),
    ],
)
def test_bad_slugs_are_refused_with_a_proposal(slug: str, proposal: str | None) -> None:
    with pytest.raises(NameRefused) as refusal:
        check_slug(slug)
    named = re.search(r"'(.*)'", refusal.value.remedy)
    assert named and check_slug(named[1])
    if proposal:
        assert named[1] == proposal


@given(ANYTHING)
@example("_")
@example("a_-_b")
@example("AUX")
def test_a_proposed_slug_is_always_good_and_stays(name: str) -> None:
    slug = propose_slug(name)
    assert check_slug(slug) == slug == propose_slug(slug)


@given(ANYTHING)
@example("red car")
@example("7")
@example("x" * 64 + " y")
def test_a_proposed_trigger_has_nothing_against_it_and_stays(name: str) -> None:
    trigger = propose_trigger(name)
    assert not check_trigger(trigger, "person")
    assert propose_trigger(trigger) == trigger


def test_triggers_are_made_from_names() -> None:
    assert propose_trigger("John Doe") == "john_doe"
    assert propose_trigger("zibbo") == "zibbo"
    assert propose_trigger("Dog") == "dog_lmn"
    assert propose_trigger("小明") != propose_trigger("小红")


@pytest.mark.parametrize(
    ("trigger", "class_word", "code"),
    [
        ("dog", "pet", "trigger-is-common"),
        ("Photo", "person", "trigger-is-common"),
        ("red car", "product", "trigger-is-common"),
        ("zebu", "zebu", "trigger-is-class-word"),
        ("xq", "person", "trigger-is-short"),
        ("12345", "person", "trigger-is-number"),
        ("jürgen", "person", "trigger-not-ascii"),
    ],
)
def test_weak_triggers_are_warned_of(trigger: str, class_word: str, code: str) -> None:
    (finding,) = check_trigger(trigger, class_word)
    assert finding.code == code and finding.severity is Severity.WARNING
    assert trigger in finding.message and finding.remedy


@pytest.mark.parametrize(
    "trigger", ["", " ", "a  b", "{trigger}", "a,b", "a/b", 'a"b', "a\nb", "a\u202eb", "x" * 65, "<lora>", " a"]
)
def test_triggers_that_cannot_stand_in_a_caption_are_refused(trigger: str) -> None:
    with pytest.raises(NameRefused):
        check_trigger(trigger, "person")
    with pytest.raises(NameRefused):
        check_trigger("zibbo", trigger)


def test_the_word_list_is_small_and_clean() -> None:
    text = files("limner.datasets").joinpath("common_words.txt").read_text(encoding="utf-8")
    words = [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    assert 300 <= len(set(words)) <= 1000
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert is_common("Cat") and not is_common("zibbo")
