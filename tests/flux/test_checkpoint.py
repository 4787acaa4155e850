"""A checkpoint that was cut short or changed on the disk: the one before is taken, and it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from limner.flux.checkpoint import Checkpoints

pytestmark = pytest.mark.engine


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


HARM: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a bit of the moments": ("optimizer.safetensors", flip),
    "a bit of the weights": ("weights.safetensors", flip),
    "cut moments": ("optimizer.safetensors", cut),
    "no moments": ("optimizer.safetensors", Path.unlink),
    "a state that is no JSON": ("state.json", lambda path: path.write_text("{")),
    "a state that is a list": ("state.json", lambda path: path.write_text("[1]")),
    "a state without its run": ("state.json", lambda path: path.write_text(json.dumps({"step": 2}))),
}


@pytest.mark.parametrize("name", HARM)
def test_the_checkpoint_before_is_taken(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    parameters = {"a": nn.Parameter(torch.arange(6.0).reshape(2, 3))}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    checkpoints = Checkpoints(tmp_path, "run", {})
    kept = {}
    for step in (1, 2):
        parameters["a"].grad = torch.full((2, 3), float(step))
        optimizer.step()
        checkpoints.save(step, parameters, optimizer, {})
        kept[step] = parameters["a"].detach().clone()
    file, harm = HARM[name]
    harm(checkpoints.folder_of(2) / file)
    assert checkpoints.restore(parameters, optimizer, {}) == 1
    assert torch.equal(parameters["a"], kept[1])
    assert "step-000002 is damaged" in caplog.text
    assert checkpoints.steps() == [1]


def test_one_of_before_digests_were_kept_is_read(tmp_path: Path) -> None:
    parameters = {"a": nn.Parameter(torch.ones(2, 2))}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    parameters["a"].grad = torch.ones(2, 2)
    optimizer.step()
    checkpoints = Checkpoints(tmp_path, "run", {})
    state = checkpoints.save(1, parameters, optimizer, {}) / "state.json"
    said = json.loads(state.read_text())
    del said["sha256"]
    state.write_text(json.dumps(said))
    assert checkpoints.restore(parameters, optimizer, {}) == 1
