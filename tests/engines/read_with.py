"""Read lora files with another program's own code, and say what each changes: run as a script, by that program's rules.

``python read_with.py CHECKOUT comfyui|invokeai|sd-scripts SHAPES.json OUT.npz FILE...``. SHAPES has the layers of
BFL's transformer, (out, in) by name, and those of CLIP-L. OUT has ``FILE|layer``: the change times a fixed vector, in
float64, and ``FILE|!`` where the program refuses a file.
"""

from __future__ import annotations

import json
import logging
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

Shapes = Mapping[str, list[int]]
Changes = dict[str, np.ndarray]


def probe(columns: int) -> np.ndarray:
    """The vector that a change is multiplied by, so that large ones need not be kept."""
    return np.random.default_rng(columns).standard_normal(columns)


def stub(name: str, **values: Any) -> None:
    """A module that the program imports on the way and never uses here."""
    module = types.ModuleType(name)
    vars(module).update(values)
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)


def stub_torchvision() -> None:
    """It is imported on the way, used for pictures alone, and cannot be had for every build of torch."""
    transforms = ("transforms", "transforms.functional", "transforms.v2", "ops", "io")
    stub("torchvision", __path__=[])
    for name in transforms:
        stub(f"torchvision.{name}", __path__=[])
    names = ("Compose", "ToTensor", "Normalize", "Resize", "CenterCrop", "InterpolationMode")
    unused = type("Unused", (), {"__init__": lambda self, *args, **options: None})
    vars(sys.modules["torchvision.transforms"]).update(dict.fromkeys(names, unused))
    stub("torchaudio", __path__=[])


def comfyui(shapes: Shapes, clip: Shapes) -> Callable[[Path], Changes]:
    """comfy.lora.load_lora, and the weights that comfy.lora.calculate_weight makes of zeros."""
    sys.argv = [sys.argv[0], "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    stub_torchvision()
    import comfy.lora
    import comfy.lora_convert
    import comfy.model_base

    width = shapes["double_blocks.0.img_attn.proj"][0]
    kind = comfy.model_base.Flux2 if "double_stream_modulation_img.lin" in shapes else comfy.model_base.Flux

    def named(prefix: str, layers: Shapes) -> Any:
        tensors = {f"{prefix}{name}.weight": torch.zeros(shape, dtype=torch.float64) for name, shape in layers.items()}
        return type("Model", (), {"state_dict": lambda self: tensors})()

    transformer = named("diffusion_model.", shapes)
    config = {"depth": 1, "depth_single_blocks": 1, "hidden_size": width}
    transformer.model_config = types.SimpleNamespace(unet_config=config)
    transformer.__class__ = type("Model", (kind,), {"state_dict": transformer.__class__.state_dict})
    keys = comfy.lora.model_lora_keys_unet(transformer, {})
    weights = dict(transformer.state_dict())
    if clip:
        texts = named("clip_l.transformer.text_model.", clip)
        keys = comfy.lora.model_lora_keys_clip(texts, keys)
        weights |= texts.state_dict()

    def read(path: Path) -> Changes:
        loaded = comfy.lora.load_lora(comfy.lora_convert.convert_lora(load_file(path)), keys)
        patches: dict[str, list[Any]] = {}
        for key, adapter in loaded.items():
            name, offset, function = (*key, None, None)[:3] if isinstance(key, tuple) else (key, None, None)
            patches.setdefault(name, []).append((1.0, adapter, 1.0, offset, function))
        found = {}
        for name, each in patches.items():
            change = comfy.lora.calculate_weight(each, weights[name].clone(), name, intermediate_dtype=torch.float64)
            bare = name.removeprefix("diffusion_model.").removesuffix(".weight")
            found[bare] = change.numpy() @ probe(change.shape[1])
        return found

    return read


def invokeai(shapes: Shapes, clip: Shapes) -> Callable[[Path], Changes]:
    """InvokeAI's own detection and conversion, and the parameters that its patches give."""
    root = Path(sys.path[0]) / "invokeai"
    for name in ("invokeai", "invokeai.backend", "invokeai.backend.util"):
        stub(name, __path__=[str(root.joinpath(*name.split(".")[1:]))])
    logger = types.SimpleNamespace(get_logger=logging.getLogger)
    stub("invokeai.backend.util.logging", InvokeAILogger=logger, warning=logging.warning, info=logging.info)
    sys.modules["invokeai.backend.util"].InvokeAILogger = logger  # type: ignore[attr-defined]
    stub("invokeai.backend.util.devices", TorchDevice=object)
    stub("invokeai.backend.raw_model", RawModel=object)
    cast = "invokeai.backend.model_manager.load.model_cache.torch_module_autocast.cast_to_device"
    parts = cast.split(".")
    for end in range(3, len(parts)):
        stub(".".join(parts[:end]), __path__=[])
    stub(cast, cast_to_device=None)
    stub("invokeai.backend.model_manager.load.model_cache.model_cache", MODEL_LOAD_LOCK=None)
    stub("invokeai.backend.model_manager.taxonomy", FluxLoRAFormat=object, WanLoRAVariantType=object)
    from invokeai.backend.patches.lora_conversions import (
        flux_bfl_peft_lora_conversion_utils as bfl,
    )
    from invokeai.backend.patches.lora_conversions import (
        flux_diffusers_lora_conversion_utils as diffusers,
    )
    from invokeai.backend.patches.lora_conversions import (
        flux_kohya_lora_conversion_utils as kohya,
    )

    def read(path: Path) -> Changes:
        state = load_file(path)
        if kohya.is_state_dict_likely_in_flux_kohya_format(state):
            model = kohya.lora_model_from_flux_kohya_state_dict(state)
        elif diffusers.is_state_dict_likely_in_flux_diffusers_format(state):
            model = diffusers.lora_model_from_flux_diffusers_state_dict(state, alpha=None)
        elif bfl.is_state_dict_likely_in_flux_bfl_peft_format(state):
            model = bfl.lora_model_from_flux_bfl_peft_state_dict(state, alpha=None)
        else:
            raise ValueError("InvokeAI does not know it")
        found = {}
        for name, patch in model.layers.items():
            bare = name.removeprefix("lora_transformer-")
            if bare == name:
                continue  # CLIP-L's, of which InvokeAI keeps other names
            patch.to(dtype=torch.float32)
            change = patch.get_parameters({"weight": torch.empty(shapes[bare], device="meta")}, 1.0)["weight"]
            vector = torch.from_numpy(probe(change.shape[1]))
            found[bare] = np.concatenate([(rows.double() @ vector).numpy() for rows in change.split(1024)])
        return found

    return read


def sd_scripts_imports() -> None:
    """What sd-scripts imports of libraries that are newer here, and never uses in reading."""
    import diffusers.loaders.peft  # noqa: F401 (before the stub, which diffusers would take for the real one)
    import transformers
    from diffusers import AutoencoderKL  # noqa: F401
    from transformers import CLIPTextModel  # noqa: F401

    stub_torchvision()
    vars(transformers)["CLIPFeatureExtractor"] = object


def sd_scripts(shapes: Shapes, clip: Shapes) -> Callable[[Path], Changes]:
    """networks.lora_flux's own network from weights, and the weights that it would merge."""
    sd_scripts_imports()
    from library import flux_models
    from networks import lora_flux

    width = shapes["double_blocks.0.img_attn.proj"][0]
    sizes = {"in_channels": 16, "vec_in_dim": 10, "context_in_dim": 24, "hidden_size": width, "mlp_ratio": 4.0}
    sizes |= {"num_heads": 1, "depth": 1, "depth_single_blocks": 1, "axes_dim": [2, 2, 4], "theta": 10_000}
    params = flux_models.FluxParams(**sizes, qkv_bias=True, guidance_embed=True)
    flux = flux_models.Flux(params)

    def read(path: Path) -> Changes:
        network, state = lora_flux.create_network_from_weights(1.0, str(path), None, [], flux, for_inference=True)
        found = {}
        names = {"lora_unet_" + name.replace(".", "_"): name for name in shapes}
        for lora in network.unet_loras:
            own = {key.split(".", 1)[1]: value for key, value in state.items() if key.startswith(lora.lora_name + ".")}
            left = lora.load_state_dict({key: value.to(torch.float64) for key, value in own.items()}, strict=False)
            assert not left.unexpected_keys, left
            assert not any("lora" in key for key in left.missing_keys), left
            change = lora.to(torch.float64).get_weight(1.0)
            found[names[lora.lora_name]] = change.detach().numpy() @ probe(change.shape[1])
        return found

    return read


READERS = {"comfyui": comfyui, "invokeai": invokeai, "sd-scripts": sd_scripts}


def main() -> None:
    checkout, engine, shapes, out, *files = sys.argv[1:]
    sys.path[0] = checkout
    layers = json.loads(Path(shapes).read_text())
    read = READERS[engine](layers["transformer"], layers["clip"])
    found = {}
    for file in files:
        try:
            found |= {f"{file}|{name}": change for name, change in read(Path(file)).items()}
        except (ValueError, AssertionError, KeyError, RuntimeError) as failure:
            found[f"{file}|!"] = np.array(f"{type(failure).__name__}: {failure}"[:300])
    np.savez(out, **found)


if __name__ == "__main__":
    main()
