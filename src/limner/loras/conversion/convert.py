"""Converting a lora file to another tensor naming, such that it changes the base's weights by exactly the same.

Strength: where every reader of the naming reads alpha (Kohya) it is written. In diffusers' and BFL's naming most
readers know no alpha, neither beside the weights nor in the header, so alpha / rank is multiplied into the weights:
exactly where a number format has room for that, else rounded to F32. ``Conversion.strength`` says where it went,
``error`` what it cost.

Layers of FLUX.1's text encoder CLIP-L are converted too. FP8 is written as BF16, which holds each of its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from limner.errors import LoraRefused
from limner.loras.checks.inspection import candidates, family_and_index, unsaid_strength
from limner.loras.checks.portability import unread_elsewhere
from limner.loras.checks.soundness import unsound
from limner.loras.checks.validation import check_numbers
from limner.loras.conversion.fusing import fuse, scaled, split
from limner.loras.file.adapter_config import read_adapter
from limner.loras.file.additions import described
from limner.loras.file.header import Header
from limner.loras.file.layers import Layer, read_layers, swap_halves
from limner.loras.file.leftovers import Cleaned, without_leftovers
from limner.loras.file.naming import clip_module_name, index_names, module_name, tensor_name
from limner.loras.file.number_formats import Stored, encode
from limner.loras.file.strength import ADAPTER_KEY, TEXT_ENCODER, adapter_header, split_ranks
from limner.loras.file.structure import PLACES
from limner.loras.file.writing import write_weights
from limner.types import Base, Family, Finding, Severity, TensorNaming

__all__ = ["Conversion", "Strength", "convert", "named_tensors", "to_diffusers"]

_OF_THE_TENSORS = (ADAPTER_KEY, "modelspec.hash_sha256")  # of those that were there
Strength = Literal["rank", "tensor", "multiplied"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion wrote. ``strength`` says where alpha went: ``rank`` (alpha is the rank), ``tensor`` (beside the
    weights) or ``multiplied`` (into the weights). ``error`` is the largest relative change that rounding made to a
    layer's second matrix or alpha, in Frobenius norms; 0.0, and ``exact`` True, where nothing was rounded.
    ``dropped`` are the tensors that were left out; ``findings`` say why, and what else one should know.
    """

    path: Path
    naming: TensorNaming
    strength: Strength
    dtypes: tuple[str, ...]
    error: float
    modules: int
    dropped: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    text_encoder_modules: int = 0

    @property
    def exact(self) -> bool:
        """Whether every layer changes its weights by exactly the same as before."""
        return self.error == 0


def to_diffusers(
    path: Path,
    into: Path,
    *,
    base: Base | None = None,
    drop_text_encoder: bool = False,
    drop_unread: bool = False,
    drop_additions: bool = False,
) -> Conversion:
    """Write the lora at ``path``, in any naming, to ``into`` as diffusers and PEFT name it; see ``convert``."""
    return convert(
        path,
        TensorNaming.DIFFUSERS,
        into,
        base=base,
        drop_text_encoder=drop_text_encoder,
        drop_unread=drop_unread,
        drop_additions=drop_additions,
    )


def convert(
    path: Path,
    naming: TensorNaming,
    into: Path,
    *,
    base: Base | None = None,
    drop_text_encoder: bool = False,
    drop_unread: bool = False,
    drop_additions: bool = False,
) -> Conversion:
    """Write the lora at ``path`` to the file ``into`` in another naming: diffusers, kohya or bfl.

    Tensors that do nothing are left out and told, so are guidance layers where ``base`` (or every base that the file
    fits) takes no guidance. LoraRefused where the file is no sound lora (shapes that no base can have, numbers that are
    not finite), another kind of adapter, or changes a text encoder but CLIP-L, which is dropped only if asked for:
    ``drop_unread`` drops just that and keeps CLIP-L, ``drop_text_encoder`` both. So are changes of biases and whole
    weights: ``drop_additions``. An ``adapter_config.json`` beside the file is read.
    """
    if naming not in (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL):
        raise LoraRefused(
            f"Limner writes no lora in the naming {naming.value}.",
            remedy="Use diffusers, kohya or bfl.",
            thing=path.name,
        )
    header = read_adapter(path)
    cleaned = _cleaned(header, base, drop_text_encoder, drop_unread)
    index, family = cleaned.index, cleaned.index.family
    findings = list(cleaned.findings)
    dropped = list(cleaned.dropped)
    if additions := index.additions:
        with path.open("rb") as file:
            said = described(file, header, additions)
        if not drop_additions:
            raise LoraRefused(
                f"{path.name} does more than a LoRA can: {said}.",
                remedy="Convert or import it without them (--drop-additions); pictures may change a little.",
                thing=str(path),
            )
        findings.append(Finding("additions-left-out", Severity.WARNING, f"Left out: {said}. Pictures may change."))
        dropped += additions
        index = replace(index, unknown=tuple(name for name in index.unknown if name not in set(additions)))
    wrong = unsound(header, index)
    if wrong is not None:
        raise LoraRefused(f"{path.name}: {wrong.message}", remedy=wrong.remedy, thing=str(path))
    if index.unknown:
        odd = ", ".join(index.unknown[:3])
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
    with path.open("rb") as file:
        check_numbers(file, header, index)
        layers = [_widened(layer) for layer in read_layers(file, header, index.slots)]
        clip = [_widened(layer) for layer in read_layers(file, header, index.clip, TEXT_ENCODER)]
    tensors, strength, error, kept = named_tensors(layers, naming, family, clip)
    split = ("ss_network_args",) if split_ranks(header.metadata) else ()  # it would be believed a second time
    metadata = {key: value for key, value in header.metadata.items() if key not in (*_OF_THE_TENSORS, *split)}
    if kept:
        metadata[ADAPTER_KEY] = kept
    write_weights(into, tensors, metadata)
    dtypes = tuple(sorted({stored.dtype for name, stored in tensors.items() if not name.endswith(".alpha")}))
    modules = sum(name.endswith((".lora_A.weight", ".lora_down.weight", "_layer.down.weight")) for name in tensors)
    modules -= len(clip)
    findings += unsaid_strength(header, index)
    findings += unread_elsewhere(index, naming)
    if error:
        findings.append(_rounded(error, naming))
    return Conversion(into, naming, strength, dtypes, error, modules, tuple(dropped), tuple(findings), len(clip))


def _cleaned(header: Header, base: Base | None, drop_text_encoder: bool, drop_unread: bool) -> Cleaned:
    family, index = family_and_index(header)
    if base is not None and base.family is not family:
        index = index_names(header.tensors, base.family)
    fitting = [base] if base is not None else candidates(header, {index.family: index})
    with header.path.open("rb") as file:
        return without_leftovers(
            file, header, index, candidates=fitting, drop_text_encoder=drop_text_encoder, drop_unread=drop_unread
        )


def _rounded(error: float, naming: TensorNaming) -> Finding:
    where = "the strength of a layer that is made of several" if naming is TensorNaming.KOHYA else "alpha / rank"
    message = f"Rounded to F32, as {where} is no power of two: a layer differs by at most {error:.1g} of itself."
    return Finding("rounded", Severity.NOTE, message)


def named_tensors(
    layers: Sequence[Layer], naming: TensorNaming, family: Family, clip: Sequence[Layer] = ()
) -> tuple[dict[str, Stored], Strength, float, str]:
    """The tensors of layers in a naming, where alpha went, the largest relative error, and the header's entry or ""."""
    text = _separate(clip)
    strength: Strength = "tensor" if naming is TensorNaming.KOHYA else _strength([*layers, *clip])
    if naming is TensorNaming.DIFFUSERS:
        tensors, error, header = _as_diffusers(_separate(layers), text)
        return tensors, strength, error, header
    parts, error = _separate(layers), 0.0
    if naming is TensorNaming.BFL:
        parts, error = _multiplied(parts)
        text, also = _multiplied(text)
        error = max(error, also)
    fused, rounded = _fused(parts, family)
    tensors = {}
    modules = [(module_name(naming, layer.target.place.bfl, layer.target.number), layer) for layer in fused]
    modules += [(clip_module_name(naming, layer.target.parts[0]), layer) for layer in text.values()]
    for module, each in modules:
        layer = _alpha_is_rank(scaled(each, Fraction(0))[0]) if each.alpha == 0 else each
        tensors[tensor_name(naming, module, "down")] = layer.down
        tensors[tensor_name(naming, module, "up")] = swap_halves(layer.up) if layer.target.place.swapped else layer.up
        if naming is TensorNaming.KOHYA:
            alpha = tensors[tensor_name(naming, module, "alpha")] = _scalar(layer.alpha)
            rounded = max(rounded, abs(float(alpha.numbers()) / layer.alpha - 1))
    return tensors, strength, max(error, rounded), ""


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


def _as_diffusers(layers: dict[str, Layer], clip: dict[str, Layer]) -> tuple[dict[str, Stored], float, str]:
    layers, error = _multiplied(layers)
    clip, also = _multiplied(clip)
    ranks, clip_ranks = _ranks(layers), _ranks(clip)
    # readers of old give every layer the strength of the first one's rank where the header does not say otherwise
    header = adapter_header(ranks, clip_ranks) if len({*ranks.values(), *clip_ranks.values()}) > 1 else ""
    tensors: dict[str, Stored] = {}
    modules = [(module_name(TensorNaming.DIFFUSERS, path, None), layer) for path, layer in layers.items()]
    modules += [(clip_module_name(TensorNaming.DIFFUSERS, path), layer) for path, layer in clip.items()]
    for module, layer in modules:
        tensors[tensor_name(TensorNaming.DIFFUSERS, module, "down")] = layer.down
        tensors[tensor_name(TensorNaming.DIFFUSERS, module, "up")] = layer.up
    return tensors, max(error, also), header


def _fused(layers: dict[str, Layer], family: Family) -> tuple[list[Layer], float]:
    places = {place.bfl: place for place in PLACES[family]}
    groups: dict[tuple[str, int | None], dict[int, Layer]] = {}
    for layer in layers.values():
        bfl, number = layer.target.place.bfl, layer.target.number
        parts = [part.format(number) for part in places[bfl].parts]
        groups.setdefault((bfl, number), {})[parts.index(layer.target.parts[0])] = layer
    made = [fuse(places[bfl], parts) for (bfl, _), parts in groups.items()]
    return [one.layer for one in made], max((one.error for one in made), default=0.0)


def _multiplied(layers: dict[str, Layer]) -> tuple[dict[str, Layer], float]:
    """The layers with alpha / rank in their weights, and the largest relative error."""
    done = {path: scaled(layer, layer.factor) for path, layer in layers.items()}
    error = max((each for _, each in done.values()), default=0.0)
    return {path: _alpha_is_rank(layer) for path, (layer, _) in done.items()}, error


def _alpha_is_rank(layer: Layer) -> Layer:
    return replace(layer, alpha=float(layer.rank))


def _strength(layers: Sequence[Layer]) -> Strength:
    return "rank" if all(layer.factor == Fraction(1) for layer in layers) else "multiplied"


def _ranks(layers: dict[str, Layer]) -> dict[str, tuple[int, float]]:
    return {path: (layer.rank, float(layer.rank)) for path, layer in layers.items()}


def _widened(layer: Layer) -> Layer:
    """The layer without FP8, which few readers take as weights."""
    return replace(layer, down=_wide(layer.down), up=_wide(layer.up))


def _wide(stored: Stored) -> Stored:
    return encode(stored.numbers(), "BF16") if stored.dtype.startswith("F8") else stored


def _scalar(alpha: float) -> Stored:
    # not every device has float64
    with np.errstate(over="ignore"):
        single = np.float32(alpha)
    return encode(np.array(alpha, dtype=np.float64), "F32" if np.isfinite(single) and single else "F64")
