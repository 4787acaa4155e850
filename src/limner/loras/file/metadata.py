"""The header's metadata: what Limner writes, what it reads of others, and what must not be published.

Trainers write captions, folder names and machine paths into the header. What is published is therefore an allow-list,
and of that nothing that looks like a path.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from limner._version import __version__
from limner.catalog import bases
from limner.loras.file.header import digests, read_header
from limner.loras.file.other_models import named_elsewhere
from limner.loras.file.strength import ADAPTER_KEY
from limner.loras.file.writing import header_bytes, new_file
from limner.types import Base, Family

__all__ = [
    "Declared",
    "Sealed",
    "declared_base",
    "declared_bases",
    "declared_trigger",
    "lora_metadata",
    "seal",
    "strip",
]

_TRIGGER_KEYS = (
    "limner.trigger",
    "modelspec.trigger_phrase",
    "instance_prompt",
    "trigger_word",
    "trigger_phrase",
    "ss_trigger_words",
)
_BASE_KEYS = ("limner.base", "modelspec.architecture", "ss_base_model_version", "base_model", "baseModel")
_MODEL_FILE = "ss_sd_model_name"
_KEPT = frozenset(
    {"format", "instance_prompt", "trigger_word", "trigger_phrase", "sshs_model_hash", "sshs_legacy_hash"}
    | {
        f"ss_{key}"
        for key in (
            "base_model_version", "network_module", "network_dim", "network_alpha", "learning_rate", "unet_lr",
            "lr_scheduler", "lr_warmup_steps", "optimizer", "max_train_steps", "steps", "epoch", "num_epochs",
            "num_train_images", "batch_size_per_device", "gradient_accumulation_steps", "mixed_precision", "full_fp16",
            "seed", "resolution", "guidance_scale", "timestep_sampling", "sigmoid_scale", "model_prediction_type",
            "discrete_flow_shift", "trigger_words", "v2",
        )
    }
)  # fmt: skip
_NEVER = frozenset({"modelspec.thumbnail", "modelspec.preprocessor"})
_PATH = re.compile(
    r"(?:^|[\s\"'=(\[{,:])(?:/(?!/)[^\s/\"']+/|~[\w.-]*/|[A-Za-z]:[\\/]|\\\\\w|file:)|(?:^|[^\w.])\.\.?/"
)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a header says of its base: the entry, its words, and the ids of the bases that they may mean."""

    key: str
    value: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A lora file that was written with its final metadata; ``removed`` are the keys that were left out."""

    path: Path
    digest: str
    tensor_digest: str
    byte_size: int
    removed: tuple[str, ...]


def lora_metadata(
    base: Base,
    *,
    title: str,
    trigger: str = "",
    dataset_digest: str = "",
    recipe: Mapping[str, object] | None = None,
    licence: str = "",
    resolution: int = 0,
) -> dict[str, str]:
    """The metadata of a lora that Limner made: ours under ``limner.``, the common ones under ``modelspec.``.

    The recipe is kept as canonical JSON. No time stands in it, so that the same training gives the same bytes.
    """
    size = resolution or base.size
    found = {
        "limner.version": __version__,
        "limner.base": base.id,
        "limner.trigger": trigger,
        "limner.dataset": dataset_digest,
        "limner.recipe": json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if recipe
        else "",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": architecture(base),
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": title,
        "modelspec.trigger_phrase": trigger,
        "modelspec.license": licence or base.licence_name,
        "modelspec.resolution": f"{size}x{size}",
        "instance_prompt": trigger,
    }
    return {key: value for key, value in found.items() if value}


def architecture(base: Base) -> str:
    """``modelspec.architecture``: flux-1-dev/lora for FLUX.1 [dev]."""
    name = re.sub(r"^flux(\d)-", r"flux-\1-", base.id)
    return f"{name}/lora"


def strip(metadata: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What of the metadata may be published, and the keys that may not: captions, folders, paths, pictures."""
    kept = {}
    for key, value in metadata.items():
        if key == ADAPTER_KEY:
            kept[key] = _without_paths(value)
        elif key in _NEVER or not (key in _KEPT or key.startswith(("limner.", "modelspec."))):
            continue
        elif not _PATH.search(value):
            kept[key] = value
    return kept, tuple(sorted(metadata.keys() - kept.keys()))


def seal(path: Path, metadata: Mapping[str, str], into: Path) -> Sealed:
    """Write a lora again with metadata that may be published: its own, stripped, under ``metadata``.

    The tensors' bytes are copied untouched, ``lora_adapter_metadata`` stays (without it the strength would change), and
    the digest of the tensors is recorded. The same input gives the same bytes. Errors as ``read_header``.
    """
    header = read_header(path)
    kept, removed = strip(header.metadata)
    merged = {**kept, **metadata, "modelspec.hash_sha256": "0x" + digests(header).tensors}
    tensors = {name: (entry.dtype, entry.shape, entry.begin, entry.end) for name, entry in header.tensors.items()}
    with new_file(into) as file, path.open("rb") as source:
        file.write(header_bytes(merged, tensors))
        source.seek(header.data_start)
        shutil.copyfileobj(source, file, 1 << 22)
    written = read_header(into)
    found = digests(written)
    return Sealed(into, found.file, found.tensors, written.byte_size, removed)


def declared_trigger(metadata: Mapping[str, str]) -> str:
    """The trigger that a header names, ours or another trainer's; "" where none does."""
    return next((metadata[key].strip() for key in _TRIGGER_KEYS if metadata.get(key, "").strip()), "")


def declared_base(metadata: Mapping[str, str]) -> Declared | None:
    """The bases that a header may mean: those of the first key that names one exactly, else of the first of FLUX."""
    said = [(key, metadata[key]) for key in (*_BASE_KEYS, _MODEL_FILE) if metadata.get(key)]
    for key, value in said:
        ids = _named_file(value) if key == _MODEL_FILE else _named_exactly(value)
        if ids:
            return Declared(key, value, ids)
    for key, value in said:
        plain = _plain(value)
        if key != _MODEL_FILE and "flux" in plain and (ids := _named_family(plain)):
            return Declared(key, value, ids)
    return None


def declared_bases(metadata: Mapping[str, str]) -> list[str]:
    """The ids of the bases that a header may mean; [] if it means none."""
    found = declared_base(metadata)
    return list(found.ids) if found else []


def _named_exactly(value: str) -> tuple[str, ...]:
    if value in bases():
        return (value,)
    plain = _plain(value.removesuffix("/lora"))
    return tuple(b.id for b in bases().values() if plain and plain in (_plain(b.id), _plain(b.repo), _plain(b.title)))


def _named_file(value: str) -> tuple[str, ...]:
    """The base whose usual file name a path, or the id of a repo, ends with: flux1-dev-fp8.safetensors."""
    name = re.split(r"[/\\]", value.lower())[-1].replace("flux.", "flux")
    other = named_elsewhere({"base_model": value})
    return () if other else tuple(b.id for b in bases().values() if re.match(rf"{re.escape(b.id)}(?![a-z0-9])", name))


def _named_family(plain: str) -> tuple[str, ...]:
    family = Family.FLUX2 if "flux2" in plain else Family.FLUX1
    return tuple(
        base.id
        for base in bases().values()
        if base.family is family and ("klein" in plain) <= ("klein" in base.id) and not base.repo.startswith("package:")
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _without_paths(text: str) -> str:
    """``lora_adapter_metadata`` without machine paths; text that names none stays as it is, byte for byte."""
    try:
        config = json.loads(text)
    except ValueError:
        return text
    if not isinstance(config, dict):
        return text
    leaking = [key for key, value in config.items() if isinstance(value, str) and _PATH.search(value)]
    return json.dumps({**config, **dict.fromkeys(leaking)}, sort_keys=True) if leaking else text
