"""The training loop: the same trajectory whether interrupted or not, and each setting does what its name says."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, load_file

from limner.errors import Cancelled, Conflict, WorkFailed
from limner.flux.adapter import Adapter, layer_shapes
from limner.flux.batches import EncodedDataset, Order
from limner.flux.checkpoint import Checkpoints
from limner.flux.families import family_of
from limner.flux.family import match_modules
from limner.flux.loop import StepReport, batch_loss, learning_rate_factor, train
from limner.flux.randomness import TIMESTEP_SAMPLINGS, draw_sigmas, generator
from limner.flux.safetensors_file import safetensors_bytes

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Plan:
    """What the loop reads of a recipe."""

    learning_rate: float = 5e-3
    schedule: str = "cosine"
    warmup_steps: int = 1
    steps: int = 5
    batch_size: int = 2
    gradient_accumulation: int = 1
    seed: int = 7
    caption_dropout: float = 0.3
    timestep_sampling: str = "logit-normal"
    ema_decay: float = 0.0
    checkpoint_every: int = 2
    sample_every: int = 0
    guidance: float = 1.0
    weight_decay: float = 0.01
    gradient_clip: float = 1.0


class Bench:
    """A random pipeline with a random dataset of two bucket sizes, trained as often as wanted."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.family = family_of(kind.base)
        self.pipeline = kind.load()
        chance = torch.Generator().manual_seed(1)
        grids = [(4, 4), (4, 6), (4, 4), (4, 6), (4, 4)]
        pictures = tuple(torch.randn(rows * columns, 16, generator=chance) for rows, columns in grids)
        texts = [self.family.encode_text(self.pipeline, text, kind.base) for text in ("", "a cat", "a dog")]
        self.data = EncodedDataset(pictures, tuple(grids), (1, 2, 1, 2, 1), type(texts[0]).stack(texts))

    def run(self, folder: Path, plan: Plan, run: str = "run", **hooks: Any) -> bytes:
        """Train in a folder, from its newest checkpoint; gives the bytes of the result."""
        transformer = self.pipeline.transformer
        names = match_modules(self.family, transformer, "all-linear")
        adapter = Adapter(transformer, layer_shapes(names, 2, 2.0), seed=plan.seed)
        try:
            checkpoints = Checkpoints(folder, run, {"limner.base": "x"})
            tensors = train(self.family, adapter, self.data, plan, checkpoints, **hooks)
            return safetensors_bytes(tensors, {})
        finally:
            adapter.unmount()


@pytest.fixture(scope="module")
def bench(flux1: Any) -> Bench:
    return Bench(flux1)


def stop_after(steps: int) -> dict[str, Callable[..., Any]]:
    """Hooks that ask the loop to stop once so many steps are done."""
    done: list[StepReport] = []
    return {"on_step": done.append, "should_stop": lambda: len(done) >= steps}


@pytest.mark.parametrize("kind_name", ["flux1", "klein", "flux2"])
def test_stopped_and_resumed_is_the_same_to_the_last_bit(
    kind_name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = Bench(request.getfixturevalue(kind_name))
    plan = Plan(gradient_accumulation=2, ema_decay=0.9)
    whole = bench.run(tmp_path / "whole", plan)
    for steps in (1, 2, 3):
        with pytest.raises(Cancelled, match=f"after {steps} steps"):
            bench.run(tmp_path / "cut", plan, **stop_after(1))
    assert bench.run(tmp_path / "cut", plan) == whole
    assert bench.run(tmp_path / "whole", plan) == whole, "a finished training gives its result again"


def test_a_lost_checkpoint_costs_time_only(bench: Bench, tmp_path: Path) -> None:
    """Damage of the newest checkpoint, as a power cut leaves it, falls back to the one before."""
    plan = Plan()
    whole = bench.run(tmp_path / "whole", plan)
    for name in ("optimizer.safetensors", "state.json"):
        folder = tmp_path / name
        with pytest.raises(Cancelled):
            bench.run(folder, plan, **stop_after(4))
        newest = folder / "step-000004" / name
        newest.write_bytes(newest.read_bytes()[:-9])
        seen: list[StepReport] = []
        assert bench.run(folder, plan, on_step=seen.append) == whole
        assert [report.step for report in seen] == [3, 4, 5]
        assert load_file(folder / "step-000004" / "optimizer.safetensors"), "the lost one is made anew"


def test_with_every_checkpoint_lost_it_begins_anew_and_can_be_cut_off_again(bench: Bench, tmp_path: Path) -> None:
    plan = Plan(checkpoint_every=1)
    whole = bench.run(tmp_path / "whole", plan)
    with pytest.raises(Cancelled):
        bench.run(tmp_path / "cut", plan, **stop_after(3))
    for path in (tmp_path / "cut").glob("*/optimizer.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(Cancelled, match="after 2 steps"):
        bench.run(tmp_path / "cut", plan, **stop_after(2))
    seen: list[StepReport] = []
    assert bench.run(tmp_path / "cut", plan, on_step=seen.append) == whole
    assert [report.step for report in seen] == [3, 4, 5]


def test_settings_change_the_result(bench: Bench, tmp_path: Path) -> None:
    """Each setting reaches the numbers: none is accepted and ignored."""
    plan = Plan()
    results = {"plan": bench.run(tmp_path / "plan", plan)}
    changes: dict[str, Any] = {
        "learning_rate": 1e-3,
        "schedule": "linear",
        "warmup_steps": 3,
        "batch_size": 3,
        "gradient_accumulation": 2,
        "seed": 8,
        "caption_dropout": 1.0,
        "timestep_sampling": "shifted",
        "ema_decay": 0.5,
        "weight_decay": 0.9,
        "gradient_clip": 1e-3,
    }
    for name, value in changes.items():
        results[name] = bench.run(tmp_path / name, replace(plan, **{name: value}))
    assert len(set(results.values())) == len(results)


def test_guidance_is_trained_with_where_it_is_embedded(flux1_guided: Any, tmp_path: Path) -> None:
    bench = Bench(flux1_guided)
    low, high = (bench.run(tmp_path / str(g), Plan(guidance=g)) for g in (1.0, 5.0))
    assert low != high


def test_it_learns(bench: Bench, tmp_path: Path) -> None:
    """The loss over all pictures falls well below where it began."""
    plan = Plan(steps=60, learning_rate=2e-2, schedule="linear", caption_dropout=0.0, checkpoint_every=0)
    transformer = bench.pipeline.transformer
    names = match_modules(bench.family, transformer, "all-linear")
    adapter = Adapter(transformer, layer_shapes(names, 4, 4.0), seed=0)
    order = Order(bench.data.grids, 5, 0)

    def error() -> float:
        with torch.no_grad():
            losses = [
                batch_loss(bench.family, transformer, bench.data, plan, order.batch(n), 10_000 + n) for n in range(40)
            ]
        return float(torch.stack(losses).mean())

    before = error()
    train(bench.family, adapter, bench.data, plan, Checkpoints(tmp_path, "run", {}))
    after = error()
    adapter.unmount()
    assert after < 0.9 * before


def test_frozen_weights_stay_frozen(bench: Bench, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in bench.pipeline.transformer.state_dict().items()}
    bench.run(tmp_path, Plan())
    after = bench.pipeline.transformer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_accumulated_batches_make_one_step_of_their_mean(bench: Bench, tmp_path: Path) -> None:
    """One step over two accumulated batches is one step of Adam along the mean of their gradients."""
    plan = Plan(steps=1, gradient_accumulation=2, gradient_clip=0.0, warmup_steps=0, checkpoint_every=0)
    transformer = bench.pipeline.transformer
    names = match_modules(bench.family, transformer, "all-linear")
    adapter = Adapter(transformer, layer_shapes(names, 2, 2.0), seed=plan.seed)
    tensors = list(adapter.parameters().values())
    order = Order(bench.data.grids, plan.batch_size, plan.seed)
    losses = [batch_loss(bench.family, transformer, bench.data, plan, order.batch(n), n) for n in (0, 1)]
    for tensor, gradient in zip(tensors, torch.autograd.grad(sum(losses) / 2, tensors), strict=True):
        tensor.grad = gradient
    torch.optim.AdamW(tensors, lr=plan.learning_rate, weight_decay=plan.weight_decay).step()
    wanted = {name: value.detach().clone() for name, value in adapter.parameters().items()}
    adapter.unmount()
    trained = load(bench.run(tmp_path, plan))
    for name, value in wanted.items():
        torch.testing.assert_close(trained[name], value, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_no_number_names_its_step(bench: Bench, tmp_path: Path) -> None:
    broken = replace_picture(bench.data)
    healthy, bench.data = bench.data, broken
    try:
        with pytest.raises(WorkFailed, match="step 1") as caught:
            bench.run(tmp_path, Plan(batch_size=5))
    finally:
        bench.data = healthy
    assert "learning rate" in caught.value.remedy
    assert not list(tmp_path.glob("step-*"))


def replace_picture(data: EncodedDataset) -> EncodedDataset:
    pictures = tuple(torch.full_like(picture, math.nan) for picture in data.pictures)
    return EncodedDataset(pictures, data.grids, data.text_rows, data.texts)


def test_a_checkpoint_of_another_training_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.run(tmp_path, Plan(), run="one")
    with pytest.raises(Conflict, match="another dataset"):
        bench.run(tmp_path, Plan(), run="two")


def test_checkpoints_are_loras_and_old_optimizers_go(bench: Bench, tmp_path: Path) -> None:
    steps: list[int] = []
    bench.run(tmp_path, Plan(steps=8), on_checkpoint=lambda step, folder: steps.append(step))
    assert steps == [2, 4, 6, 8]
    weights = [load_file(tmp_path / f"step-{step:06d}" / "weights.safetensors") for step in steps]
    assert all(name.startswith("transformer.") for name in weights[0])
    kept = sorted(path.parent.name for path in tmp_path.glob("*/optimizer.safetensors"))
    assert kept == ["step-000006", "step-000008"]
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pkl"))


def test_a_write_that_fails_half_way_leaves_the_earlier_checkpoints(bench: Bench, tmp_path: Path) -> None:
    """The system cuts files off after a few kilobytes, as a full disk does; afterwards the training goes on."""
    whole = bench.run(tmp_path / "whole", Plan())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full_after_three(report: StepReport) -> None:
        if report.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.raises(OSError, match="too large"):
            bench.run(tmp_path / "cut", Plan(), on_step=full_after_three)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["step-000002"]
    assert bench.run(tmp_path / "cut", Plan()) == whole


GRIDS = st.lists(st.sampled_from([(2, 2), (2, 3), (3, 2), (4, 4)]), min_size=1, max_size=20)


@settings(max_examples=80, deadline=None)
@given(GRIDS, st.integers(1, 7), st.integers(0, 2**40))
def test_every_batch_is_full_of_one_size_and_every_epoch_whole(
    grids: list[tuple[int, int]], batch_size: int, seed: int
) -> None:
    order = Order(grids, batch_size, seed)
    again = Order(grids, batch_size, seed)
    for epoch in (2, 0):
        numbers = range(epoch * order.batches_an_epoch, (epoch + 1) * order.batches_an_epoch)
        batches = [order.batch(number) for number in numbers]
        assert batches == [again.batch(number) for number in numbers]
        assert all(len(batch) == batch_size for batch in batches)
        assert all(len({grids[index] for index in batch}) == 1 for batch in batches)
        assert {index for batch in batches for index in batch} == set(range(len(grids)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TIMESTEP_SAMPLINGS), st.integers(1, 64), st.integers(1, 8000), st.integers(0, 2**40))
def test_noise_levels_lie_between_picture_and_noise(sampling: str, count: int, tokens: int, seed: int) -> None:
    sigmas = draw_sigmas(sampling, count, tokens, generator(seed, "step", 0))
    assert sigmas.shape == (count,)
    assert bool(((sigmas >= 0) & (sigmas <= 1)).all())
    assert torch.equal(sigmas, draw_sigmas(sampling, count, tokens, generator(seed, "step", 0)))


def test_noise_levels_are_spread_as_their_names_say() -> None:
    drawn = {name: draw_sigmas(name, 20_000, 4096, generator(0, "step", 1)) for name in TIMESTEP_SAMPLINGS}
    middle = {name: float(((s > 0.25) & (s < 0.75)).float().mean()) for name, s in drawn.items()}
    assert abs(middle["uniform"] - 0.5) < 0.02
    assert abs(middle["logit-normal"] - 0.728) < 0.02
    assert torch.equal(drawn["logit-normal"], drawn["sigmoid"])
    # exp(1.15) at 4,096 tokens moves the median from one half to 0.7595
    assert abs(float(drawn["shifted"].median()) - 0.7595) < 0.01


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(1, 300), st.integers(0, 299))
def test_the_learning_rate_rises_and_falls_as_planned(schedule: str, steps: int, warmup: int) -> None:
    warmup = min(warmup, steps - 1)
    plan = Plan(schedule=schedule, steps=steps, warmup_steps=warmup)
    factors = [learning_rate_factor(plan, step) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: warmup + 1] == sorted(factors[: warmup + 1])
    assert factors[warmup] == 1
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    if schedule != "constant" and steps - warmup > 10:
        assert factors[-1] < 0.2


def test_chance_depends_on_seed_purpose_and_number() -> None:
    draws = {
        float(torch.rand((), generator=generator(*key)))
        for key in [(0, "step", 0), (1, "step", 0), (0, "order", 0), (0, "step", 1)]
    }
    assert len(draws) == 4
