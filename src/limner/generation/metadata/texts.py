"""The texts of a picture file by their keywords, wherever its format keeps them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from limner.generation.metadata.ai_marks import XMP_KEYWORD
from limner.generation.metadata.pixels import opened
from limner.generation.metadata.png import SIGNATURE, read_chunks, read_texts
from limner.generation.metadata.values import LONGEST

__all__ = ["COMMENT", "comment_text", "texts_of"]

COMMENT = "UserComment"
"""The keyword under which the text of EXIF's UserComment is given."""
_DESCRIPTION, _MAKE, _MODEL, _USER_COMMENT, _EXIF_FOLDER = 0x010E, 0x010F, 0x0110, 0x9286, 0x8769
_GRAPHS = ("prompt", "workflow")


def texts_of(data: bytes) -> tuple[dict[str, str], Mapping[int, Any]]:
    """The texts by their keywords, and the EXIF values by their tags. InputRefused: it is no readable picture."""
    if data.startswith(SIGNATURE):
        chunks = read_chunks(data)
        exif = _exif(next((chunk.body for chunk in chunks if chunk.kind == b"eXIf"), b""))
        texts = read_texts(chunks)
    else:
        with opened(data) as picture:
            xmp = picture.info.get("xmp", b"")
            exif = _exif(picture.info.get("exif", b""))
        texts = {XMP_KEYWORD: xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)}
    comment = exif.get(_USER_COMMENT)
    if isinstance(comment, bytes | str) and comment:
        texts[COMMENT] = comment_text(comment) if isinstance(comment, bytes) else comment
    # ComfyUI and its node packs put graph and workflow into values of a camera, after their keywords
    for tag in (_DESCRIPTION, _MAKE, _MODEL):
        keyword, colon, text = str(exif.get(tag, "")).partition(":")
        if colon and keyword.lower() in _GRAPHS:
            texts.setdefault(keyword.lower(), text)
    return {keyword: text[:LONGEST] for keyword, text in texts.items()}, exif


def comment_text(value: bytes) -> str:
    """The text of a UserComment: eight bytes that name its coding, then the text. "" where it cannot be told.

    EXIF leaves the byte order of ``UNICODE`` open, and programs write UTF-8 after it too, or name no coding at all.
    """
    coding, text = value[:8], value[8:]
    if coding == b"ASCII\0\0\0":
        found = _utf8(text) or text.decode("cp1252", "replace")
    elif coding == b"JIS\0\0\0\0\0":
        found = text.decode("iso2022_jp", "replace")
    elif coding in (b"UNICODE\0", b"\0" * 8):
        found = _unicode(text)
    else:
        found = _unicode(value)
    found = found.strip("\0 \t\r\n\ufeff")
    return found if _is_text(found) else ""


def _unicode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    plain = _utf8(data.rstrip(b"\0"))
    if plain and "\0" not in plain:
        return plain
    # what programs say is full of Latin letters, digits and commas: in the wrong order those are rare signs
    return max((data.decode(f"utf-16-{order}", "replace") for order in ("be", "le")), key=_latin)


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""


def _latin(text: str) -> int:
    return sum(" " <= sign <= "~" or sign == "\n" for sign in text)


def _is_text(text: str) -> bool:
    """Whether nearly all of it can be shown: noise that was taken for text cannot."""
    odd = sum(not (sign.isprintable() or sign in "\n\r\t\u2060") or sign == "\ufffd" for sign in text)
    return 20 * odd <= len(text)


def _exif(block: bytes) -> Mapping[int, Any]:
    """The values by their tags, those of the Exif folder among them; nothing where the block is damaged."""
    from PIL.Image import Exif

    exif = Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if block:
                exif.load(block if block.startswith(b"Exif\0\0") else b"Exif\0\0" + block)
            return {**exif, **exif.get_ifd(_EXIF_FOLDER)}
    except Exception:  # the reader may raise anything on damaged bytes
        return {}
