"""Each family, held against diffusers' own pipeline: what we train is what the pipeline draws with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limner.errors import NotReady, RecipeRefused
from limner.flux.batches import TrainingPicture, encode_dataset, read_pixels
from limner.flux.families import family_of
from limner.flux.family import block_linears, match_modules
from limner.flux.loading import load_pipeline, pick_device, pick_dtype

pytestmark = pytest.mark.engine


def test_velocity_is_the_one_that_the_pipeline_steps_along(kind: Any) -> None:
    """One Euler step from pure noise lands at noise minus velocity: the same ids, packing, guidance and texts."""
    pipeline = kind.load()
    family = family_of(kind.base)
    text = family.encode_text(pipeline, "a cat on a roof", kind.base)
    rows, columns = 8, 12
    noise = torch.randn(1, rows * columns, 16, generator=torch.Generator().manual_seed(3))
    given = noise
    if family.family == "flux2":
        given = noise.transpose(1, 2).reshape(1, 16, rows, columns)
    arguments = {"pooled_prompt_embeds": text.pooled} if text.pooled is not None else {}
    guidance = 3.5 if kind.base.guidance_embedded else 1.0
    drawn = pipeline(
        prompt_embeds=text.embeds,
        latents=given,
        height=rows * 4,
        width=columns * 4,
        num_inference_steps=1,
        guidance_scale=guidance,
        output_type="latent",
        **arguments,
    ).images
    if drawn.ndim == 4:
        # klein gives latents as the VAE takes them: back to normalised tokens
        drawn = pipeline._patchify_latents(drawn)
        mean = pipeline.vae.bn.running_mean.view(1, -1, 1, 1)
        drawn = (drawn - mean) / torch.sqrt(pipeline.vae.bn.running_var.view(1, -1, 1, 1) + 1e-4)
        drawn = pipeline._pack_latents(drawn)
    with torch.no_grad():
        velocity = family.velocity(pipeline.transformer, noise, (rows, columns), torch.ones(1), text, guidance)
    assert velocity.abs().mean() > 1e-3
    torch.testing.assert_close(noise - velocity, drawn, rtol=1e-4, atol=1e-4)


def test_guidance_reaches_the_model_only_where_it_is_embedded(kind: Any) -> None:
    pipeline = kind.load()
    family = family_of(kind.base)
    text = family.encode_text(pipeline, "a cat", kind.base)
    tokens = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        low, high = (
            family.velocity(pipeline.transformer, tokens, (4, 4), torch.full((1,), 0.5), text, guidance)
            for guidance in (1.0, 9.0)
        )
    assert torch.equal(low, high) is not kind.base.guidance_embedded


def test_pictures_come_back_through_the_vae(kind: Any, real_photos: list[Path], tmp_path: Path) -> None:
    """Tokens of a real photo, decoded the pipeline's way, equal the VAE's own reconstruction."""
    pipeline = kind.load()
    family = family_of(kind.base)
    with Image.open(real_photos[0]) as image:
        image.convert("RGB").resize((48, 32)).save(tmp_path / "photo.png")
    pixels = read_pixels(tmp_path / "photo.png")
    assert pixels.shape == (3, 32, 48)
    tokens, grid = family.encode_picture(pipeline, pixels)
    assert grid == (8, 12)
    assert tokens.shape == (96, 16)
    with torch.no_grad():
        mode = pipeline.vae.encode(pixels[None]).latent_dist.mode()
        if family.family == "flux1":
            latents = pipeline._unpack_latents(tokens[None], 32, 48, pipeline.vae_scale_factor)
            latents = latents / pipeline.vae.config.scaling_factor + pipeline.vae.config.shift_factor
            torch.testing.assert_close(latents, mode)
        else:
            theirs = pipeline._encode_vae_image(pixels[None], torch.Generator())
            assert torch.equal(tokens, pipeline._pack_latents(theirs)[0])


def test_a_caption_is_encoded_alone_and_cut_to_the_base(kind: Any, real_photos: list[Path], tmp_path: Path) -> None:
    pipeline = kind.load()
    family = family_of(kind.base)
    long = "john_doe " * 50
    for number, photo in enumerate(real_photos[:3]):
        with Image.open(photo) as image:
            image.convert("RGB").resize((32, 32)).save(tmp_path / f"{number}.png")
    captions = ["a red hat", long, "a red hat"]
    pictures = [TrainingPicture(tmp_path / f"{n}.png", caption) for n, caption in enumerate(captions)]
    data = encode_dataset(family, pipeline, kind.base, pictures)
    assert data.text_rows == (1, 2, 1)
    assert data.texts.embeds.shape[:2] == (3, kind.base.max_text_tokens)
    for row, text in enumerate(["", "a red hat", long]):
        assert torch.equal(data.texts[[row]].embeds, family.encode_text(pipeline, text, kind.base).embeds)
    assert not torch.equal(data.texts.embeds[0], data.texts.embeds[1])


def test_presets_choose_layers_inside_the_blocks_only(kind: Any) -> None:
    pipeline = kind.load()
    family = family_of(kind.base)
    names = block_linears(pipeline.transformer)
    chosen = {preset: match_modules(family, pipeline.transformer, preset) for preset in family.layer_presets}
    assert set(chosen["attention"]) <= set(chosen["attention+ff"]) <= set(names)
    assert chosen["attention"]
    # what the examples train: FLUX.1's both streams and their feed-forward, FLUX.2's picture stream
    texts = any(".add_q_proj" in name for name in chosen["diffusers-default"])
    assert texts is (family.family == "flux1")
    assert match_modules(family, pipeline.transformer, "all-linear") == names
    assert all(name.startswith(("transformer_blocks.", "single_transformer_blocks.")) for name in names)
    for preset, parts in family.layer_presets.items():
        assert all(any(n.endswith("." + part) for n in chosen[preset]) for part in parts), preset
    assert match_modules(family, pipeline.transformer, " to_q , to_v") == [
        name for name in names if name.endswith((".to_q", ".to_v"))
    ]
    with pytest.raises(RecipeRefused, match="to_nothing"):
        match_modules(family, pipeline.transformer, "to_q,to_nothing")


def test_a_folder_of_another_family_is_refused_before_it_is_loaded(flux1: Any, klein: Any) -> None:
    with pytest.raises(NotReady, match=r"FluxPipeline.*flux2"):
        load_pipeline(str(flux1.folder), klein.base)


@pytest.mark.parametrize(
    ("damage", "said"),
    [("transformer/diffusion_pytorch_model.safetensors", "cannot be loaded"), ("model_index.json", "model_index")],
)
def test_a_damaged_folder_is_named(flux1: Any, tmp_path: Path, damage: str, said: str) -> None:
    import shutil

    folder = shutil.copytree(flux1.folder, tmp_path / "copy")
    (folder / damage).write_bytes(b"\xff" * 100)
    with pytest.raises(NotReady, match=said) as caught:
        load_pipeline(str(folder), flux1.base)
    assert str(folder) in caught.value.message
    assert caught.value.remedy


def test_a_missing_folder_is_named(flux1: Any, tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="does not exist"):
        load_pipeline(str(tmp_path / "nowhere"), flux1.base)


def test_devices_and_formats() -> None:
    assert pick_dtype("auto", "cpu") is torch.float32
    assert pick_dtype("auto", "cuda") is torch.bfloat16
    assert pick_dtype("bf16", "cpu") is torch.bfloat16
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in {"cpu", "cuda", "mps"}
    with pytest.raises(NotReady, match="'tpu'"):
        pick_device("tpu")


def test_importing_the_engine_package_loads_no_torch() -> None:
    import subprocess
    import sys

    code = "import limner.flux, limner.atomic_file, limner.training.local.trainer, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_shipped_base_loads_draws_and_has_layers_to_train() -> None:
    from limner.catalog import base_location, find_base
    from limner.flux.sampling import draw

    base = find_base("limner-tiny")
    pipeline = load_pipeline(base_location(base), base)
    picture = draw(pipeline, base, "a person", width=64, height=96, steps=1, guidance=base.guidance, seed=0)
    assert picture.size == (64, 96)
    shape = pipeline.transformer.config
    assert (shape.num_layers, shape.num_single_layers) == (base.shape["double_blocks"], base.shape["single_blocks"])
    assert shape.num_attention_heads * shape.attention_head_dim == base.shape["width"]
    assert match_modules(family_of(base), pipeline.transformer, "all-linear")
