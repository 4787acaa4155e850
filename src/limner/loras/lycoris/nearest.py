"""LoKr and LoHa, the adapters of LyCORIS that are no product of two small matrices, and the nearest LoRA to each.

With w1 = w1_a w1_b where it is kept in two (the same for w2), an adapter changes the weights of its layer by

    LoKr: s · (w1 ⊗ w2), the Kronecker product        LoHa: s · (w1 ∘ w2), entry by entry

where s is alpha / dim, dim the columns of w2_a (else of w1_a); it is 1 where there is no alpha, or no half in two. A
third tensor (t1, t2) stands between the two of a half. LyCORIS, PEFT, ComfyUI, ai-toolkit and SimpleTuner write these
names after the layer's name in any naming.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from limner.errors import LoraRefused
from limner.loras.file.foreign import refuse_foreign
from limner.loras.file.header import Header, TensorEntry, read_header
from limner.loras.file.number_formats import FLOATS, Stored, encode, read_stored
from limner.loras.file.writing import write_weights
from limner.loras.lycoris.low_rank import Change, Hadamard, Kronecker
from limner.types import Finding, Severity

__all__ = ["ENOUGH", "MOST", "Adapter", "Nearest", "adapters", "as_loras", "check_adapters", "nearest_lora"]

ENOUGH = 0.01
"""Without a rank of the user's, a layer gets the smallest whose relative error is no larger than this ..."""
MOST = 64
"""... and no higher one than this."""
HIGHEST = 512

Kind = Literal["lokr", "loha"]
TITLES: Mapping[str, str] = {"lokr": "LoKr", "loha": "LoHa"}
_ROLE = re.compile(
    r"(?P<path>.+)\.(?P<kind>lokr|hada)_(?P<part>w[12](?:_[ab])?|t[12])(?:\.weight|\.[A-Za-z0-9_]{1,64})?"
)
# what the header says of the adapters as they were, which is not true of the nearest LoRA
_OF_THE_ORIGINAL = re.compile(r"ss_network_|lora_adapter_metadata$|sshs_|modelspec\.hash_")

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Adapter:
    """One LoKr or LoHa adapter: the path of its layer, and the names of its tensors by part (w1, w1_a ... t2)."""

    path: str
    kind: Kind
    parts: Mapping[str, str]
    alpha: str = ""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest LoRA to a file, and what that costs: ``|wanted - written| / |wanted|`` in Frobenius norms.

    ``overall`` is that of all layers together, ``worst`` and ``mean`` those of single ones. ``rank`` is the highest.
    """

    path: Path
    kinds: tuple[str, ...]
    layers: int
    rank: int
    overall: float
    mean: float
    worst: float
    worst_layer: str
    findings: tuple[Finding, ...] = field(default=())


def adapters(header: Header) -> dict[str, Adapter]:
    """The LoKr and LoHa adapters of a file by path. LoraRefused: one lacks a tensor, or its shapes do not agree."""
    found: dict[str, Adapter] = {}
    parts: dict[tuple[str, Kind], dict[str, str]] = {}
    for name in header.tensors:
        match = _ROLE.fullmatch(name)
        if match is None:
            continue
        kind: Kind = "lokr" if match["kind"] == "lokr" else "loha"
        own = parts.setdefault((match["path"], kind), {})
        if match["part"] in own:
            raise _refusal(header.path, kind, match["path"], f"has {match['part']} twice")
        own[match["part"]] = name
    for (path, kind), own in parts.items():
        if path in found:
            raise _refusal(header.path, kind, path, "is for a layer that another kind of adapter is for, too")
        alpha = path + ".alpha" if path + ".alpha" in header.tensors else ""
        found[path] = Adapter(path, kind, own, alpha)
        _sizes(header, found[path])
    return found


def as_loras(header: Header) -> tuple[Header, dict[str, Adapter]]:
    """The header as it would be if each LoKr and LoHa were a plain LoRA of its rank, and those adapters by path.

    Names and shapes are then judged like any lora's. The bytes of the made-up tensors are nowhere: do not read them.
    """
    found = adapters(header)
    if not found:
        return header, found
    gone = {name for adapter in found.values() for name in adapter.parts.values()}
    tensors = {name: entry for name, entry in header.tensors.items() if name not in gone}
    for path, adapter in found.items():
        outputs, inputs, dim = _sizes(header, adapter)
        if adapter.alpha and not dim:
            del tensors[adapter.alpha]  # LyCORIS' scale is then 1 whatever it says
        rank = dim or min(outputs, inputs)
        dtype = header.tensors[next(iter(adapter.parts.values()))].dtype
        for end, shape in ((".lora_down.weight", (rank, inputs)), (".lora_up.weight", (outputs, rank))):
            if path + end in header.tensors:
                raise _refusal(header.path, adapter.kind, path, "is for a layer that a LoRA in it is for, too")
            tensors[path + end] = TensorEntry(dtype, shape, 0, 0)
    return replace(header, tensors=tensors), found


def check_adapters(file: BinaryIO, header: Header, found: Mapping[str, Adapter]) -> int:
    """Read every tensor of the adapters; give the number of those that change nothing. LoraRefused: not finite."""
    return sum(_change(file, header, adapter).norm == 0 for adapter in found.values())


def nearest_lora(path: Path, into: Path, *, rank: int = 0) -> Nearest:
    """Write the file at ``path`` to ``into`` with each LoKr and LoHa as the plain LoRA that is nearest to it.

    The nearest of a rank is what the largest singular values give. Without ``rank`` each layer gets the smallest that
    costs at most 1 % of its change, 64 at most. Layers that are plain LoRAs stay as they are, so do the names' naming
    and the number format where it has 16 bits. LoraRefused: there is none of these adapters, or one is not sound.
    """
    if not 0 <= rank <= HIGHEST:
        raise LoraRefused(f"There is no LoRA of rank {rank}.", remedy=f"Use a rank from 1 to {HIGHEST}.", thing="rank")
    header = read_header(path)
    plain, found = as_loras(header)
    if not found:
        raise LoraRefused(f"{path.name} holds neither LoKr nor LoHa.", remedy="Use it as it is.", thing=str(path))
    refuse_foreign(plain)
    gone = {name for one in found.values() for name in (*one.parts.values(), one.alpha)}
    with path.open("rb") as file:
        tensors = {name: read_stored(file, header, name) for name in header.tensors if name not in gone}
        errors: dict[str, tuple[float, float]] = {}
        ranks = []
        for adapter in found.values():
            change = _change(file, header, adapter)
            down, up = _halves(change, _format(header, adapter), rank)
            errors[adapter.path] = change.distance(up.numbers(), down.numbers()), change.norm
            ranks.append(down.shape[0])
            tensors[adapter.path + ".lora_down.weight"] = down
            tensors[adapter.path + ".lora_up.weight"] = up
            tensors[adapter.path + ".alpha"] = encode(np.array(float(down.shape[0])), "F32")
    kinds = tuple(sorted({TITLES[one.kind] for one in found.values()}))
    metadata = {key: value for key, value in header.metadata.items() if not _OF_THE_ORIGINAL.match(key)}
    write_weights(into, tensors, metadata)
    return _told(into, kinds, errors, max(ranks))


def _told(path: Path, kinds: tuple[str, ...], errors: Mapping[str, tuple[float, float]], rank: int) -> Nearest:
    lost = np.array([gone for gone, _ in errors.values()])
    whole = np.array([norm for _, norm in errors.values()])
    each = np.divide(lost, whole, out=np.zeros_like(lost), where=whole > 0)
    overall = float(np.linalg.norm(lost) / np.linalg.norm(whole)) if whole.any() else 0.0
    at = int(each.argmax())
    worst, mean, layer = float(each[at]), float(each.mean()), list(errors)[at]
    kind = " and ".join(kinds)
    message = (
        f"It was {kind}, {_layers(len(errors))}, and is now the nearest LoRA of rank {rank} at most. That loses "
        f"{_percent(overall)} of the change of the weights (by layer {_percent(mean)} on average, {_percent(worst)} at "
        f"worst, in {layer[:80]})."
    )
    remedy = "The file as it came is kept, for programs that read it: it is exported under the naming “original”."
    if overall > ENOUGH and rank < HIGHEST:
        remedy = f"A higher rank loses less: import it again with a rank of {min(HIGHEST, 2 * rank)}, say. {remedy}"
    severity = Severity.WARNING if overall > ENOUGH else Severity.NOTE
    finding = Finding("nearest-lora", severity, message, remedy)
    return Nearest(path, kinds, len(errors), rank, overall, mean, worst, layer, (finding,))


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-4 else "less than 0.01 %"


def _halves(change: Change, dtype: str, rank: int) -> tuple[Stored, Stored]:
    """Down (rank, in) and up (out, rank) as they are stored, each with the root of the singular values."""
    left, values, right = change.leading(rank or MOST)
    count = max(1, int(np.count_nonzero(values > values[0] * 1e-10)) if values[0] else 1)
    if not rank and change.norm:
        # what is lost by keeping 0, 1, 2 ... of them
        lost = np.sqrt(np.maximum(change.norm**2 - np.concatenate([[0.0], np.cumsum(values**2)]), 0))
        close = np.flatnonzero(lost <= ENOUGH * change.norm)
        count = min(count, max(1, int(close[0]))) if len(close) else count
    root = np.sqrt(values[:count])
    down, up = right[:count] * root[:, None], left[:, :count] * root
    stored = encode(down, dtype), encode(up, dtype)
    if not all(np.isfinite(one.numbers()).all() for one in stored):
        stored = encode(down, "F32"), encode(up, "F32")
    return stored


def _format(header: Header, adapter: Adapter) -> str:
    formats = {header.tensors[name].dtype for name in adapter.parts.values()}
    if formats <= {"F16"}:
        return "F16"
    return "BF16" if formats <= {"BF16", "F8_E4M3", "F8_E5M2"} else "F32"


# --- the adapters by their definition -------------------------------------------------------------------------------


def _change(file: BinaryIO, header: Header, adapter: Adapter) -> Change:
    first, second = _factors(file, header, adapter, "1"), _factors(file, header, adapter, "2")
    factor = _strength(file, header, adapter)
    make: Any = Kronecker if adapter.kind == "lokr" else Hadamard
    change: Change = make(first, second, factor)
    return change


def _factors(file: BinaryIO, header: Header, adapter: Adapter, half: str) -> tuple[Matrix, ...]:
    """The matrices whose product is a half of the adapter: one or two."""
    parts = adapter.parts
    if "w" + half in parts:
        return (_matrix(file, header, parts["w" + half]),)
    left, right = (_matrix(file, header, parts[f"w{half}_{end}"]) for end in "ab")
    if "t" + half in parts:
        return left.T @ _matrix(file, header, parts["t" + half]), right
    return left, right


def _strength(file: BinaryIO, header: Header, adapter: Adapter) -> float:
    dim = _sizes(header, adapter)[2]
    if not adapter.alpha or not dim:
        return 1.0
    value = read_stored(file, header, adapter.alpha).numbers()
    if value.size != 1 or not np.isfinite(value).all():
        raise _refusal(header.path, adapter.kind, adapter.path, "has an alpha that is not one finite number")
    return float(value.reshape(())) / dim


def _matrix(file: BinaryIO, header: Header, name: str) -> Matrix:
    entry = header.tensors[name]
    if entry.dtype not in FLOATS:
        raise LoraRefused(
            f"{header.path.name}: {name} is stored as {entry.dtype}, no floating point format.",
            remedy="Export it again as BF16, F16 or F32.",
            thing=name,
        )
    numbers = read_stored(file, header, name).numbers().reshape(entry.shape[:2])
    if not np.isfinite(numbers).all():
        raise LoraRefused(
            f"{header.path.name}: {name} holds numbers that are not finite (NaN or infinite); the training went wrong.",
            remedy="Train again with a lower learning rate, or use an earlier checkpoint.",
            thing=name,
        )
    return numbers


def _sizes(header: Header, adapter: Adapter) -> tuple[int, int, int]:
    """Output and input width of the layer, and dim (0 where no half is in two). LoraRefused: shapes do not agree."""
    (first_out, first_in, first_dim), (out, inputs, dim) = (_half(header, adapter, half) for half in "12")
    if adapter.kind == "loha":
        if (first_out, first_in) != (out, inputs):
            raise _refusal(header.path, adapter.kind, adapter.path, "has two halves of different shapes")
        return out, inputs, first_dim
    return first_out * out, first_in * inputs, dim or first_dim


def _half(header: Header, adapter: Adapter, half: str) -> tuple[int, int, int]:
    shapes = {
        part.replace(half, "", 1): header.tensors[name].shape for part, name in adapter.parts.items() if half in part
    }
    for part, shape in shapes.items():
        if len(shape) < 2 or set(shape[2:]) - {1} or 0 in shape:
            reason = f"has the part {part[0]}{half}{part[1:]} of the shape {list(shape)}, not that of a linear layer"
            raise _refusal(header.path, adapter.kind, adapter.path, reason)
    whole = adapter.kind == "lokr" and shapes.keys() == {"w"}
    if not whole and shapes.keys() not in ({"w_a", "w_b"}, {"w_a", "w_b", "t"}):
        has = ", ".join(sorted(adapter.parts)) or "nothing"
        raise _refusal(header.path, adapter.kind, adapter.path, f"lacks a part of w{half}, or has it twice ({has})")
    if whole:
        return shapes["w"][0], shapes["w"][1], 0
    left, right = shapes["w_a"][:2], shapes["w_b"][:2]
    if "t" in shapes:
        left, middle = left[::-1], shapes["t"][:2]
        if left[1] != middle[0] or middle[1] != right[0]:
            raise _refusal(header.path, adapter.kind, adapter.path, f"has parts of w{half} that cannot be multiplied")
    elif left[1] != right[0]:
        raise _refusal(header.path, adapter.kind, adapter.path, f"has parts of w{half} that cannot be multiplied")
    return left[0], right[1], right[0]


def _refusal(path: Path, kind: Kind, layer: str, reason: str) -> LoraRefused:
    return LoraRefused(
        f"{path.name}: the {TITLES[kind]} adapter of {layer[:100]} {reason}.",
        remedy="Export it again, or fetch it again.",
        thing=layer,
    )
