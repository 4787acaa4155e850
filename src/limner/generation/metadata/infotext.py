"""The ``parameters`` text of A1111, which Civitai and most galleries read: writing ours, parsing anyone's.

The prompt comes first, then perhaps lines from "Negative prompt:" on, and last one line of "Key: value" pairs, in
which a value with a comma, colon or line break is a JSON string. Readers strip every line of the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from limner._version import __version__
from limner.catalog import bases
from limner.types import ImageRecord, LoraUse

__all__ = ["Infotext", "parse", "write"]

_NEGATIVE = "Negative prompt:"
_UNSEEN = "\u2060"  # the word joiner: keeps a prompt's own line from being read as the negative prompt
_SAMPLERS = {"FlowMatchEulerDiscreteScheduler": ("Euler", "Simple")}
_UNUSED = re.compile(r"<(?=(?:lora|lyco|hypernet):)", re.IGNORECASE)
_LORA = re.compile(r"<lora:([^:<>]+):([^:<>]+)(?::[^<>]*)?>")
_STEPS = re.compile(r"\s{0,9}Steps:\s{0,9}\d")
_STEPS_WITHIN = re.compile(r"(?<!\w)Steps:\s{0,9}\d{1,6},")
_KEY = re.compile(r"\s*(\w[\w \-/]{0,63}?)\s{0,9}:\s*")  # bounded, so that no text makes it slow


@dataclass(frozen=True, slots=True)
class Infotext:
    """What such a text says: the prompt as it stands, the pairs of the last line, and the (name, scale) of loras."""

    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    loras: tuple[tuple[str, float], ...] = ()


def write(record: ImageRecord) -> str:
    """The text for a picture of ours. It is for other programs; our own chunk is the one that loses nothing.

    A tag that stayed in the prompt drew nothing: a sign that is not seen keeps readers from counting its lora.
    """
    prompt = record.prompt.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    prompt = _UNUSED.sub(f"<{_UNSEEN}", prompt)
    lines = prompt.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [_UNSEEN + line.lstrip() if line.lstrip().startswith(_NEGATIVE) else line for line in lines]
    tags = "".join(f" <lora:{_tag_name(use)}:{use.scale:g}>" for use in record.loras)
    pairs = ", ".join(f"{key}: {_quoted(value)}" for key, value in _settings(record).items())
    return "\n".join(lines) + tags + "\n" + pairs


def parse(text: str) -> Infotext:
    """Read such a text, ours or another program's; a text without a line of pairs is all prompt."""
    lines = text.strip().split("\n")
    at, settings = _settings_line(lines)
    stripped = [line.strip() for line in lines[:at]]
    if len(lines) == 1 and not _STEPS.match(lines[0]):
        stripped, settings = _one_line(lines[0].strip())
    cut = next((at for at, line in enumerate(stripped) if line.startswith(_NEGATIVE)), len(stripped))
    negative = "\n".join(stripped[cut:]).removeprefix(_NEGATIVE).strip()
    prompt = "\n".join(stripped[:cut]).strip()
    return Infotext(prompt, negative, settings, tuple(_loras(prompt)) or tuple(_resources(settings)))


def _settings_line(lines: Sequence[str]) -> tuple[int, dict[str, str]]:
    """Where the line of pairs is, and what it says: the last line, or above lines that an extension added.

    Dynamic Prompts, for one, writes what it drew from into lines that begin with "Template:" and "Negative Template:".
    """
    settings = _pairs(lines[-1])
    if len(settings) >= 3:
        return len(lines) - 1, settings
    for at in range(len(lines) - 1, -1, -1):
        if _STEPS.match(lines[at]) and len(settings := _pairs(lines[at])) >= 3:
            return at, settings
    return len(lines), {}


def _one_line(text: str) -> tuple[list[str], dict[str, str]]:
    """A text whose line breaks were lost: the prompt, perhaps a negative one, then the pairs from "Steps:" on."""
    begins = [found.start() for found in _STEPS_WITHIN.finditer(text)]
    settings = _pairs(text[begins[-1] :]) if begins else {}
    if len(settings) < 3:
        return [text], {}
    prompt, negative, rest = text[: begins[-1]].partition(_NEGATIVE)
    return [prompt.strip(), *([f"{negative} {rest.strip()}"] if negative else [])], settings


def _resources(settings: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """The loras that Civitai lists for a picture of its own generator, whose prompts hold no tags."""
    try:
        entries = json.loads(settings.get("Civitai resources", "[]"))
    except (ValueError, RecursionError):
        return
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and str(entry.get("type", "")).lower() in ("lora", "locon", "lycoris", "dora"):
            weight = entry.get("weight", 1.0)
            name = entry.get("modelName") or entry.get("modelVersionId") or "lora"
            yield str(name)[:200], float(weight) if isinstance(weight, (int, float)) else 1.0


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
        if line[at : at + 1] in ('"', "[", "{"):  # Civitai writes lists and objects as they are
            try:
                held, end = decoder.raw_decode(line, at)
                value = held if isinstance(held, str) else line[at:end]
                at = _after_comma(line, end)
            except (ValueError, RecursionError):
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
