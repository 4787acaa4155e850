"""The adapter and its file: the same pictures live, from the file through diffusers, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from limner.errors import LoraRefused
from limner.flux.adapter import Adapter, LoraLinear, Shape, layer_shapes
from limner.flux.families import family_of
from limner.flux.family import match_modules
from limner.flux.loop import write_lora
from limner.flux.safetensors_file import safetensors_bytes
from limner.flux.sampling import draw, forget_pipeline, kept_pipeline, mount_loras

pytestmark = pytest.mark.engine

LOOK = {"width": 48, "height": 32, "steps": 2, "guidance": 1.0, "seed": 5}


def random_lora(kind: Any, path: Path, *, seed: int = 0, layers: str = "all-linear", odd: bool = True) -> Adapter:
    """A lora with random B, so that it changes pictures; some layers have a rank and alpha of their own."""
    pipeline = kind.load()
    names = match_modules(family_of(kind.base), pipeline.transformer, layers)
    exceptions = [("transformer_blocks.0.attn.to_q", 2, 8.0)] if odd else []
    adapter = Adapter(pipeline.transformer, layer_shapes(names, 4, 6.0, exceptions), seed=seed)
    chance = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(p.shape, generator=chance) * 0.3 for name, p in adapter.parameters().items()}
    adapter.load(tensors)
    adapter.pipeline = pipeline  # type: ignore[attr-defined]
    write_lora(path, tensors, torch.float32, {"lora_adapter_metadata": adapter.metadata(), "limner.base": "x"})
    return adapter


def pixels(picture: Any) -> numpy.ndarray[Any, Any]:
    return numpy.asarray(picture)


def test_the_file_draws_the_same_picture_as_the_live_adapter(kind: Any, tmp_path: Path) -> None:
    adapter = random_lora(kind, tmp_path / "lora.safetensors")
    live = pixels(draw(adapter.pipeline, kind.base, "a cat", **LOOK))  # type: ignore[attr-defined]
    adapter.unmount()
    plain = pixels(draw(adapter.pipeline, kind.base, "a cat", **LOOK))  # type: ignore[attr-defined]
    fresh = kind.load()
    loaded = pixels(draw(fresh, kind.base, "a cat", loras=[(tmp_path / "lora.safetensors", 1.0)], **LOOK))
    assert (live != plain).mean() > 0.3
    assert numpy.array_equal(live, loaded)


def test_training_mode_and_drawing_mode_give_the_same_numbers() -> None:
    layer = LoraLinear(torch.nn.Linear(24, 40), Shape(4, 6.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.lora_B.normal_()
    x = torch.randn(3, 7, 24, requires_grad=True)
    trained = layer(x)
    with torch.no_grad():
        drawn = layer(x)
    torch.testing.assert_close(trained, drawn, rtol=1e-5, atol=1e-5)
    weight = layer.frozen.weight + 1.5 * layer.lora_B @ layer.lora_A
    wanted = torch.nn.functional.linear(x, weight, layer.frozen.bias)
    weights = torch.randn_like(wanted)
    mine = torch.autograd.grad((trained * weights).sum(), [x, layer.lora_A, layer.lora_B])
    theirs = torch.autograd.grad((wanted * weights).sum(), [x, layer.lora_A, layer.lora_B])
    for own, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


def test_scale_zero_is_the_base_and_a_lora_leaves_no_trace(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    random_lora(kind, path)
    pipeline = kind.load()
    before = pixels(draw(pipeline, kind.base, "a cat", **LOOK))
    with_lora = pixels(draw(pipeline, kind.base, "a cat", loras=[(path, 1.0)], **LOOK))
    after = pixels(draw(pipeline, kind.base, "a cat", **LOOK))
    assert numpy.array_equal(before, after)
    assert not numpy.array_equal(before, with_lora)
    assert numpy.array_equal(before, pixels(draw(pipeline, kind.base, "a cat", loras=[(path, 0.0)], **LOOK)))


def test_several_loras_and_a_picture_alone_or_among_others(flux1: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    random_lora(flux1, paths[0], seed=1)
    random_lora(flux1, paths[1], seed=2, layers="attention", odd=False)
    both = [(paths[0], 0.7), (paths[1], 0.4)]
    pipeline = flux1.load()
    among = [pixels(draw(pipeline, flux1.base, "a cat", loras=both, **{**LOOK, "seed": seed})) for seed in range(3)]
    alone = pixels(draw(flux1.load(), flux1.base, "a cat", loras=both, **{**LOOK, "seed": 2}))
    assert numpy.array_equal(among[2], alone)
    assert not numpy.array_equal(among[1], among[2])
    one = pixels(draw(pipeline, flux1.base, "a cat", loras=both[:1], **LOOK))
    other = pixels(draw(pipeline, flux1.base, "a cat", loras=[(paths[0], 0.2)], **LOOK))
    assert not numpy.array_equal(one, other)


def test_a_lora_replaced_under_the_same_name_is_read_again(flux1: Any, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    pipeline = flux1.load()
    pictures = []
    for seed in (1, 2):
        random_lora(flux1, path, seed=seed)
        pictures.append(pixels(draw(pipeline, flux1.base, "a cat", loras=[(path, 1.0)], **LOOK)))
    assert not numpy.array_equal(*pictures)


@pytest.mark.parametrize("content", ["nothing", "other", "wide", "text"])
def test_a_lora_that_does_not_fit_is_refused_and_leaves_no_trace(flux1: Any, tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.safetensors"
    tensors = {
        "nothing": {"something.else": torch.zeros(2)},
        "other": {"diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight": torch.zeros(2, 32)},
        "wide": {
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": torch.zeros(2, 99),
            "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": torch.zeros(99, 2),
        },
    }
    path.write_bytes(safetensors_bytes(tensors[content], {}) if content in tensors else b"not a lora")
    pipeline = flux1.load()
    before = pixels(draw(pipeline, flux1.base, "a cat", **LOOK))
    with pytest.raises(LoraRefused, match=r"bad\.safetensors"):
        mount_loras(pipeline, [(path, 1.0)])
    assert numpy.array_equal(before, pixels(draw(pipeline, flux1.base, "a cat", **LOOK)))


def test_classifier_free_guidance_where_the_model_has_none_embedded(kind: Any) -> None:
    pipeline = kind.load()
    one, four = (
        pixels(draw(pipeline, kind.base, "a cat", **{**LOOK, "guidance": guidance})) for guidance in (1.0, 4.0)
    )
    assert not numpy.array_equal(one, four)


def test_the_header_says_what_diffusers_and_we_need(kind: Any, tmp_path: Path) -> None:
    adapter = random_lora(kind, tmp_path / "lora.safetensors")
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        metadata = file.metadata()
        names = sorted(file.keys())
    config = json.loads(metadata["lora_adapter_metadata"])
    assert (config["transformer.r"], config["transformer.lora_alpha"]) == (4, 6)
    assert config["transformer.rank_pattern"]
    assert metadata["format"] == "pt"
    assert metadata["limner.base"] == "x"
    assert names == sorted(adapter.parameters())
    assert all(name.startswith("transformer.") and name.endswith(".weight") for name in names)


def test_only_one_pipeline_is_kept(flux1: Any, klein: Any) -> None:
    first = kept_pipeline(str(flux1.folder), flux1.base, device="cpu")
    assert kept_pipeline(str(flux1.folder), flux1.base, device="cpu") is first
    kept_pipeline(str(klein.folder), klein.base, device="cpu")
    assert kept_pipeline(str(flux1.folder), flux1.base, device="cpu") is not first
    forget_pipeline()


TEXT = st.text(max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=4),
    st.dictionaries(TEXT.filter(lambda key: key not in {"format", "__metadata__"}), TEXT, max_size=5),
    st.randoms(use_true_random=False),
)
def test_safetensors_bytes_depend_on_content_alone(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]], metadata: dict[str, str], chance: Any
) -> None:
    shapes.pop("__metadata__", None)
    tensors = {name: torch.full(shape, float(n)) for n, (name, shape) in enumerate(shapes.items())}
    shuffled = list(tensors.items())
    chance.shuffle(shuffled)
    keys = list(metadata.items())
    chance.shuffle(keys)
    data = safetensors_bytes(tensors, metadata)
    assert hashlib.sha256(data).digest() == hashlib.sha256(safetensors_bytes(dict(shuffled), dict(keys))).digest()
    path = tmp_path_factory.mktemp("bytes") / "file.safetensors"
    path.write_bytes(data)
    read = load_file(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", **metadata}
