"""What an import did is said and kept: what was left out, what stays, what is odd, and what a LoKr became."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from limner.catalog import find_base
from limner.errors import BaseUnclear, Conflict, InputRefused, LoraRefused, NotFound
from limner.operations.erasure import subject
from limner.operations.home.workspace import Workspace
from limner.operations.loras import export as lora_export
from limner.operations.loras.actions import Loras
from limner.operations.loras.normalise import in_our_naming
from limner.operations.publications.actions import Publications
from limner.records import Lora
from limner.settings import Settings
from limner.types import Finding

WIDTH = 192
chance = np.random.default_rng(5)
Tensors = dict[str, np.ndarray]


def n(*shape: int) -> np.ndarray:
    return chance.standard_normal(shape).astype(np.float32)


def pair(
    module: str, rows: int = WIDTH, columns: int = WIDTH, *, down: str = "lora_down", up: str = "lora_up"
) -> Tensors:
    return {f"{module}.{down}.weight": n(4, columns), f"{module}.{up}.weight": n(rows, 4)}


KOHYA = "lora_unet_double_blocks_0_img_attn_proj"
DIFFUSERS = "transformer.transformer_blocks.0.attn.to_out.0"
CLIP = {
    "kohya": pair("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 64, 64),
    "bfl": pair("text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj", 64, 64),
    "diffusers": pair("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", 64, 64, down="lora_A", up="lora_B"),
}
T5 = {
    "kohya": pair("lora_te3_encoder_block_0_layer_0_SelfAttention_q", 64, 64),
    "bfl": pair("text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q", 64, 64),
    "diffusers": pair("text_encoder_2.encoder.block.0.layer.0.SelfAttention.q", 64, 64, down="lora_A", up="lora_B"),
}
LAYER = {
    "kohya": pair(KOHYA),
    "bfl": pair("diffusion_model.double_blocks.0.img_attn.proj"),
    "diffusers": pair(DIFFUSERS, down="lora_A", up="lora_B"),
}
LOKR = {f"{KOHYA}.lokr_w1": n(8, 8), f"{KOHYA}.lokr_w2": n(24, 24)}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(Settings(home=tmp_path / "home", start_worker=False))
    yield made
    made.close()


@pytest.fixture
def bring(workspace: Workspace, tmp_path: Path) -> Callable[..., Lora]:
    """Import tensors as a file: ``bring(tensors, metadata=None, **options)``."""

    def made(tensors: Tensors, metadata: dict[str, str] | None = None, **options: object) -> Lora:
        save_file(tensors, tmp_path / "a.safetensors", metadata)
        return Loras(workspace).adopt(tmp_path / "a.safetensors", **({"subject": "zib"} | options))  # type: ignore[arg-type]

    return made


def codes(lora: Lora) -> set[str]:
    return {finding.code for finding in lora.findings}


@pytest.mark.parametrize("naming", LAYER)
def test_clip_stays_where_t5_goes_in_import_and_in_export(
    workspace: Workspace, bring: Callable[..., Lora], tmp_path: Path, naming: str
) -> None:
    made = bring(LAYER[naming] | CLIP[naming] | T5[naming])
    assert codes(made) == {"text-encoder-left-out", "text-encoder", "unread-elsewhere"}
    said = {finding.code: finding.message for finding in made.findings}
    assert said["text-encoder-left-out"].startswith("2 tensors")
    assert "those of CLIP-L stay (layers: 1)" in said["text-encoder-left-out"]
    want = [value for name, value in CLIP[naming].items() if "up" in name or "lora_B" in name]
    for as_naming in ("diffusers", "kohya", "bfl"):
        path = lora_export.export_as(made, as_naming, tmp_path / "out" / f"{as_naming}.safetensors")
        held = load_file(path)
        clip = [value for name, value in held.items() if "self_attn" in name and ("up" in name or "lora_B" in name)]
        np.testing.assert_array_equal(clip, want)
        assert not any("SelfAttention" in name for name in held)


def test_a_trainers_t5_is_left_out_and_its_clip_kept(tmp_path: Path) -> None:
    save_file(LAYER["kohya"] | CLIP["kohya"] | T5["kohya"], tmp_path / "a.safetensors")
    held = load_file(in_our_naming(tmp_path / "a.safetensors", tmp_path / "b.safetensors", find_base("limner-tiny")))
    assert any("self_attn" in name for name in held)
    assert not any("SelfAttention" in name for name in held)


def idle(tensors: Tensors, *ends: str) -> Tensors:
    return {name: value * 0 if name.endswith(ends) else value for name, value in tensors.items()}


IDLE = {
    "alpha is zero": LAYER["kohya"] | {f"{KOHYA}.alpha": np.array(0, np.float32)},
    "the second matrix is zero": idle(LAYER["kohya"], "up.weight"),
    "the first matrix is zero": idle(LAYER["kohya"], "down.weight"),
    "all is zero": idle(LAYER["diffusers"], "weight"),
    "a LoKr of zeros": idle(LOKR, "w2"),
}


@pytest.mark.parametrize("case", IDLE)
def test_a_lora_that_does_nothing_is_said_to(bring: Callable[..., Lora], case: str) -> None:
    assert "does-nothing" in codes(bring(IDLE[case]))


def test_what_an_import_left_out_or_found_odd_is_kept_with_the_lora(
    workspace: Workspace, bring: Callable[..., Lora]
) -> None:
    tensors = (
        LAYER["kohya"] | pair("lora_unet_guidance_in_out_layer") | {"lora_unet_gone.alpha": np.array(1, np.float32)}
    )
    made = bring(tensors, {"ss_sd_model_name": "Chroma1-HD.safetensors"})
    assert codes(made) == {"guidance-left-out", "left-out", "other-model"}
    assert Loras(workspace).get("zib").findings == made.findings
    assert all(isinstance(finding, Finding) for finding in made.findings)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_keep_a_file_out(bring: Callable[..., Lora], value: float) -> None:
    tensors = {name: value_.copy() for name, value_ in LAYER["kohya"].items()}
    tensors[f"{KOHYA}.lora_up.weight"][3, 1] = value
    with pytest.raises(LoraRefused, match="not finite"):
        bring(tensors)


def test_a_plain_lora_has_nothing_to_be_said_of(bring: Callable[..., Lora]) -> None:
    made = bring(LAYER["diffusers"])
    assert (made.findings, made.original) == ((), "")


# --- the base --------------------------------------------------------------------------------------------------------

REAL = pair("transformer.transformer_blocks.18.attn.to_q", 3072, 3072, down="lora_A", up="lora_B")


def test_an_open_base_is_asked_for_and_never_guessed(workspace: Workspace, bring: Callable[..., Lora]) -> None:
    with pytest.raises(BaseUnclear) as question:
        bring(REAL)
    assert question.value.candidates == ("flux1-dev", "flux1-schnell")
    problem = question.value.as_problem()
    assert (problem["status"], problem["candidates"]) == (422, ["flux1-dev", "flux1-schnell"])
    assert not Loras(workspace).all()
    assert not workspace.blobs.digests()
    assert (bring(REAL, base="flux1-schnell").base, bring(REAL, base="flux1-schnell").name) == (
        "flux1-schnell",
        "zib@v1",
    )


def test_a_base_that_the_header_names_is_taken_and_the_reason_kept(bring: Callable[..., Lora]) -> None:
    made = bring(REAL, {"modelspec.architecture": "flux-1-schnell/lora"})
    assert (made.base, codes(made)) == ("flux1-schnell", {"base-by-hint"})
    assert "modelspec.architecture" in made.findings[0].message


# --- LoKr and LoHa ---------------------------------------------------------------------------------------------------


def test_a_lokr_becomes_the_nearest_lora_and_is_kept_as_it_came(
    workspace: Workspace, bring: Callable[..., Lora], tmp_path: Path
) -> None:
    made = bring(LOKR, {"ss_network_module": "lycoris.kohya"}, rank=16)
    assert (made.original, made.rank, made.naming, made.base) == ("lokr", 16, "diffusers", "limner-tiny")
    (finding,) = [one for one in made.findings if one.code == "nearest-lora"]
    assert "%" in finding.message
    assert "a rank of 32" in finding.remedy
    came = (tmp_path / "a.safetensors").read_bytes()
    assert lora_export.export_original(workspace, made, tmp_path / "out.safetensors").read_bytes() == came
    assert bring(LOKR, {"ss_network_module": "lycoris.kohya"}, rank=16).name == "zib@v1"
    finer = bring(LOKR, {"ss_network_module": "lycoris.kohya"}, rank=64)
    assert (finer.name, finer.rank) == ("zib@v2", 64)
    with pytest.raises(Conflict):
        bring(LOKR, {"ss_network_module": "lycoris.kohya"}, rank=64, subject="other")


def test_its_original_goes_when_the_last_that_was_made_of_it_goes(
    workspace: Workspace, bring: Callable[..., Lora]
) -> None:
    first, second = bring(LOKR, rank=4), bring(LOKR, rank=8)
    assert len(workspace.blobs.digests()) == 3
    assert Publications(workspace).delete_lora(first.name).erased["blobs"] == 1
    assert Publications(workspace).delete_lora(second.name).erased["blobs"] == 2
    assert workspace.blobs.digests() == []


def test_a_subject_is_erased_with_its_originals(workspace: Workspace, bring: Callable[..., Lora]) -> None:
    bring(LOKR, rank=4)
    subject.remove(workspace, "zib")
    assert workspace.blobs.digests() == []


def test_a_lokr_of_another_base_is_refused_before_the_work(bring: Callable[..., Lora]) -> None:
    with pytest.raises(LoraRefused, match="fits limner-tiny"):
        bring(LOKR, base="flux1-dev")


def test_a_rank_is_for_what_has_to_be_made_a_lora(bring: Callable[..., Lora]) -> None:
    with pytest.raises(LoraRefused, match="of rank 4 already"):
        bring(LAYER["kohya"], rank=8)
    for rank in (-1, 513):
        with pytest.raises(InputRefused, match="rank"):
            bring(LOKR, rank=rank)


def test_a_plain_lora_has_no_original(workspace: Workspace, bring: Callable[..., Lora], tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        lora_export.export_original(workspace, bring(LAYER["kohya"]), tmp_path / "x.safetensors")
