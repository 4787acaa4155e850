"""The ``parameters`` text of A1111, which Civitai and most galleries read: writing ours, parsing anyone's.

The prompt comes first, then perhaps lines from "Negative prompt:" on, and last one line of "Key: value" pairs, in
which a value with a comma, colon or line break is a JSON string. Readers strip every line of the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from limner import __version__
from limner.catalog import bases
from limner.types import ImageRecord, LoraUse

__all__ = ["Infotext", "parse", "write"]

_NEGATIVE = "Negative prompt:"
_UNSEEN = "\u2060"  # the word joiner: keeps a prompt's own line from being read as the negative prompt
_SAMPLERS = {"FlowMatchEulerDiscreteScheduler": ("Euler", "Simple")}
_LORA = re.compile(r"<lora:([^:<>]+):([^:<>]+)(?::[^<>]*)?>")
_KEY = re.compile(r"\s*(\w[\w \-/]{0,63}?)\s{0,9}:\s*")  # bounded, so that no text makes it slow


@dataclass(frozen=True, slots=True)
class Infotext:
    """What such a text says: the prompt as it stands, the pairs of the last line, and the (name, scale) of loras."""

    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    loras: tuple[tuple[str, float], ...] = ()


def write(record: ImageRecord) -> str:
    """The text for a picture of ours. It is for other programs; our own chunk is the one that loses nothing."""
    prompt = record.prompt.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    lines = prompt.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [_UNSEEN + line.lstrip() if line.lstrip().startswith(_NEGATIVE) else line for line in lines]
    tags = "".join(f" <lora:{_tag_name(use)}:{use.scale:g}>" for use in record.loras)
    pairs = ", ".join(f"{key}: {_quoted(value)}" for key, value in _settings(record).items())
    return "\n".join(lines) + tags + "\n" + pairs


def parse(text: str) -> Infotext:
    """Read such a text, ours or another program's; a text without the last line's pairs is all prompt."""
    lines = text.strip().split("\n")
    settings = _pairs(lines[-1])
    if len(settings) >= 3:
        lines = lines[:-1]
    else:
        settings = {}
    stripped = [line.strip() for line in lines]
    cut = next((at for at, line in enumerate(stripped) if line.startswith(_NEGATIVE)), len(stripped))
    negative = "\n".join(stripped[cut:]).removeprefix(_NEGATIVE).strip()
    prompt = "\n".join(stripped[:cut]).strip()
    return Infotext(prompt, negative, settings, tuple(_loras(prompt)))


def _settings(record: ImageRecord) -> dict[str, str]:
    base = bases().get(record.base)
    found = {"Steps": str(record.steps)}
    sampler = _SAMPLERS.get(record.versions.get("sampler", ""))
    if sampler:
        found["Sampler"], found["Schedule type"] = sampler
    if base is not None and base.guidance_embedded:
        found["CFG scale"] = "1"
        found["Distilled CFG Scale"] = f"{record.guidance:g}"
    else:
        found["CFG scale"] = f"{record.guidance:g}"
    found["Seed"] = str(record.seed)
    found["Size"] = f"{record.width}x{record.height}"
    if record.versions.get("weights"):
        found["Model hash"] = record.versions["weights"][:10]
    found["Model"] = record.base
    if record.loras:
        found["Lora hashes"] = ", ".join(f"{_tag_name(use)}: {_short_hash(use)}" for use in record.loras)
    found["Version"] = f"Limner {record.versions.get('limner', __version__)}"
    return found


def _short_hash(use: LoraUse) -> str:
    """Civitai finds a lora by AutoV3 (12 digits of the tensors' digest) or AutoV2 (10 of the file's)."""
    return use.tensor_digest[:12] or use.digest[:10]


def _tag_name(use: LoraUse) -> str:
    return re.sub(r"[\s:<>,\"\\]+", "_", use.name) or "lora"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def _pairs(line: str) -> dict[str, str]:
    """The pairs of the last line; what is no pair is passed over."""
    found: dict[str, str] = {}
    decoder = json.JSONDecoder()
    at = 0
    while at < len(line):
        key = _KEY.match(line, at)
        if key is None:
            at = _after_comma(line, at)
            continue
        at = key.end()
        value = ""
        if line[at : at + 1] == '"':
            try:
                value, end = decoder.raw_decode(line, at)
                at = _after_comma(line, end)
            except ValueError:
                value = ""
        if not value:
            end = _after_comma(line, at)
            value = line[at:end].removesuffix(",").strip()
            at = end
        found[key[1]] = value
    return found


def _after_comma(line: str, at: int) -> int:
    comma = line.find(",", at)
    return len(line) if comma < 0 else comma + 1


def _loras(prompt: str) -> list[tuple[str, float]]:
    found = []
    for name, scale in _LORA.findall(prompt):
        try:
            found.append((name, float(scale)))
        except ValueError:
            continue
    return found
