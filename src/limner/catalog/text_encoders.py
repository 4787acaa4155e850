"""What a base's text encoders read of a text: how many tokens each, counted by their own tokenizers where they are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from limner.types import Base

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TextEncoder", "cut_text", "encoders_of", "main_encoder"]

# How CLIP's tokenizer takes a text apart before it joins letters.
_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_ROUGHLY = re.compile(r"[a-zA-Z]{1,6}|[0-9]|[^\sa-zA-Z0-9]")
"""About a token each, where the tokenizer is not here: a short word or part of one, a digit, a sign."""
_SHOWN = 24


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """One of a base's text encoders: ``tokens`` is how many it reads, with the marks at the ends.

    ``folder`` holds its tokenizer in a pipeline. ``main``: the words come from it; others give the picture's sense.
    """

    title: str
    folder: str
    tokens: int
    main: bool

    def count(self, text: str, base_path: str) -> int | None:
        """How many tokens it makes of a text; None where its tokenizer is not on this machine."""
        tokenizer = _tokenizer_of(base_path, self.folder)
        if tokenizer is None:
            return None
        try:
            return len(tokenizer.encode(text).ids)
        except Exception:  # the library raises nothing narrower; loading the base tells of it
            return None


def encoders_of(base: Base) -> tuple[TextEncoder, ...]:
    """The text encoders in their order in the pipeline; the last is the main one."""
    limits = base.text_tokens or (base.max_text_tokens,) * len(base.text_encoders)
    last = len(base.text_encoders) - 1
    return tuple(
        TextEncoder(_title(name), f"tokenizer_{number + 1}" if number else "tokenizer", limit, number == last)
        for number, (name, limit) in enumerate(zip(base.text_encoders, limits, strict=True))
    )


def main_encoder(base: Base) -> TextEncoder:
    """The one whose limit is ``max_text_tokens``."""
    return encoders_of(base)[-1]


def cut_text(text: str, encoder: TextEncoder, base_path: str) -> str:
    """What an encoder does not read of a text, in words; "" if it reads all of it.

    Counted by its tokenizer; where that is not here, guessed and said to be.
    """
    # A token is a byte at least, so that a short text needs no tokenizer.
    if len(text.encode("utf-8", "replace")) + 2 <= encoder.tokens:
        return ""
    tokenizer = _tokenizer_of(base_path, encoder.folder)
    try:
        encoding = tokenizer.encode(text) if tokenizer is not None else None
    except Exception:  # the library raises nothing narrower
        encoding = None
    if encoding is None:
        guess = 2 + sum(1 if piece.isascii() else 1.5 for piece in _ROUGHLY.findall(text))
        much = guess > encoder.tokens
        return f"{encoder.title} reads {encoder.tokens} tokens; it has about {math.ceil(guess)}" if much else ""
    if len(encoding.ids) <= encoder.tokens:
        return ""
    # The mark at the end stays, so one less is of the text.
    last = encoding.offsets[encoder.tokens - 2][1]
    kept = text[:last][-_SHOWN:].strip()
    return f"{encoder.title} reads {encoder.tokens} of its {len(encoding.ids)} tokens, up to '…{kept}'"


def _title(name: str) -> str:
    """CLIP of CLIPTextModel, Qwen3 of Qwen3ForCausalLM."""
    found = re.match(r"(.+?)(?=Text|Encoder|For|Model|$)", name)
    return found[1] if found else name


def _tokenizer_of(base_path: str, folder: str) -> Tokenizer | None:
    if find_spec("tokenizers") is None:
        return None
    try:
        if path := _local_file(base_path, f"{folder}/tokenizer.json"):
            return _read(path)
        vocabulary, merges = (_local_file(base_path, f"{folder}/{name}") for name in ("vocab.json", "merges.txt"))
        return _clip(vocabulary, merges) if vocabulary and merges else None
    except Exception:  # of a damaged file; loading the base tells of it
        return None


def _local_file(base_path: str, name: str) -> Path | None:
    """A file of a base that is already here: in its folder, or in the Hub's cache. No network."""
    if Path(base_path).is_dir():
        path = Path(base_path) / name
        return path if path.is_file() else None
    if Path(base_path).is_absolute():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(base_path, name)
    return Path(found) if isinstance(found, str) else None


@lru_cache(maxsize=4)
def _read(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    # the file may say that texts are cut or filled up to a length, which would hide the count
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@lru_cache(maxsize=2)
def _clip(vocabulary: Path, merges: Path) -> Tokenizer:
    """CLIP's tokenizer of its two older files, which FLUX.1 still has."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    start, end = "<|startoftext|>", "<|endoftext|>"
    model = BPE.from_file(str(vocabulary), str(merges), end_of_word_suffix="</w>", unk_token=end)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    first, last = ((mark, tokenizer.token_to_id(mark) or 0) for mark in (start, end))
    tokenizer.post_processor = processors.RobertaProcessing(last, first, trim_offsets=False, add_prefix_space=False)
    return tokenizer
