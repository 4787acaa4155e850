"""Converting a lora file to another tensor naming, such that it changes the base's weights by exactly the same.

Strength: where every reader of the naming reads alpha (Kohya) it is written. In diffusers' and BFL's naming many
readers know no alpha, so alpha / rank is multiplied into the weights where that is exact; where it is not, diffusers'
header keeps it and the weights keep their bytes. ``Conversion.strength`` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from limner.errors import LoraRefused
from limner.loras.fitting import defects
from limner.loras.fusing import fuse, scaled, split
from limner.loras.header import read_header
from limner.loras.inspection import family_and_index
from limner.loras.layers import Layer, read_layers, swap_halves
from limner.loras.naming import module_name, tensor_name
from limner.loras.number_formats import Stored, encode
from limner.loras.strength import ADAPTER_KEY, adapter_header
from limner.loras.structure import PLACES
from limner.loras.validation import check_numbers
from limner.loras.writing import write_weights
from limner.types import Family, TensorNaming

__all__ = ["Conversion", "Strength", "convert", "named_tensors"]

Strength = Literal["rank", "tensor", "multiplied", "header"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion wrote. ``strength`` says where alpha went: ``rank`` (alpha is the rank), ``tensor`` (beside the
    weights), ``multiplied`` (into the weights) or ``header``. ``exact`` is False if a number had to be rounded.
    """

    path: Path
    naming: TensorNaming
    strength: Strength
    dtypes: tuple[str, ...]
    exact: bool
    modules: int
    dropped: tuple[str, ...] = ()


def convert(path: Path, naming: TensorNaming, into: Path, *, drop_text_encoder: bool = False) -> Conversion:
    """Write the lora at ``path`` to the file ``into`` in another naming: diffusers, kohya or bfl.

    LoraRefused where the file is no sound lora (shapes that no base can have, numbers that are not finite), or has text
    encoder parts, which are dropped only if asked for.
    """
    if naming not in (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL):
        raise LoraRefused(
            f"Limner writes no lora in the naming {naming.value}.",
            remedy="Use diffusers, kohya or bfl.",
            thing=path.name,
        )
    header = read_header(path)
    family, index = family_and_index(header)
    if index.unknown or index.incomplete:
        odd = ", ".join([*index.unknown, *index.incomplete][:3])
        raise LoraRefused(
            f"{path.name} holds tensors that cannot be converted: {odd}.",
            remedy="Export the LoRA again without them.",
            thing=str(path),
        )
    if index.text_encoder and not drop_text_encoder:
        raise LoraRefused(
            f"{path.name} also changes the text encoder ({len(index.text_encoder)} tensors), which is not converted.",
            remedy="Convert it without those parts (drop the text encoder); pictures may change a little.",
            thing=str(path),
        )
    if wrong := next(defects(header, index), None):
        raise LoraRefused(
            f"{path.name} holds an adapter that fits no base: {wrong}.",
            remedy="Export the LoRA again.",
            thing=str(path),
        )
    with path.open("rb") as file:
        check_numbers(file, header, index)
        layers = read_layers(file, header, index)
    tensors, strength, exact, kept = named_tensors(layers, naming, family)
    metadata = {key: value for key, value in header.metadata.items() if key != ADAPTER_KEY}
    if kept:
        metadata[ADAPTER_KEY] = kept
    write_weights(into, tensors, metadata)
    dtypes = tuple(sorted({stored.dtype for name, stored in tensors.items() if not name.endswith(".alpha")}))
    modules = sum(name.endswith((".lora_A.weight", ".lora_down.weight")) for name in tensors)
    return Conversion(into, naming, strength, dtypes, exact, modules, index.text_encoder)


def named_tensors(
    layers: Sequence[Layer], naming: TensorNaming, family: Family
) -> tuple[dict[str, Stored], Strength, bool, str]:
    """The tensors of layers in a naming, where alpha went, whether that is exact, and the header's strength or ""."""
    if naming is TensorNaming.DIFFUSERS:
        return _as_diffusers(_separate(layers))
    fused, exact = _fused(_separate(layers), family)
    if naming is TensorNaming.BFL:
        fused, fine = _multiplied(fused)
        exact = exact and fine
    tensors: dict[str, Stored] = {}
    for layer in fused:
        module = module_name(naming, layer.target.place.bfl, layer.target.number)
        tensors[tensor_name(naming, module, "down")] = layer.down
        tensors[tensor_name(naming, module, "up")] = swap_halves(layer.up) if layer.target.place.swapped else layer.up
        if naming is TensorNaming.KOHYA:
            tensors[tensor_name(naming, module, "alpha")] = _scalar(layer.alpha)
    strength: Strength = "tensor" if naming is TensorNaming.KOHYA else _strength(layers)
    return tensors, strength, exact, ""


def _separate(layers: Sequence[Layer]) -> dict[str, Layer]:
    """One layer for each diffusers path."""
    found: dict[str, Layer] = {}
    for layer in layers:
        for part in split(layer):
            path = part.target.parts[0]
            if path in found:
                raise LoraRefused(
                    f"Two adapters of the file are for {path}.", remedy="Export the LoRA again.", thing=path
                )
            found[path] = part
    return found


def _as_diffusers(layers: dict[str, Layer]) -> tuple[dict[str, Stored], Strength, bool, str]:
    strength = _strength(list(layers.values()))
    folded, exact = _multiplied(list(layers.values()))
    header = ""
    if exact:
        layers = dict(zip(layers, folded, strict=True))
    else:
        # PEFT reads alpha from here in float64, so the weights keep their bytes
        strength = "header"
        header = adapter_header({path: (layer.rank, layer.alpha) for path, layer in layers.items()})
    tensors: dict[str, Stored] = {}
    for path, layer in layers.items():
        module = module_name(TensorNaming.DIFFUSERS, path, None)
        tensors[tensor_name(TensorNaming.DIFFUSERS, module, "down")] = layer.down
        tensors[tensor_name(TensorNaming.DIFFUSERS, module, "up")] = layer.up
    return tensors, strength, True, header


def _fused(layers: dict[str, Layer], family: Family) -> tuple[list[Layer], bool]:
    places = {place.bfl: place for place in PLACES[family]}
    groups: dict[tuple[str, int | None], dict[int, Layer]] = {}
    for layer in layers.values():
        bfl, number = layer.target.place.bfl, layer.target.number
        parts = [part.format(number) for part in places[bfl].parts]
        groups.setdefault((bfl, number), {})[parts.index(layer.target.parts[0])] = layer
    made = [fuse(places[bfl], parts) for (bfl, _), parts in groups.items()]
    return [one.layer for one in made], all(one.exact for one in made)


def _multiplied(layers: Sequence[Layer]) -> tuple[list[Layer], bool]:
    done = [scaled(layer, layer.factor) for layer in layers]
    return [_alpha_is_rank(layer) for layer, _ in done], all(exact for _, exact in done)


def _alpha_is_rank(layer: Layer) -> Layer:
    return Layer(layer.target, layer.down, layer.up, float(layer.rank))


def _strength(layers: Sequence[Layer]) -> Strength:
    return "rank" if all(layer.factor == Fraction(1) for layer in layers) else "multiplied"


def _scalar(alpha: float) -> Stored:
    value = np.array(alpha, dtype=np.float64)
    return encode(value, "F32" if float(np.float32(alpha)) == alpha else "F64")
