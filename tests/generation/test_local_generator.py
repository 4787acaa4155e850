"""The local generator: a seed is a picture; several loras at once are the sum of what each changes."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from limner.errors import InputRefused, LoraRefused, NotReady, WorkFailed
from limner.flux import sampling
from limner.generation.generator import Drawn, GenerationOrder, Generator
from limner.generation.local import LocalGenerator
from limner.generation.metadata.pixels import pixel_digest
from limner.settings import Settings

from .making import lora_use, order, random_lora

pytestmark = pytest.mark.engine


@pytest.fixture
def local(tmp_path: Path) -> LocalGenerator:
    return LocalGenerator(Settings(home=tmp_path, device="cpu"))


def drawn(local: LocalGenerator, wanted: GenerationOrder) -> list[Drawn]:
    async def collect() -> list[Drawn]:
        return [one async for one in local.draw(wanted)]

    return asyncio.run(collect())


def pixels(one: Drawn) -> numpy.ndarray[Any, Any]:
    return numpy.asarray(Image.open(io.BytesIO(one.data)))


def uses(files: tuple[Path, ...], *scales: float) -> tuple[Any, ...]:
    return tuple(
        lora_use(path.stem, scale=s, seed=n, path=path)
        for n, (path, s) in enumerate(zip(files, scales, strict=True), 1)
    )


def test_it_is_a_generator(local: LocalGenerator) -> None:
    assert isinstance(local, Generator)
    assert local.describe().ready
    assert "limner-tiny" in local.describe().bases


def test_a_picture_alone_is_the_one_drawn_among_many(
    local: LocalGenerator, base_folder: Path, lora_files: tuple[Path, Path]
) -> None:
    loras = uses(lora_files, 0.7, -0.4)
    among = drawn(local, order(str(base_folder), loras=loras, count=10))
    assert [(one.index, one.seed) for one in among] == [(n, 7 + n) for n in range(10)]
    assert len({pixel_digest(one.data) for one in among}) == 10
    drawn(local, order(str(base_folder), prompt="something else, without loras", seed=1))
    for index in (0, 6):
        [alone] = drawn(local, order(str(base_folder), loras=loras, seed=7 + index))
        assert alone.data == among[index].data
    rest = drawn(local, order(str(base_folder), loras=loras, count=10, done=frozenset(range(10)) - {6}))
    assert [(one.index, one.data) for one in rest] == [(6, among[6].data)]


def test_the_model_is_loaded_once_and_loras_are_mounted_once(
    local: LocalGenerator, base_folder: Path, lora_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling.forget_pipeline()
    loaded, mounted = [], []
    load, mount = sampling.load_pipeline, sampling._load
    monkeypatch.setattr(sampling, "load_pipeline", lambda *a, **o: loaded.append(a) or load(*a, **o))
    monkeypatch.setattr(sampling, "_load", lambda *a: mounted.append(a) or mount(*a))
    drawn(local, order(str(base_folder), loras=uses(lora_files, 1.0, 0.5), count=4))
    assert (len(loaded), len(mounted)) == (1, 2)


def test_scale_zero_is_the_base_to_the_last_bit(
    local: LocalGenerator, base_folder: Path, lora_files: tuple[Path, Path]
) -> None:
    [base] = drawn(local, order(str(base_folder)))
    [zero] = drawn(local, order(str(base_folder), loras=uses(lora_files, 0.0, 0.0)))
    [one] = drawn(local, order(str(base_folder), loras=uses(lora_files, 0.0, 0.5)))
    [other] = drawn(local, order(str(base_folder), loras=uses(lora_files[1:], 0.5)))
    assert zero.data == base.data
    assert one.data == other.data != base.data


def test_two_loras_are_drawn_as_diffusers_itself_draws_them(
    local: LocalGenerator, base_folder: Path, lora_files: tuple[Path, Path]
) -> None:
    from diffusers import FluxPipeline

    [ours] = drawn(local, order(str(base_folder), loras=uses(lora_files, 0.8, -0.6)))
    pipeline = FluxPipeline.from_pretrained(base_folder)
    pipeline.set_progress_bar_config(disable=True)
    for name, path in zip("ab", lora_files, strict=True):
        pipeline.load_lora_weights(str(path), adapter_name=name)
    pipeline.set_adapters(["a", "b"], [0.8, -0.6])
    with torch.inference_mode():
        theirs = pipeline(
            "a drawing of zibbo",
            width=64,
            height=64,
            num_inference_steps=2,
            guidance_scale=1.0,
            max_sequence_length=48,
            generator=torch.Generator().manual_seed(7),
        ).images[0]
    assert numpy.array_equal(pixels(ours), numpy.asarray(theirs))


STRENGTHS = (4.0 / 4, 3.0 / 2)
"""alpha / rank of the two loras."""


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.floats(-2, 2, width=16) for _ in STRENGTHS]))
def test_several_loras_change_the_weights_by_the_sum_of_their_deltas(
    base_folder: Path, lora_files: tuple[Path, Path], scales: tuple[float, float]
) -> None:
    """Every layer's output with the loras mounted is that of W + sum of scale * alpha / rank * B A, in float64."""
    from limner.catalog import find_base

    pipeline = sampling.kept_pipeline(str(base_folder), find_base("limner-tiny"), device="cpu")
    sampling.mount_loras(pipeline, list(zip(lora_files, scales, strict=True)))
    files = [load_file(path) for path in lora_files]
    chance = torch.Generator().manual_seed(3)
    touched = {name.removeprefix("transformer.").split(".lora_")[0] for file in files for name in file}
    assert len(touched) > 20
    with torch.inference_mode():
        for name in sorted(touched):
            layer = pipeline.transformer.get_submodule(name)
            weight = layer.base_layer.weight.double()
            for file, scale, strength in zip(files, scales, STRENGTHS, strict=True):
                key = f"transformer.{name}.lora_"
                if f"{key}A.weight" in file:
                    weight = (
                        weight + scale * strength * file[f"{key}B.weight"].double() @ file[f"{key}A.weight"].double()
                    )
            x = torch.randn(3, weight.shape[1], generator=chance)
            bias = layer.base_layer.bias
            wanted = torch.nn.functional.linear(x.double(), weight, None if bias is None else bias.double())
            torch.testing.assert_close(layer(x).double(), wanted, rtol=1e-5, atol=1e-5)


def test_a_lora_for_a_wider_model_is_refused_and_leaves_no_trace(
    local: LocalGenerator, base_folder: Path, lora_files: tuple[Path, Path], tmp_path: Path
) -> None:
    from tests.flux.random_pipelines import save_flux1

    wide = random_lora(
        save_flux1(tmp_path / "wide", width=48), tmp_path / "wide.safetensors", rank=2, alpha=2.0, seed=1
    )
    [base] = drawn(local, order(str(base_folder)))
    with pytest.raises(LoraRefused, match="does not fit FluxPipeline") as told:
        drawn(local, order(str(base_folder), loras=uses((lora_files[0], wide), 1.0, 1.0)))
    assert told.value.remedy
    [after] = drawn(local, order(str(base_folder)))
    assert after.data == base.data


def test_an_order_that_is_refused_draws_nothing(local: LocalGenerator, base_folder: Path) -> None:
    with pytest.raises(InputRefused, match="nearest is 96") as told:
        drawn(local, order(str(base_folder), width=100))
    assert told.value.thing == "width-not-possible"


def test_a_base_of_another_kind_and_a_damaged_one(local: LocalGenerator, tmp_path: Path, base_folder: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(NotReady, match="holds a StableDiffusionPipeline"):
        drawn(local, order(str(tmp_path)))
    (tmp_path / "model_index.json").write_bytes((base_folder / "model_index.json").read_bytes())
    with pytest.raises(NotReady, match="cannot be loaded"):
        drawn(local, order(str(tmp_path)))


def test_what_torch_says_becomes_a_failure_with_a_remedy(
    local: LocalGenerator, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(sampling, "draw", full)
    with pytest.raises(WorkFailed, match="out of memory") as told:
        drawn(local, order(str(base_folder)))
    assert "smaller picture" in told.value.remedy


def test_cancelling_stops_within_the_picture_and_leaves_the_next_one_whole(
    local: LocalGenerator, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [wanted] = drawn(local, order(str(base_folder), steps=3))
    steps = 0
    pipeline = sampling.kept_pipeline(str(base_folder), order().base, device="cpu")
    forward = type(pipeline.transformer).forward

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        return forward(*arguments, **options)

    monkeypatch.setattr(type(pipeline.transformer), "forward", counting)

    async def cancelled(count: int) -> None:
        async def work() -> None:
            async for _ in local.draw(order(str(base_folder), steps=200, count=count)):
                pass

        # the second waits for the first one's picture: stopping it must not stop the first, nor be held up for long
        first, second = asyncio.create_task(work()), asyncio.create_task(work())
        while steps < 3:
            await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        seen = steps
        assert not first.done()
        while steps <= seen:
            await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(cancelled(3))
    assert steps < 190
    monkeypatch.undo()
    [after] = drawn(local, order(str(base_folder), steps=3))
    assert after.data == wanted.data


def test_what_decides_the_pixels_is_said(local: LocalGenerator, base_folder: Path) -> None:
    [one] = drawn(local, order(str(base_folder)))
    assert {"limner", "torch", "diffusers", "device", "number_format", "threads", "sampler", "weights"} <= set(
        one.versions
    )
    assert one.versions["number_format"] == "float32"
    assert str(base_folder) not in str(one.versions)
