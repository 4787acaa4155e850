"""What a file says of its colours besides ICC curves: PNG chunks, nclx boxes of AVIF and HEIC, cicp tags of profiles.

Codes are those of ITU-T H.273. Where a file says several things, its format says which counts: in PNG cICP before
iCCP before sRGB before gAMA and cHRM; in AVIF and HEIC a profile before nclx, whose matrix and range the decoder uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import unpack, unpack_from

__all__ = ["ADOBE_RGB", "SRGB", "Chromaticities", "Colour", "heif_colour", "of_profile", "png_colour"]

Read = Callable[[int, int], bytes]
"""Bytes of a file: from where, how many; fewer at its end."""

Chromaticities = tuple[float, ...]
"""x and y of red, green, blue and white."""

_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
SRGB: Chromaticities = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
ADOBE_RGB: Chromaticities = (0.640, 0.330, 0.210, 0.710, 0.150, 0.060, *_D65)
PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB,
    2: SRGB,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
"""ITU-T H.273, table 2; 2 is unspecified."""
LINEAR, SRGB_CURVE, PQ, HLG = 8, 13, 16, 18
_TRANSFERS = {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}
# The matrices that libheif takes RGB out of; others are ICtCp, constant luminance and the like.
_MATRICES = {0, 1, 2, 4, 5, 6, 7, 8, 9}
_MOST_CHUNKS, _LARGEST_META = 1_000, 16_000_000


@dataclass(frozen=True, slots=True)
class Colour:
    """How the numbers of a picture become light: ``transfer`` is a code of H.273, or ``gamma`` a power instead.

    ``full_range`` is False where black is 16 and white 235 of 255. ``unknown`` says what was not understood; then
    sRGB is assumed for it.
    """

    primaries: Chromaticities = SRGB
    transfer: int = SRGB_CURVE
    gamma: float = 0.0
    full_range: bool = True
    unknown: str = ""

    @property
    def is_hdr(self) -> bool:
        return not self.gamma and self.transfer in (PQ, HLG)

    @property
    def is_srgb(self) -> bool:
        return self == Colour()


def _coded(primaries: int, transfer: int, matrix: int, *, full_range: bool = True) -> Colour:
    codes = ((primaries, PRIMARIES, "primaries"), (transfer, _TRANSFERS, "transfer"), (matrix, _MATRICES, "matrix"))
    unknown = ", ".join(f"{word} {code}" for code, known, word in codes if code not in known)
    known = SRGB_CURVE if transfer == 2 or transfer not in _TRANSFERS else transfer
    return Colour(PRIMARIES.get(primaries, SRGB), known, full_range=full_range, unknown=unknown)


# --- PNG --------------------------------------------------------------------------------------------------------------


def png_colour(read: Read) -> Colour | None:
    """What counts of a PNG's chunks before its pixels; None for its ICC profile, or if there is nothing."""
    found: dict[bytes, bytes] = {}
    at = 8
    for _ in range(_MOST_CHUNKS):
        head = read(at, 8)
        if len(head) < 8 or head[4:] == b"IDAT":
            break
        length, name = unpack(">I4s", head)
        if name in (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"):
            found.setdefault(name, read(at + 8, min(length, 32)))
        at += 12 + length
    coded = found.get(b"cICP", b"")
    # In a PNG the pixels are RGB, so that another matrix makes the chunk void.
    if len(coded) == 4 and coded[2] == 0:
        return _coded(coded[0], coded[1], 0, full_range=coded[3] != 0)
    if b"iCCP" in found or b"sRGB" in found:
        return None
    return _by_gamma(found.get(b"gAMA", b""), found.get(b"cHRM", b""))


def _by_gamma(gamma: bytes, chromaticities: bytes) -> Colour | None:
    primaries = SRGB
    if len(chromaticities) == 32:
        white_x, white_y, *rest = (number / 100_000 for number in unpack(">8I", chromaticities))
        given = (*rest, white_x, white_y)
        plausible = all(given[at + 1] > 0 and sum(given[at : at + 2]) <= 1.001 for at in (0, 2, 4, 6))
        # A file that writes sRGB's numbers with fewer digits means sRGB.
        if plausible and max(abs(one - other) for one, other in zip(given, SRGB, strict=True)) > 0.002:
            primaries = given
    encoded = int.from_bytes(gamma, "big") if len(gamma) == 4 else 0
    # 1 / 2.2 is how a file without an sRGB chunk says that its curve is sRGB's.
    if not encoded or (primaries == SRGB and abs(encoded - 45_455) <= 100):
        return None if primaries == SRGB else Colour(primaries)
    return Colour(primaries, gamma=min(max(100_000 / encoded, 0.1), 10.0))


# --- AVIF and HEIC ----------------------------------------------------------------------------------------------------


def heif_colour(read: Read) -> Colour | None:
    """What the nclx box of the main picture says, or of its first tile; None where there is none.

    Its matrix and range were used by the decoder. Whether the file has a profile as well is for the caller to see.
    """
    at = 0
    for _ in range(64):
        head = read(at, 16)
        if len(head) < 8:
            return None
        length, name = unpack_from(">I4s", head)
        skip = 8
        if length == 1 and len(head) == 16:
            length, skip = unpack_from(">Q", head, 8)[0], 16
        if name == b"meta":
            return _in_meta(read(at + skip, min(length - skip, _LARGEST_META)) if length >= skip else b"")
        if length < skip:
            return None
        at += length
    return None


def _in_meta(meta: bytes) -> Colour | None:
    boxes = dict(_boxes(meta[4:]))
    main = boxes.get(b"pitm", b"")
    if len(main) < 6:
        return None
    item = int.from_bytes(main[4:8], "big") if main[0] else int.from_bytes(main[4:6], "big")
    inside = dict(_boxes(boxes.get(b"iprp", b"")))
    properties = list(_boxes(inside.get(b"ipco", b"")))
    of_items = _associations(inside.get(b"ipma", b""))
    for one in (item, *_parts(boxes.get(b"iref", b""), item)[:1]):
        for number in of_items.get(one, ()):
            name, body = properties[number - 1] if 0 < number <= len(properties) else (b"", b"")
            if name == b"colr" and body[:4] == b"nclx" and len(body) >= 11:
                return _coded(*unpack_from(">HHH", body, 4))
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        length, name = unpack_from(">I4s", data, at)
        if length < 8:
            length = len(data) - at
        yield name, data[at + 8 : at + length]
        at += length


def _associations(data: bytes) -> dict[int, list[int]]:
    """The numbers of each item's properties, counted from 1."""
    if len(data) < 8:
        return {}
    wide_items, wide_numbers = data[0] >= 1, data[3] & 1
    found: dict[int, list[int]] = {}
    at = 8
    size = 4 if wide_items else 2
    step = 2 if wide_numbers else 1
    while at + size < len(data):
        item, count = int.from_bytes(data[at : at + size], "big"), data[at + size]
        at += size + 1
        numbers = [int.from_bytes(data[place : place + step], "big") for place in range(at, at + count * step, step)]
        found.setdefault(item, []).extend(number & (0x7FFF if wide_numbers else 0x7F) for number in numbers)
        at += count * step
    return found


def _parts(data: bytes, item: int) -> list[int]:
    """The tiles that a picture is put together from."""
    size = 4 if data[:1] > b"\0" else 2
    for name, body in _boxes(data[4:]):
        if name == b"dimg" and int.from_bytes(body[:size], "big") == item:
            return [int.from_bytes(body[at : at + size], "big") for at in range(size + 2, len(body) - size + 1, size)]
    return []


# --- ICC --------------------------------------------------------------------------------------------------------------


def of_profile(profile: bytes) -> Colour | None:
    """What the cicp tag of an ICC profile says where it is PQ or HLG, which the profile's curves cannot; else None."""
    count = int.from_bytes(profile[128:132], "big")
    for at in range(132, 132 + 12 * min(count, 100), 12):
        if profile[at : at + 4] == b"cicp":
            place = int.from_bytes(profile[at + 4 : at + 8], "big")
            body = profile[place : place + 12]
            if len(body) == 12 and body[:4] == b"cicp":
                colour = _coded(body[8], body[9], 0)
                return colour if colour.is_hdr else None
    return None
