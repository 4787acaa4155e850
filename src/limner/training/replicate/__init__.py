"""The trainer Replicate: photos go up as a zip, a training is bought there, its weights come down at once.

``trainer.py`` is what the pipeline talks to, ``inputs.py`` what is sent, ``state.py`` what a run directory remembers,
``log_lines.py`` reads the vendor's log, ``archive.py`` takes the weights out of what it gives, ``outcomes.py`` says why
a training failed.
"""

from limner.training.replicate.trainer import ReplicateTrainer

__all__ = ["ReplicateTrainer"]
