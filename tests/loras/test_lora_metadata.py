"""What is written into the header, and that nothing of the machine or the captions leaves it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from limner.catalog import bases, find_base
from limner.errors import StorageFailed
from limner.loras import inspect, lora_metadata, seal, strip
from limner.loras.file.writing import write_weights

from .making import diffusers_file, flux1_linears

TINY = find_base("limner-tiny")
LEAKY = {
    "ss_tag_frequency": '{"10_jane": {"jane in her kitchen": 4}}',
    "ss_dataset_dirs": '{"/home/jane/pictures": {"n_repeats": 10}}',
    "ss_datasets": "[]",
    "ss_sd_model_name": "/home/jane/models/flux1-dev.safetensors",
    "ss_training_comment": "for jane",
    "ss_output_name": "jane_v1",
    "ss_session_id": "123",
    "ss_network_args": "{}",
    "modelspec.thumbnail": "data:image/jpeg;base64,AAAA",
    "modelspec.description": "made from /home/jane/pictures",
    "modelspec.title": "C:\\Users\\jane\\lora",
    "limner.recipe": '{"path":"~/pictures/jane"}',
    "captions": "jane",
    "training_info": "{}",
    "software": "x",
}
HARMLESS = {
    "ss_network_dim": "16",
    "ss_network_alpha": "16.0",
    "ss_learning_rate": "0.0001",
    "modelspec.license": "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
    "modelspec.architecture": "flux-1-dev/lora",
    "modelspec.date": "2026-11-24T02:00:00",
    "limner.trigger": "jane_doe",
    "instance_prompt": "jane_doe",
}


def test_what_leaks_is_removed_and_what_helps_is_kept() -> None:
    kept, removed = strip(LEAKY | HARMLESS)
    assert kept == HARMLESS
    assert set(removed) == set(LEAKY)


@pytest.mark.parametrize(
    "text", ["/home/x/y", "see /data/x", "~/x", "D:/photos", "\\\\nas\\photos", "file:///x", "../x"]
)
def test_every_form_of_path_is_seen(text: str) -> None:
    assert strip({"modelspec.title": text})[0] == {}


@given(st.dictionaries(st.text(max_size=30) | st.sampled_from(sorted(LEAKY | HARMLESS)), st.text(max_size=60)))
def test_stripping_only_takes_away_and_is_done_after_once(metadata: dict[str, str]) -> None:
    kept, removed = strip(metadata)
    assert all(metadata[key] == value for key, value in kept.items() if key != "lora_adapter_metadata")
    assert {*kept, *removed} == set(metadata)
    assert strip(kept) == (kept, ())


def test_the_strength_survives_and_its_paths_do_not(tmp_path: Path) -> None:
    config = {"transformer.r": 4, "transformer.lora_alpha": 2, "transformer.base_model_name_or_path": "/home/jane/flux"}
    metadata = {"lora_adapter_metadata": json.dumps(config), **LEAKY}
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears(), metadata=metadata)
    assert inspect(path).alpha == 2.0
    sealed = seal(path, lora_metadata(TINY, title="Jane", trigger="jane_doe"), tmp_path / "b.safetensors")
    facts = inspect(sealed.path)
    assert facts.alpha == 2.0
    assert b"/home/jane" not in sealed.path.read_bytes()
    assert set(sealed.removed) == set(LEAKY)
    quiet = json.dumps({"transformer.r": 4})
    assert strip({"lora_adapter_metadata": quiet})[0] == {"lora_adapter_metadata": quiet}


def test_sealing_keeps_the_tensors_and_records_their_digest(tmp_path: Path) -> None:
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears(), dtype=torch.bfloat16)
    before = inspect(path)
    recipe = {"rank": 4, "steps": 10, "seed": 0}
    metadata = lora_metadata(TINY, title="Zoë ☂", trigger="zoe_x", dataset_digest="ab" * 32, recipe=recipe, licence="x")
    sealed = seal(path, metadata, tmp_path / "deep" / "b.safetensors")
    facts = inspect(sealed.path)
    assert (sealed.digest, sealed.tensor_digest) == (facts.digest, facts.tensor_digest)
    assert facts.tensor_digest == before.tensor_digest
    assert facts.digest != before.digest
    assert (facts.trigger, facts.base, facts.findings) == ("zoe_x", "limner-tiny", ())
    with safe_open(sealed.path, framework="pt") as file:
        read = file.metadata()
    assert read["modelspec.hash_sha256"] == "0x" + before.tensor_digest
    assert json.loads(read["limner.recipe"]) == recipe
    assert read["modelspec.title"] == "Zoë ☂"
    old, new = load_file(path), load_file(sealed.path)
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_sealing_is_reproducible_in_any_process(tmp_path: Path) -> None:
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears())
    metadata = dict(reversed(lora_metadata(TINY, title="A", trigger="t", recipe={"b": 1, "a": 2}).items()))
    digest = seal(path, metadata, tmp_path / "b.safetensors").digest
    code = (
        "import sys; from pathlib import Path; from limner.loras import seal, lora_metadata;"
        "from limner.catalog import find_base;"
        "m = lora_metadata(find_base('limner-tiny'), title='A', trigger='t', recipe={'a': 2, 'b': 1});"
        "print(seal(Path(sys.argv[1]), m, Path(sys.argv[2])).digest)"
    )
    run = [sys.executable, "-c", code, str(path), str(tmp_path / "c.safetensors")]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip() == digest
    # sealing again what was sealed changes nothing
    assert seal(tmp_path / "b.safetensors", metadata, tmp_path / "d.safetensors").digest == digest


def test_tensors_that_were_changed_after_sealing_are_told(tmp_path: Path) -> None:
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears())
    sealed = seal(path, lora_metadata(TINY, title="A"), tmp_path / "b.safetensors").path
    data = bytearray(sealed.read_bytes())
    data[-2] ^= 1
    sealed.write_bytes(data)
    assert [finding.code for finding in inspect(sealed).findings] == ["digest-disagrees"]


@pytest.mark.parametrize("base", bases().values(), ids=lambda base: base.id)
def test_our_metadata_names_the_base_also_to_others(tmp_path: Path, base: object) -> None:
    metadata = lora_metadata(base, title="A", trigger="t")  # type: ignore[arg-type]
    assert metadata["modelspec.architecture"].endswith("/lora")
    assert strip(metadata) == (metadata, ())
    del metadata["limner.base"]
    from limner.loras.file.metadata import declared_bases

    assert declared_bases(metadata) == [base.id]  # type: ignore[attr-defined]


def test_flux1_dev_has_the_architecture_that_kohya_writes() -> None:
    assert lora_metadata(find_base("flux1-dev"), title="A")["modelspec.architecture"] == "flux-1-dev/lora"


@pytest.mark.parametrize(
    ("metadata", "trigger"),
    [
        ({"limner.trigger": "a", "instance_prompt": "b"}, "a"),
        ({"modelspec.trigger_phrase": "c"}, "c"),
        ({"instance_prompt": " d "}, "d"),
        ({"trigger_word": "e"}, "e"),
        ({"limner.trigger": " ", "instance_prompt": "f"}, "f"),
        ({}, ""),
    ],
)
def test_the_trigger_is_found(tmp_path: Path, metadata: dict[str, str], trigger: str) -> None:
    assert inspect(diffusers_file(tmp_path / "a.safetensors", flux1_linears(), metadata=metadata)).trigger == trigger


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears())
    code = (
        "import resource, sys; from pathlib import Path; from limner.loras import seal; from limner.errors import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: seal(Path(sys.argv[1]), {}, Path(sys.argv[2]))\n"
        "except StorageFailed as failure: print(failure)\n"
    )
    target = tmp_path / "out" / "b.safetensors"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), str(target)], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in run.stdout
    assert list(target.parent.iterdir()) == []


def test_a_folder_in_the_way_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    path = diffusers_file(tmp_path / "a.safetensors", flux1_linears())
    with pytest.raises(StorageFailed):
        seal(path, {}, tmp_path / "out" / "b.safetensors")


def test_what_is_written_is_aligned_and_read_by_the_library(tmp_path: Path) -> None:
    from limner.loras.file.number_formats import encode

    path = tmp_path / "a.safetensors"
    values = torch.randn(3, 5, dtype=torch.float64).numpy()
    write_weights(
        path, {"b": encode(values, "BF16"), "a": encode(values, "F32"), "c": encode(values, "F64")}, {"z": "1"}
    )
    read = load_file(path)
    assert {name: tensor.dtype for name, tensor in read.items()} == {
        "a": torch.float32,
        "b": torch.bfloat16,
        "c": torch.float64,
    }
    assert torch.equal(read["c"], torch.from_numpy(values))
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert header % 8 == 0


def test_importing_the_stage_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, limner.loras, limner.hubs; print({'torch', 'numpy', 'safetensors'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
    code = "import sys; from limner.loras import *; print({'torch', 'safetensors'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
