"""What a file is that is none of the pictures that are read, and what to do with that kind of thing."""

from __future__ import annotations

import re

from limner.photos.reading.refusals import Refusal, refusal

__all__ = ["in_icloud", "known_by_content", "not_a_photo", "video"]

_READS = "JPEG, PNG, WebP, AVIF, HEIC, TIFF and GIF are read."
_CONVERT = "Open it in a picture program and save it as PNG or JPEG."
_UNPACK = "Unpack it and name the folder, or pack the photos as a zip."
_FRAMES = "Save single frames of it as pictures."
_FLAT = "Export it as PNG or JPEG from the program that made it."
_LEAVE = "Leave it out."
_SHORTCUT = "Name the photo that it leads to."
_AGAIN = "Open the picture itself in the browser, and save that."

# Where, which bytes, what it is, what to do.
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (0, b"\x1f\x8b", "a packed file or archive (gzip)", _UNPACK),
    (0, b"\x1f\x9d", "a packed file or archive (compress)", _UNPACK),
    (0, b"BZh", "a packed file or archive (bzip2)", _UNPACK),
    (0, b"\xfd7zXZ\0", "a packed file or archive (xz)", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a packed file or archive (Zstandard)", _UNPACK),
    (0, b"\x04\x22\x4d\x18", "a packed file or archive (LZ4)", _UNPACK),
    (0, b"LZIP", "a packed file or archive (lzip)", _UNPACK),
    (0, b"\x5d\0\0", "a packed file or archive (LZMA)", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"MSCF", "a cabinet archive", _UNPACK),
    (2, b"-lh", "an LHA archive", _UNPACK),
    (7, b"**ACE**", "an ACE archive", _UNPACK),
    (0, b"\x60\xea", "an ARJ archive", _UNPACK),
    (0, b"!<arch>", "an ar archive", _UNPACK),
    (0, b"070701", "a cpio archive", _UNPACK),
    (0, b"xar!", "a xar archive", _UNPACK),
    (0, b"StuffIt", "a StuffIt archive", _UNPACK),
    (0, b"\x1aE\xdf\xa3", "a video", _FRAMES),
    (0, b"FLV\x01", "a video", _FRAMES),
    (0, b"\0\0\x01\xba", "a video", _FRAMES),
    (0, b"\0\0\x01\xb3", "a video", _FRAMES),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video", _FRAMES),
    (4, b"moov", "a video", _FRAMES),
    (4, b"mdat", "a video", _FRAMES),
    (4, b"wide", "a video", _FRAMES),
    (0, b"ID3", "a sound file", _LEAVE),
    (0, b"OggS", "a sound or video file", _LEAVE),
    (0, b"fLaC", "a sound file", _LEAVE),
    (0, b"%PDF", "a PDF", "Export its pictures or pages as PNG or JPEG."),
    (0, b"%!PS", "a PostScript drawing", _FLAT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript drawing", _FLAT),
    (0, b"8BPS", "a Photoshop document", "Export it as PNG or JPEG from Photoshop."),
    (0, b"gimp xcf", "a GIMP document", "Export it as PNG or JPEG from GIMP."),
    (0, b"\0\xffKA", "an Affinity document", _FLAT),
    (0, b"CSFCHUNK", "a Clip Studio document", _FLAT),
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (0, b"II\xbc", "a JPEG XR picture", _CONVERT),
    (0, b"BM", "a BMP picture", _CONVERT),
    (0, b"\0\0\x01\0", "an icon", _CONVERT),
    (0, b"\0\0\x02\0", "a mouse pointer", _CONVERT),
    (0, b"icns", "an icon", _CONVERT),
    (0, b"DDS ", "a DDS texture", _CONVERT),
    (0, b"v/1\x01", "an OpenEXR picture", _CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR picture", _CONVERT),
    (0, b"#?RGBE", "a Radiance HDR picture", _CONVERT),
    (0, b"BPG\xfb", "a BPG picture", _CONVERT),
    (0, b"FLIF", "a FLIF picture", _CONVERT),
    (0, b"qoif", "a QOI picture", _CONVERT),
    (0, b"farbfeld", "a farbfeld picture", _CONVERT),
    (0, b"AT&TFORM", "a DjVu document", _CONVERT),
    (0, b"SIMPLE  =", "an astronomer's picture (FITS)", _CONVERT),
    (128, b"DICM", "a doctor's picture (DICOM)", _CONVERT),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows drawing", _FLAT),
    (40, b" EMF", "a Windows drawing", _FLAT),
    (0, b"\0\x05\x16\x07", "what a Mac keeps beside a file (AppleDouble)", "Leave it out: the photo is beside it."),
    (0, b"\0\x05\x16\0", "a Mac's wrapping of a file (AppleSingle)", "Copy the photo anew from the Mac."),
    (0, b"\x4c\0\0\0\x01\x14\x02\0", "a Windows shortcut", _SHORTCUT),
    (0, b"[InternetShortcut]", "a link to a web page", _AGAIN),
    (0, b"book\0\0\0\0mark", "a Mac's alias", _SHORTCUT),
    (0, b"\x93NUMPY", "a cache of numbers", _LEAVE),
    (0, b"\x89HDF\r\n", "a cache of numbers", _LEAVE),
    (0, b"PAR1", "a table of data", _LEAVE),
    (0, b"GGUF", "a model's weights", _LEAVE),
    (8, b'{"', "a model's weights or a cache of numbers (safetensors)", _LEAVE),
    (0, b"SQLite format 3\0", "a database", _LEAVE),
    (0, b"\x7fELF", "a program", _LEAVE),
    (0, b"MZ", "a program", _LEAVE),
)
_RIFF = {b"AVI ": ("a video", _FRAMES), b"WAVE": ("a sound file", _LEAVE)}
_PACKED_IN_ZIP: tuple[tuple[bytes, str, str], ...] = (
    (b"[Content_Types].xml", "an office document", "Save the pictures that are in it, and name those."),
    (b"mimetype", "a document of several parts", _FLAT),
    (b"META-INF/", "a program", _LEAVE),
    (b".npy", "a cache of numbers", _LEAVE),
    (b"data.pkl", "a model's weights or a cache of numbers (PyTorch)", _LEAVE),
)
_STARTS = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"))
# Further in, it is a picture within something else, such as a preview.
_LONGEST_LEAD = 1024


def video() -> Refusal:
    """The refusal of a film."""
    return _refused("a video", _FRAMES)


def in_icloud() -> Refusal:
    """The refusal of a file that only stands for one that iCloud has put off the disk."""
    return refusal(
        "not-downloaded",
        "It is kept in iCloud and not on this disk: the file only stands for it.",
        "Download it (in the Finder: Download Now), then add it again.",
    )


def not_a_photo(head: bytes) -> Refusal:
    """The refusal of a file by its first bytes: what it is, and what to do with such a thing."""
    return known_by_content(head) or _refused(
        "no picture that is known here", f"{_READS} If another program shows it, save it from there as PNG or JPEG."
    )


def known_by_content(head: bytes) -> Refusal | None:
    """The same, or None where the bytes say nothing."""
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    for at, magic, what, remedy in _MAGIC:
        if head.startswith(magic, at):
            return _refused(what, remedy)
    if head.startswith(b"RIFF") and head[8:12] in _RIFF:
        return _refused(*_RIFF[head[8:12]])
    if _is_old_tar(head):
        return _refused("a tar archive", _UNPACK)
    if not head.strip(b"\0"):
        return refusal(
            "not-a-photo",
            "Its content is nothing but zeros: a copy or download that broke off.",
            "Copy it anew from where it came.",
        )
    return _late_start(head) or _text(head)


def _refused(what: str, remedy: str) -> Refusal:
    return refusal("not-a-photo", f"Its content is {what}, whatever its name says.", remedy)


def _zip(head: bytes) -> Refusal:
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    for part, what, remedy in _PACKED_IN_ZIP:
        if part in first:
            return _refused(what, remedy)
    return _refused("a zip", "Call it .zip and name it itself, or unpack it and name the folder.")


def _is_old_tar(head: bytes) -> bool:
    """Whether it is a tar without a magic number: its first header then still carries the sum of its own bytes."""
    header = head[:512]
    if len(header) < 512 or not header[0]:
        return False
    written = re.fullmatch(rb" *([0-7]{1,7})[ \0]+", header[148:156])
    return bool(written) and sum(header[:148]) + 256 + sum(header[156:]) == int(written[1], 8)  # type: ignore[index]


def _late_start(head: bytes) -> Refusal | None:
    for magic, kind in _STARTS:
        at = head.find(magic, 1, _LONGEST_LEAD)
        if at > 0:
            return refusal(
                "late-start",
                f"A {kind} picture begins only at byte {at:,}; what is before it does not belong to it.",
                f"Download or copy it anew, or cut off the first {at:,} bytes: tail -c +{at + 1} FILE > NEW.",
            )
    return None


def _text(head: bytes) -> Refusal | None:
    text = _decoded(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith("version https://git-lfs"):
        return refusal(
            "not-downloaded", "It is a Git LFS pointer: the picture itself was not fetched.", "Run git lfs pull."
        )
    if re.match(r"[./]*(\.git/)?annex/objects/", start):
        return refusal(
            "not-downloaded", "It is a git-annex pointer: the picture itself was not fetched.", "Run git annex get."
        )
    if _behind_prolog(start).startswith("<svg"):
        return _refused("an SVG drawing", "Export it as a PNG of 1024 pixels or more.")
    if start.startswith(("<!doctype html", "<html", "<head", "<body", "<script")):
        return _refused("a web page", _AGAIN)
    if start.startswith(("<?xml", "{", "http/")):
        return _refused("text: perhaps a server's answer in place of the picture", "Download the picture anew.")
    if start.startswith(("data:image/", "/9j/", "ivborw0kggo")):
        return _refused("a picture written out as text (Base64)", "Decode it: base64 -d FILE > NEW.")
    return _refused("text", f"{_READS} If a picture was meant, download or copy it anew.")


def _behind_prolog(text: str) -> str:
    """What follows an XML declaration, comments and a document type."""
    ends = {"<?": "?>", "<!--": "-->", "<!doctype svg": ">"}
    at = 0
    while opening := next((one for one in ends if text.startswith(one, at)), ""):
        end = text.find(ends[opening], at)
        if end < 0:
            break
        at = end + len(ends[opening])
        at += len(text[at:]) - len(text[at:].lstrip())
    return text[at:]


def _decoded(head: bytes) -> str | None:
    """The head as text, if it is any; it may end in the middle of a letter."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as failure:
        if failure.start < len(head) - 4:
            return None
        text = head[: failure.start].decode("utf-8")
    readable = bool(text) and all(letter.isprintable() or letter.isspace() or letter == "\ufeff" for letter in text)
    return text if readable else None
