"""The local engine: loads a FLUX pipeline of either family, trains LoRA adapters on it, and draws with it.

Importing this package loads no torch; its modules do.
"""

__all__: list[str] = []
