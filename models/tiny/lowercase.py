"""The rule by which the T5 tokenizer reads capitals and accented letters as plain small ones.

T5's tokenizer class keeps no normalizer but SentencePiece's own compiled table, so that is what is made here.
"""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import sentencepiece


def _rules() -> Iterator[str]:
    for code in (*range(0x41, 0x5B), *range(0xC0, 0x250)):
        plain = unicodedata.normalize("NFD", chr(code).lower())
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
        if plain != chr(code):
            yield f"{code:X}\t{' '.join(f'{ord(letter):X}' for letter in plain)}"


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A protobuf varint and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def _field(data: bytes, wanted: int) -> bytes:
    """The bytes of one field of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        if key & 7 == 0:
            _, at = _number(data, at)
            continue
        size, at = _number(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
        if key >> 3 == wanted:
            return data[at : at + size]
        at += size
    raise LookupError(wanted)


def lowercase_table() -> bytes:
    """SentencePiece's compiled table of the rules (field 2 of the model's normalizer, field 3)."""
    with tempfile.TemporaryDirectory() as folder:
        rules, text, model = Path(folder, "rules.tsv"), Path(folder, "text"), Path(folder, "model")
        rules.write_text("\n".join(_rules()) + "\n", encoding="utf-8")
        text.write_text("the quick brown fox jumps over the lazy dog\n" * 50, encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(model), vocab_size=40, model_type="char", hard_vocab_limit=False,
            normalization_rule_tsv=str(rules), minloglevel=3,
        )  # fmt: skip
        return _field(_field(model.with_suffix(".model").read_bytes(), 3), 2)
