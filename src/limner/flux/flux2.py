"""FLUX.2 and klein: texts from a language model's inner layers, latents normalised by the VAE's batch statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.flux.family import Conditioning, Grid
from limner.types import Base, Family

__all__ = ["Flux2"]

_PICTURE_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_DOUBLE_ATTENTION = (*_PICTURE_ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
# a single block's attention and feed-forward are one fused layer in this family
_SINGLE = ("to_qkv_mlp_proj", "attn.to_out")
_DOUBLE_FEED_FORWARD = ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out")


class Flux2:
    """The FLUX.2 family, as diffusers' ``Flux2Pipeline`` and ``Flux2KleinPipeline`` run it."""

    family: ClassVar[Family] = Family.FLUX2
    pipelines: ClassVar[tuple[str, ...]] = ("Flux2Pipeline", "Flux2KleinPipeline")
    layer_presets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "attention": (*_DOUBLE_ATTENTION, *_SINGLE),
        "attention+ff": (*_DOUBLE_ATTENTION, *_SINGLE, *_DOUBLE_FEED_FORWARD),
        "diffusers-default": (*_PICTURE_ATTENTION, *_SINGLE),
    }

    @torch.no_grad()
    def encode_text(self, pipeline: Any, text: str, base: Base) -> Conditioning:
        embeds, _ = pipeline.encode_prompt(prompt=text, max_sequence_length=base.max_text_tokens)
        return Conditioning(embeds)

    @torch.no_grad()
    def encode_picture(self, pipeline: Any, pixels: Tensor) -> tuple[Tensor, Grid]:
        vae = pipeline.vae
        latents = vae.encode(pixels[None].to(vae.device, vae.dtype)).latent_dist.mode()
        latents = pipeline._patchify_latents(latents)
        mean = vae.bn.running_mean.view(1, -1, 1, 1).to(latents)
        deviation = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).to(latents)
        latents = (latents - mean) / deviation
        return pipeline._pack_latents(latents)[0], (latents.shape[2], latents.shape[3])

    def velocity(
        self, transformer: Any, tokens: Tensor, grid: Grid, sigma: Tensor, text: Conditioning, guidance: float
    ) -> Tensor:
        rows, columns = grid
        picture_ids = torch.zeros(rows, columns, 4, device=tokens.device, dtype=torch.long)
        picture_ids[..., 1] += torch.arange(rows, device=tokens.device)[:, None]
        picture_ids[..., 2] += torch.arange(columns, device=tokens.device)[None, :]
        text_ids = picture_ids.new_zeros(text.embeds.shape[1], 4)
        text_ids[:, 3] = torch.arange(text.embeds.shape[1], device=tokens.device)
        embedded = transformer.config.guidance_embeds
        predicted: Tensor = transformer(
            hidden_states=tokens,
            timestep=sigma,
            guidance=torch.full_like(sigma, guidance, dtype=torch.float32) if embedded else None,
            encoder_hidden_states=text.embeds,
            txt_ids=text_ids.expand(len(tokens), -1, -1),
            img_ids=picture_ids.reshape(-1, 4).expand(len(tokens), -1, -1),
            return_dict=False,
        )[0]
        return predicted

    def wants_empty_text(self, pipeline: Any, guidance: float) -> bool:
        klein = type(pipeline).__name__ == "Flux2KleinPipeline"
        return klein and guidance > 1 and not pipeline.config.is_distilled

    @torch.no_grad()
    def draw(
        self,
        pipeline: Any,
        text: Conditioning,
        empty: Conditioning | None,
        *,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        generator: torch.Generator,
    ) -> Any:
        against: dict[str, Any] = {}
        if self.wants_empty_text(pipeline, guidance) and empty is not None:
            against = {"negative_prompt_embeds": empty.embeds}
        return pipeline(
            prompt_embeds=text.embeds,
            width=width,
            height=height,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generator,
            **against,
        ).images[0]
