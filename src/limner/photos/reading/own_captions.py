"""What a photo's own metadata says of it: XMP, IPTC and EXIF, read only where the user asks for it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

__all__ = ["own_caption"]

LARGEST_XMP = 1 << 20
LONGEST = 20_000
_DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_IMAGE_DESCRIPTION, _EXIF_IFD, _USER_COMMENT = 0x010E, 0x8769, 0x9286
_CAPTION_ABSTRACT, _CODED_CHARACTER_SET = (2, 120), (1, 90)
_UTF_8 = b"\x1b%G"
# What cameras and programs write by themselves says nothing of the picture.
_BY_MACHINES = re.compile(
    r"(?i)olympus digital camera|sony dsc|samsung|kodak|default|untitled|screenshot|dcim|digital camera"
    r"|[a-z_]{0,4}\d+\.(jpe?g|dng)|.*\b(steps: \d+, sampler:).*|\{.*\}",
    re.DOTALL,
)


def own_caption(path: Path) -> str:
    """The first of XMP's dc:description, IPTC's Caption-Abstract, EXIF's ImageDescription and UserComment; else "".

    Never raises for what the file holds. What cameras write there by themselves is passed over.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; nothing is decoded here.
            warnings.simplefilter("ignore")
            found = _read(path)
    except Exception:
        # Metadata is the least of a file: what cannot be read is not there.
        return ""
    for text in found:
        words = " ".join(text[:LONGEST].replace("\0", " ").split())
        if words and not _BY_MACHINES.fullmatch(words):
            return words
    return ""


def _read(path: Path) -> list[str]:
    from PIL import Image, IptcImagePlugin

    with path.open("rb") as stream:
        head = stream.read(12)
        heic = head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis")
    if heic:
        import pillow_heif

        image: Any = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
        exif = Image.Exif()
        exif.load(image.info.get("exif") or b"")
        return [_of_xmp(image.info.get("xmp") or b""), *_of_exif(exif)]
    with Image.open(path) as opened:
        info: Any = IptcImagePlugin.getiptcinfo(opened) or {}
        xmp = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp") or b""
        return [_of_xmp(xmp), _of_iptc(info), *_of_exif(opened.getexif())]


def _of_xmp(data: bytes | str) -> str:
    """dc:description in its default language. A document with entities of its own is not read: they can be bombs."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    if not text or len(text) > LARGEST_XMP or "<!" in text.replace("<!--", ""):
        return ""
    try:
        # Without a document type there are no entities that could grow.
        root = ElementTree.fromstring(text.strip("\0 \ufeff\r\n\t"))  # noqa: S314
    except ElementTree.ParseError:
        return ""
    for block in root.iter(f"{_RDF}Description"):
        if short := block.get(_DESCRIPTION):
            return short
    for description in root.iter(_DESCRIPTION):
        items = list(description.iter(f"{_RDF}li"))
        items.sort(key=lambda item: item.get(_LANGUAGE) != "x-default")
        return (items[0].text if items else description.text) or ""
    return ""


def _of_iptc(info: dict[tuple[int, int], Any]) -> str:
    data = info.get(_CAPTION_ABSTRACT, b"")
    if isinstance(data, list):
        data = data[0]
    return _decoded(data) if info.get(_CODED_CHARACTER_SET) != _UTF_8 else data.decode("utf-8", "replace")


def _of_exif(exif: Any) -> list[str]:
    description = exif.get(_IMAGE_DESCRIPTION, "")
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    # Pillow gives its bytes as Latin-1, whatever they are.
    said = description.encode("latin-1", "ignore") if isinstance(description, str) else bytes(description)
    return [_decoded(said), _of_comment(comment if isinstance(comment, bytes) else str(comment).encode())]


def _of_comment(data: bytes) -> str:
    """A UserComment: 8 bytes name its characters; UNICODE is UTF-16 in the order of the file, or of its program."""
    name, words = data[:8], data[8:]
    if name.startswith(b"UNICODE"):
        if words[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return words.decode("utf-16", "replace")
        return words.decode("utf-16-be" if words[::2].count(0) > words[1::2].count(0) else "utf-16-le", "replace")
    if name in (b"ASCII\0\0\0", b"\0" * 8, b"JIS\0\0\0\0\0"):
        return words.decode("iso2022_jp", "replace") if name.startswith(b"JIS") else _decoded(words)
    return _decoded(data)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
