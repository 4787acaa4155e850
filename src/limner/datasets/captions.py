"""Captions: one clean line of text a photo, given beside it, in a table, or by a template."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from limner.errors import CaptionRefused
from limner.types import Finding, Severity, SubjectFacts

__all__ = [
    "DEFAULT_TEMPLATE",
    "Caption",
    "CaptionBook",
    "check_template",
    "clean_caption",
    "fill",
    "has_trigger",
    "path_parts",
    "plain_braces",
    "read_captions",
    "stem_of",
    "without_photo",
]

DEFAULT_TEMPLATE = "a photo of {trigger} {class_word}"
LONGEST_CAPTION = 4000
PLACEHOLDERS = ("trigger", "class_word")

_BRACES = re.compile(r"\{\{|\}\}|\{(\w*)\}|\[(trigger)\]")
_SEPARATORS = re.compile(r"[\\/]+|(?<=\.zip)\s*[!:>→»]\s*[\\/]*", re.IGNORECASE)


def clean_caption(text: str) -> str:
    """The text as one line: NFC, each run of white space one space, no control characters.

    CaptionRefused: it is longer than 4,000 characters, or holds half a surrogate pair, which is no character.
    """
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isspace() or unicodedata.category(letter) != "Cc")
    line = " ".join(unicodedata.normalize("NFC", text.replace("\ufeff", "")).split())
    if len(line) > LONGEST_CAPTION:
        raise CaptionRefused(
            f"A caption has {len(line)} characters, more than {LONGEST_CAPTION}.",
            remedy="Shorten it; text encoders read a few hundred words at most.",
            thing=line[:60],
        )
    if any("\ud800" <= letter <= "\udfff" for letter in line):
        raise CaptionRefused(
            "A caption holds half a surrogate pair, which is no character.", remedy="Write it anew as UTF-8."
        )
    return line


def fill(template: str, subject: SubjectFacts) -> str:
    """Fill ``{trigger}`` (or ``[trigger]``) and ``{class_word}`` into a template or caption, as one clean line.

    ``{{`` and ``}}`` stand for braces. CaptionRefused: another placeholder, or nothing is left.
    """
    check_template(template)
    values = {"trigger": subject.trigger, "class_word": subject.class_word}
    caption = clean_caption(_BRACES.sub(lambda found: _filled(found, values), template))
    if not caption:
        raise CaptionRefused("The caption is empty.", remedy=f"Write one, such as '{DEFAULT_TEMPLATE}'.")
    return caption


def check_template(template: str) -> None:
    """CaptionRefused names a placeholder that is not known, with what was perhaps meant."""
    for found in _BRACES.finditer(template):
        name = found[1]
        if name is not None and name not in PLACEHOLDERS:
            near = get_close_matches(name, PLACEHOLDERS, n=1) or PLACEHOLDERS
            meant = " or ".join(f"{{{known}}}" for known in near)
            raise CaptionRefused(
                f"The caption '{template[:80]}' has the unknown placeholder {{{name[:40]}}}.",
                remedy=f"Use {meant}; write {{{{ and }}}} for braces.",
                thing=name[:40],
            )


def plain_braces(caption: str) -> str:
    """A caption by someone who knows no placeholders: braces that are none of ours become plain ones."""
    known = [f"{{{name}}}" for name in PLACEHOLDERS]
    pieces = re.split(f"({'|'.join(map(re.escape, known))})", caption)
    return "".join(piece if piece in known else piece.replace("{", "{{").replace("}", "}}") for piece in pieces)


def has_trigger(caption: str, trigger: str) -> bool:
    """Whether a caption, filled or not yet, names the trigger as words of its own."""
    if "{trigger}" in caption or "[trigger]" in caption:
        return True
    return re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption) is not None


def _filled(found: re.Match[str], values: Mapping[str, str]) -> str:
    name = found[1] or found[2]
    return values[name] if name else found[0][0]


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption as given, not filled yet. ``origin`` is "sidecar" or "table"; ``source`` the file it was read from.

    ``target`` is the path of the photo in parts; ``stem`` says that its last part lacks the extension. A photo may
    lie elsewhere if its path ends with ``written``, as a table that the user named says it. Lower ``rank`` goes first.
    """

    text: str
    origin: str
    source: str
    target: tuple[str, ...]
    stem: bool = False
    written: tuple[str, ...] = ()
    rank: int = 0

    def fits(self, photo: Sequence[str], case: Callable[[str], str] = str) -> int:
        """In how many parts the path of a photo agrees with the caption's to the end of the shorter; 0 if not."""
        name = stem_of(photo[-1]) if self.stem else photo[-1]
        parts = [case(part) for part in (*photo[:-1], name)]
        for path in (self.target, self.written):
            shared = min(len(path), len(parts))
            if shared and [case(part) for part in path[-shared:]] == parts[-shared:]:
                return shared
        return 0


@dataclass(frozen=True, slots=True)
class CaptionBook:
    """All captions that were found, and what was noticed while reading them."""

    captions: tuple[Caption, ...] = ()
    findings: tuple[Finding, ...] = ()
    _by_name: dict[str, list[Caption]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for caption in self.captions:
            name = caption.target[-1] if caption.stem else stem_of(caption.target[-1])
            self._by_name.setdefault(name.casefold(), []).append(caption)

    def find(self, source: str) -> Caption | None:
        """The caption for a photo by its name: a path, a name, or a zip and the name in it.

        A table that was named goes before a sidecar, and that before a table found in a folder. Names that differ in
        case only are paired if nothing else fits. None where none fits, or several different ones fit equally well.
        """
        parts = path_parts(source)
        named = self._by_name.get(stem_of(parts[-1]).casefold(), []) if parts else []
        for case in (str, str.casefold):
            fitting = [(caption.rank, -length, caption) for caption in named if (length := caption.fits(parts, case))]
            if fitting:
                best = min(fit[:2] for fit in fitting)
                equals = [caption for *fit, caption in fitting if tuple(fit) == best]
                alike = len({caption.text for caption in equals}) == 1
                same = case is str and len({caption.target for caption in equals}) == 1
                return equals[0] if alike or same else None
        return None

    def pairing_findings(self, sources: Iterable[str]) -> list[Finding]:
        """What speaks against the pairing with these photos: captions that none took, or that several took."""
        takers: dict[int, list[str]] = {}
        for source in sources:
            caption = self.find(source)
            if caption:
                takers.setdefault(id(caption), []).append(source)
        found: list[Finding] = []
        for caption in self.captions:
            photos = takers.get(id(caption), [])
            if not photos:
                found.append(without_photo(caption.source, "/".join(caption.written or caption.target[-1:])))
            elif len({path_parts(photo)[:-1] for photo in photos}) > 1:
                found.append(_shared(caption, photos))
        return found


def path_parts(path: str) -> tuple[str, ...]:
    """The parts of a path of any system, or of a zip and a name in it, in NFC; without '.', '..' and the root."""
    parts = _SEPARATORS.split(unicodedata.normalize("NFC", path))
    return tuple(part for part in parts if part not in ("", ".", ".."))


def without_photo(source: str, photo: str) -> Finding:
    """The finding for a caption whose photo is not there."""
    return Finding(
        "caption-without-photo",
        Severity.WARNING,
        f"{source} has a caption for '{photo[:120]}', but there is no such photo.",
        "Correct the file name, or ignore this if the photo was left out on purpose.",
    )


def _shared(caption: Caption, photos: Sequence[str]) -> Finding:
    return Finding(
        "caption-shared",
        Severity.WARNING,
        f"One caption of {caption.source} goes to {len(photos)} photos of the same name: {', '.join(photos[:3])}.",
        "Write the folder before the file name.",
    )


def stem_of(name: str) -> str:
    """A file name without its extension."""
    return name.rpartition(".")[0] or name


def read_captions(paths: Sequence[Path]) -> CaptionBook:
    """Read the captions that lie beside or in what is named: photos, folders, zips, globs, and caption files.

    Sidecars are ``IMG.txt`` or ``IMG.jpg.txt``; tables are CSV (also with semicolons or tabs) and JSONL with a file
    name and a text a row. What cannot be read becomes a finding that names the file and the place; the rest is kept.
    """
    from limner.datasets.caption_files import read_all

    captions, findings = read_all(paths)
    return CaptionBook(tuple(sorted(captions, key=lambda caption: caption.rank)), tuple(findings))
