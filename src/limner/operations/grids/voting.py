"""Votes between two pictures of a grid: which pair to show next, and what the votes say of the candidates.

A candidate is a value of what is compared: of both axes together, or of one of them. Axes that only repeat the
comparison (seed and prompt, where something else differs too) make no candidates: pairs are of one seed and prompt.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from limner.records import Grid, GridAxis, Image, Pair, Ranking, Standing

__all__ = ["labels_of", "next_pair", "rankings"]

REPEATING = ("seed", "prompt")
Z = 1.959964
"""Of a normal distribution: 95 % lie within so many standard deviations."""
FEW = 2
"""Votes that each candidate gets before close races are looked at."""


@dataclass(frozen=True, slots=True)
class _Entry:
    image: Image
    values: tuple[Any, ...]
    context: tuple[Any, ...]


def _rated(grid: Grid) -> list[GridAxis]:
    named = [axis for axis in (grid.x, grid.y) if len(axis.values) > 1]
    return [axis for axis in named if axis.name not in REPEATING] or named


def _entries(grid: Grid) -> list[_Entry]:
    rated = [axis.name for axis in _rated(grid)]
    found = []
    for row in grid.cells:
        for cell in row:
            at = {grid.x.name: cell.x, grid.y.name: cell.y}
            values = tuple(at[name] for name in rated)
            rest = tuple(value for name, value in at.items() if name and name not in rated)
            for number, made in enumerate(cell.generations):
                images = made.images if made is not None else ()
                found += [_Entry(image, values, (number, image.position, rest)) for image in images]
    return found


def labels_of(grid: Grid) -> dict[int, str]:
    """What each picture is, by its number: ``step 200, scale 0.8``."""
    rated = _rated(grid)
    return {
        entry.image.id: ", ".join(axis.label(value) for axis, value in zip(rated, entry.values, strict=True))
        for entry in _entries(grid)
    }


def next_pair(grid: Grid, votes: Sequence[tuple[int, int]], skipped: Collection[frozenset[int]] = ()) -> Pair | None:
    """The two pictures whose comparison says most now; None once every pair was voted on or skipped.

    First every candidate gets a few votes, then close races and those near the top come first. Which picture stands on
    the left is drawn by lot, the same lot however often it is asked.
    """
    entries = _entries(grid)
    by_image = {entry.image.id: entry for entry in entries}
    seen = {frozenset(vote) for vote in votes} | set(skipped)
    wins: Counter[tuple[Any, ...]] = Counter()
    counted: Counter[tuple[Any, ...]] = Counter()
    met: Counter[frozenset[tuple[Any, ...]]] = Counter()
    for winner, loser in votes:
        if winner in by_image and loser in by_image:
            better, worse = by_image[winner].values, by_image[loser].values
            wins[better] += 1
            counted.update((better, worse))
            met[frozenset((better, worse))] += 1
    groups: defaultdict[tuple[Any, ...], list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.context].append(entry)

    def share(values: tuple[Any, ...]) -> float:
        return (wins[values] + 1) / (counted[values] + 2)

    def worth(pair: tuple[_Entry, _Entry]) -> tuple[float, float, str]:
        one, other = pair[0].values, pair[1].values
        lot = _lot(grid.id, pair[0].image.id, pair[1].image.id)
        often = met[frozenset((one, other))]
        if min(counted[one], counted[other]) < FEW:
            return 0.0, counted[one] + counted[other] + often, lot
        return 1.0, abs(share(one) - share(other)) + 0.2 * often - 0.5 * (share(one) + share(other)), lot

    pairs = [
        pair
        for group in groups.values()
        for pair in combinations(group, 2)
        if pair[0].values != pair[1].values and frozenset((pair[0].image.id, pair[1].image.id)) not in seen
    ]
    if not pairs:
        return None
    left, right = min(pairs, key=worth)
    if int(_lot(grid.id, right.image.id, left.image.id), 16) % 2:
        left, right = right, left
    labels = labels_of(grid)
    return Pair(left.image, right.image, labels[left.image.id], labels[right.image.id])


def _lot(*words: object) -> str:
    return hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()


def rankings(grid: Grid, votes: Sequence[tuple[int, int]]) -> list[Ranking]:
    """What the votes say: of the combinations where two axes are compared, and of each axis by itself."""
    rated = _rated(grid)
    places = {entry.image.id: entry.values for entry in _entries(grid)}
    fought = [(places[one], places[other]) for one, other in votes if one in places and other in places]
    found = [
        _ranking(axis.name, [axis], [(value,) for value in axis.values], [((a[at],), (b[at],)) for a, b in fought])
        for at, axis in enumerate(rated)
    ]
    if len(rated) > 1:
        candidates = list(dict.fromkeys(places.values()))
        found.insert(0, _ranking("", rated, candidates, fought))
    return found


def _ranking(
    name: str,
    axes: Sequence[GridAxis],
    candidates: Sequence[tuple[Any, ...]],
    fought: Sequence[tuple[tuple[Any, ...], tuple[Any, ...]]],
) -> Ranking:
    counting = [(winner, loser) for winner, loser in fought if winner != loser]
    wins = Counter(winner for winner, _ in counting)
    votes = Counter(values for pair in counting for values in pair)
    standings = []
    for values in candidates:
        low, high = _wilson(wins[values], votes[values])
        label = ", ".join(axis.label(value) for axis, value in zip(axes, values, strict=True))
        told = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        standings.append(Standing(label, told, wins[values], votes[values], low, high))
    standings.sort(key=lambda one: (-one.share, -one.low))
    decided = len(standings) > 1 and standings[0].low > max(one.high for one in standings[1:])
    return Ranking(name, tuple(standings), len(counting), decided)


def _wilson(wins: int, votes: int) -> tuple[float, float]:
    """Wilson's interval of a share at 95 %; everything is possible without a vote."""
    if not votes:
        return 0.0, 1.0
    share, spread = wins / votes, Z * Z / votes
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / votes + spread / (4 * votes)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
