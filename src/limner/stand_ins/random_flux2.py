"""A FLUX.2 pipeline of the true structure and of small widths, its weights drawn by chance, its tokenizer made offline.

It draws nothing that anybody would look at. It has every layer that FLUX.2 [dev] has, under the same names, so that
whatever is trained for it goes the same way as for the real one.
"""

from __future__ import annotations

import shutil
import string
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.types import Base, Family

__all__ = ["FLUX2_RANDOM", "Sizes", "flux2_parts", "letters", "save_flux2", "scheduler", "stored_flux2"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How small a pipeline is: ``heads`` of ``head_width``, blocks, VAE levels (a token is 2**levels pixels wide)."""

    heads: int = 4
    head_width: int = 32
    doubles: int = 2
    singles: int = 4
    vae_levels: int = 4
    vae_width: int = 16
    latent_channels: int = 32
    text_width: int = 64
    rope: tuple[int, int, int, int] = (8, 8, 8, 8)


_SIZES = Sizes()
_MARKS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
_UNKNOWN = "<unk>"

FLUX2_RANDOM = Base(
    id="flux2-random",
    title="FLUX.2 in miniature with random weights, for rehearsals",
    family=Family.FLUX2,
    repo="limner/flux2-random",
    licence="apache-2.0",
    licence_name="Apache License 2.0",
    licence_url="https://www.apache.org/licenses/LICENSE-2.0",
    commercial_use=True,
    gated=False,
    parameters=2_100_000,
    text_encoders=("Mistral3ForConditionalGeneration",),
    max_text_tokens=96,
    guidance_embedded=True,
    steps=8,
    guidance=4.0,
    size=128,
    size_multiple=16,
    size_min=64,
    size_max=256,
    resolutions=(64, 96, 128, 192),
    shape={
        "double_blocks": _SIZES.doubles,
        "single_blocks": _SIZES.singles,
        "width": _SIZES.heads * _SIZES.head_width,
    },
    source="limner/stand_ins/random_flux2.py",
    as_of="2026-11-24",
    notes="Knows no picture: it proves the way, not the art.",
)


def stored_flux2(folder: Path, *, seed: int = 2) -> Path:
    """The pipeline of FLUX2_RANDOM in a folder, made if it is not there yet; safe against another who makes it too."""
    if (folder / "model_index.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = save_flux2(Path(temporary) / "made", seed=seed)
        try:
            made.rename(folder)
        except OSError:
            if not (folder / "model_index.json").is_file():
                # what is there is not whole
                shutil.rmtree(folder)
                made.rename(folder)
    return folder


def letters(ends_words: bool, specials: Sequence[str]) -> dict[str, int]:
    """A vocabulary of letters: with no merges, enough to split any word into known pieces."""
    single = [*string.ascii_letters, *string.digits, *string.punctuation, "Ġ", "Ċ"]
    pieces = single + ([letter + "</w>" for letter in single] if ends_words else [])
    return {piece: number for number, piece in enumerate([*specials, *pieces])}


def scheduler() -> Any:
    """The scheduler of all FLUX pipelines."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


def flux2_parts(sizes: Sizes, *, guidance_embeds: bool) -> dict[str, Any]:
    """VAE, transformer and scheduler of a FLUX.2 pipeline; the text encoder gives three layers side by side."""
    import torch
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * sizes.vae_levels,
        up_block_types=("UpDecoderBlock2D",) * sizes.vae_levels,
        block_out_channels=(sizes.vae_width,) * sizes.vae_levels,
        layers_per_block=1,
        latent_channels=sizes.latent_channels,
        norm_num_groups=4,
    )
    with torch.no_grad():
        vae.bn.running_mean.uniform_(-0.5, 0.5)
        vae.bn.running_var.uniform_(0.5, 2.0)
    transformer = Flux2Transformer2DModel(
        in_channels=4 * sizes.latent_channels,
        num_layers=sizes.doubles,
        num_single_layers=sizes.singles,
        attention_head_dim=sizes.head_width,
        num_attention_heads=sizes.heads,
        joint_attention_dim=3 * sizes.text_width,
        timestep_guidance_channels=32,
        axes_dims_rope=sizes.rope,
        guidance_embeds=guidance_embeds,
    )
    return {"vae": vae, "transformer": transformer, "scheduler": scheduler()}


def save_flux2(folder: Path, *, seed: int = 0, sizes: Sizes = _SIZES) -> Path:
    """A Flux2Pipeline as FLUX.2 [dev] has it: Mistral 3 of 31 narrow layers, as its layers 10, 20 and 30 are read.

    Its tokenizer stands for the Pixtral processor, which needs torchvision and does the same for plain text.
    """
    import torch
    import transformers
    from diffusers import Flux2Pipeline
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        MistralConfig,
        PixtralVisionConfig,
        PreTrainedTokenizerFast,
    )

    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vocabulary = letters(False, [*_MARKS.values(), "[IMG]", "[IMG_BREAK]", "[IMG_END]", _UNKNOWN])
        inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=_UNKNOWN))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=inner,
            additional_special_tokens=["[IMG]", "[IMG_BREAK]", "[IMG_END]"],
            **_MARKS,
        )
        # the system message is left out, so that the prompt fits into few tokens
        said = "{% for m in messages[1:] %}{% for c in m['content'] %}<s>{{ c['text'] }}</s>{% endfor %}{% endfor %}"
        tokenizer.chat_template = said
        text_encoder = Mistral3ForConditionalGeneration(
            Mistral3Config(
                text_config=MistralConfig(
                    vocab_size=len(vocabulary),
                    hidden_size=sizes.text_width,
                    intermediate_size=sizes.text_width,
                    num_hidden_layers=31,
                    num_attention_heads=sizes.text_width // 8,
                    num_key_value_heads=1,
                    head_dim=8,
                ),
                vision_config=PixtralVisionConfig(
                    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32
                ),
            )
        )
        parts = flux2_parts(sizes, guidance_embeds=True)
        Flux2Pipeline(text_encoder=text_encoder, tokenizer=tokenizer, **parts).save_pretrained(folder)
    return folder
