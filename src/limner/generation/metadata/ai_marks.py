"""The marks that say "made by AI" to any program: IPTC's source type in XMP, and EXIF as FLUX tools write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from limner._version import __version__

__all__ = ["AI_SOURCE_TYPE", "XMP_KEYWORD", "exif_block", "marks_in", "xmp_packet"]

AI_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP_KEYWORD = "XML:com.adobe.xmp"
_SOFTWARE, _MAKE, _MODEL = 0x0131, 0x010F, 0x0110
# bounded, so that no text makes the search slow
_SOURCE_TYPES = (
    re.compile(r"DigitalSourceType[^<>]{0,200}?=\s{0,9}[\"']([^<\"'\s]{1,200})"),  # an attribute, its own or rdf's
    re.compile(r"DigitalSourceType[^<>]{0,200}>\s{0,200}([^<\s]{1,200})"),  # an element
)
_AI_KINDS = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia")


def xmp_packet() -> str:
    """The XMP packet that marks a picture as made by a trained algorithm."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<xmp:CreatorTool>{escape(f'Limner {__version__}')}</xmp:CreatorTool>"
        f"<Iptc4xmpExt:DigitalSourceType>{AI_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )


def exif_block(model: str) -> bytes:
    """The body of a PNG's eXIf chunk: Software as the makers of FLUX write it, Make, and the base as Model."""
    from PIL.Image import Exif

    exif = Exif()
    exif[_SOFTWARE] = "AI generated;txt2img;flux"
    exif[_MAKE] = "Limner"
    exif[_MODEL] = model
    return exif.tobytes().removeprefix(b"Exif\0\0")


def marks_in(xmp: str, exif: Mapping[int, object]) -> tuple[str, ...]:
    """Which marks of AI a picture's XMP and EXIF carry: ``XMP``, ``EXIF``."""
    found = []
    if any(kind.endswith(_AI_KINDS) for form in _SOURCE_TYPES for kind in form.findall(xmp)):
        found.append("XMP")
    if str(exif.get(_SOFTWARE, "")).lower().startswith("ai generated"):
        found.append("EXIF")
    return tuple(found)
