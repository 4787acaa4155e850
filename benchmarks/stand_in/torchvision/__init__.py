"""Just enough of torchvision for the peer's training script, where the real one cannot be installed."""

__version__ = "0.0"
