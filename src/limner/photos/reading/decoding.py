"""One file into an upright 8-bit sRGB picture of bounded size, streamed where its format allows it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

from limner.photos.reading.colour import paper, to_srgb
from limner.photos.reading.colour_tags import ADOBE_RGB, PQ, Colour, heif_colour, of_profile, png_colour
from limner.photos.reading.formats import HEAD_BYTES, Format, camera_raw, is_lossless, sniff
from limner.photos.reading.limits import IntakeLimits
from limner.photos.reading.raws import is_raw_tiff
from limner.photos.reading.refusals import Refusal, refusal
from limner.types import Finding, Severity

__all__ = ["DecodingRoom", "Picture", "decode", "vips"]

_LOADERS = {
    Format.JPEG: "jpegload_source",
    Format.PNG: "pngload_source",
    Format.WEBP: "webpload_source",
    Format.AVIF: "heifload_source",
    Format.TIFF: "tiffload_source",
    Format.GIF: "gifload_source",
}
_TRUNCATED = ("premature end", "truncat", "unexpected end", "end of file", "end of stream", "eof", "not enough data")
_LAST = {Format.JPEG: b"\xff\xd9", Format.PNG: b"IEND"}
_TAIL = 4096
_SIDEWAYS = (5, 6, 7, 8)
_INTEROPERABILITY = "exif-ifd4-InteroperabilityIndex"
_ADOBE = Colour(ADOBE_RGB, gamma=563 / 256)
# Below this a JPEG that was decoded smaller could no longer be told from one decoded whole and resized.
_SPARE = 1.1


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo: ``image`` is a pyvips image in memory, 3 x 8 bit, sRGB, upright; the size is the file's."""

    image: Any
    kind: Format
    lossless: bool
    width: int
    height: int
    findings: tuple[Finding, ...] = ()


class DecodingRoom:
    """How many pixels may be held whole at once: most formats stream and hold few, and a huge one waits its turn."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until there is room; what exceeds all the room is held alone."""
        wanted = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


@cache
def vips() -> Any:
    """The pyvips module, set up for pictures that are each looked at once. Never call it before a fork."""
    import pyvips

    # A cache of past operations would keep decoded photos in memory.
    pyvips.cache_set_max(0)
    return pyvips


def decode(path: Path, name: str, limits: IntakeLimits, room: DecodingRoom) -> Picture:
    """Read a file. Refusal: it is no picture, too large or too small, cut off or damaged."""
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(HEAD_BYTES)
            kind = sniff(head, name)
            if size > limits.max_file_bytes:
                raise refusal("file-too-large", f"The file has {size / 1e9:.1f} GB.", "Save a smaller picture.")
            if kind is Format.TIFF and is_raw_tiff(partial(_read, stream)):
                raise camera_raw()
            colour = _tagged(kind, partial(_read, stream))
            stream.seek(0)
            try:
                opened = _open_heic(stream, limits) if kind is Format.HEIC else _open(stream.fileno(), kind)
                return _normal(opened, kind, is_lossless(kind, head), colour, limits, room)
            except (vips().Error, Refusal) as failure:
                if colour is not None and colour.unknown and kind is not Format.PNG:
                    raise _strange(colour) from failure
                raise
    except OSError as failure:
        why = failure.strerror or failure
        raise refusal("unreadable", f"The file cannot be read: {why}.", "See who may read it.") from failure
    except vips().Error as failure:
        # libvips has one place for all threads' errors, so the true reason may be gone.
        raise _damaged("truncated" if _is_cut(path, kind) else str(failure)) from failure


def _read(stream: IO[bytes], at: int, count: int) -> bytes:
    # What a damaged file says of its places is believed up to here.
    return os.pread(stream.fileno(), count, at) if at < 1 << 48 else b""


def _tagged(kind: Format, read: Callable[[int, int], bytes]) -> Colour | None:
    """The colour space that a file names by other means than a profile; None for sRGB."""
    if kind is Format.PNG:
        colour = png_colour(read)
    elif kind in (Format.AVIF, Format.HEIC):
        colour = heif_colour(read)
    else:
        return None
    return None if colour is None or colour.is_srgb else colour


def _is_cut(path: Path, kind: Format) -> bool:
    """Whether a file of a kind that ends with a mark lacks it."""
    if kind not in _LAST:
        return False
    with path.open("rb") as stream:
        stream.seek(-min(os.fstat(stream.fileno()).st_size, _TAIL), os.SEEK_END)
        return _LAST[kind] not in stream.read()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file whose header was read. ``pixels`` gives the image, its sides divided by a factor that JPEG knows."""

    width: int
    height: int
    held: int
    pixels: Callable[[int], Any]
    bits: int = 8


def _open(handle: int, kind: Format) -> _Opened:
    load = getattr(vips().Image, _LOADERS[kind])

    def open_again(**options: Any) -> Any:
        # A name with brackets would be taken for options; an open file cannot.
        os.lseek(handle, 0, os.SEEK_SET)
        source = vips().Source.new_from_descriptor(handle)
        image = load(source, access="sequential", fail_on="error", **options).copy()
        # Photos are what is done in parallel; threads within one would only add memory.
        image.set_type(vips().GValue.gint_type, "concurrency", 1)
        return image

    try:
        image = open_again()
    except vips().Error as failure:
        if kind is Format.TIFF and "labq" in str(failure):
            return _open_lab(handle)
        raise
    streamed = kind in (Format.JPEG, Format.PNG, Format.TIFF) and not _interlaced(image)
    held = 0 if streamed else image.width * image.height
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8
    return _Opened(image.width, image.height, held, lambda by: open_again(shrink=by) if by > 1 else image, bits)


def _open_lab(handle: int) -> _Opened:
    """A TIFF in CIELAB of 8 bits, which libvips does not read."""
    from PIL import Image, UnidentifiedImageError

    try:
        file = Image.open(os.fdopen(os.dup(handle), "rb"))
    except (UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as failure:
        raise _damaged(str(failure)) from failure

    def pixels(_: int) -> Any:
        import numpy as np

        try:
            lab = np.asarray(file)[..., :3]
        except (ValueError, EOFError, OSError, SyntaxError, IndexError) as failure:
            raise _damaged(str(failure)) from failure
        light, colours = lab[..., :1] * np.float32(100 / 255), lab[..., 1:].view(np.int8).astype(np.float32)
        return vips().Image.new_from_array(np.concatenate([light, colours], axis=2)).copy(interpretation="lab")

    return _Opened(*file.size, file.width * file.height, pixels)


def _interlaced(image: Any) -> bool:
    return bool(image.get_typeof("interlaced") and image.get("interlaced"))


def _open_heic(stream: Any, limits: IntakeLimits) -> _Opened:
    import pillow_heif

    try:
        file = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
        primary = file[file.primary_index]
    except (ValueError, EOFError, RuntimeError, SyntaxError, IndexError, MemoryError) as failure:
        raise _damaged(str(failure)) from failure
    width, height = primary.size
    _check_size(width, height, limits)

    def pixels(_: int) -> Any:
        import numpy as np

        try:
            array = np.ascontiguousarray(primary)
        except (ValueError, EOFError, RuntimeError, SyntaxError, OSError, MemoryError) as failure:
            raise _damaged(str(failure)) from failure
        image = vips().Image.new_from_array(array)
        if image.format == "ushort":
            image = image.copy(interpretation="rgb16" if image.bands > 2 else "grey16")
        if profile := primary.info.get("icc_profile"):
            image = image.copy()
            image.set_type(vips().GValue.blob_type, "icc-profile-data", profile)
        return image

    return _Opened(width, height, width * height, pixels, primary.info.get("bit_depth") or 8)


def _check_size(width: int, height: int, limits: IntakeLimits) -> None:
    if width * height > limits.max_pixels:
        raise refusal(
            "too-many-pixels",
            f"It has {width:,} × {height:,} pixels, more than {limits.max_pixels / 1e6:,.0f} million.",
            "Save a smaller version, or raise LIMNER_MAX_PHOTO_PIXELS.",
        )
    if min(width, height) < limits.smallest_side:
        raise refusal(
            "too-small",
            f"It has only {width} × {height} pixels; nothing could be learned from it.",
            f"Use a picture with at least {limits.small_side} pixels on its shortest side.",
        )


def _normal(
    opened: _Opened, kind: Format, lossless: bool, colour: Colour | None, limits: IntakeLimits, room: DecodingRoom
) -> Picture:
    width, height = opened.width, opened.height
    _check_size(width, height, limits)
    shrink, target = _plan(width, height, kind, limits)
    with room.hold(opened.held):
        image = opened.pixels(shrink)
        colour = _colour_of(image, kind, colour)
        image = _flat(image, paper(colour))
        if (image.width, image.height) != target:
            image = image.resize(target[0] / image.width, vscale=target[1] / image.height, kernel="lanczos3")
        # Here the file is read: what follows has the small picture in memory.
        image = image.copy_memory()
    if image.get_typeof("orientation"):
        if image.get("orientation") in _SIDEWAYS:
            width, height = height, width
        image = image.autorot()
    image, findings = _srgb(image, colour, opened.bits)
    return Picture(image, kind, lossless, width, height, findings)


def _plan(width: int, height: int, kind: Format, limits: IntakeLimits) -> tuple[int, tuple[int, int]]:
    """The factor by which the JPEG decoder itself makes the picture smaller, and the size to store."""
    target = limits.stored_size(width, height)
    if kind is not Format.JPEG:
        return 1, target
    for factor in (8, 4, 2):
        halved = (-(-width // factor), -(-height // factor))
        if limits.halved_side <= min(halved) <= limits.stored_side and max(halved) <= limits.stored_longest:
            return factor, halved
    spare = min(width / target[0], height / target[1]) / _SPARE
    return next(factor for factor in (8, 4, 2, 1) if factor <= max(spare, 1)), target


def _colour_of(image: Any, kind: Format, tagged: Colour | None) -> Colour | None:
    """The colour space to convert from by formulas; None where the profile counts, or it is sRGB."""
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else b""
    if profile:
        # A cICP chunk of a PNG counts before its profile.
        return (tagged if kind is Format.PNG else None) or of_profile(profile)
    if tagged is None and kind is Format.JPEG and image.get_typeof(_INTEROPERABILITY):
        # The file naming of cameras (DCF 2.0) has this mark for Adobe RGB, often without a profile.
        return _ADOBE if str(image.get(_INTEROPERABILITY)).startswith("R03") else None
    return tagged


def _flat(image: Any, white: float) -> Any:
    """Transparent parts become white; more bands than a picture has are left out."""
    if image.hasalpha():
        top = {"ushort": 65535.0, "uchar": 255.0}.get(image.format, 1.0)
        paper = {"cmyk": 0.0, "lab": [100.0, 0.0, 0.0]}.get(image.interpretation, white * top)
        most = 1.0 if image.interpretation == "scrgb" else {"ushort": 65535.0}.get(image.format, 255.0)
        image = image.flatten(background=paper, max_alpha=most)
    most = 4 if image.interpretation == "cmyk" else 3
    return image.extract_band(0, n=most) if image.bands > most else image


def _srgb(image: Any, colour: Colour | None, bits: int) -> tuple[Any, tuple[Finding, ...]]:
    findings: tuple[Finding, ...] = ()
    result = None
    if image.interpretation in ("lab", "labs", "labq"):
        # CIELAB of a file is that of ICC, under D50.
        result = image.colourspace("lab").icc_export(output_profile="srgb", intent="relative", depth=8)
    elif colour is not None and image.format in ("uchar", "ushort"):
        result, findings = _by_formulas(image, colour, bits)
    elif image.get_typeof("icc-profile-data"):
        try:
            result = image.icc_transform("srgb", embedded=True, intent="relative", depth=8).copy_memory()
        except vips().Error:
            finding = Finding(
                "broken-profile", Severity.NOTE, "Its colour profile is damaged or of another kind; sRGB was assumed."
            )
            findings = (finding,)
    if result is None:
        result = image.colourspace("srgb")
    if result.bands != 3 or result.format != "uchar":
        result = result.cast("uchar")
        result = result.extract_band(0).bandjoin([result.extract_band(0)] * 2) if result.bands < 3 else result
    # The resolution is metadata too, and the only kind that is stored whatever one asks for.
    return result.copy(interpretation="srgb", xres=1.0, yres=1.0).copy_memory(), findings


def _by_formulas(image: Any, colour: Colour, bits: int) -> tuple[Any, tuple[Finding, ...]]:
    if image.bands < 3:
        image = image.extract_band(0).bandjoin([image.extract_band(0)] * 2)
    # Decoders give 10 and 12 bits as the upper ones of 16.
    top = 255 if image.format == "uchar" else ((1 << bits) - 1) << (16 - bits) if 8 < bits <= 16 else 65535
    result = vips().Image.new_from_array(to_srgb(image.numpy(), colour, top))
    findings = []
    if colour.is_hdr:
        name = "PQ" if colour.transfer == PQ else "HLG"
        said = f"It is an HDR picture ({name}): its light was mapped to that of sRGB, 203 cd/m² to white."
        findings.append(Finding("hdr", Severity.NOTE, said))
    if colour.unknown:
        said = f"It names a colour space that is not known here ({colour.unknown}); sRGB was assumed for that."
        findings.append(Finding("unknown-colour", Severity.WARNING, said, "If its colours are wrong, save it as sRGB."))
    return result, tuple(findings)


def _strange(colour: Colour) -> Refusal:
    said = f"Its colours are packed in a way that is not read here ({colour.unknown})."
    return refusal("unknown-colour", said, "Save it as sRGB, as a JPEG or PNG.")


def _damaged(message: str) -> Refusal:
    text = " ".join(message.split())
    if any(word in text.lower() for word in _TRUNCATED):
        return refusal("truncated", "The file is cut off; a part of the picture is missing.", "Copy it anew.")
    return refusal("unreadable", f"It cannot be decoded: {text[:160] or 'damaged'}.", "Copy it anew or save it again.")
