"""Proof by weights: whatever the naming, spelling, ranks, alphas and formats, a conversion keeps (alpha / r) B A.

The files are built from the namings' definitions, and what was written is read by definition; see definitions.py.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.catalog import find_base
from limner.loras.conversion.convert import convert
from limner.types import Base, Family, TensorNaming

from .definitions import CLIP, LINEARS, XLABS, Linear, assert_same, changes, pack, write

WRITTEN = [TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL]
FORMATS = ("F32", "F16", "BF16", "F64")
AB, DOWN_UP = (".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")
NAMED = (".lora_A.my_style-2.weight", ".lora_B.my_style-2.weight")
many = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

# naming -> the spellings of a module's path that are in use
SPELLINGS = {
    "diffusers": [
        "transformer.",
        "",
        "base_model.model.",
        "base_model.model.transformer.",
        "diffusion_model.",
        "unet.",
    ],
    "bfl": ["diffusion_model.", "", "base_model.model.", "base_model.model.diffusion_model.", "unet.", "transformer."],
    "parts of bfl": ["transformer.", "diffusion_model.", ""],
    "kohya": ["lora_unet_"],
    "onetrainer": ["lora_transformer_", "lycoris_", "lora_unet_"],
    "xlabs": ["", "diffusion_model."],
}
CLIP_PREFIXES = {"diffusers": "text_encoder.text_model.", "bfl": "text_encoders.clip_l.transformer.text_model.",
                 "kohya": "lora_te1_text_model_"}  # fmt: skip


def a_base(family: Family, width: int, *, guided: bool = True) -> Base:
    known = find_base("flux1-dev" if family is Family.FLUX1 else "flux2-dev")
    shape = {"double_blocks": 8, "single_blocks": 8, "width": width}
    return dataclasses.replace(known, shape=shape, guidance_embedded=guided)


@dataclass
class Made:
    """A file to be: tensors as stored, its header, and the changes that it means by diffusers path."""

    family: Family
    width: int
    naming: str
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    means: dict[str, np.ndarray] = field(default_factory=dict)
    strengths: dict[str, tuple[int, float]] = field(default_factory=dict)
    header: bool = False
    root_scaled: bool = False
    alphas: bool = True
    formats: Sequence[str] = FORMATS

    def size(self, units: int) -> int:
        return units * self.width if units > 0 else -units

    @property
    def base(self) -> Base:
        return a_base(self.family, self.width)


def numbers(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Values that every format holds exactly, few of them zero."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return chance.integers(-9, 10, size=shape).astype(np.float64) / 4


def add(draw: st.DrawFn, made: Made, module: str, linear: Linear, ends: tuple[str, str]) -> None:
    """Draw one adapter of a module and note what it changes."""
    heights = [made.size(rows) for _, rows in linear.parts]
    columns = made.size(linear.columns)
    kind = draw(st.sampled_from(["dense", "diagonal", "some rows"])) if len(heights) > 1 else "dense"
    if kind == "diagonal":
        ranks = [draw(st.integers(0, 3)) for _ in heights]
        ranks[draw(st.integers(0, len(ranks) - 1))] += 1
        up = np.zeros((sum(heights), sum(ranks)))
        top = left = 0
        for height, rank in zip(heights, ranks, strict=True):
            up[top : top + height, left : left + rank] = numbers(draw, height, rank)
            top, left = top + height, left + rank
    else:
        up = numbers(draw, sum(heights), draw(st.integers(1, 5)))
        if kind == "some rows":
            up[: heights[0]] = 0
    rank = up.shape[1]
    down = numbers(draw, rank, columns)
    alpha = float(rank)
    said = float(np.float32(draw(st.sampled_from([0.3, 0.5, 1.0, 2.0, 3.0, 8.0])) * draw(st.sampled_from([1, rank]))))
    if made.header:
        made.strengths[module.removeprefix("transformer.")] = (rank, said)
        alpha = said * math.sqrt(rank) if made.root_scaled else said
    elif made.alphas and made.naming != "xlabs" and draw(st.booleans()):
        made.tensors[module + ".alpha"] = pack(np.float64(said), draw(st.sampled_from(["F32", "F64"])))
        alpha = said
    made.tensors[module + ends[0]] = pack(down, draw(st.sampled_from(made.formats)))
    made.tensors[module + ends[1]] = pack(up, draw(st.sampled_from(made.formats)))
    change, top = up @ down * (alpha / rank), 0
    for (part, _), height in zip(linear.parts, heights, strict=True):
        rows = change[top : top + height]
        if linear.swapped and made.naming in ("bfl", "kohya", "parts of bfl"):
            rows = np.concatenate(np.split(rows, 2)[::-1])
        made.means[part] = rows
        top += height


def numbered(linear: Linear, number: int) -> Linear:
    parts = tuple((part.replace(".N.", f".{number}."), rows) for part, rows in linear.parts)
    return Linear(parts, linear.columns, linear.swapped)


@st.composite
def files(
    draw: st.DrawFn,
    family: Family,
    *,
    widths: Sequence[int] = (4, 8, 12),
    namings: Sequence[str] = (),
    alphas: bool = True,
    clip: bool = True,
) -> Made:
    """Any lora of a family, in any naming and spelling that is in use, or in one of those named as it is spelt most."""
    naming = draw(st.sampled_from(namings or [n for n in SPELLINGS if n != "xlabs" or family is Family.FLUX1]))
    made = Made(family, draw(st.sampled_from(widths)), naming, alphas=alphas)
    made.formats = draw(st.sampled_from([FORMATS, ("F32",), ("BF16",)]))
    prefix = SPELLINGS[naming][0] if namings else draw(st.sampled_from(SPELLINGS[naming]))
    ends = AB if namings and naming in ("diffusers", "bfl") else None
    ends = ends or {"kohya": DOWN_UP, "onetrainer": DOWN_UP, "xlabs": (".down.weight", ".up.weight")}.get(naming)
    ends = ends or draw(st.sampled_from([AB, DOWN_UP, NAMED]))
    made.header = alphas and naming == "diffusers" and prefix == "transformer." and draw(st.booleans())
    made.root_scaled = made.header and draw(st.booleans())
    table = XLABS if naming == "xlabs" else LINEARS[family]
    for name in sorted(draw(st.sets(st.sampled_from(sorted(table)), min_size=1, max_size=5))):
        number = draw(st.integers(0, 7))
        linear = numbered(table[name], number)
        if naming in ("diffusers", "onetrainer"):
            chosen = draw(st.sets(st.sampled_from(linear.parts), min_size=1))
            for part in [each for each in linear.parts if each in chosen]:
                path = part[0] if naming == "diffusers" else part[0].replace(".", "_")
                add(draw, made, prefix + path, Linear((part,), linear.columns), ends)
        elif naming == "parts of bfl" and len(linear.parts) > 1:
            path = name.replace(".N.", f".{number}.")
            chosen = draw(st.sets(st.integers(0, len(linear.parts) - 1), min_size=1))
            for at in sorted(chosen):
                add(draw, made, f"{prefix}{path}.{at}", Linear((linear.parts[at],), linear.columns), ends)
        else:
            path = name.replace(".N.", f".{number}.")
            add(draw, made, prefix + (path.replace(".", "_") if naming == "kohya" else path), linear, ends)
    if clip and family is Family.FLUX1 and naming in CLIP_PREFIXES and not made.header:
        clip_made = Made(family, 6, "clip", tensors=made.tensors, alphas=alphas, formats=made.formats)
        for name in sorted(draw(st.sets(st.sampled_from(sorted(CLIP)), max_size=2))):
            path = name.replace("N", str(draw(st.integers(0, 7))))
            spelt = path.replace(".", "_") if naming == "kohya" else path
            rows, columns = CLIP[name]
            linear = Linear(((f"clip.{path}", rows),), columns)
            add(draw, clip_made, CLIP_PREFIXES[naming] + spelt, linear, ends)
        made.means |= clip_made.means
    finish(draw, made)
    return made


def finish(draw: st.DrawFn, made: Made) -> None:
    """Write the header that PEFT would, with patterns of whole paths or of their ends."""
    if made.strengths:
        exact = draw(st.booleans())
        rank, alpha = next(iter(made.strengths.values()))
        # a bare proj_out would also be the end of a block's proj_out
        spelt = {
            name: "^" + name.replace(".", r"\.") + "$" if exact or "." not in name else name for name in made.strengths
        }
        config = {
            "r": rank,
            "lora_alpha": alpha,
            "rank_pattern": {spelt[n]: r for n, (r, _) in made.strengths.items() if r != rank},
            "alpha_pattern": {spelt[n]: a for n, (_, a) in made.strengths.items() if a != alpha},
            "use_rslora": made.root_scaled,
            "target_modules": sorted(made.strengths),
        }
        text = json.dumps({f"transformer.{key}": value for key, value in config.items()})
        made.metadata["lora_adapter_metadata"] = text


def prove(folder: Path, made: Made) -> None:
    path = write(folder / "a.safetensors", made.tensors, made.metadata)
    for naming in WRITTEN:
        done = convert(path, naming, folder / f"{naming}.safetensors", base=made.base)
        assert not done.dropped
        assert done.error < 2**-23
        assert_same(made.means, changes(done.path, made.family), 1e-12 if done.exact else 2e-6)
        for again in WRITTEN:
            back = convert(done.path, again, folder / "again.safetensors", base=made.base)
            fine = done.exact and back.exact
            assert_same(made.means, changes(back.path, made.family), 1e-12 if fine else 2e-6)


@many
@given(made=files(Family.FLUX1))
def test_any_flux1_lora_in_any_naming(tmp_path: Path, made: Made) -> None:
    prove(tmp_path, made)


@many
@given(made=files(Family.FLUX2))
def test_any_flux2_lora_in_any_naming(tmp_path: Path, made: Made) -> None:
    prove(tmp_path, made)


@settings(many, max_examples=50)
@given(made=files(Family.FLUX1, namings=["diffusers"]) | files(Family.FLUX2, namings=["diffusers"]))
def test_strengths_in_the_header_and_beside_the_weights(tmp_path: Path, made: Made) -> None:
    prove(tmp_path, made)
