"""Randomly initialised FLUX pipelines of the true structure and tiny widths, with tokenizers made offline."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

from limner.types import Base, Family

__all__ = ["random_base", "save_flux1", "save_flux2", "save_klein"]


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


def _byte_pairs(ends_words: bool, specials: list[str]) -> tuple[dict[str, int], list[str]]:
    """A vocabulary of letters without merges: enough to split any word into known pieces."""
    letters = [*string.ascii_letters, *string.digits, *string.punctuation, "Ġ", "Ċ"]
    pieces = letters + ([letter + "</w>" for letter in letters] if ends_words else [])
    return {piece: number for number, piece in enumerate([*specials, *pieces])}, []


def _scheduler(shifting: bool) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=shifting)


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
    vocabulary, merges = _byte_pairs(True, ["<|startoftext|>", "<|endoftext|>"])
    clip_tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=24)
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
        scheduler=_scheduler(True),
        vae=vae,
        text_encoder=clip,
        tokenizer=clip_tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return folder


def _flux2_parts(guidance_embeds: bool, text_width: int) -> dict[str, Any]:
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    with torch.no_grad():
        vae.bn.running_mean.uniform_(-0.5, 0.5)
        vae.bn.running_var.uniform_(0.5, 2.0)
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * text_width,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    return {"vae": vae, "transformer": transformer, "scheduler": _scheduler(True)}


def save_klein(folder: Path, *, seed: int = 0) -> Path:
    """A Flux2KleinPipeline: Qwen3 of 28 narrow layers, as the pipeline reads its layers 9, 18 and 27."""
    from diffusers import Flux2KleinPipeline
    from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    vocabulary, merges = _byte_pairs(False, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer = Qwen2TokenizerFast(vocab=vocabulary, merges=merges, pad_token="<|endoftext|>")
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
    pipeline = Flux2KleinPipeline(text_encoder=text_encoder, tokenizer=tokenizer, **_flux2_parts(False, 16))
    pipeline.save_pretrained(folder)
    return folder


def save_flux2(folder: Path, *, seed: int = 0) -> Path:
    """A Flux2Pipeline: Mistral 3 of 31 narrow layers, guidance embedded.

    Its tokenizer stands for the Pixtral processor, which needs torchvision and does the same for plain text.
    """
    from diffusers import Flux2Pipeline
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        MistralConfig,
        PixtralVisionConfig,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(seed)
    vocabulary, _ = _byte_pairs(False, ["<pad>", "<s>", "</s>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "<unk>"])
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["[IMG]", "[IMG_BREAK]", "[IMG_END]"],
    )
    # the system message is left out, so that the prompt fits into the few tokens of these tests
    template = "{% for m in messages[1:] %}{% for c in m['content'] %}<s>{{ c['text'] }}</s>{% endfor %}{% endfor %}"
    tokenizer.chat_template = template
    text_encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config=MistralConfig(
                vocab_size=len(vocabulary),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=31,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
            ),
            vision_config=PixtralVisionConfig(
                hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32
            ),
        )
    )
    pipeline = Flux2Pipeline(text_encoder=text_encoder, tokenizer=tokenizer, **_flux2_parts(True, 16))
    pipeline.save_pretrained(folder)
    return folder
