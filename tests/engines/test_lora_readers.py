"""The lora files that Limner writes, read by the programs that they are for: equal changes of every layer.

A checkout and its packages are not fetched here. Name them: ``LIMNER_TEST_COMFYUI``, ``LIMNER_TEST_INVOKEAI`` and
``LIMNER_TEST_SD_SCRIPTS`` (folders), ``LIMNER_TEST_ENGINE_PACKAGES`` (einops, torchsde and the like), then
``pytest -m engine_checkout tests/engines``. What diffusers does is in tests/loras/test_diffusers_loader.py.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from limner.catalog import find_base
from limner.loras.conversion.convert import convert
from limner.types import Base, Family, TensorNaming
from tests.loras.definitions import CLIP, LINEARS, pack, write

from .checkouts import run_with
from .read_with import probe

pytestmark = [pytest.mark.engine, pytest.mark.engine_checkout]
WRITTEN = (TensorNaming.DIFFUSERS, TensorNaming.KOHYA, TensorNaming.BFL)
STRENGTHS = (0.3, 1.0, 2.5, 1 / 3, 2.0, 0.0625)
# layers, by the start of their BFL name, that a program does not read from a naming of a family; "" are all
UNREAD: dict[tuple[str, Family, TensorNaming], tuple[str, ...]] = {
    ("sd-scripts", Family.FLUX1, TensorNaming.DIFFUSERS): ("",),
    ("sd-scripts", Family.FLUX1, TensorNaming.BFL): ("",),
    ("sd-scripts", Family.FLUX1, TensorNaming.KOHYA): ("final_layer",),
    ("invokeai", Family.FLUX1, TensorNaming.KOHYA): ("clip_l",),  # read, and named in a way that is not compared here
    ("comfyui", Family.FLUX2, TensorNaming.DIFFUSERS): (
        "double_blocks.0.img_mlp", "double_blocks.0.txt_mlp", "double_stream_modulation", "single_stream_modulation",
        "single_blocks", "time_in", "guidance_in",
    ),
}  # fmt: skip


def read(engine: str, folder: Path, shapes: dict[str, object], files: list[Path]) -> dict[str, dict[str, np.ndarray]]:
    """What a program makes of files: by file and BFL layer the change times ``probe``, under ``!`` why it refuses."""
    (folder / "shapes.json").write_text(json.dumps(shapes))
    run_with(engine, "read_with.py", engine, folder / "shapes.json", folder / "o.npz", *files, folder=folder)
    found: dict[str, dict[str, np.ndarray]] = {str(file): {} for file in files}
    with np.load(folder / "o.npz") as values:
        for key in values.files:
            file, _, layer = key.rpartition("|")
            found[file][layer] = values[key]
    return found


class Drawn:
    """A random lora as PEFT saves it with a header: parts of one layer differ in rank and strength."""

    def __init__(self, family: Family, width: int, *, layers: tuple[str, ...] = (), clip: bool = False) -> None:
        self.family, self.width = family, width
        self.tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
        self.means: dict[str, np.ndarray] = {}
        self.shapes: dict[str, dict[str, list[int]]] = {"transformer": {}, "clip": {}}
        chance, ranks, alphas, at = np.random.default_rng(7), {}, {}, 0
        for name, linear in LINEARS[family].items():
            bfl = name.replace(".N.", ".0.")
            columns, heights = self.size(linear.columns), [self.size(rows) for _, rows in linear.parts]
            self.shapes["transformer"][bfl] = [sum(heights), columns]
            if layers and not bfl.startswith(layers):
                continue
            pieces = []
            for (part, _), height in zip(linear.parts, heights, strict=True):
                path = part.replace(".N.", ".0.")
                rank = 2 + at % 3
                down, up = chance.standard_normal((rank, columns)), chance.standard_normal((height, rank))
                down, up = down.astype(np.float32).astype(float), up.astype(np.float32).astype(float)
                ranks["^" + path.replace(".", r"\.") + "$"] = rank
                alphas["^" + path.replace(".", r"\.") + "$"] = alpha = STRENGTHS[at % len(STRENGTHS)] * rank
                self.tensors[f"transformer.{path}.lora_A.weight"] = pack(down, "F32")
                self.tensors[f"transformer.{path}.lora_B.weight"] = pack(up, "F32")
                pieces.append(alpha / rank * (up @ (down @ probe(columns))))
                at += 1
            whole = np.concatenate(pieces)
            self.means[bfl] = np.concatenate(np.split(whole, 2)[::-1]) if linear.swapped else whole
        config = {"r": 4, "lora_alpha": 4, "rank_pattern": ranks, "alpha_pattern": alphas}
        header = {f"transformer.{key}": value for key, value in config.items()}
        for name, (rows, inside) in CLIP.items() if clip else ():
            path = name.replace("N", "0")
            self.shapes["clip"][path] = [rows * 6, inside * 6]
            down, up = chance.standard_normal((2, inside * 6)), chance.standard_normal((rows * 6, 2))
            down, up = down.astype(np.float32).astype(float), up.astype(np.float32).astype(float)
            for end, values in (("down", down), ("up", up)):
                self.tensors[f"text_encoder.text_model.{path}.lora_linear_layer.{end}.weight"] = pack(values, "F32")
            self.means[f"clip_l.transformer.text_model.{path}"] = 0.3 * (up @ (down @ probe(inside * 6)))
        if clip:
            header |= {"text_encoder.r": 2, "text_encoder.lora_alpha": 0.6}
        self.metadata = {"lora_adapter_metadata": json.dumps(header)}

    def size(self, units: int) -> int:
        return units * self.width if units > 0 else -units

    @property
    def base(self) -> Base:
        known = find_base("flux1-dev" if self.family is Family.FLUX1 else "flux2-dev")
        return dataclasses.replace(known, shape={"double_blocks": 1, "single_blocks": 1, "width": self.width})

    def written(self, folder: Path) -> dict[TensorNaming, Path]:
        source = write(folder / "source.safetensors", self.tensors, self.metadata)
        return {each: convert(source, each, folder / f"{each}.safetensors", base=self.base).path for each in WRITTEN}


CASES = [
    ("comfyui", Family.FLUX1, 8, (), True),
    ("comfyui", Family.FLUX2, 8, (), False),
    ("sd-scripts", Family.FLUX1, 8, (), False),
    ("invokeai", Family.FLUX1, 3072, ("double_blocks", "single_blocks"), False),
    ("invokeai", Family.FLUX1, 3072, ("double_blocks", "single_blocks"), True),
]
# files that a program does not know at all
REFUSED = {("invokeai", TensorNaming.DIFFUSERS, True), ("invokeai", TensorNaming.BFL, True)}


@pytest.mark.parametrize(("engine", "family", "width", "layers", "clip"), CASES)
def test_a_program_reads_every_naming_as_it_is_meant(
    tmp_path: Path, engine: str, family: Family, width: int, layers: tuple[str, ...], clip: bool
) -> None:
    drawn = Drawn(family, width, layers=layers, clip=clip)
    written = drawn.written(tmp_path)
    found = read(engine, tmp_path, drawn.shapes, list(written.values()))
    for naming, path in written.items():
        unread = UNREAD.get((engine, family, naming), ())
        if (engine, naming, clip) in REFUSED:
            assert "!" in found[str(path)], naming
            continue
        wanted = {name: change for name, change in drawn.means.items() if not name.startswith(unread)}
        assert "!" not in found[str(path)], (naming, found[str(path)]["!"])
        assert found[str(path)].keys() == wanted.keys(), (naming, sorted(wanted.keys() ^ found[str(path)].keys()))
        for name, change in wanted.items():
            error = np.linalg.norm(found[str(path)][name] - change) / np.linalg.norm(change)
            assert error < 1e-6, (naming, name, error)
