"""Converting a lora file to another tensor naming, such that it changes the base's weights by exactly the same.

Strength: where every reader of the naming reads alpha (Kohya) it is written. In diffusers' and BFL's naming many
readers know no alpha, so alpha / rank is multiplied into the weights where that is exact; where it is not, diffusers'
header keeps it and the weights keep their bytes. ``Conversion.strength`` says which.

Layers of FLUX.1's text encoder CLIP-L are converted too. FP8 is written as BF16, which holds each of its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from limner.errors import LoraRefused
from limner.loras.fitting import clip_defects, defects
from limner.loras.fusing import fuse, scaled, split
from limner.loras.header import Header, read_header
from limner.loras.inspection import candidates, family_and_index, unsaid_strength
from limner.loras.layers import Layer, read_layers, swap_halves
from limner.loras.leftovers import Cleaned, without_leftovers
from limner.loras.naming import clip_module_name, index_names, module_name, tensor_name
from limner.loras.number_formats import Stored, encode
from limner.loras.strength import ADAPTER_KEY, TEXT_ENCODER, adapter_header
from limner.loras.structure import PLACES
from limner.loras.validation import check_numbers
from limner.loras.writing import write_weights
from limner.types import Base, Family, Finding, Severity, TensorNaming

__all__ = ["Conversion", "Strength", "convert", "named_tensors", "to_diffusers"]

_OF_THE_TENSORS = (ADAPTER_KEY, "modelspec.hash_sha256")  # of those that were there
Strength = Literal["rank", "tensor", "multiplied", "header"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion wrote. ``strength`` says where alpha went: ``rank`` (alpha is the rank), ``tensor`` (beside the
    weights), ``multiplied`` (into the weights) or ``header``. ``exact`` is False if a number had to be rounded.
    ``dropped`` are the tensors that were left out; ``findings`` say why, and what else one should know.
    """

    path: Path
    naming: TensorNaming
    strength: Strength
    dtypes: tuple[str, ...]
    exact: bool
    modules: int
    dropped: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    text_encoder_modules: int = 0


def to_diffusers(
    path: Path, into: Path, *, base: Base | None = None, drop_text_encoder: bool = False, drop_unread: bool = False
) -> Conversion:
    """Write the lora at ``path``, in any naming, to ``into`` as diffusers and PEFT name it; see ``convert``."""
    return convert(
        path, TensorNaming.DIFFUSERS, into, base=base, drop_text_encoder=drop_text_encoder, drop_unread=drop_unread
    )


def convert(
    path: Path,
    naming: TensorNaming,
    into: Path,
    *,
    base: Base | None = None,
    drop_text_encoder: bool = False,
    drop_unread: bool = False,
) -> Conversion:
    """Write the lora at ``path`` to the file ``into`` in another naming: diffusers, kohya or bfl.

    Tensors that do nothing are left out and told, so are guidance layers where ``base`` (or every base that the file
    fits) takes no guidance. LoraRefused where the file is no sound lora (shapes that no base can have, numbers that are
    not finite), another kind of adapter, or changes a text encoder but CLIP-L, which is dropped only if asked for:
    ``drop_unread`` drops just that and keeps CLIP-L, ``drop_text_encoder`` both.
    """
    if naming not in (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL):
        raise LoraRefused(
            f"Limner writes no lora in the naming {naming.value}.",
            remedy="Use diffusers, kohya or bfl.",
            thing=path.name,
        )
    header = read_header(path)
    cleaned = _cleaned(header, base, drop_text_encoder, drop_unread)
    index, family = cleaned.index, cleaned.index.family
    if index.unknown or index.incomplete:
        odd = ", ".join([*index.unknown, *index.incomplete][:3])
        raise LoraRefused(
            f"{path.name} holds tensors that cannot be converted: {odd}.",
            remedy="Export the LoRA again without them.",
            thing=str(path),
        )
    if beyond := index.beyond_clip:
        raise LoraRefused(
            f"{path.name} also changes a text encoder in a way that is not converted ({len(beyond)} tensors, such as "
            f"{beyond[0][:70]}).",
            remedy="Convert it without those parts (drop the text encoder); pictures may change a little.",
            thing=str(path),
        )
    if wrong := next(chain(defects(header, index), clip_defects(header, index)), None):
        raise LoraRefused(
            f"{path.name} holds an adapter that fits no base: {wrong}.",
            remedy="Export the LoRA again.",
            thing=str(path),
        )
    with path.open("rb") as file:
        check_numbers(file, header, index)
        layers = [_widened(layer) for layer in read_layers(file, header, index.slots)]
        clip = [_widened(layer) for layer in read_layers(file, header, index.clip, TEXT_ENCODER)]
    tensors, strength, exact, kept = named_tensors(layers, naming, family, clip)
    metadata = {key: value for key, value in header.metadata.items() if key not in _OF_THE_TENSORS}
    if kept:
        metadata[ADAPTER_KEY] = kept
    write_weights(into, tensors, metadata)
    dtypes = tuple(sorted({stored.dtype for name, stored in tensors.items() if not name.endswith(".alpha")}))
    modules = sum(name.endswith((".lora_A.weight", ".lora_down.weight", "_layer.down.weight")) for name in tensors)
    modules -= len(clip)
    findings = [*cleaned.findings, *unsaid_strength(header, index)]
    if not exact:
        message = "Strengths that are no power of two apart had to be rounded to F32 in this naming."
        findings.append(Finding("rounded", Severity.NOTE, message, "Use diffusers' naming, which keeps them exactly."))
    return Conversion(into, naming, strength, dtypes, exact, modules, cleaned.dropped, tuple(findings), len(clip))


def _cleaned(header: Header, base: Base | None, drop_text_encoder: bool, drop_unread: bool) -> Cleaned:
    family, index = family_and_index(header)
    if base is not None and base.family is not family:
        index = index_names(header.tensors, base.family)
    fitting = [base] if base is not None else candidates(header, {index.family: index})
    with header.path.open("rb") as file:
        return without_leftovers(
            file, header, index, candidates=fitting, drop_text_encoder=drop_text_encoder, drop_unread=drop_unread
        )


def named_tensors(
    layers: Sequence[Layer], naming: TensorNaming, family: Family, clip: Sequence[Layer] = ()
) -> tuple[dict[str, Stored], Strength, bool, str]:
    """The tensors of layers in a naming, where alpha went, whether that is exact, and the header's strength or ""."""
    text = _separate(clip)
    if naming is TensorNaming.DIFFUSERS:
        return _as_diffusers(_separate(layers), text)
    fused, exact = _fused(_separate(layers), family)
    alone = list(text.values())
    if naming is TensorNaming.BFL:
        fused, fine = _multiplied(fused)
        alone, also = _multiplied(alone)
        exact = exact and fine and also
    tensors: dict[str, Stored] = {}
    modules = [(module_name(naming, layer.target.place.bfl, layer.target.number), layer) for layer in fused]
    modules += [(clip_module_name(naming, layer.target.parts[0]), layer) for layer in alone]
    for module, layer in modules:
        tensors[tensor_name(naming, module, "down")] = layer.down
        tensors[tensor_name(naming, module, "up")] = swap_halves(layer.up) if layer.target.place.swapped else layer.up
        if naming is TensorNaming.KOHYA:
            tensors[tensor_name(naming, module, "alpha")] = _scalar(layer.alpha)
    strength: Strength = "tensor" if naming is TensorNaming.KOHYA else _strength([*layers, *clip])
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


def _as_diffusers(layers: dict[str, Layer], clip: dict[str, Layer]) -> tuple[dict[str, Stored], Strength, bool, str]:
    together = [*layers.values(), *clip.values()]
    strength = _strength(together)
    folded, exact = _multiplied(together)
    header = ""
    if exact:
        layers = dict(zip(layers, folded, strict=False))
        clip = dict(zip(clip, folded[len(layers) :], strict=True))
    else:
        # PEFT reads alpha from here in float64, so the weights keep their bytes
        strength = "header"
        header = adapter_header(_strengths(layers), _strengths(clip))
    tensors: dict[str, Stored] = {}
    modules = [(module_name(TensorNaming.DIFFUSERS, path, None), layer) for path, layer in layers.items()]
    modules += [(clip_module_name(TensorNaming.DIFFUSERS, path), layer) for path, layer in clip.items()]
    for module, layer in modules:
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


def _strengths(layers: dict[str, Layer]) -> dict[str, tuple[int, float]]:
    return {path: (layer.rank, layer.alpha) for path, layer in layers.items()}


def _widened(layer: Layer) -> Layer:
    """The layer without FP8, which few readers take as weights."""
    return replace(layer, down=_wide(layer.down), up=_wide(layer.up))


def _wide(stored: Stored) -> Stored:
    return encode(stored.numbers(), "BF16") if stored.dtype.startswith("F8") else stored


def _scalar(alpha: float) -> Stored:
    value = np.array(alpha, dtype=np.float64)
    return encode(value, "F32" if float(np.float32(alpha)) == alpha else "F64")
