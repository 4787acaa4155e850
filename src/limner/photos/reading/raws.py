"""Camera raw files, known by their content: magic numbers of their own, or tags that only a sensor's data has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath
from struct import unpack_from

__all__ = ["has_raw_magic", "has_raw_name", "is_raw_tiff"]

Read = Callable[[int, int], bytes]
"""Bytes of a file: from where, how many; fewer at its end."""

_NAMES = (
    "3fr ari arw bay cap cr2 cr3 crw cs1 dcr dcs dng drf eip erf fff gpr iiq k25 kdc mef mos mrw nef nrw orf pef ptx "
    "pxn r3d raf raw rw2 rwl sr2 srf srw sti x3f"
)
_MAGIC = (
    (0, b"IIRO"),  # Olympus, OM System
    (0, b"IIRS"),
    (0, b"MMOR"),
    (0, b"IIU\0"),  # Panasonic, Leica
    (0, b"FUJIFILMCCD-RAW"),
    (0, b"FOVb"),  # Sigma
    (0, b"\0MRM"),  # Minolta
    (6, b"HEAPCCDR"),  # Canon before 2004
    (8, b"CR\x02\0"),  # Canon, within a TIFF
    (8, b"IIII"),  # Phase One, within a TIFF
    (8, b"MMMM"),
    (0, b"ARRI"),
    (4, b"RED1"),
    (4, b"RED2"),
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_COMPRESSION, _PHOTOMETRIC, _SUB_IFDS = 259, 262, 330
# Patterns of a colour filter (TIFF/EP and DNG), DNG's version, and blocks of Leaf and Kodak.
_RAW_TAGS = {33421, 33422, 50706, 50710, 34310, 65024}
# What Nikon, Sony, Samsung, Pentax, Kodak and Epson pack a sensor's data by.
_RAW_COMPRESSIONS = {32767, 32769, 32770, 34713, 65000, 65535}
_CFA, _LINEAR_RAW = 32803, 34892
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MOST_IFDS, _MOST_TAGS = 16, 512


def has_raw_magic(head: bytes) -> bool:
    """Whether a file's first bytes are a camera's."""
    return any(head.startswith(magic, at) for at, magic in _MAGIC if at != 8 or head.startswith(_TIFF))


def has_raw_name(name: str) -> bool:
    """Whether a file's ending is that of a camera's raw files; decides only where the content leaves it open."""
    return PurePath(name).suffix.lower()[1:] in _NAMES.split()


def is_raw_tiff(read: Read) -> bool:
    """Whether a TIFF holds a sensor's data in any of its directories. At most 16 of them are looked at."""
    for tags in _directories(read):
        if _RAW_TAGS & set(tags):
            return True
        if {_CFA, _LINEAR_RAW} & set(tags.get(_PHOTOMETRIC, ())):
            return True
        if _RAW_COMPRESSIONS & set(tags.get(_COMPRESSION, ())):
            return True
    return False


def _directories(read: Read) -> Iterator[dict[int, tuple[int, ...]]]:
    """The tags of a TIFF's directories, with those below the first ones; whole numbers only, others are ()."""
    head = read(0, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    if len(head) < 16:
        return
    waiting = [unpack_from(f"{order}Q", head, 8)[0] if big else unpack_from(f"{order}I", head, 4)[0]]
    looked: set[int] = set()
    while waiting and len(looked) < _MOST_IFDS:
        at = waiting.pop(0)
        if not at or at in looked:
            continue
        looked.add(at)
        tags, following = _directory(read, at, order, big)
        yield tags
        waiting += [*tags.get(_SUB_IFDS, ())[:8], following]


def _directory(read: Read, at: int, order: str, big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    counter, entry, number = ("Q", 20, "Q") if big else ("H", 12, "I")
    head = read(at, 8 if big else 2)
    if len(head) < (8 if big else 2):
        return {}, 0
    count = min(unpack_from(order + counter, head)[0], _MOST_TAGS)
    body = read(at + len(head), count * entry + (8 if big else 4))
    tags: dict[int, tuple[int, ...]] = {}
    for place in range(0, min(count * entry, len(body) - entry + 1), entry):
        tag, kind = unpack_from(f"{order}HH", body, place)
        length = unpack_from(order + number, body, place + 4)[0]
        value = body[place + (12 if big else 8) : place + entry]
        tags[tag] = _numbers(read, value, kind, length, order, big) if tag in _WANTED else ()
    end = count * entry
    following = unpack_from(order + number, body, end)[0] if len(body) >= end + (8 if big else 4) else 0
    return tags, following


_WANTED = (_COMPRESSION, _PHOTOMETRIC, _SUB_IFDS)


def _numbers(read: Read, value: bytes, kind: int, length: int, order: str, big: bool) -> tuple[int, ...]:
    letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
    length = min(length, 16)
    if letter is None:
        return ()
    size = length * _SIZES[kind]
    if size > len(value):
        value = read(unpack_from(order + ("Q" if big else "I"), value)[0], size)
    return unpack_from(f"{order}{length}{letter}", value) if len(value) >= size else ()
