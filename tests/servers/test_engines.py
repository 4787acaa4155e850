"""The engines behind the stand-ins give real LoRAs and real pictures; the real and the quick one alike."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.catalog.bases import use_folder
from limner.errors import Cancelled, LoraRefused
from limner.loras.checks.inspection import inspect
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.engine import Engine
from limner.stand_ins.random_flux2 import FLUX2_RANDOM, stored_flux2
from limner.types import TensorNaming
from tests.servers.quick_engine import QuickEngine

BASES = ["limner-tiny", FLUX2_RANDOM.id]


def photo(colour: str, size: tuple[int, int] = (160, 120)) -> bytes:
    out = io.BytesIO()
    picture = Image.linear_gradient("L").resize(size)
    Image.merge("RGB", [picture, picture, Image.new("L", size, {"red": 200, "blue": 20}[colour])]).save(out, "PNG")
    return out.getvalue()


PHOTOS = [("a.png", photo("red"), "a picture of zib"), ("b.png", photo("blue", (100, 160)), "zib on a beach")]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    from limner.stand_ins.local_engine import LocalEngine

    folder = tmp_path_factory.mktemp("engine")
    return LocalEngine(folder / "kept", base_paths={FLUX2_RANDOM.id: stored_flux2(folder / "flux2")})


@pytest.fixture(scope="module", autouse=True)
def catalog(tmp_path_factory: pytest.TempPathFactory) -> None:
    use_folder(write_catalog(tmp_path_factory.mktemp("catalog")))


@pytest.fixture(params=["quick", pytest.param("local", marks=pytest.mark.engine)])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "local":
        found: Engine = request.getfixturevalue("local")
        return found
    return QuickEngine()


def trained(engine: Engine, base: str, seed: int = 1, cancelled: Callable[[], bool] = lambda: False) -> bytes:
    return engine.train(
        base,
        PHOTOS,
        steps=3,
        rank=4,
        learning_rate=1e-3,
        seed=seed,
        on_step=lambda *_: None,
        cancelled=cancelled,
    )


def drawn(engine: Engine, base: str, *loras: tuple[bytes, float], seed: int = 5) -> bytes:
    return engine.draw(base, "a zib", loras=loras, width=96, height=64, steps=2, guidance=2.0, seed=seed)


@pytest.mark.parametrize("base", BASES)
def test_a_training_gives_a_lora_of_the_base(engine: Engine, base: str, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    path.write_bytes(trained(engine, base))
    facts = inspect(path)
    assert facts.base == base
    assert facts.naming is TensorNaming.DIFFUSERS
    assert (facts.rank, facts.alpha, facts.dtype) == (4, 4.0, "F16")


@pytest.mark.parametrize("base", BASES)
def test_a_picture_depends_on_seed_and_loras(engine: Engine, base: str) -> None:
    lora = trained(engine, base)
    plain, again, other = drawn(engine, base), drawn(engine, base), drawn(engine, base, seed=6)
    with_it = drawn(engine, base, (lora, 4.0))
    assert plain == again
    assert len({plain, other, with_it}) == 3
    with Image.open(io.BytesIO(with_it)) as picture:
        assert picture.size == (96, 64)
        assert picture.format == "PNG"
        assert np.asarray(picture).std() > 1


def test_every_step_is_told(engine: Engine) -> None:
    steps: list[tuple[int, float]] = []
    engine.train(
        "limner-tiny",
        PHOTOS,
        steps=4,
        rank=2,
        learning_rate=1e-3,
        seed=0,
        on_step=lambda step, loss: steps.append((step, loss)),
        cancelled=lambda: False,
    )
    assert [step for step, _ in steps] == [1, 2, 3, 4]
    assert all(0 < loss < 10 for _, loss in steps)


def test_a_training_can_be_stopped(engine: Engine) -> None:
    with pytest.raises(Cancelled):
        trained(engine, "limner-tiny", cancelled=lambda: True)


@pytest.mark.parametrize("data", [b"", b"no safetensors file at all", b"\x10\0\0\0\0\0\0\0{}"])
def test_what_is_no_lora_is_refused(engine: Engine, data: bytes) -> None:
    with pytest.raises(LoraRefused):
        drawn(engine, "limner-tiny", (data, 1.0))


def test_a_lora_of_another_base_is_refused(engine: Engine) -> None:
    with pytest.raises(LoraRefused):
        drawn(engine, "limner-tiny", (trained(engine, FLUX2_RANDOM.id), 1.0))


def test_photos_make_the_lora() -> None:
    quick = QuickEngine()
    assert trained(quick, "limner-tiny") == trained(quick, "limner-tiny")
    assert trained(quick, "limner-tiny") != trained(quick, "limner-tiny", seed=2)
    assert quick.trained == 4


@pytest.mark.engine
def test_the_random_pipeline_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    first, second = stored_flux2(tmp_path / "a"), stored_flux2(tmp_path / "b")
    weights = "transformer/diffusion_pytorch_model.safetensors"
    tensors, others = load_file(first / weights), load_file(second / weights)
    assert tensors.keys() == others.keys()
    assert all(np.array_equal(tensors[name], others[name]) for name in tensors)
    numbers = sum(tensor.size for tensor in tensors.values())
    assert abs(numbers - FLUX2_RANDOM.parameters) < 0.05 * numbers
    written = (first / weights).stat().st_mtime_ns
    assert stored_flux2(first).joinpath(weights).stat().st_mtime_ns == written, "made once only"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.engine
def test_a_trained_lora_of_the_random_pipeline_lowers_the_loss_or_at_least_changes_it(local: Engine) -> None:
    losses: list[float] = []
    local.train(
        FLUX2_RANDOM.id,
        PHOTOS,
        steps=30,
        rank=8,
        learning_rate=5e-3,
        seed=0,
        on_step=lambda _, loss: losses.append(loss),
        cancelled=lambda: False,
    )
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
