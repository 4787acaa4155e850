"""Recipes: every wrong setting is found at once and by name, and equal recipes have equal text."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.catalog import bases, find_base
from limner.errors import RecipeRefused
from limner.training.recipe import (
    PRESETS,
    Recipe,
    canonical_json,
    from_mapping,
    preset,
    problems,
    recipe_digest,
    validate,
)
from limner.types import SubjectKind

DEV = find_base("flux1-dev")
GOOD = Recipe("flux1-dev")


def test_the_defaults_can_be_trained() -> None:
    assert problems(GOOD, DEV) == []
    assert validate(GOOD, DEV) is GOOD


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank", 0),
        ("rank", 513),
        ("rank", 4.5),
        ("rank", True),
        ("rank", "16"),
        ("alpha", 0.0),
        ("alpha", math.nan),
        ("learning_rate", -1.0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("schedule", "cosin"),
        ("warmup_steps", -1),
        ("warmup_steps", 1000),
        ("steps", 0),
        ("batch_size", 0),
        ("gradient_accumulation", 0),
        ("resolution", 1000),
        ("resolution", math.nan),
        ("resolution", "1024"),
        ("seed", -1),
        ("caption_dropout", 1.1),
        ("timestep_sampling", "gauss"),
        ("target_layers", " "),
        ("target_layers", 3),
        ("layer_ranks", (("to_q", 0, 1.0),)),
        ("layer_ranks", (("to_q", 4),)),
        ("ema_decay", 1.0),
        ("checkpoint_every", -5),
        ("sample_every", -5),
        ("guidance", -1.0),
        ("weight_decay", math.nan),
        ("gradient_clip", -1.0),
        ("precision", "fp8"),
        ("base", "flux1-schnell"),
    ],
)
def test_a_setting_out_of_its_range_is_named_with_range_and_remedy(field: str, value: Any) -> None:
    found = problems(replace(GOOD, **{field: value}), DEV)
    assert [problem.field for problem in found] == [field]
    with pytest.raises(RecipeRefused) as caught:
        validate(replace(GOOD, **{field: value}), DEV)
    assert field in caught.value.message
    assert repr(value) in caught.value.message or field == "layer_ranks"
    assert found[0].allowed in caught.value.message
    assert caught.value.remedy
    assert caught.value.thing == field


def test_all_problems_are_told_at_once() -> None:
    bad = replace(GOOD, rank=0, learning_rate=-1.0, resolution=1000)
    with pytest.raises(RecipeRefused) as caught:
        validate(bad, DEV)
    assert caught.value.thing == "rank, learning_rate, resolution"
    assert "512, 768, 1024" in caught.value.message
    assert "Use 1024." in caught.value.remedy


def test_an_unknown_setting_is_named_with_what_was_meant() -> None:
    with pytest.raises(RecipeRefused, match="learning_rat ") as caught:
        from_mapping({"base": "flux1-dev", "learning_rat": 1e-4, "zzz": 1})
    assert "Did you mean learning_rate?" in caught.value.remedy
    assert "zzz" in caught.value.thing
    with pytest.raises(RecipeRefused, match="base"):
        from_mapping({"rank": 8})
    with pytest.raises(RecipeRefused, match="rank is 'eight'"):
        from_mapping({"base": "flux1-dev", "rank": "eight"})


@pytest.mark.parametrize("base", list(bases().values()), ids=lambda base: base.id)
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", [None, *SubjectKind])
def test_every_preset_fits_its_base(base: Any, name: str, kind: SubjectKind | None) -> None:
    recipe = preset(name, base, kind)
    assert recipe.base == base.id
    assert problems(recipe, base) == []


def test_presets_can_be_changed_and_unknown_ones_are_refused() -> None:
    assert preset("quick", DEV, rank=4).rank == 4
    assert preset("balanced", DEV, SubjectKind.STYLE).timestep_sampling == "uniform"
    steps = [preset(name, DEV).steps for name in PRESETS]
    assert steps == sorted(steps)
    with pytest.raises(RecipeRefused, match="fast"):
        preset("fast", DEV)
    with pytest.raises(RecipeRefused, match="rnak"):
        preset("quick", DEV, rnak=4)


RECIPES = st.builds(
    Recipe,
    base=st.sampled_from(list(bases())),
    rank=st.integers(1, 512),
    alpha=st.floats(1e-6, 4096),
    learning_rate=st.floats(1e-8, 1.0),
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    steps=st.integers(1, 100_000),
    seed=st.integers(0, 2**63 - 1),
    caption_dropout=st.floats(0, 1),
    target_layers=st.text(min_size=1, max_size=20),
    layer_ranks=st.lists(
        st.tuples(st.text(min_size=1, max_size=9), st.integers(1, 512), st.floats(0.5, 64)), max_size=3
    ).map(tuple),
)


@given(RECIPES)
def test_a_recipe_survives_json_and_has_one_text(recipe: Recipe) -> None:
    text = canonical_json(recipe)
    read = from_mapping(json.loads(text))
    assert read == recipe
    assert canonical_json(read) == text
    assert recipe_digest(read) == recipe_digest(recipe)
    assert recipe_digest(replace(recipe, rank=recipe.rank % 512 + 1)) != recipe_digest(recipe)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([f.name for f in fields(Recipe)]) | st.text(max_size=8), ANYTHING, max_size=6))
def test_whatever_is_given_is_read_or_refused(values: dict[str, Any]) -> None:
    """No value makes reading or checking raise anything but a refusal, and what passes both is in range."""
    try:
        recipe = validate(from_mapping({"base": "flux1-dev", **values}), DEV)
    except RecipeRefused as refusal:
        assert refusal.message
        assert refusal.remedy
    else:
        assert math.isfinite(recipe.learning_rate)
        assert recipe.rank >= 1
        assert recipe.resolution in DEV.resolutions
        assert set(values) <= set(asdict(recipe))
