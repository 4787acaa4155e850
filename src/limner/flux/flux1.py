"""FLUX.1 (and limner-tiny): CLIP and T5 texts, latents by scale and shift, 2 x 2 packing in the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.flux.family import Conditioning, Grid
from limner.types import Base, Family

__all__ = ["Flux1"]

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_DOUBLE_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")


class Flux1:
    """The FLUX.1 family, as diffusers' ``FluxPipeline`` runs it."""

    family: ClassVar[Family] = Family.FLUX1
    pipelines: ClassVar[tuple[str, ...]] = ("FluxPipeline",)
    layer_presets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "attention": _ATTENTION,
        "attention+ff": (*_ATTENTION, *_DOUBLE_FEED_FORWARD, "proj_mlp", "proj_out"),
        "diffusers-default": (*_ATTENTION, *_DOUBLE_FEED_FORWARD),
    }

    @torch.no_grad()
    def encode_text(self, pipeline: Any, text: str, base: Base) -> Conditioning:
        embeds, pooled, _ = pipeline.encode_prompt(prompt=text, prompt_2=None, max_sequence_length=base.max_text_tokens)
        return Conditioning(embeds, pooled)

    @torch.no_grad()
    def encode_picture(self, pipeline: Any, pixels: Tensor) -> tuple[Tensor, Grid]:
        vae = pipeline.vae
        latents = vae.encode(pixels[None].to(vae.device, vae.dtype)).latent_dist.mode()
        latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
        _, channels, height, width = latents.shape
        return pipeline._pack_latents(latents, 1, channels, height, width)[0], (height // 2, width // 2)

    def velocity(
        self, transformer: Any, tokens: Tensor, grid: Grid, sigma: Tensor, text: Conditioning, guidance: float
    ) -> Tensor:
        rows, columns = grid
        ids = torch.zeros(rows, columns, 3, device=tokens.device, dtype=tokens.dtype)
        ids[..., 1] += torch.arange(rows, device=tokens.device)[:, None]
        ids[..., 2] += torch.arange(columns, device=tokens.device)[None, :]
        embedded = transformer.config.guidance_embeds
        predicted: Tensor = transformer(
            hidden_states=tokens,
            timestep=sigma,
            guidance=torch.full_like(sigma, guidance, dtype=torch.float32) if embedded else None,
            pooled_projections=text.pooled,
            encoder_hidden_states=text.embeds,
            txt_ids=ids.new_zeros(text.embeds.shape[1], 3),
            img_ids=ids.reshape(-1, 3),
            return_dict=False,
        )[0]
        return predicted

    def wants_empty_text(self, pipeline: Any, guidance: float) -> bool:
        return guidance > 1 and not pipeline.transformer.config.guidance_embeds

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
        if empty is not None and self.wants_empty_text(pipeline, guidance):
            against = {
                "true_cfg_scale": guidance,
                "negative_prompt_embeds": empty.embeds,
                "negative_pooled_prompt_embeds": empty.pooled,
            }
        return pipeline(
            prompt_embeds=text.embeds,
            pooled_prompt_embeds=text.pooled,
            width=width,
            height=height,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=generator,
            **against,
        ).images[0]
