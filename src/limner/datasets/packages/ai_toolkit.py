"""ai-toolkit's layout: a folder of pictures with .txt captions and, for a recipe, the job's configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from limner.datasets.packages.contents import File, PackageOptions, Picture, captioned
from limner.errors import InputRefused, RecipeRefused
from limner.types import Base, DatasetManifest

__all__ = ["ai_toolkit_files", "job_configuration"]


def ai_toolkit_files(manifest: DatasetManifest, packed: Iterator[Picture], options: PackageOptions) -> Iterator[File]:
    """The folder's files: ``images/`` and, if the options have a recipe and a base, ``config.yaml``."""
    if options.recipe is not None and options.base is not None:
        import yaml

        job = job_configuration(
            manifest,
            options.recipe,
            options.base,
            image_dir=options.image_dir,
            name=options.name,
            sample_prompts=options.sample_prompts,
        )
        yield "config.yaml", yaml.safe_dump(job, sort_keys=False, allow_unicode=True).encode()
    yield from captioned(packed, "images/")


def job_configuration(
    manifest: DatasetManifest,
    recipe: Mapping[str, Any],
    base: Base,
    *,
    image_dir: str = "images",
    name: str = "",
    sample_prompts: Sequence[str] = (),
) -> dict[str, Any]:
    """The configuration for ``run.py``. Nothing is pushed to a hub: Limner publishes.

    InputRefused: ai-toolkit does not train this base. RecipeRefused: the recipe asks for what it cannot do.
    """
    models = tomllib.loads(files("limner.datasets.packages").joinpath("ai_toolkit.toml").read_text(encoding="utf-8"))
    if base.id not in models:
        raise InputRefused(
            f"ai-toolkit does not train {base.id}.", remedy=f"It trains {', '.join(models)}.", thing=base.id
        )
    if recipe["alpha"] != recipe["rank"]:
        raise RecipeRefused(
            f"ai-toolkit trains with alpha = rank only; this recipe has {recipe['alpha']:g} and {recipe['rank']}.",
            remedy=f"Set alpha to {recipe['rank']}.",
            thing="alpha",
        )
    train = {
        "batch_size": recipe["batch_size"],
        "steps": recipe["steps"],
        "gradient_accumulation_steps": recipe["gradient_accumulation"],
        "train_unet": True,
        "train_text_encoder": False,
        "gradient_checkpointing": True,
        "noise_scheduler": "flowmatch",
        "optimizer": "adamw8bit",
        "lr": recipe["learning_rate"],
        "lr_scheduler": recipe["schedule"],
        "dtype": "bf16",
    }
    if recipe["ema_decay"]:
        train["ema_config"] = {"use_ema": True, "ema_decay": recipe["ema_decay"]}
    process: dict[str, Any] = {
        "type": "sd_trainer",
        "training_folder": "output",
        "device": "cuda:0",
        "trigger_word": manifest.subject.trigger,
        "network": {"type": "lora", "linear": recipe["rank"], "linear_alpha": recipe["rank"]},
        "save": {
            "dtype": "float16",
            "save_every": recipe["checkpoint_every"] or recipe["steps"],
            "max_step_saves_to_keep": 4,
            "push_to_hub": False,
        },
        "datasets": [
            {
                "folder_path": image_dir,
                "caption_ext": "txt",
                "caption_dropout_rate": recipe["caption_dropout"],
                "shuffle_tokens": False,
                "cache_latents_to_disk": True,
                "resolution": [manifest.resolution],
            }
        ],
        "train": train,
        "model": {"name_or_path": base.repo, **models[base.id]},
    }
    if sample_prompts:
        process["sample"] = {
            "sampler": "flowmatch",
            "sample_every": recipe["sample_every"] or recipe["steps"],
            "width": base.size,
            "height": base.size,
            "prompts": list(sample_prompts),
            "seed": recipe["seed"],
            "walk_seed": True,
            "guidance_scale": base.guidance,
            "sample_steps": base.steps,
        }
    return {
        "job": "extension",
        "config": {"name": name or manifest.subject.slug, "process": [process]},
    }
