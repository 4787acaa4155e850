"""What a file changes beside its LoRA layers: biases and whole weights, as ComfyUI's own trainer and others save them.

``NAME.diff_b`` is added to a layer's bias, ``NAME.diff`` to its weight, ``set_weight`` replaces one, ``reshape_weight``
makes a layer larger; PEFT's ``lora_B.bias`` is added with the adapter. Only ComfyUI reads all of them, and no LoRA can
do the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from limner.loras.file.header import Header
from limner.loras.file.number_formats import FLOATS, chunks

__all__ = ["described"]


def described(file: BinaryIO, header: Header, names: Sequence[str]) -> str:
    """How many such tensors a file has, of which kinds, and how large their numbers are."""
    biases = sum(name.endswith((".diff_b", ".bias")) for name in names)
    kinds = [f"{count} {kind}" for count, kind in ((biases, "of biases"), (len(names) - biases, "of weights")) if count]
    largest, squares, count = 0.0, 0.0, 0
    for name in names:
        if header.tensors[name].dtype in FLOATS:
            for values in chunks(file, header, name):
                numbers = np.abs(values.astype(np.float64))
                largest = max(largest, float(numbers.max(initial=0.0)))
                squares, count = squares + float(np.square(numbers).sum()), count + numbers.size
    if count and math.isfinite(squares):
        size = f"at most {largest:.2g}, {math.sqrt(squares / count):.2g} in the mean (RMS)"
    else:
        size = "what are no finite numbers"
    which = f"{len(names)} tensors ({', '.join(kinds)})"
    return f"{which} change layers beside the LoRA, by {size}, such as {names[0][:80]}"
