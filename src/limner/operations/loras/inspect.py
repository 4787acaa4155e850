"""Inspecting a file: a picture or a lora, told apart by its first bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.catalog import find_base
from limner.errors import InputRefused, LoraRefused, NotFound

__all__ = ["inspect_file"]


def inspect_file(path: Path, base: str = "") -> dict[str, Any]:
    """What a picture or lora file says of itself, as plain JSON data.

    Of a lora also whether it can be used: ``problem`` says why not, on the ``base`` named or else on its own.
    NotFound: there is no such file; InputRefused: it is neither, or cannot be read.
    """
    from limner.generation.metadata.pixels import media_type

    head = _first_bytes(path)
    if media_type(head).startswith("image/"):
        from limner.generation.metadata.inspection import describe

        return {"what": "picture", **describe(path)}
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _lora(path, base)
    raise InputRefused(
        f"{path.name} is neither a picture nor a lora.",
        remedy="Give a PNG, JPEG or WebP picture, or a .safetensors file.",
        thing=str(path),
    )


def _lora(path: Path, base: str) -> dict[str, Any]:
    from limner.loras.checks.inspection import inspect
    from limner.loras.checks.validation import validate

    facts, problem, says = inspect(path), "", ""
    fitting = [base] if base else [facts.base] if facts.base else list(facts.candidates)
    try:
        if facts.kind != "lora" and fitting:
            _check_special(path)
            says = f"Imported, it can be used on {' or '.join(fitting)}."
        elif fitting:
            sound = validate(path, find_base(fitting[0]))
            undecided = [one for one in facts.findings if one.code in ("several-bases", "base-by-hint") and not base]
            facts = replace(sound, base=base or facts.base, findings=(*undecided, *sound.findings))
            says = f"It can be used on {' or '.join(fitting)}."
        else:
            problem = f"{path.name} fits no base that Limner knows."
    except LoraRefused as refusal:
        problem = str(refusal)
    plain = {name: getattr(facts, name) for name in facts.__dataclass_fields__}
    return {
        "what": "lora",
        **plain,
        "path": str(path),
        "metadata": dict(facts.metadata),
        "problem": problem,
        "says": [problem or says, *(f"{finding.message} {finding.remedy}".strip() for finding in facts.findings)],
    }


def _check_special(path: Path) -> None:
    """Read all numbers of a LoKr or LoHa. LoraRefused: one is not finite."""
    from limner.loras.file.header import read_header
    from limner.loras.lycoris.nearest import adapters, check_adapters

    header = read_header(path)
    with path.open("rb") as file:
        check_adapters(file, header, adapters(header))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", remedy="Check the path.", thing=str(path)) from None
    except OSError as failure:
        raise InputRefused(
            f"{path} cannot be read: {failure.strerror}.", remedy="Give one file that you may read.", thing=str(path)
        ) from failure
