"""Every reader of outsiders' bytes, as a function that may refuse them but never fail.

``test_readers.py`` gives each a few dozen damaged inputs in every run of the tests; ``make fuzz`` gives each millions,
led by coverage.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.errors import LimnerError

__all__ = ["READERS", "Reader"]

WORDS = (
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n",
    b"\x1b[2J",
    b"{",
    b"[",
    b'"',
    b":",
    b",",
    b"<",
    b"=",
    b"%",
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    "\u0661\u0662".encode(),
    "\u202e".encode(),
    b"../../etc/passwd",
)
"""What is put into an input: bytes that readers trip over."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader: sound inputs to begin with, words of its format, and what reads them. LimnerError is an answer."""

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes], object]
    words: tuple[bytes, ...] = ()

    def try_on(self, data: bytes) -> None:
        """Read the bytes; whatever is raised but a refusal is a fault of ours."""
        with suppress(LimnerError):
            self.read(data)


def _in_file(read: Callable[[Path], object], data: bytes, name: str) -> object:
    with tempfile.TemporaryDirectory(prefix="limner-fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return read(path)


def _take_in(path: Path) -> object:
    from limner.photos import IntakeLimits, find_sources, take_in

    with tempfile.TemporaryDirectory(prefix="limner-fuzz-") as work:
        limits = IntakeLimits(max_pixels=4_000_000, max_zip_bytes=8_000_000)
        return list(take_in(find_sources([path], Path(work), limits), workdir=Path(work), limits=limits, threads=1))


def _lora(path: Path) -> object:
    from limner.loras.checks.inspection import inspect_closely

    return inspect_closely(path)


def _lora_header(data: bytes) -> object:
    return _in_file(_lora, len(data).to_bytes(8, "little") + data + bytes(1024), "lora.safetensors")


def _picture(path: Path) -> object:
    from limner.generation.metadata.provenance import read_provenance

    return read_provenance(path)


def _infotext(data: bytes) -> object:
    return _picture_saying(data, "parameters")


def _graph(data: bytes) -> object:
    return _picture_saying(data, "prompt")


def _picture_saying(data: bytes, key: str) -> object:
    said = PngInfo()
    said.add_itxt(key, data.decode("utf-8", "replace"))
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG", pnginfo=said)
    return _in_file(_picture, stream.getvalue(), "picture.png")


def _exif_comment(data: bytes) -> object:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = data[:60_000]  # what one segment of a JPEG holds
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=exif)
    return _in_file(_picture, stream.getvalue(), "picture.jpg")


def _captions(data: bytes, name: str) -> object:
    from limner.datasets.captions.files import read_all

    with tempfile.TemporaryDirectory(prefix="limner-fuzz-") as folder:
        (Path(folder) / "a.png").write_bytes(b"")
        (Path(folder) / name).write_bytes(data)
        return read_all([Path(folder), Path(folder) / name])


def _upload_metadata(data: bytes) -> object:
    from limner.web.api.uploads import _metadata

    return _metadata(data.decode("latin-1"))


def _webhook(data: bytes) -> object:
    from limner.vendors.http.standard_webhooks import verify

    fields = data.decode("latin-1").split("\n")
    headers = dict(zip(("webhook-id", "webhook-timestamp", "webhook-signature"), fields, strict=False))
    return verify("whsec_c2VjcmV0c2VjcmV0c2VjcmV0", headers, data, now=1_700_000_000)


def _replicate_log(data: bytes) -> object:
    from limner.training.replicate.log_lines import read_log

    return read_log(data.decode("utf-8", "replace"), 1000)


def _fal_log(data: bytes) -> object:
    from limner.training.fal.log import read_log

    return read_log(data.decode("utf-8", "replace").split("\n"), 1000)


def _answer(data: bytes) -> object:
    from limner.vendors.fal import answers as fal_answers
    from limner.vendors.http import rate_headers as rates
    from limner.vendors.http.answers import message_of, read_json
    from limner.vendors.replicate import answers as replicate_answers

    body = read_json(data, "application/json")
    with suppress(LimnerError):
        replicate_answers.read_job(body)
    with suppress(LimnerError):
        fal_answers.read_status(body)
    return message_of(body), rates.words_of_wait(body), fal_answers.failure_of(422, {}, body)


def _card(data: bytes) -> object:
    from limner.hubs.card import card_header
    from limner.web.rendering.markdown import card_html, split_card

    text = data.decode("utf-8", "replace")
    with suppress(LimnerError):
        card_header(text)
    return card_html(split_card(text)[1])


def _encoded(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.radial_gradient("L").resize((72, 80)).convert("RGB").save(stream, kind, **options)
    return stream.getvalue()


def _pictures() -> tuple[bytes, ...]:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = (_encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF"))
    return (*plain, _encoded("JPEG", exif=exif), _encoded("PNG", exif=exif))


def _zips() -> tuple[bytes, ...]:
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            archive.writestr("photos/a.jpg", _encoded("JPEG"))
            archive.writestr("photos/a.txt", "a caption")
        made.append(stream.getvalue())
    return tuple(made)


def _loras() -> tuple[bytes, ...]:
    import numpy as np
    from safetensors.numpy import save

    small = np.ones((4, 64), np.float16)
    diffusers = {f"transformer.x_embedder.lora_{side}.weight": small.T if side == "B" else small for side in "AB"}
    kohya = {
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": small,
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": small.T,
        "lora_unet_double_blocks_0_img_attn_qkv.alpha": np.array(2.0, np.float32),
    }
    adapter = json.dumps({"transformer.r": 4, "transformer.lora_alpha": 2, "transformer.rank_pattern": {"x": 4}})
    return save(diffusers, {"lora_adapter_metadata": adapter}), save(kohya, {"ss_network_alpha": "2"})


_INFOTEXT = (
    b"a dog, <lora:rex:0.8>\nNegative prompt: blur\n"
    b'Steps: 20, Seed: 1, Size: 64x64, Lora hashes: "rex: ab12", Template: "a, b"'
)
_GRAPH = json.dumps(
    {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["3", 0]}},
        "2": {"class_type": "KSampler", "inputs": {"positive": ["1", 0], "negative": ["1", 0], "seed": 1}},
        "3": {"class_type": "LoraLoader", "inputs": {"lora_name": "rex", "strength_model": 0.8}},
    }
).encode()

READERS = (
    Reader(
        "photo",
        _pictures(),
        partial(_in_file, _take_in, name="photo.jpg"),
        (b"Exif\0\0", b"ICC_PROFILE\0", b"cICP", b"colr"),
    ),
    Reader("zip", _zips(), partial(_in_file, _take_in, name="photos.zip"), (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"../")),
    Reader(
        "lora", _loras(), partial(_in_file, _lora, name="lora.safetensors"), (b"data_offsets", b"__metadata__", b"BF16")
    ),
    Reader(
        "lora header",
        tuple(file[8 : 8 + int.from_bytes(file[:8], "little")] for file in _loras()),
        _lora_header,
        (b"data_offsets", b"__metadata__", b"BF16", b"transformer.rank_pattern"),
    ),
    Reader(
        "picture",
        _pictures(),
        partial(_in_file, _picture, name="picture.png"),
        (b"tEXt", b"zTXt", b"iTXt", b"parameters\0"),
    ),
    Reader("infotext", (_INFOTEXT, _GRAPH), _infotext, (b"Steps: ", b"Negative prompt: ", b"Template: ", b"<lora:")),
    Reader("graph", (_GRAPH,), _graph, (b'"inputs"', b'["1",0]', b'"text"')),
    Reader(
        "exif comment",
        (b"ASCII\0\0\0" + _INFOTEXT, b"UNICODE\0" + _INFOTEXT.decode().encode("utf-16-le"), b"UNICODE\0" + _INFOTEXT),
        _exif_comment,
        (b"UNICODE\0", b"ASCII\0\0\0", b"\0" * 8),
    ),
    Reader("sidecar", (b"a photo of rex", "ein Hund".encode("utf-16")), partial(_captions, name="a.txt")),
    Reader("table", (b'file_name,text\na.png,"a, b"\n',), partial(_captions, name="captions.csv"), (b'"', b"\t", b";")),
    Reader("rows", (b'{"file_name": "a.png", "text": "a"}\n',), partial(_captions, name="metadata.jsonl")),
    Reader("upload metadata", (b"name YS5qcGc=,subject cmV4",), _upload_metadata, (b"name", b" ", b"=")),
    Reader("webhook", (b"msg_1\n1700000000\nv1,YWJj v1,ZGVm",), _webhook, (b"v1,", b" ")),
    Reader(
        "replicate log",
        (b"flux: 12%|# | 120/1000 [02:01<14:15, 1.03it/s, lr: 4e-04 loss: 3.5e-01]",),
        _replicate_log,
        (b"loss:",),
    ),
    Reader("fal log", (b"step 450/1000 loss: 0.31 1.5it/s <10:00",), _fal_log, (b"loss", b"it/s")),
    Reader("answer", (b'{"detail": [{"loc": ["body", "a"], "msg": "no"}], "status": "failed", "id": "a"}',), _answer),
    Reader(
        "card",
        (b"---\nbase_model: a\ntags: [b]\n---\n# Title\n\n[a](b) ![c](d)\n\n| a |\n|-|\n| b |\n",),
        _card,
        (b"---\n", b"&a", b"*a", b"!!", b"<<: "),
    ),
)
