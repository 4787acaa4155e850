"""The version of Limner, apart so that low modules need not import the package's front door."""

__all__ = ["__version__"]

__version__ = "0.1.0"
