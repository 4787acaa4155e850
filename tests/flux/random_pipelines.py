"""Randomly initialised FLUX pipelines of the true structure and tiny widths, with tokenizers made offline."""

from __future__ import annotations

import string
from pathlib import Path

import torch

import limner.stand_ins.random_flux2
from limner.stand_ins.random_flux2 import Sizes, flux2_parts, letters, scheduler
from limner.types import Base, Family

__all__ = ["random_base", "save_flux1", "save_flux2", "save_klein"]

NARROW = Sizes(
    heads=2,
    head_width=16,
    doubles=1,
    singles=2,
    vae_levels=2,
    vae_width=8,
    latent_channels=4,
    text_width=16,
    rope=(4, 4, 4, 4),
)


def random_base(base_id: str, family: Family, *, guidance_embedded: bool, guidance: float = 1.0) -> Base:
    return Base(
        id=base_id,
        title=base_id,
        family=family,
        repo=f"nobody/{base_id}",
        licence="apache-2.0",
        licence_name="Apache License 2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        commercial_use=True,
        gated=False,
        parameters=100_000,
        text_encoders=(),
        max_text_tokens=24,
        guidance_embedded=guidance_embedded,
        steps=2,
        guidance=guidance,
        size=32,
        size_multiple=16,
        size_min=16,
        size_max=128,
        resolutions=(32, 48, 64),
        shape={"double_blocks": 1, "single_blocks": 1, "width": 32},
        source="tests",
        as_of="2026-11-23",
    )


def save_flux1(folder: Path, *, guidance_embeds: bool = False, width: int = 32, seed: int = 0) -> Path:
    """A FluxPipeline: CLIP, T5, AutoencoderKL with 2 levels and scale and shift, 1 double and 2 single blocks."""
    from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTokenizer,
        T5Config,
        T5EncoderModel,
        T5TokenizerFast,
    )

    torch.manual_seed(seed)
    vocabulary = letters(True, ["<|startoftext|>", "<|endoftext|>"])
    clip_tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24)
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=24,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -2.0)]
    pieces += [(letter, -5.0) for letter in string.ascii_letters + string.digits + string.punctuation]
    unigram = Tokenizer(models.Unigram(pieces, unk_id=2))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    unigram.save(str(folder / "unigram.json"))
    t5_tokenizer = T5TokenizerFast(tokenizer_file=str(folder / "unigram.json"), extra_ids=0)
    (folder / "unigram.json").unlink()
    t5 = T5EncoderModel(
        T5Config(vocab_size=len(pieces), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0)
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=width // 16,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    FluxPipeline(
        scheduler=scheduler(),
        vae=vae,
        text_encoder=clip,
        tokenizer=clip_tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return folder


def save_klein(folder: Path, *, seed: int = 0) -> Path:
    """A Flux2KleinPipeline: Qwen3 of 28 narrow layers, as the pipeline reads its layers 9, 18 and 27."""
    from diffusers import Flux2KleinPipeline
    from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    vocabulary = letters(False, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer = Qwen2TokenizerFast(vocab=vocabulary, merges=[], pad_token="<|endoftext|>")
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    text_encoder = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(vocabulary),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=28,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
        )
    )
    pipeline = Flux2KleinPipeline(
        text_encoder=text_encoder, tokenizer=tokenizer, **flux2_parts(NARROW, guidance_embeds=False)
    )
    pipeline.save_pretrained(folder)
    return folder


def save_flux2(folder: Path, *, seed: int = 0) -> Path:
    """A Flux2Pipeline: Mistral 3 of 31 narrow layers, guidance embedded."""
    return limner.stand_ins.random_flux2.save_flux2(folder, seed=seed, sizes=NARROW)
