"""Pictures in other colour spaces into sRGB, by the formulas of the standards; HDR is mapped to an ordinary range.

An ICC profile is LittleCMS's business, by way of libvips. Here is what has none: primaries and a transfer function.
HDR: light is taken relative to the reference white of 203 cd/m² (ITU-R BT.2408); HLG is shown as on a display of
1000 cd/m² (BT.2100). What is brighter than white is rolled off by the curve of ITU-R BT.2390 (a Hermite spline in PQ)
on the largest of red, green and blue, so that hues stay; it ends where all but a thousandth of the picture does. A
picture that is nowhere brighter than white is therefore left as it is.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from limner.photos.reading.colour_tags import HLG, LINEAR, PQ, SRGB, SRGB_CURVE, Chromaticities, Colour

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["paper", "to_srgb"]

WHITE = 203.0
"""The light of reference white in cd/m²."""
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
BRIGHTEST = 99.9
"""The percentile of a picture's light at which the roll-off ends."""
_ROWS = 256


def paper(colour: Colour | None) -> float:
    """The value, 0 to 1, of white paper: what lies under transparent parts."""
    if colour is None or not colour.is_hdr:
        return 1.0
    return float(_pq_encoded(WHITE)) if colour.transfer == PQ else 0.75


def to_srgb(pixels: NDArray[Any], colour: Colour, top: int) -> NDArray[np.uint8]:
    """Height x width x 3 whole numbers, ``top`` the one for 1.0, into the same of 8-bit sRGB."""
    import numpy as np

    light = _light(colour, top, int(np.iinfo(pixels.dtype).max)).astype(np.float32)
    luma = (_to_xyz(colour.primaries)[1]).astype(np.float32)
    matrix = (np.linalg.inv(_to_xyz(SRGB)) @ _adapted(colour.primaries)).astype(np.float32)
    strips = [slice(at, at + _ROWS) for at in range(0, len(pixels), _ROWS)]

    def lit(strip: slice) -> NDArray[np.float32]:
        linear: NDArray[np.float32] = light[pixels[strip]]
        if colour.is_hdr and colour.transfer == HLG:
            # The system's own curve, on the luminance of the scene.
            linear = linear * ((linear @ luma)[..., None] ** np.float32(HLG_GAMMA - 1)) * np.float32(HLG_PEAK / WHITE)
        return linear

    knots, ratios = (None, None)
    if colour.is_hdr:
        brightest = np.concatenate([lit(strip).max(axis=-1).ravel() for strip in strips])
        knots, ratios = _roll_off(float(np.percentile(brightest, BRIGHTEST)))
    result = np.empty(pixels.shape, np.uint8)
    for strip in strips:
        linear = lit(strip)
        if knots is not None and ratios is not None:
            linear = linear * np.interp(linear.max(axis=-1), knots, ratios)[..., None].astype(np.float32)
        mixed = np.clip(linear @ matrix.T, 0, 1)
        result[strip] = _encoding()[np.rint(mixed * 65535).astype(np.uint16)]
    return result


# --- transfer functions -----------------------------------------------------------------------------------------------


def _light(colour: Colour, top: int, largest: int) -> Floats:
    """For each whole number up to ``largest`` its light: 1 is white, for HLG 1 is the scene's brightest."""
    import numpy as np

    value = np.arange(largest + 1) / top
    if not colour.full_range:
        # Of 8 bits 16 is black and 235 white; of 16 bits 256 times these.
        step = 256 if largest > 255 else 1
        value = (value * top - 16 * step) / (219 * step)
    value = np.clip(value, 0, 1)
    if colour.gamma:
        return np.asarray(value**colour.gamma)
    return _linear(value, colour.transfer)


def _linear(value: Floats, transfer: int) -> Floats:
    """The light of encoded values, by ITU-T H.273, table 3."""
    import numpy as np

    if transfer == PQ:
        return _pq_light(value) / WHITE
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12)
    if transfer in (9, 10):
        return np.where(value > 0, 10 ** ((value - 1) * (2 if transfer == 9 else 2.5)), 0)
    if transfer == 17:
        return np.asarray(value**2.6 * 52.37 / 48)
    powers = {4: 2.2, 5: 2.8, LINEAR: 1.0}
    if transfer in powers:
        return np.asarray(value ** powers[transfer])
    # A power with a straight piece below: offset, slope, exponent, and where they meet.
    if transfer == SRGB_CURVE:
        offset, slope, power, meet = 0.055, 12.92, 2.4, 0.04045
    elif transfer == 7:
        offset, slope, power, meet = 0.1115, 4.0, 1 / 0.45, 0.0912
    else:
        offset, slope, power, meet = 0.09929682680944, 4.5, 1 / 0.45, 0.081242858298635
    return np.where(value <= meet, value / slope, ((value + offset) / (1 + offset)) ** power)


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def _pq_light(value: Floats) -> Floats:
    """cd/m² of values in PQ, SMPTE ST 2084."""
    import numpy as np

    root = np.asarray(value) ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def _pq_encoded(light: Floats | float) -> Floats:
    import numpy as np

    root = (np.asarray(light) / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * root) / (1 + _C3 * root)) ** _M2)


@cache
def _encoding() -> NDArray[np.uint8]:
    """The 8-bit sRGB value of light in steps of 1 / 65535."""
    import numpy as np

    light = np.arange(65536) / 65535
    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(value * 255).astype(np.uint8))


def _roll_off(brightest: float) -> tuple[Floats | None, Floats | None]:
    """Light, 1 for white, and what each is multiplied by: the EETF of BT.2390 from ``brightest`` down to white."""
    import numpy as np

    if brightest <= 1:
        return None, None
    peak = float(_pq_encoded(min(brightest * WHITE, 10_000)))
    most = float(_pq_encoded(WHITE)) / peak
    knee = 1.5 * most - 0.5
    given = np.linspace(0, 1, 4096)
    t = np.clip((given - knee) / (1 - knee), 0, 1)
    curved = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    mapped = np.where(given < knee, given, curved)
    before, after = _pq_light(given * peak) / WHITE, _pq_light(mapped * peak) / WHITE
    ratios = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return before, ratios


# --- primaries --------------------------------------------------------------------------------------------------------


def _to_xyz(primaries: Chromaticities) -> Floats:
    """RGB to XYZ, with Y of white 1, from chromaticities (SMPTE RP 177)."""
    import numpy as np

    corners = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _pairs(primaries)])
    *colours, white = corners
    columns = np.array(colours).T
    return np.asarray(columns * np.linalg.solve(columns, white))


def _pairs(primaries: Chromaticities) -> list[tuple[float, float]]:
    # Of the XYZ primaries two have no y; a little of it changes nothing.
    return [(primaries[at], max(primaries[at + 1], 1e-9)) for at in (0, 2, 4, 6)]


def _adapted(primaries: Chromaticities) -> Floats:
    """RGB to XYZ as seen under D65, by the cone responses of Bradford."""
    import numpy as np

    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    matrix = _to_xyz(primaries)
    if primaries[6:] == SRGB[6:]:
        return matrix
    cones = bradford @ (_to_xyz(SRGB) @ np.ones(3)) / (bradford @ (matrix @ np.ones(3)))
    return np.asarray(np.linalg.inv(bradford) @ np.diag(cones) @ bradford @ matrix)
