"""What text encoders read: counted against the tokenizers' own words, guessed where they are not here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from limner.catalog import base_location, bases, find_base
from limner.catalog.text_encoders import cut_text, encoders_of

TINY = find_base("limner-tiny")


def test_every_base_says_what_its_encoders_read() -> None:
    for base in bases().values():
        read = encoders_of(base)
        assert [encoder.main for encoder in read] == [False] * (len(read) - 1) + [True]
        assert read[-1].tokens == base.max_text_tokens
    assert [(one.title, one.tokens, one.folder) for one in encoders_of(find_base("flux1-dev"))] == [
        ("CLIP", 77, "tokenizer"),
        ("T5", 512, "tokenizer_2"),
    ]
    assert [one.title for one in encoders_of(find_base("flux2-klein-4b"))] == ["Qwen3"]


@pytest.mark.parametrize("words", range(1, 60, 3))
def test_the_tokenizer_of_the_base_counts(words: int) -> None:
    folder = base_location(TINY)
    text = " ".join(["a", "red", "dog", "running", "fast"][n % 5] for n in range(words))
    for encoder in encoders_of(TINY):
        tokenizer = Tokenizer.from_file(f"{folder}/{encoder.folder}/tokenizer.json")
        tokenizer.no_truncation()
        tokenizer.no_padding()
        count = len(tokenizer.encode(text).ids)
        assert encoder.count(text, folder) == count
        cut = cut_text(text, encoder, folder)
        assert bool(cut) is (count > encoder.tokens)
        assert not cut or f"{encoder.tokens} of its {count} tokens" in cut


def test_the_older_files_of_clip_count_as_its_own_tokenizer(tmp_path: Path) -> None:
    made = tmp_path / "tokenizer"
    made.mkdir()
    model = json.loads((Path(base_location(TINY)) / "tokenizer/tokenizer.json").read_text())["model"]
    (made / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (made / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges))
    clip = encoders_of(TINY)[0]
    for text in ("a photo of a dog", "A Red dog,  it's 12 years old!", "dog " * 90, "schön 小"):
        assert clip.count(text, str(tmp_path)) == clip.count(text, base_location(TINY)), text


@pytest.mark.parametrize("text", ["a photo of rex_dog on grass", "short " * 5, "犬" * 5])
def test_short_captions_are_never_cut(text: str) -> None:
    for encoder in encoders_of(find_base("flux1-dev")):
        assert cut_text(text, encoder, "/nowhere") == ""


@pytest.mark.parametrize("text", ["a dog runs over the wide green meadow. " * 12, "犬が走る。" * 40, "a, " * 60])
def test_without_a_tokenizer_the_count_is_a_guess_and_said_to_be(text: str, tmp_path: Path) -> None:
    clip = encoders_of(find_base("flux1-dev"))[0]
    assert "about" in cut_text(text, clip, "/nowhere")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/tokenizer.json").write_text("{broken")
    assert "about" in cut_text(text, clip, str(tmp_path))


def test_a_row_without_limits_of_its_own_reads_the_same_by_all() -> None:
    assert [one.tokens for one in encoders_of(replace(TINY, text_tokens=()))] == [48, 48]
