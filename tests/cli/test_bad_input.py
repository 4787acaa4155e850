"""Bad input at the command line: one clear message, what to do next, the right exit code, nothing lost."""

from __future__ import annotations

import resource
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from limner.store import Database
from tests.operations.conftest import draw_photos

from .conftest import Outcome, Shell, Trained

LIMNER = [sys.executable, "-m", "limner.cli.main"]


def refused(outcome: Outcome, code: int, *words: str) -> None:
    """One message that names the thing, and one line that says what to do."""
    assert outcome.code == code, outcome.err
    assert not outcome.out
    first, second, *_ = outcome.err.splitlines()
    assert first.startswith("✗ ")
    assert second.startswith("  → ")
    for word in words:
        assert word in outcome.err


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["bad slug", "a/b", "../up", "", "Ärger", "x" * 200])
def test_a_slug_that_cannot_be_one(limner: Shell, slug: str) -> None:
    refused(limner("subjects", "add", slug), 2, "slug")
    assert limner("subjects", "list", "--json").json == []


def test_a_trigger_that_is_a_common_word_is_warned_of(limner: Shell) -> None:
    added = limner("subjects", "add", "rex", "--kind", "pet", "--trigger", "dog")
    assert added.code == 0
    assert added.err.startswith("! The trigger 'dog' is a common word")
    assert "Next: limner photos add rex" in added.out
    again = limner("subjects", "add", "max", "--kind", "pet", "--trigger", "dog", "--json")
    assert not again.err
    assert [finding["severity"] for finding in again.json["findings"]] == ["warning"]


def test_a_slug_that_is_taken(limner: Shell) -> None:
    limner("subjects", "add", "rex", "--kind", "pet")
    refused(limner("subjects", "add", "rex"), 4, "rex")


@pytest.mark.parametrize(
    "words",
    [
        ["subjects", "show", "nobody"],
        ["photos", "list", "nobody"],
        ["photos", "add", "nobody", "."],
        ["datasets", "show", "nobody"],
        ["train", "nobody"],
        ["trainings", "show", "nothing"],
        ["trainings", "resume", "nothing"],
        ["loras", "show", "nobody@v3"],
        ["publish", "nobody"],
        ["generate", "a picture", "--lora", "nobody"],
        ["images", "open", "77"],
        ["inspect", "no-such-file.png"],
        ["reproduce", "no-such-file.png"],
        ["jobs", "show", "abcd"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_named(limner: Shell, words: list[str]) -> None:
    refused(limner(*words), 3)
    assert limner(*words, "--json").problem["status"] == 404


# --- options ----------------------------------------------------------------------------------------------------


def test_an_unknown_trainer_hub_generator_base_and_preset(trained: Trained) -> None:
    before = trained.limner("jobs", "list", "--json").json
    refused(trained.limner("train", "zib", "--trainer", "horde"), 2, "no trainer 'horde'", "local")
    refused(trained.limner("publish", "zib", "--hub", "moon"), 2, "no hub 'moon'", "folder")
    refused(trained.limner("generate", "x", "--lora", "zib", "--generator", "crayon"), 2, "no generator 'crayon'")
    refused(trained.limner("train", "zib", "--base", "sdxl"), 2, "no base 'sdxl'", "limner-tiny")
    refused(trained.limner("train", "zib", "--preset", "slow"), 2, "no preset 'slow'", "quick")
    assert trained.limner("jobs", "list", "--json").json == before


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("rank=0", "rank is 0"),
        ("learning_rate=-1", "learning_rate is -1"),
        ("resolution=1000", "resolution is 1000"),
        ("rank=lots", "rank is 'lots'"),
        ("rnak=8", "Did you mean rank?"),
        ("learning_rate=nan", "learning_rate is nan"),
        ("rank", "'rank' is not NAME=VALUE"),
    ],
)
def test_a_recipe_out_of_range(trained: Trained, pair: str, said: str) -> None:
    refused(trained.limner("train", "zib", "--set", pair), 2, said)


def test_all_that_is_wrong_with_a_recipe_is_said_at_once(trained: Trained) -> None:
    refused(trained.limner("train", "zib", "--set", "rank=0", "--set", "steps=0"), 2, "rank is 0", "steps is 0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"], "SLUG"),
        (["train", "rex", "--sped", "1"], "--sped"),
        (["images", "open", "first"], "IMAGE"),
        (["subjects", "add", "rex", "--kind", "ghost"], "ghost"),
        (["subjects", "add", "rex", "max"], "max"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_misuse_is_one_message_and_with_json_a_problem(limner: Shell, words: list[str], said: str) -> None:
    refused(limner(*words), 2, said, "--help")
    problem = limner(*words, "--json").problem
    assert problem["type"] == "urn:limner:input-refused"
    assert said in problem["detail"]
    assert "--help" in problem["remedy"]


@pytest.mark.parametrize("words", [["--count", "0"], ["--width", "100"], ["--steps", "0"], ["--lora", "zib:much"]])
def test_a_picture_that_cannot_be_drawn(trained: Trained, words: list[str]) -> None:
    outcome = trained.limner("generate", "a drawing", *words)
    assert outcome.code in (2, 3)
    refused(outcome, outcome.code)


def test_a_setting_that_cannot_be_used_is_named(limner: Shell) -> None:
    refused(limner("subjects", "list", env={"LIMNER_WORKERS": "many"}), 2, "'workers' is 'many'", "LIMNER_WORKERS")
    refused(limner("subjects", "list", env={"LIMNER_BASE_PATHS": "{"}), 2, "base_paths")
    limner.home.mkdir(parents=True)
    (limner.home / "limner.toml").write_text("base = ", encoding="utf-8")
    refused(limner("subjects", "list"), 2, "limner.toml")


def test_nobody_is_asked_where_there_is_no_terminal(limner: Shell) -> None:
    limner("subjects", "add", "rex", "--kind", "pet")
    refused(limner("subjects", "remove", "rex"), 2, "--yes")
    assert limner("subjects", "show", "rex").code == 0
    assert limner("subjects", "remove", "rex", "--yes").code == 0


# --- photos and captions ----------------------------------------------------------------------------------------


def subject(trained: Trained, slug: str) -> Shell:
    assert trained.limner("subjects", "add", slug, "--kind", "character").code == 0
    return trained.limner


def test_a_folder_without_photos(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "empty")
    outcome = limner("photos", "add", "empty", tmp_path, "--json")
    assert (outcome.code, outcome.problem["type"]) == (2, "urn:limner:photo-refused")
    assert "No photo was found" in outcome.problem["detail"]
    assert limner("photos", "list", "empty", "--json").json == []


def test_fewer_than_four_photos(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "few")
    assert limner("photos", "add", "few", draw_photos(tmp_path / "photos", 2)).code == 0
    refused(limner("train", "few"), 2, "2 of at least 4", "--allow-few")
    refused(limner("datasets", "freeze", "few"), 2, "2 of at least 4")
    frozen = limner("datasets", "freeze", "few", "--allow-few")
    assert frozen.code == 0
    assert "2 photos" in frozen.out


def test_all_duplicates_are_one_photo_and_too_few_to_train(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "same")
    draw_photos(tmp_path, 1)
    for number in range(5):
        (tmp_path / f"copy-{number}.png").write_bytes((tmp_path / "photo-0.png").read_bytes())
    added = limner("photos", "add", "same", tmp_path, "--json")
    assert added.code == 0, added.err
    assert len(added.json["entries"]) == 6
    assert len({entry["photo"] for entry in added.json["entries"] if entry["photo"]}) == 1
    assert len(limner("photos", "list", "same", "--json").json) == 1
    again = limner("photos", "add", "same", tmp_path)
    assert (again.code, "Next" in again.out) == (0, False), "photos that are there already are no failure"
    refused(limner("train", "same"), 2, "1 of at least 4")


def test_one_bad_file_does_not_stop_the_others_and_says_why(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "mixed")
    draw_photos(tmp_path, 4)
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.png").touch()
    added = limner("photos", "add", "mixed", tmp_path)
    assert added.code == 0
    lines = added.out.splitlines()
    for name in ("text.jpg", "empty.png"):
        at = next(number for number, line in enumerate(lines) if line.startswith(f"✗ {name}"))
        assert lines[at + 1].strip()
    assert "2 refused." in added.out
    assert "Next: limner train mixed" in added.out
    assert len(limner("photos", "list", "mixed", "--json").json) == 4


def test_only_bad_files_end_with_code_2(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "bad")
    (tmp_path / "text.jpg").write_text("no picture", encoding="utf-8")
    added = limner("photos", "add", "bad", tmp_path)
    assert added.code == 2
    assert "0 accepted, 1 refused." in added.out
    assert "Next" not in added.out


def test_captions_for_missing_photos_are_told(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "lost")
    photos = draw_photos(tmp_path / "photos")
    table = tmp_path / "captions.csv"
    table.write_text("file,caption\nphoto-1.png,a drawing of dots\nphoto-77.png,a drawing of stars\n", encoding="utf-8")
    added = limner("photos", "add", "lost", photos, "--captions", table)
    assert added.code == 0
    assert "captions.csv: 1 of 2 captions has no photo: line 3 ('photo-77.png')." in added.err
    captions = {
        Path(photo["source"]).name: photo["caption"] for photo in limner("photos", "list", "lost", "--json").json
    }
    assert captions["photo-1.png"] == "a drawing of dots"


def test_captions_in_an_encoding_of_windows_are_read_and_told(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "latin")
    photos = draw_photos(tmp_path)
    (photos / "photo-2.txt").write_bytes("ein grüner Hügel".encode("latin-1"))
    added = limner("photos", "add", "latin", photos, "--json")
    assert added.code == 0
    [finding] = added.json["caption_findings"]
    assert "photo-2.txt is not UTF-8" in finding["message"]
    assert "UTF-8" in finding["remedy"]
    listed = {
        Path(photo["source"]).name: photo["caption"] for photo in limner("photos", "list", "latin", "--json").json
    }
    assert listed["photo-2.png"] == "ein grüner Hügel"
    assert listed["photo-0.png"]


# --- loras ------------------------------------------------------------------------------------------------------


def lora_file(path: Path, odd: float = 0.1) -> Path:
    """The smallest LoRA for limner-tiny, with one number of one's own."""
    up = np.full((192, 4), 0.1, np.float32)
    up[3, 2] = odd
    layer = "transformer.transformer_blocks.0.attn.to_q"
    save_file({f"{layer}.lora_A.weight": np.full((4, 192), 0.1, np.float32), f"{layer}.lora_B.weight": up}, path)
    return path


def test_a_lora_that_can_be_used(limner: Shell, tmp_path: Path) -> None:
    found = limner("inspect", lora_file(tmp_path / "good.safetensors"))
    assert found.code == 0
    assert found.out.startswith("It can be used on limner-tiny.")


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_weights_that_are_no_numbers(limner: Shell, tmp_path: Path, odd: float) -> None:
    path = lora_file(tmp_path / "nan.safetensors", odd)
    found = limner("inspect", path, "--json")
    assert found.code == 2
    assert "not finite" in found.json["problem"]
    assert "not finite" in limner("inspect", path).out


def test_a_header_that_lies_about_its_length(limner: Shell, tmp_path: Path) -> None:
    path = lora_file(tmp_path / "lies.safetensors")
    data = path.read_bytes()
    for length in (2**62, len(data) + 1, 0):
        path.write_bytes(struct.pack("<Q", length) + data[8:])
        refused(limner("inspect", path), 2, "lies.safetensors", "header")


def test_a_lora_for_sdxl(limner: Shell, tmp_path: Path) -> None:
    path = tmp_path / "xl.safetensors"
    name = "lora_unet_input_blocks_7_1_transformer_blocks_0_attn2_to_k.lora_down.weight"
    save_file({name: np.ones((4, 2048), np.float16)}, path)
    refused(limner("inspect", path), 2, "xl.safetensors is a LoRA for SDXL", "FLUX")


def test_a_flux1_lora_on_a_flux2_base(trained: Trained, tmp_path: Path) -> None:
    refused(trained.limner("generate", "a drawing", "--lora", "zib", "--base", "flux2-dev"), 2, "zib@v1", "flux2-dev")
    asked = trained.limner("inspect", lora_file(tmp_path / "one.safetensors"), "--base", "flux2-dev", "--json")
    assert asked.code == 2
    assert "FLUX.2" in asked.json["problem"]


def test_neither_picture_nor_lora(limner: Shell, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    refused(limner("inspect", tmp_path / "note.txt"), 2, "note.txt", "neither")


def test_a_picture_of_somebody_else_cannot_be_reproduced(limner: Shell, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png")
    outcome = limner("reproduce", tmp_path / "x.png")
    assert outcome.code in (2, 3)
    refused(outcome, outcome.code, "x.png")


# --- disk, database, processes ----------------------------------------------------------------------------------


def test_output_to_a_full_disk(limner: Shell) -> None:
    limner("subjects", "add", "rex", "--kind", "pet")
    with Path("/dev/full").open("w") as full:
        child = subprocess.run(
            [*LIMNER, "subjects", "list"], stdout=full, stderr=subprocess.PIPE, text=True, env=limner.environment
        )
    assert child.returncode == 7
    assert child.stderr.startswith("✗ The output cannot be used: No space left on device.")
    assert len(child.stderr.splitlines()) == 2


def test_a_reader_that_leaves_is_no_error(limner: Shell) -> None:
    child = subprocess.run(
        f"{sys.executable} -m limner.cli.main subject list | true", shell=True, env=limner.environment,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stderr == ""


def test_a_full_disk_while_photos_are_stored_loses_nothing(limner: Shell, tmp_path: Path) -> None:
    """The limit on a file's size stands in for a full disk: the photo's write fails half-way, in the worker."""
    limner("subjects", "add", "rex", "--kind", "pet")
    noise = np.random.default_rng(1).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    words = [*LIMNER, "photos", "add", "rex", str(tmp_path / "noise.png"), "--json"]
    environment = {**limner.environment, "LIMNER_WORKER_IDLE_SECONDS": "0.1"}
    child = subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)),
    )
    problem = Outcome(child.returncode, child.stdout, child.stderr).problem
    assert (child.returncode, problem["status"]) == (7, 507)
    assert limner("photos", "list", "rex", "--json").json == []
    again = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert len(limner("photos", "list", "rex", "--json").json) == 1


def test_a_database_locked_by_another_process(limner: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    limner("subjects", "add", "rex", "--kind", "pet")
    monkeypatch.setitem(Database.__init__.__kwdefaults__, "busy_milliseconds", 100)
    holder = sqlite3.connect(limner.home / "limner.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        refused(limner("subjects", "add", "max", "--kind", "pet"), 7, "locked by another process")
        assert limner("subjects", "add", "max", "--json").problem["status"] == 507
        assert [found["slug"] for found in limner("subjects", "list", "--json").json] == ["rex"]
    finally:
        holder.close()
    assert limner("subjects", "add", "max", "--kind", "pet").code == 0


def test_a_home_that_cannot_be_used(limner: Shell) -> None:
    limner.home.parent.mkdir(parents=True, exist_ok=True)
    limner.home.write_text("a file where the folder should be", encoding="utf-8")
    refused(limner("subjects", "list"), 7, str(limner.home), "LIMNER_HOME")
    limner.home.unlink()


def test_two_processes_at_once_on_one_store(limner: Shell) -> None:
    """On a home that is made by the first of them; the same slug is taken once."""
    slugs = ["ann", "bob", "cat", "cat"]
    running = [
        subprocess.Popen(
            [*LIMNER, "subjects", "add", slug, "--kind", "pet", "--json"],
            env=limner.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for slug in slugs
    ]
    ended = [(process.communicate(), process.returncode) for process in running]
    assert sorted(code for _, code in ended) == [0, 0, 0, 4], ended
    assert [found["slug"] for found in limner("subjects", "list", "--json").json] == ["ann", "bob", "cat"]


def test_two_intakes_of_the_same_photos_at_once_keep_each_once(trained: Trained, tmp_path: Path) -> None:
    limner = subject(trained, "twice")
    photos = draw_photos(tmp_path)
    started = [limner("photos", "add", "twice", photos, "--detach", "--json").json["id"] for _ in range(2)]
    assert [limner("jobs", "watch", job).code for job in started] == [0, 0]
    assert len(limner("photos", "list", "twice", "--json").json) == 5
