"""The parts of the trainer replicate that need no server: logs, the tar filter, words for failures."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import WorkFailed
from limner.stand_ins.replicate.jobs import _bar, make_tar
from limner.training.replicate import archive
from limner.training.replicate.archive import DamagedArchive, take_weights
from limner.training.replicate.log_lines import TAIL, log_tail, read_log
from limner.training.replicate.outcomes import explain
from limner.training.replicate.state import KeptFile, RunState
from limner.types import JobState
from limner.vendors.replicate.input_schema import check_inputs, input_fields

# --- logs -----------------------------------------------------------------------------------------------------------

REAL = """Extracted 12 files from zip to input_images
Loading pipeline components...: 100%|##########| 7/7 [00:03<00:00,  2.11it/s]
Caching latents:  50%|█████     | 6/12 [00:01<00:01,  4.87it/s]
flux_train_replicate:   0%|          | 0/1000 [00:00<?, ?it/s]
flux_train_replicate:  12%|█▏        | 123/1000 [02:01<14:15,  1.03it/s, lr: 4.0e-04 loss: 3.532e-01]
"""


def test_a_real_line_is_read() -> None:
    reading = read_log(REAL, 1000)
    assert (reading.done, reading.total, reading.rate, reading.seconds_left) == (123, 1000, 1.03, 14 * 60 + 15)
    assert reading.losses == ((123, 0.3532),) and reading.loss == 0.3532 and reading.phase == "training"


def test_slow_steps_hours_and_phases() -> None:
    slow = "x:  1%|▏  | 10/1000 [1:02:03<20:01:02,  2.50s/it, lr: 1.0e-04 loss: 1.000e+00]"
    reading = read_log(slow, 1000)
    assert reading.rate == 0.4 and reading.seconds_left == 20 * 3600 + 62
    assert (
        read_log("Caching latents:  50%|█████     | 6/12 [00:01<00:01,  4.87it/s]", 1000).phase == "reading the photos"
    )
    assert read_log("Captioning image 3", 1000).phase == "writing captions"
    assert read_log("", 1000).phase == "" and read_log("", 1000).total == 1000


@given(
    step=st.integers(1, 6000),
    more=st.integers(0, 6000),
    spent=st.floats(0.1, 90_000),
    rate=st.floats(1e-6, 1e-2),
    loss=st.floats(0, 1e4),
    before=st.text(max_size=80),
    after=st.text(max_size=80),
)
def test_a_printed_bar_is_read_back(
    step: int, more: int, spent: float, rate: float, loss: float, before: str, after: str
) -> None:
    steps = step + more
    reading = read_log(
        before.replace("%", "") + _bar(step, steps, spent, rate, loss) + "\n" + after.replace("%", ""), steps
    )
    assert (reading.done, reading.total) == (step, steps)
    assert reading.loss == pytest.approx(loss, rel=1e-3, abs=1e-300)
    assert reading.seconds_left is not None and abs(reading.seconds_left - (steps - step) * spent / step) <= 1.0


@given(text=st.text(max_size=400), steps=st.integers(-5, 10_000))
def test_any_text_is_survived(text: str, steps: int) -> None:
    reading = read_log(text, steps)
    assert 0 <= reading.done <= max(reading.total, 0) and len(log_tail(text)) <= TAIL


@given(
    st.lists(
        st.sampled_from(
            [
                "flux: ",
                "12%|",
                "█▏ |",
                "| 5/10 [",
                "00:01<00:02",
                ", 1.0it/s",
                ", loss: ",
                "nan",
                "1e400",
                "]",
                "\r",
                "0/0",
                "[?<?",
            ]
        ),
        max_size=30,
    )
)
def test_broken_bars_are_survived(parts: list[str]) -> None:
    reading = read_log("".join(parts), 10)
    assert 0 <= reading.done <= reading.total
    assert [step for step, _ in reading.losses] == sorted({step for step, _ in reading.losses})


def test_a_long_log_is_read_fast() -> None:
    log = "".join(_bar(step, 6000, step * 0.5, 4e-4, 0.3) for step in range(1, 6001))
    assert len(read_log(log, 6000).losses) == 6000
    assert read_log("9" * 200_000 + "%|" * 1000, 10).done == 0
    assert log_tail(log).count("\n") == 0


# --- the tar --------------------------------------------------------------------------------------------------------

LORA = (16).to_bytes(8, "little") + b'{"__metadata__":' + b"\0" * 64


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry, data in members:
            tar.addfile(entry, io.BytesIO(data) if entry.isreg() else None)
    return out.getvalue()


def member(
    name: str, data: bytes = LORA, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
    return entry, data


def taken(folder: Path, data: bytes) -> Path:
    given_tar = folder / "given"
    given_tar.write_bytes(data)
    return take_weights(given_tar, folder / "weights.safetensors")


@pytest.mark.parametrize("name", ["lora.safetensors", "flux-lora.safetensors", "anything at all.SAFETENSORS"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_only_the_weights_are_taken(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    tar = pack(make_tar(name, LORA, [("001.jpg", "a secret caption"), ("002.jpg", "another")]))
    assert taken(tmp_path, tar).read_bytes() == LORA
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "weights.safetensors"]


def test_bare_weights_are_taken_as_they_are(tmp_path: Path) -> None:
    assert taken(tmp_path, LORA).read_bytes() == LORA


def test_what_else_is_in_the_tar_does_no_harm(tmp_path: Path) -> None:
    tar = tar_of(
        member("../../evil.txt", b"x"),
        member("/etc/cron.d/evil", b"x"),
        member("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("device", kind=tarfile.CHRTYPE),
        member("__MACOSX/._lora.safetensors", b"x"),
        member("output/lora.safetensors"),
    )
    assert taken(tmp_path / ".", tar).read_bytes() == LORA
    assert not (tmp_path.parent.parent / "evil.txt").exists()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([member("config.yaml", b"x")], "no .safetensors"),
        ([], "no .safetensors"),
        ([member("a.safetensors"), member("b.safetensors")], "2 .safetensors files"),
        ([member("../lora.safetensors")], "leads out"),
        ([member("/lora.safetensors")], "leads out"),
        ([member("a/../../lora.safetensors")], "leads out"),
        ([member("..\\lora.safetensors")], "leads out"),
        ([member("lora.safetensors", kind=tarfile.SYMTYPE, link="/etc/passwd")], "link or a device"),
        ([member("lora.safetensors", kind=tarfile.LNKTYPE, link="config.yaml")], "link or a device"),
        ([member("lora.safetensors", kind=tarfile.CHRTYPE)], "link or a device"),
        ([member("lora.safetensors", kind=tarfile.FIFOTYPE)], "link or a device"),
        ([member("lora.safetensors", b"")], "no bytes"),
    ],
)
def test_tricks_are_refused_in_words(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], words: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(WorkFailed) as refusal:
        taken(folder, tar_of(*members))
    assert words in refusal.value.message and refusal.value.remedy
    assert [path.name for path in folder.iterdir()] == ["given"] and list(tmp_path.iterdir()) == [folder]


def test_huge_weights_and_endless_tars_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_WEIGHTS", 50)
    with pytest.raises(WorkFailed, match="GB"):
        taken(tmp_path, tar_of(member("lora.safetensors")))
    monkeypatch.setattr(archive, "MOST_MEMBERS", 5)
    with pytest.raises(WorkFailed, match="unpacks to more"):
        taken(tmp_path, tar_of(*(member(f"{n}.txt", b"") for n in range(9))))
    entry, _ = member("lora.safetensors")
    entry.size = 8**11 - 1
    with pytest.raises(WorkFailed, match="more than any training"):
        taken(tmp_path, entry.tobuf())


@given(cut=st.integers(0, 4000), flip=st.integers(0, 3000), how=st.booleans())
def test_a_damaged_tar_is_told_or_still_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, how: bool
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    data = gzip.compress(make_tar("lora.safetensors", LORA, [])) if how else make_tar("lora.safetensors", LORA, [])
    spoiled = bytearray(data[: len(data) - min(cut, len(data))])
    if spoiled:
        spoiled[flip % len(spoiled)] ^= 0xFF
    try:
        weights = taken(folder, bytes(spoiled))
    except WorkFailed as refusal:
        assert refusal.remedy
    else:
        assert len(weights.read_bytes()) == len(LORA) or not how
    assert not (folder / "weights.safetensors.partial").exists()


def test_a_tar_cut_short_is_worth_another_fetch(tmp_path: Path) -> None:
    data = make_tar("lora.safetensors", LORA * 1000, [])
    with pytest.raises(DamagedArchive):
        taken(tmp_path, data[: len(data) // 2])
    with pytest.raises(DamagedArchive):
        taken(tmp_path, gzip.compress(data)[:-30])


# --- inputs, words, state -------------------------------------------------------------------------------------------


def schema(**properties: object) -> dict[str, object]:
    return {
        "components": {
            "schemas": {"TrainingInput": {"properties": properties, "required": ["a"]}, "kind": {"enum": ["x", "y"]}}
        }
    }


def test_fields_of_any_form_are_read() -> None:
    fields = input_fields(
        schema(
            a={"type": "string"},
            b={"allOf": [{"$ref": "#/components/schemas/kind"}], "default": "x"},
            c={"anyOf": [{"type": "integer", "minimum": 2}, {"type": "null"}]},
            d={"type": ["number", "null"], "maximum": 1},
            e={"type": "string", "format": "password"},
            f="nonsense",
        ),
        "TrainingInput",
    )
    assert fields["a"].required and fields["b"].choices == ("x", "y")
    assert (fields["c"].kind, fields["c"].lowest, fields["d"].kind, fields["d"].highest) == ("integer", 2, "number", 1)
    assert fields["e"].secret and "f" not in fields
    clean, found = check_inputs(fields, {"a": 5, "b": "x", "c": 3.0, "d": 1})
    assert clean == {"a": "5", "b": "x", "c": 3, "d": 1} and found == []
    _, found = check_inputs(fields, {"b": "z", "c": 1, "d": True, "e": "key"})
    assert len(found) == 5 and "key" not in str([one.message.split("'")[3:] for one in found])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "components",
                        "schemas",
                        "TrainingInput",
                        "properties",
                        "type",
                        "enum",
                        "allOf",
                        "required",
                        "minimum",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=30,
    )
)
def test_no_schema_however_odd_breaks_the_reading(odd: object) -> None:
    fields = input_fields(odd if isinstance(odd, dict) else {}, "TrainingInput")
    check_inputs(fields, {"a": 1, "type": "x"})


def test_the_words_for_a_stop_depend_on_who_stopped() -> None:
    assert explain("canceled", "", "", True)[:2] == (JobState.CANCELLED, "The training was stopped.")
    assert "somebody with the account" in explain("canceled", "", "")[1]
    assert "no credit" in explain("failed", "Insufficient credit to run", "")[1]
    for _, message, remedy in (explain("failed", "zip? x" * 200, ""), explain("vanished", "", "")):
        assert len(message) < 500 and remedy


def test_a_state_survives_what_a_newer_or_broken_one_wrote(tmp_path: Path) -> None:
    state = RunState(tmp_path, version="v", files=[KeptFile("f", "u", "s", 1.0)], earlier=["t"])
    state.save()
    assert RunState.load(tmp_path) == state
    (tmp_path / "replicate.json").write_text('{"version": "v", "new": 1}')
    assert RunState.load(tmp_path).version == "v"
    (tmp_path / "replicate.json").write_text("{")
    assert RunState.load(tmp_path) == RunState(tmp_path)
