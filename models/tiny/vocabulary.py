"""The two tokenizers, made from the caption grammar plus plain letters, so that any trigger word splits into pieces."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, T5TokenizerFast

from captions import SYLLABLES, caption
from characters import random_character, random_situation
from lowercase import lowercase_table
from pictures import PHOTO_WORDS

TOKENS = 48
"""The longest text, in tokens; captions of the training have at most 40."""
CLIP_WORDS, T5_WORDS = 900, 512
"""Sizes of the embeddings; not every row is used."""
EXTRA_WORDS = (
    "photo picture drawing portrait of a an the and with wearing in on at near by character person man woman girl boy "
    "dog cat teapot robot toy backpack pet product style holding standing sitting looking happy angry jacket "
    "hat glasses old young small big bright dark light grass river mountain sea sky rain sun garden street table floor "
    "kitchen car tree flower"
).split()


def corpus(count: int = 6000) -> list[str]:
    """Captions to learn the pieces from, single letters and digits among them."""
    lines = list(EXTRA_WORDS) * 4 + [word.replace("_", " ") for word in PHOTO_WORDS] * 4
    for seed in range(count):
        chance = Random(5_000_000 + seed)
        lines.append(caption(random_character(chance), random_situation(chance), chance))
    return lines + [" ".join(string.ascii_lowercase + string.digits)] * 4 + SYLLABLES


def clip_tokenizer() -> CLIPTokenizer:
    """Byte-less BPE with an end-of-word mark, as CLIP has it."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|unknown|>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|[0-9]|[^\sa-z0-9]+"), "removed", invert=True)
    letters = list(string.ascii_lowercase + string.digits + "_,.!'-")
    trainer = trainers.BpeTrainer(
        vocab_size=CLIP_WORDS,
        special_tokens=["<|startoftext|>", "<|endoftext|>", "<|unknown|>"],
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    # Every letter must also exist as the end of a word, or a trigger that ends in a rare letter would be unknown.
    tokenizer.train_from_iterator(corpus() + letters * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary, merges = model["vocab"], [tuple(pair) for pair in model["merges"]]
    for letter in letters:
        vocabulary.setdefault(letter + "</w>", len(vocabulary))
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        unk_token="<|unknown|>",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=TOKENS,
    )


def t5_tokenizer(folder: Path) -> T5TokenizerFast:
    """A Unigram model with ``</s>`` at the end, as T5 has it: words of the grammar, else syllables and letters."""
    counts = Counter(word for line in corpus() for word in re.findall(r"[a-z-]+", line))
    known = [word for word, count in counts.most_common() if count >= 12 and len(word) > 1]
    known += [word for word in EXTRA_WORDS if word not in known and len(word) > 1]
    letters = string.ascii_lowercase + string.digits + "_,.!'-"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -6.0)]
    pieces += [("▁" + word, -4.0) for word in known]
    pieces += [(start + syllable, -8.0) for syllable in SYLLABLES for start in ("▁", "")]
    seen = {piece for piece, _ in pieces}
    pieces += [(start + letter, -12.0) for letter in letters for start in ("▁", "") if start + letter not in seen]
    pieces = list(dict(reversed(pieces)).items())[::-1]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    # The class itself splits at white space and puts "▁" before each word; only this table is kept from the file.
    tokenizer.normalizer = normalizers.Precompiled(lowercase_table())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    made = T5TokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_ids=0,
        model_max_length=TOKENS,
    )
    made.save_pretrained(folder)
    return T5TokenizerFast.from_pretrained(folder)
