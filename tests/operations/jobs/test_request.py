"""A stage's request: what is written comes back, and rows of older versions are still read."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from limner.catalog import find_base
from limner.errors import WorkFailed
from limner.operations.datasets.job import FreezeOptions, FreezeRequest
from limner.operations.generations.request import GenerateRequest
from limner.operations.jobs.request import StageRequest
from limner.operations.jobs.worker import STAGES
from limner.operations.loras.job import ImportRequest
from limner.operations.loras.sources import Found
from limner.operations.maintenance.verification import VerifyRequest
from limner.operations.publications.job import PublishRequest
from limner.operations.trainings.request import TrainRequest
from limner.operations.uploads.request import IntakeRequest
from limner.training.recipe import plain, preset
from limner.types import LoraUse, SubjectKind, Visibility

RECIPE = preset(
    "quick", find_base("limner-tiny"), rank=3, **{"layer_ranks": [["attn", 4, 2.0]], "trainer.mood": "calm"}
)
PICTURE = {
    "generation": "generation_1",
    "prompt": "a dog",
    "base": "limner-tiny",
    "generator": "local",
    "width": 128,
    "height": 128,
    "steps": 4,
    "guidance": 3.5,
    "seed": 7,
    "count": 1,
}
USE = LoraUse("d" * 64, 1.0, "owner/repo", trigger="zib", url="https://x.test/a", candidates=("flux1-dev",))
OLD_USE = {
    "digest": "d" * 64,
    "scale": 1.0,
    "name": "owner/repo",
    "trigger": "zib",
    "path": None,
    "url": "https://x.test/a",
    "base": "",
    "tensor_digest": "",
    "byte_size": 0,
    "hosted": {},
    "naming": "",
    "candidates": ["flux1-dev"],
}
ADOPTION = {
    "subject": "ink",
    "kind": "style",
    "trigger": "",
    "name": "",
    "base": "",
    "rank": 0,
    "drop_additions": False,
}
FOUND = {
    "name": "x",
    "public": True,
    "byte_size": 0,
    "sha256": "",
    "base": "",
    "trigger": "",
    "model": "",
    "config": "",
}
WRITTEN: list[tuple[dict[str, Any], StageRequest]] = [
    (
        {"stage": "intake", "subject": "rex", "paths": ["/a/\udcff.png"], "captions": [], "replace_captions": True},
        IntakeRequest(subject="rex", paths=("/a/\udcff.png",), replace_captions=True),
    ),
    (
        {"stage": "intake", "subject": "rex", "paths": [], "captions": [], "batch": "upload_1", "reopen": True},
        IntakeRequest(subject="rex", batch="upload_1", reopen=True),
    ),
    (
        {"stage": "freeze", "subject": "rex", "options": {"base": "limner-tiny", "resolution": 128, "allow_few": True}},
        FreezeRequest(subject="rex", options=FreezeOptions(base="limner-tiny", resolution=128, allow_few=True)),
    ),
    ({"stage": "freeze", "subject": "rex"}, FreezeRequest(subject="rex")),
    (
        {
            "stage": "train",
            "subject": "rex",
            "training": "training_1",
            "base": "limner-tiny",
            "trainer": "local",
            "recipe": json.loads(json.dumps(plain(RECIPE))),
            "dataset": "",
            "sample_prompts": ["{trigger} at sea"],
        },
        TrainRequest(
            subject="rex",
            training="training_1",
            base="limner-tiny",
            trainer="local",
            recipe=RECIPE,
            sample_prompts=("{trigger} at sea",),
        ),
    ),
    (
        {"stage": "publish", "lora": "rex@v1", "hub": "folder", "repo": "rex", "visibility": "public"},
        PublishRequest(lora="rex@v1", hub="folder", repo="rex", visibility=Visibility.PUBLIC),
    ),
    (
        {"stage": "generate", **PICTURE, "loras": [["owner/repo", 1], ["", 0.5]], "remote": {"owner/repo": OLD_USE}},
        GenerateRequest(**PICTURE, loras=(("owner/repo", 1.0), ("", 0.5)), remote={"owner/repo": USE}),
    ),
    (
        {"stage": "generate", **PICTURE, "loras": [], "subject": "rex", "extra": {"go": [1, None]}, "filled": True},
        GenerateRequest(**PICTURE, subject="rex", extra={"go": [1, None]}, filled=True),
    ),
    (
        {
            "stage": "import",
            "found": {"url": "https://x.test/a", **FOUND},
            "from_here": True,
            "owned": False,
            **ADOPTION,
            "folder": "job_1",
        },
        ImportRequest(
            found=Found("https://x.test/a", "x"),
            from_here=True,
            owned=False,
            subject="ink",
            kind=SubjectKind.STYLE,
            folder="job_1",
        ),
    ),
    ({"stage": "verify", "remove_stray": False, "folder": "job_1"}, VerifyRequest(folder="job_1")),
]
"""Rows as the versions before typed requests wrote them, and what they are."""


@pytest.mark.parametrize(("row", "request_"), WRITTEN)
def test_a_row_of_an_older_version_is_read(row: dict[str, Any], request_: StageRequest) -> None:
    assert type(request_).from_json(row) == request_


@pytest.mark.parametrize("request_", [request for _, request in WRITTEN])
def test_what_is_written_comes_back(request_: StageRequest) -> None:
    row = json.loads(json.dumps(request_.to_json()))
    assert row["stage"] == request_.stage
    assert type(request_).from_json(row) == request_


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_says_what_it_is_asked(stage: str) -> None:
    place, kind = STAGES[stage]
    module = importlib.import_module(place)
    assert getattr(module, kind).stage == stage
    assert module.stage.__annotations__["request"] == kind


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wish": 1}, "wish: Unexpected keyword argument"),
        ({"seed": "soon"}, "seed: Input should be a valid integer"),
        ({"loras": [["rex@v1"]]}, "loras.0.1: Field required"),
    ],
)
def test_what_cannot_be_read_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WorkFailed, match=words) as refused:
        GenerateRequest.from_json({"stage": "generate", **PICTURE, **changes})
    assert "'generate'" in refused.value.message


def test_an_erased_request_is_said() -> None:
    with pytest.raises(WorkFailed, match="generation: Field required"):
        GenerateRequest.from_json({"stage": "generate"})
