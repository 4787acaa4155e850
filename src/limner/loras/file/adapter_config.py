"""PEFT's ``adapter_config.json``: the strength of a lora whose file does not say it, kept in another one beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from limner.errors import LoraRefused
from limner.loras.file.header import Header, read_header
from limner.loras.file.naming import module_of, role_of
from limner.loras.file.strength import ADAPTER_KEY, config_header, declared_strength
from limner.types import Finding, Severity

__all__ = ["CONFIG_NAME", "LONGEST_CONFIG", "config_findings", "read_adapter"]

CONFIG_NAME = "adapter_config.json"
LONGEST_CONFIG = 2**20
"""Bytes: a config that names every layer of the largest base has a tenth of it."""


def read_adapter(path: Path) -> Header:
    """``read_header``, with what the ``adapter_config.json`` beside the file says as its ``lora_adapter_metadata``.

    Not where the file says its strength itself, is not spelt as PEFT does, or the ranks there are not those here: then
    it is another lora's. ``config`` of the header says what became of it.
    """
    header = read_header(path)
    if ADAPTER_KEY in header.metadata or not _silent(header.tensors):
        return header
    beside = path.with_name(CONFIG_NAME)
    try:
        with beside.open("rb") as file:
            data = file.read(LONGEST_CONFIG + 1)
    except OSError:  # none there, or none that may be read
        return header
    try:
        if len(data) > LONGEST_CONFIG:
            raise ValueError("it is too large")
        said = config_header(data.decode())
        mixed = _other_ranks(header, said)
    except (ValueError, LoraRefused) as failure:
        return replace(header, config=" ".join(str(failure).split())[:160].rstrip("."))
    if mixed:
        return replace(header, config=mixed)
    return replace(header, metadata={**header.metadata, ADAPTER_KEY: said}, config="read")


def config_findings(header: Header) -> Iterable[Finding]:
    """What became of an ``adapter_config.json`` beside the file."""
    if header.config == "read":
        yield Finding("adapter-config", Severity.NOTE, f"Its strength was read from {CONFIG_NAME} beside it.")
    elif header.config:
        message = f"{CONFIG_NAME} beside it was not used: {header.config}. Alpha is taken to be the rank."
        remedy = "Draw with another scale if its alpha is another, or put the right file there."
        yield Finding("adapter-config-unused", Severity.WARNING, message, remedy)


def _silent(names: Iterable[str]) -> bool:
    """Whether a file is spelt as PEFT spells it, and says no strength itself."""
    roles = [(name, role_of(name)[1]) for name in names]
    return any(".lora_A." in name for name, _ in roles) and all(role != "alpha" for _, role in roles)


def _other_ranks(header: Header, said: str) -> str:
    """What a config says of ranks that is not so; "" if all are right."""
    declared = declared_strength({ADAPTER_KEY: said})
    for name, entry in header.tensors.items():
        if declared is None or role_of(name)[1] != "down" or len(entry.shape) != 2:
            continue
        wanted = declared.rank_of(module_of(name))
        if wanted != entry.shape[0]:
            return f"it says rank {wanted} for {module_of(name)[:80]}, whose matrices have {entry.shape[0]}"
    return ""
