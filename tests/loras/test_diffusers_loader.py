"""Proof by loading: what diffusers' own pipelines mount from the files that Limner writes is what the lora means.

A pipeline of the true structure, random and of width 8, loads each file with ``load_lora_weights``; what PEFT then adds
to each layer's weights is compared with the file's meaning. What diffusers itself loses is written down in ``LOST``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from limner.loras.conversion.convert import convert, to_diffusers
from limner.types import Family, TensorNaming

from .definitions import pack, write
from .making import saved
from .test_namings import Made, files

pytestmark = pytest.mark.engine
some = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

# layers that diffusers' readers drop, by family and naming; a log line at most tells of it
LOST: dict[tuple[Family, TensorNaming], tuple[str, ...]] = {
    (Family.FLUX1, TensorNaming.KOHYA): ("norm_out", "proj_out", "x_embedder", "context_embedder", "time_text_embed"),
    (Family.FLUX2, TensorNaming.KOHYA): (
        "norm_out", "double_stream_modulation", "single_stream_modulation", "time_guidance_embed.guidance_embedder",
    ),
    (Family.FLUX1, TensorNaming.BFL): ("",),
}  # fmt: skip


@pytest.fixture(scope="module")
def flux1() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.set_num_threads(1)
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=8, num_single_layers=8, attention_head_dim=8, num_attention_heads=1,
        joint_attention_dim=24, pooled_projection_dim=10, guidance_embeds=True, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    clip = CLIPTextModel(
        CLIPTextConfig(hidden_size=6, intermediate_size=24, num_hidden_layers=8, num_attention_heads=2, vocab_size=9)
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=None, text_encoder=clip, tokenizer=None, text_encoder_2=None,
        tokenizer_2=None, transformer=transformer,
    )  # fmt: skip


@pytest.fixture(scope="module")
def flux2() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2Pipeline, Flux2Transformer2DModel

    torch.set_num_threads(1)
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=8, num_single_layers=8, attention_head_dim=8, num_attention_heads=1,
        joint_attention_dim=24, guidance_embeds=True, axes_dims_rope=(2, 2, 2, 2),
    )  # fmt: skip
    return Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=None, text_encoder=None, tokenizer=None,
        transformer=transformer,
    )  # fmt: skip


def mounted(pipeline: Any, path: Path) -> dict[str, np.ndarray]:
    """What a pipeline adds to each layer's weights once it has loaded a file; layers that change nothing left out."""
    found = {}
    try:
        pipeline.load_lora_weights(str(path), adapter_name="x")
        for prefix, model in (("", pipeline.transformer), ("clip.", pipeline.text_encoder)):
            for name, module in [] if model is None else model.named_modules():
                if hasattr(module, "get_delta_weight") and "x" in module.scaling:
                    change = module.get_delta_weight("x").detach().double().numpy()
                    found[prefix + name.removeprefix("text_model.")] = change
    finally:
        pipeline.unload_lora_weights()
    return {name: change for name, change in found.items() if change.any()}


def as_meant(found: dict[str, np.ndarray], means: dict[str, np.ndarray], tolerance: float = 4e-6) -> None:
    means = {name: change for name, change in means.items() if change.any()}
    assert found.keys() == means.keys()
    for name, change in means.items():
        np.testing.assert_allclose(found[name], change, rtol=0, atol=tolerance * np.abs(change).max())


def kept(means: dict[str, np.ndarray], family: Family, naming: TensorNaming) -> dict[str, np.ndarray]:
    """What is left of a file's meaning in diffusers' hands."""
    lost = LOST.get((family, naming), ())
    left = {name: change for name, change in means.items() if not name.removeprefix("clip.").startswith(lost)}
    if (family, naming) == (Family.FLUX2, TensorNaming.BFL) and "norm_out.linear" in left:
        # shift and scale change places in the checkpoint's converter, but not in the loader of loras
        left["norm_out.linear"] = np.concatenate(np.split(left["norm_out.linear"], 2)[::-1])
    return left


def readable_as_kohya(means: dict[str, np.ndarray]) -> bool:
    """Whether diffusers reads it at all: it cuts linear1 at the real width's rows, and CLIP's only beside an out_proj.

    The real width is in the tests below; trainers that change CLIP change its out_proj too.
    """
    linear1 = any(name.startswith("single_") and ("proj_mlp" in name or ".attn." in name) for name in means)
    clip = {name for name in means if name.startswith("clip.")}
    return not linear1 and (not clip or any("out_proj" in name for name in clip))


def prove(pipeline: Any, folder: Path, made: Made) -> None:
    path = write(folder / "a.safetensors", made.tensors, made.metadata)
    done = to_diffusers(path, folder / "d.safetensors", base=made.base)
    as_meant(mounted(pipeline, done.path), made.means)
    for naming in (TensorNaming.KOHYA, TensorNaming.BFL):
        if (made.family, naming) == (Family.FLUX1, TensorNaming.KOHYA) and not readable_as_kohya(made.means):
            continue
        done = convert(path, naming, folder / f"{naming}.safetensors", base=made.base)
        left = kept(made.means, made.family, naming)
        if any(change.any() for change in left.values()):
            # diffusers multiplies Kohya's alpha into the numbers in their own format
            half = naming is TensorNaming.KOHYA and not {"F16", "BF16"}.isdisjoint(done.dtypes)
            as_meant(mounted(pipeline, done.path), left, 2**-6 if half else 4e-6)


@some
@given(made=files(Family.FLUX1, widths=[8]))
def test_any_flux1_lora_as_fluxpipeline_mounts_it(tmp_path: Path, flux1: Any, made: Made) -> None:
    prove(flux1, tmp_path, made)


@some
@given(made=files(Family.FLUX2, widths=[8]))
def test_any_flux2_lora_as_flux2pipeline_mounts_it(tmp_path: Path, flux2: Any, made: Made) -> None:
    prove(flux2, tmp_path, made)


# what diffusers reads by itself, in the naming's own form and without alpha where its reader has none
READ = [
    (Family.FLUX1, "xlabs", False),
    (Family.FLUX2, "bfl", False),
    (Family.FLUX2, "kohya", True),
    (Family.FLUX1, "diffusers", True),
    (Family.FLUX2, "diffusers", True),
]


@pytest.mark.parametrize(("family", "naming", "alphas"), READ)
def test_diffusers_reads_a_file_and_its_conversion_alike(
    tmp_path: Path, request: pytest.FixtureRequest, family: Family, naming: str, alphas: bool
) -> None:
    pipeline = request.getfixturevalue(family.value)

    @settings(some, max_examples=12)
    @given(made=files(family, widths=[8], namings=[naming], alphas=alphas, clip=False))
    def alike(made: Made) -> None:
        path = write(tmp_path / "a.safetensors", made.tensors, made.metadata)
        done = to_diffusers(path, tmp_path / "d.safetensors", base=made.base)
        as_meant(mounted(pipeline, done.path), made.means)
        left = made.means
        if naming in ("kohya", "bfl"):
            left = kept(made.means, family, TensorNaming(naming))
        said = sum(name.endswith(".alpha") for name in made.tensors)
        if naming == "diffusers" and said and (family is Family.FLUX2 or said < len(made.tensors) / 3):
            # its reader of FLUX.2 refuses alphas, that of FLUX.1 gives one layer's to those that have none
            return
        if any(change.any() for change in left.values()):
            half = naming == "kohya" and made.formats != ("F32",)
            as_meant(mounted(pipeline, path), left, 2**-6 if half else 4e-6)

    alike()


def test_bfl_names_of_flux1_are_read_by_nobody_at_diffusers(tmp_path: Path, flux1: Any) -> None:
    """A warning is all that tells of it; that is why Limner converts before it draws."""
    down, up = pack(np.ones((2, 8)), "F32"), pack(np.ones((24, 2)), "F32")
    module = "diffusion_model.double_blocks.0.img_attn.qkv"
    path = write(tmp_path / "a.safetensors", {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up})
    assert mounted(flux1, path) == {}
    assert len(mounted(flux1, to_diffusers(path, tmp_path / "b.safetensors").path)) == 3


def test_an_alpha_in_a_bfl_file_of_flux2_stops_diffusers_and_is_converted(tmp_path: Path, flux2: Any) -> None:
    module = "diffusion_model.single_blocks.0.linear2"
    tensors = {
        f"{module}.lora_A.weight": pack(np.ones((2, 32)), "BF16"),
        f"{module}.lora_B.weight": pack(np.ones((8, 2)), "BF16"),
        f"{module}.alpha": pack(np.float64(3), "F32"),
    }
    path = write(tmp_path / "a.safetensors", tensors)
    with pytest.raises(ValueError, match="alpha"):
        mounted(flux2, path)
    done = to_diffusers(path, tmp_path / "b.safetensors")
    wanted = {"single_transformer_blocks.0.attn.to_out": np.full((8, 32), 3.0)}
    as_meant(mounted(flux2, done.path), wanted)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_fp8_is_mounted_as_it_was_stored(tmp_path: Path, flux2: Any, dtype: torch.dtype) -> None:
    chance = torch.Generator().manual_seed(3)
    down, up = (torch.randn(shape, generator=chance).to(dtype) for shape in ((2, 8), (72, 2)))
    module = "diffusion_model.single_blocks.1.linear1"
    path = saved(tmp_path / "a.safetensors", {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up})
    done = to_diffusers(path, tmp_path / "b.safetensors")
    assert done.dtypes == ("BF16",)
    means = up.double() @ down.double()
    as_meant(mounted(flux2, done.path), {"single_transformer_blocks.1.attn.to_qkv_mlp_proj": means.numpy()})


def test_several_loras_one_of_them_with_clip_layers_are_mounted_at_their_scales(tmp_path: Path, flux1: Any) -> None:
    """The generator's own mounting: scales hold for CLIP-L too, and unmounting leaves nothing there."""
    from limner.flux.sampling import mount_loras

    layer, clip = "lora_unet_double_blocks_0_img_attn_proj", "lora_te1_text_model_encoder_layers_0_mlp_fc1"

    def pair(module: str, rows: int, columns: int, value: float) -> dict[str, Any]:
        down, up = pack(np.ones((1, columns)), "F32"), pack(np.full((rows, 1), value), "F32")
        return {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up, f"{module}.alpha": pack(3.0, "F32")}

    both = write(tmp_path / "a.safetensors", pair(layer, 8, 8, 1.0) | pair(clip, 24, 6, 2.0))
    plain = write(tmp_path / "b.safetensors", pair(layer, 8, 8, 5.0))
    loras = [to_diffusers(path, tmp_path / f"{path.stem}2.safetensors").path for path in (both, plain)]
    assert [path.exists() for path in loras] == [True, True]
    mount_loras(flux1, [(loras[0], 0.5), (loras[1], -2.0)])
    inside = flux1.transformer.get_submodule("transformer_blocks.0.attn.to_out.0")
    added = sum(inside.get_delta_weight(name) for name in inside.scaling)
    assert torch.allclose(added, torch.full((8, 8), 3.0 * (0.5 * 1.0 - 2.0 * 5.0)))
    text = next(m for n, m in flux1.text_encoder.named_modules() if n.endswith("layers.0.mlp.fc1"))
    assert torch.allclose(text.get_delta_weight("lora0"), torch.full((24, 6), 3.0 * 0.5 * 2.0))
    mount_loras(flux1, [])
    assert not any("lora" in name for name, _ in flux1.text_encoder.named_modules())


def test_a_kohya_file_of_the_real_width_is_mounted_alike(tmp_path: Path) -> None:
    """linear1 and its like, which diffusers cuts at fixed rows; the base itself is never filled with numbers."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    with torch.device("meta"):
        transformer = FluxTransformer2DModel(num_layers=1, num_single_layers=1, joint_attention_dim=64)
    # memory that is asked for but never touched
    pipeline = FluxPipeline(None, None, None, None, None, None, transformer.to_empty(device="cpu"))
    tensors: dict[str, torch.Tensor] = {}
    shapes = {"double_blocks_0_img_attn_qkv": (3072, 9216), "single_blocks_0_linear1": (3072, 21504)}
    for seed, (name, (columns, rows)) in enumerate(shapes.items()):
        chance = torch.Generator().manual_seed(seed)
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(4, columns, generator=chance)
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(rows, 4, generator=chance)
        tensors[f"lora_unet_{name}.alpha"] = torch.tensor(3.0)
    path = saved(tmp_path / "k.safetensors", tensors)
    done = to_diffusers(path, tmp_path / "d.safetensors")
    back = convert(done.path, TensorNaming.KOHYA, tmp_path / "b.safetensors")
    vector = torch.randn(3072, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    wanted = {
        name: 0.75
        * tensors[f"lora_unet_{name}.lora_up.weight"].double()
        @ (tensors[f"lora_unet_{name}.lora_down.weight"].double() @ vector)
        for name in shapes
    }
    for file in (path, done.path, back.path):
        pipeline.load_lora_weights(str(file), adapter_name="x")
        found = {}
        for name, module in pipeline.transformer.named_modules():
            if hasattr(module, "lora_A") and "x" in module.lora_A:
                low = module.lora_A["x"].weight.double() @ vector
                found[name] = module.scaling["x"] * (module.lora_B["x"].weight.double() @ low)
        pipeline.unload_lora_weights()
        double, single = "transformer_blocks.0.attn.", "single_transformer_blocks.0."
        order = [[double + p for p in ("to_q", "to_k", "to_v")]]
        order.append([single + p for p in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")])
        for parts, change in zip(order, wanted.values(), strict=True):
            torch.testing.assert_close(torch.cat([found[p] for p in parts]).detach(), change, rtol=0, atol=1e-3)
