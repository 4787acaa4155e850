"""Logs of fal's trainers: progress, rate, time left and loss, whatever else the lines say."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from limner.training.fal.log import LogFacts, read_log


def test_bars_of_tqdm() -> None:
    lines = [
        "Downloading:  50%|█████     | 6/12 [00:01<00:01, 4.00it/s]",
        "Training:   1%|          | 10/1000 [00:05<08:15, 2.00it/s, loss=0.5]",
        "Training:  45%|████▌     | 450/1000 [1:02:03<1:15:00, 5.00s/it, loss=4.5e-01]",
    ]
    assert read_log(lines, 1000) == LogFacts(450, 0.2, 4500.0, ((10, 0.5), (450, 0.45)))


def test_other_trainers_words() -> None:
    assert read_log(["Step: 12, lr 1e-4, loss: 0.25"], 100) == LogFacts(12, None, None, ((12, 0.25),))
    assert read_log(["steps=7 of many"], 100).done == 7
    assert read_log(["a\rflux: 3/100 loss - 0.1\nflux: 4/100 loss - 0.2"], 100).losses == ((3, 0.1), (4, 0.2))


def test_what_is_no_progress() -> None:
    lines = ["epoch 3/4", "2026/11/24 10:00:00 hello", "v1.2/100", "step 5000", "loss 0.3", "101/100", "nothing"]
    assert read_log(lines, 100) == LogFacts()


@given(st.lists(st.text(max_size=80), max_size=20), st.integers(1, 100_000))
@example(["9" * 400 + "/1"], 1)
@example(["step 1 loss 9e999", "2/5 0it/s 1e-320s/it"], 5)
def test_any_text_is_survived(lines: list[str], steps: int) -> None:
    facts = read_log(lines, steps)
    assert 0 <= facts.done <= steps
    assert [step for step, _ in facts.losses] == sorted({step for step, _ in facts.losses})


@given(st.data(), st.integers(1, 5000))
def test_what_was_written_is_read(data: st.DataObject, steps: int) -> None:
    done = data.draw(st.integers(0, steps))
    loss = data.draw(st.floats(0, 100, allow_nan=False))
    line = f"Training: {done / steps:4.0%}|███| {done}/{steps} [00:10<00:20, 1.50it/s, loss={loss:.4f}]"
    facts = read_log([line], steps)
    assert (facts.done, facts.rate, facts.seconds_left) == (done, 1.5, 20.0)
    assert facts.loss == float(f"{loss:.4f}")
