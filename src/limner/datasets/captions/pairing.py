"""Which caption belongs to which photo: by their names and paths, with one order where several fit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from limner.plain_text import invisible_replaced
from limner.types import Finding, Severity

__all__ = [
    "PRECEDENCE",
    "Caption",
    "CaptionBook",
    "KeptPairs",
    "Rank",
    "kohya_folders",
    "listed",
    "path_parts",
    "stem_of",
]

MOST_LISTED = 10
_KOHYA_FOLDER = re.compile(r"\d{1,4}_\S.*")
_SEPARATORS = re.compile(r"[\\/]+|(?<=\.zip)\s*[!:>→»]\s*[\\/]*", re.IGNORECASE)


class Rank(IntEnum):
    """Where a caption comes from; of several for one photo the lowest is taken."""

    NAMED = 0
    """A table that the user named."""
    SIDECAR = 1
    """``a.jpg.txt`` or ``a.jpg.caption``: beside the photo, with its whole name."""
    TXT = 2
    CAPTION = 3
    TABLE = 4
    """CSV, TSV or JSONL found in the folder."""
    JSON = 5
    PHOTO = 6
    """The photo's own metadata, where the user asks for it."""


PRECEDENCE = (
    "A table that you name goes before .txt, that before .caption, that before CSV and JSONL in the folder, "
    "those before JSON, and all before what the photo itself says."
)


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption as given, not filled yet. ``origin`` is "sidecar", "table" or "photo"; ``source`` the file and line.

    ``target`` is the path of the photo in parts; ``stem`` says that its last part lacks the extension. A photo may
    lie elsewhere if its path ends with ``written``, as a table that the user named says it; one that the subject has
    already is found by ``loose``, the path below what was named. Lower ``rank`` goes first. ``file`` is the table.
    """

    text: str
    origin: str
    source: str
    target: tuple[str, ...]
    stem: bool = False
    written: tuple[str, ...] = ()
    rank: int = Rank.NAMED
    loose: tuple[str, ...] = ()
    file: str = ""

    def fits(self, photo: Sequence[str], case: Callable[[str], str] = str, *, loosely: bool = False) -> int:
        """In how many parts the path of a photo agrees with the caption's to the end of the shorter; 0 if not."""
        name = stem_of(photo[-1]) if self.stem else photo[-1]
        parts = [case(part) for part in (*photo[:-1], name)]
        for path in (self.target, self.written, self.loose) if loosely else (self.target, self.written):
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

        Of several the one of the lowest ``Rank`` is taken, and of those the one that agrees in most of the path. Names
        that differ in case only are paired if nothing else fits. None where none fits, or several fit equally well.
        """
        fitting, exact = self._fitting(source)
        if not fitting:
            return None
        best = fitting[0][:2]
        equals = [caption for *fit, caption in fitting if tuple(fit) == best]
        alike = len({caption.text for caption in equals}) == 1
        same = exact and len({caption.target for caption in equals}) == 1
        return equals[0] if alike or same else None

    def _fitting(self, source: str) -> tuple[list[tuple[int, int, Caption]], bool]:
        """The captions that fit a photo, the best first, with what orders them; and whether their case fits too."""
        parts = path_parts(source)
        named = self._by_name.get(stem_of(parts[-1]).casefold(), []) if parts else []
        for case in (str, str.casefold):
            fitting = [(caption.rank, -length, caption) for caption in named if (length := caption.fits(parts, case))]
            if fitting:
                return sorted(fitting, key=lambda fit: fit[:2]), case is str
        return [], True

    def find_kept(self, photos: Mapping[str, str], new: Iterable[str], used: Collection[Caption]) -> KeptPairs:
        """Captions that no photo took, for photos that the subject has: digest by source of all, ``new`` just came.

        A photo just taken in has its caption from beside it; only a table that was named may find it elsewhere.
        """
        by_name: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for digest, source in photos.items():
            if parts := path_parts(source):
                by_name.setdefault(stem_of(parts[-1]).casefold(), []).append((digest, parts))
        fresh, taken = set(new), set(map(id, used))
        found = KeptPairs()
        for caption in self.captions:
            if id(caption) in taken or not caption.loose:
                continue
            name = caption.target[-1] if caption.stem else stem_of(caption.target[-1])
            here = [
                one for one in by_name.get(name.casefold(), []) if caption.rank == Rank.NAMED or one[0] not in fresh
            ]
            for case in (str, str.casefold):
                fitting = [(n, digest) for digest, parts in here if (n := caption.fits(parts, case, loosely=True))]
                best = max(fitting, default=(0, ""))[0]
                digests = [digest for n, digest in fitting if n == best]
                if len(digests) == 1:
                    found.pairs.append((digests[0], caption))
                elif digests:
                    found.undecided.append((caption, len(digests)))
                if digests:
                    break
        return found

    def taken(self, sources: Iterable[str]) -> list[Caption]:
        """The captions that these photos took, or would have if another did not go before them."""
        return [caption for source in sources for *_, caption in self._fitting(source)[0]]

    def pairing_findings(self, sources: Iterable[str], used: Collection[Caption] = ()) -> list[Finding]:
        """What speaks against the pairing with these photos: captions that none took, or several, or that lost.

        ``used`` are captions that went to photos which were there before.
        """
        takers: dict[int, list[str]] = {}
        lost: dict[int, tuple[Caption, Caption, str]] = {}
        undecided: list[tuple[str, list[Caption]]] = []
        for source in sources:
            fitting = [caption for *_, caption in self._fitting(source)[0]]
            caption = self.find(source)
            if caption is None:
                undecided += [(source, fitting)] if fitting else []
                continue
            takers.setdefault(id(caption), []).append(source)
            for other in fitting:
                if other is not caption:
                    lost.setdefault(id(other), (other, caption, source))
        known = {*takers, *lost, *map(id, used), *(id(one) for _, several in undecided for one in several)}
        found = [
            _shared(caption, takers[id(caption)])
            for caption in self.captions
            if len({path_parts(photo)[:-1] for photo in takers.get(id(caption), ())}) > 1
        ]
        found += _outranked([one for key, one in lost.items() if key not in takers and one[0].text != one[1].text])
        found += [_undecided(source, several) for source, several in undecided]
        return [*found, *_without_photo(self.captions, [one for one in self.captions if id(one) not in known])]


@dataclass(slots=True)
class KeptPairs:
    """Digests of photos that are there with the captions for them; captions that fit so many equally well."""

    pairs: list[tuple[str, Caption]] = field(default_factory=list)
    undecided: list[tuple[Caption, int]] = field(default_factory=list)


def path_parts(path: str) -> tuple[str, ...]:
    """The parts of a path of any system, or of a zip and a name in it, in NFC; without '.', '..' and the root.

    As in the names that reports keep, what cannot be seen is replaced.
    """
    parts = _SEPARATORS.split(invisible_replaced(unicodedata.normalize("NFC", path)))
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _without_photo(every: Sequence[Caption], unused: Sequence[Caption]) -> Iterable[Finding]:
    """One finding a table, with its lines, and one for all captions in files of their own."""
    by_file: dict[str, list[Caption]] = {}
    for caption in unused:
        by_file.setdefault(caption.file, []).append(caption)
    remedy = "Correct the file names, or ignore this if the photos were left out on purpose."
    for file, rows in by_file.items():
        count = len(rows)
        if not file:
            said = f"{rows[0].source} has a caption for '{rows[0].target[-1][:120]}', but there is no such photo."
            if count > 1:
                said = f"{count} caption files have no photo: {listed([row.source for row in rows])}."
            yield Finding("caption-without-photo", Severity.WARNING, said, remedy)
            continue
        total = sum(1 for caption in every if caption.file == file)
        named = [
            f"{row.source.removeprefix(f'{file}, ')} ('{'/'.join(row.written or row.target[-1:])[:80]}')"
            for row in rows
        ]
        if count == total and rows[0].rank == Rank.NAMED:
            said = f"Nothing of {file} was used: none of its {total} captions has a photo: {listed(named)}."
            yield Finding(
                "captions-unused", Severity.REFUSAL, said, "Write the photos' names as they are in the subject."
            )
            continue
        several = f"{count} of {total} captions {'has' if count == 1 else 'have'}"
        yield Finding(
            "caption-without-photo", Severity.WARNING, f"{file}: {several} no photo: {listed(named)}.", remedy
        )


def _outranked(lost: Sequence[tuple[Caption, Caption, str]]) -> Iterable[Finding]:
    if lost:
        count = "1 caption is" if len(lost) == 1 else f"{len(lost)} captions are"
        pairs = [f"{loser.source} ({winner.source} goes before it)" for loser, winner, _ in lost]
        said = f"{count} not used, as another says something else: {listed(pairs)}."
        yield Finding("caption-outranked", Severity.WARNING, said, f"Keep one of each two. {PRECEDENCE}")


def _undecided(source: str, several: Sequence[Caption]) -> Finding:
    said = f"Several captions fit {path_parts(source)[-1]} equally well: {listed([one.source for one in several])}."
    return Finding("caption-undecided", Severity.WARNING, said, "Write the folder before the file name, or keep one.")


def listed(things: Sequence[str]) -> str:
    """The first ten, and how many more there are."""
    more = f" and {len(things) - MOST_LISTED} more" if len(things) > MOST_LISTED else ""
    return f"{', '.join(things[:MOST_LISTED])}{more}"


def _shared(caption: Caption, photos: Sequence[str]) -> Finding:
    return Finding(
        "caption-shared",
        Severity.WARNING,
        f"One caption of {caption.source} goes to {len(photos)} photos of the same name: {', '.join(photos[:3])}.",
        "Write the folder before the file name.",
    )


def kohya_folders(sources: Iterable[str]) -> list[Finding]:
    """A note where folders are called as Kohya's trainer counts them, ``10_rex dog``: repeats and class words."""
    parents = {parts[-2] for source in sources if len(parts := path_parts(source)) > 1}
    counted = sorted(name for name in parents if _KOHYA_FOLDER.fullmatch(name))
    if not counted:
        return []
    said = f"The folder {counted[0]} is" if len(counted) == 1 else f"{len(counted)} folders such as {counted[0]} are"
    return [
        Finding(
            "kohya-folder",
            Severity.NOTE,
            f"{said} named for Kohya's trainer, with the repeats before the words: each photo is taken in once.",
            "How often photos are seen is said by the training's steps; the words are the subject's own.",
        )
    ]


def stem_of(name: str) -> str:
    """A file name without its extension."""
    return name.rpartition(".")[0] or name
