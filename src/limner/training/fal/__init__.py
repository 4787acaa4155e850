"""Training at fal: FLUX.1 and FLUX.2, in its queue. Nothing here reaches the network before a trainer is used."""

from limner.training.fal.trainer import FalTrainer

__all__ = ["FalTrainer"]
