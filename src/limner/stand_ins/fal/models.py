"""The models of fal's stand-in: inputs checked as fal's own apps do, then trained or drawn by the engine."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from limner.catalog.hosted import HostedModel, find_hosted
from limner.errors import LoraRefused
from limner.stand_ins.engine import Engine

__all__ = ["ModelFailed", "check_input", "draw", "model_of", "photos_of", "train"]

PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
Read = Callable[[str], bytes | None]


class ModelFailed(Exception):
    """A model refused its input, or failed: the answer's status and body."""

    def __init__(self, status: int, body: Any, kind: str = "") -> None:
        super().__init__(str(body))
        self.status, self.body, self.kind = status, body, kind


def model_of(name: str) -> HostedModel | None:
    """The catalog's row of a model by its name."""
    rows = [*find_hosted("fal", "train", model=name), *find_hosted("fal", "generate", model=name)]
    return next((row for row in rows if row.model == name), None)


def refusal(field: str, message: str, kind: str, value: Any = None) -> ModelFailed:
    """A 422 as fal writes it: a list with one entry a problem."""
    entry = {"loc": ["body", field], "msg": message, "type": kind, "input": value}
    return ModelFailed(422, {"detail": [{**entry, "url": f"https://docs.fal.ai/errors#{kind}"}]}, kind)


def check_input(row: HostedModel, body: Any) -> None:
    """ModelFailed names the field that is missing, of another kind, or out of its range. Unknown ones are ignored."""
    if not isinstance(body, Mapping):
        raise refusal("body", "Input should be a valid dictionary", "dict_type")
    needed = row.fields["photos"] if row.does == "train" else "prompt"
    if needed not in body:
        raise refusal(needed, "Field required", "missing")
    for name, value in body.items():
        _check_field(name, value, row)


_TEXTS = (
    "prompt",
    "image_data_url",
    "images_data_url",
    "trigger_word",
    "trigger_phrase",
    "default_caption",
    "output_format",
)
_FLAGS = ("is_style", "create_masks", "enable_safety_checker", "subject_crop")
_RANGES = {"seed": (0, 2**63), "num_images": (1, 4), "learning_rate": (0, 1), "guidance_scale": (0, 35)}


def _check_field(name: str, value: Any, row: HostedModel) -> None:
    if name in ("steps", "num_inference_steps"):
        _number(name, value, 1, row.most_steps or 10_000, whole=True)
    elif name in _RANGES:
        _number(name, value, *_RANGES[name], whole=name in ("seed", "num_images"))
    elif name in _TEXTS and not isinstance(value, str):
        raise refusal(name, "Input should be a valid string", "string_type", value)
    elif name in _FLAGS and not isinstance(value, bool):
        raise refusal(name, "Input should be a valid boolean", "bool_type", value)
    elif name == "loras":
        _loras(value)
    elif name == "image_size":
        _size(value)


def _number(name: str, value: Any, least: float, most: float, *, whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise refusal(name, f"Input should be a valid {'integer' if whole else 'number'}", "type_error", value)
    if value < least:
        raise refusal(name, f"Input should be greater than or equal to {least:g}", "greater_than_equal", value)
    if value > most:
        raise refusal(name, f"Input should be less than or equal to {most:g}", "less_than_equal", value)


def _loras(value: Any) -> None:
    if not isinstance(value, list):
        raise refusal("loras", "Input should be a valid list", "list_type", value)
    for entry in value:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str):
            raise refusal("loras", "Field required", "missing", entry)
        _number("loras", entry.get("scale", 1), 0, 4, whole=False)


def _size(value: Any) -> tuple[int, int]:
    if isinstance(value, str) and value in PRESETS:
        return PRESETS[value]
    if isinstance(value, Mapping):
        width, height = value.get("width"), value.get("height")
        for side in (width, height):
            _number("image_size", side, 1, 14142, whole=True)
        return int(width or 0), int(height or 0)
    raise refusal("image_size", f"Input should be {', '.join(PRESETS)} or a size", "enum", value)


def photos_of(row: HostedModel, body: Mapping[str, Any], data: bytes) -> list[tuple[str, bytes, str]]:
    """The pictures of a zip with their captions (name, bytes, caption). ModelFailed: it cannot be trained on."""
    field = row.fields["photos"]
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    except zipfile.BadZipFile as failure:
        raise refusal(field, "File is not a zip file", "invalid_archive") from failure
    trigger = str(body.get("trigger_word") or body.get("trigger_phrase") or "")
    default = str(body.get("default_caption") or "")
    photos = []
    for name, content in sorted(files.items()):
        path = PurePosixPath(name)
        if path.suffix.lower() not in PICTURES or path.stem.endswith("_mask") or name.startswith("__MACOSX/"):
            continue
        text = files.get(str(path.with_suffix(".txt")))
        if text is None and "caption" in row.fields and not default:
            message = f"No caption for {name}, and there is no default_caption"
            raise refusal(field, message, "value_error")
        caption = text.decode() if text is not None else default or trigger
        photos.append((path.name, content, caption.replace("[trigger]", trigger)))
    if not photos:
        raise refusal(field, "The archive contains no images", "value_error")
    return photos


def train(
    engine: Engine,
    row: HostedModel,
    body: Mapping[str, Any],
    read: Read,
    *,
    rank: int,
    learning_rate: float,
    on_step: Callable[[int, float], None],
    cancelled: Callable[[], bool],
) -> bytes:
    """Train on the zip that the input names; gives a safetensors file."""
    url = str(body[row.fields["photos"]])
    data = read(url)
    if data is None:
        raise refusal(row.fields["photos"], "Failed to download the file", "file_download_error", url)
    return engine.train(
        row.base,
        photos_of(row, body, data),
        steps=int(body.get("steps", row.steps)),
        rank=rank,
        learning_rate=float(body.get("learning_rate", learning_rate)),
        seed=0,
        on_step=on_step,
        cancelled=cancelled,
    )


def draw(engine: Engine, row: HostedModel, body: Mapping[str, Any], read: Read) -> tuple[bytes, int, int]:
    """Draw one picture; gives a PNG, its width and height."""
    width, height = _size(body.get("image_size", "landscape_4_3"))
    loras = []
    for entry in body.get("loras", []):
        data = read(entry["path"])
        if data is None:
            raise refusal("loras", "Failed to download the file", "file_download_error", entry["path"])
        loras.append((data, float(entry.get("scale", 1))))
    if len(loras) > row.most_loras:
        raise refusal("loras", f"List should have at most {row.most_loras} items", "too_long", len(loras))
    try:
        picture = engine.draw(
            row.base,
            body["prompt"],
            loras=loras,
            width=width,
            height=height,
            steps=int(body.get("num_inference_steps", row.steps)),
            guidance=float(body.get("guidance_scale", row.guidance or 3.5)),
            seed=int(body.get("seed", 0)),
        )
    except LoraRefused as failure:
        raise ModelFailed(422, {"detail": f"The LoRA cannot be loaded: {failure.message}"}) from failure
    return picture, width, height
