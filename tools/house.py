"""The house measured and drawn: which room uses which, how much stands in each, and whether anything looks upward.

    python tools/house.py            prints the measures
    python tools/house.py --check    prints circles and upward imports; ends with 1 if there are any
    python tools/house.py --draw     draws docs/images/house.svg

Everything is read from the source text: every import counts, also one inside a function or for typing only. A room is a
folder. The floors stand in pyproject.toml, in import-linter's `layers`, and only there.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "limner"
PICTURE = ROOT / "docs/images/house.svg"
SHAPES = {
    "training": ("TrainOptions", "TrainingOrder", "TrainingReport", "TrainingRow"),
    "generation": ("GenerateOptions", "GenerationOrder", "GenerationRow"),
}
"""What a thing is asked for, handed over and kept as: the words by which its other representations are known."""


@dataclass(frozen=True, slots=True)
class Floors:
    """One `layers` contract: rows of rooms from the top down, and the package that they are parts of."""

    container: str
    rows: tuple[tuple[str, ...], ...]
    apart: tuple[bool, ...]  # a row joined by `|`: its rooms do not know each other

    def place(self, module: str) -> tuple[int, str] | None:
        """The floor and the room of a module: the longest name of the contract that it lies under."""
        under = [
            (len(room), floor, room)
            for floor, row in enumerate(self.rows)
            for room in row
            if module == room or module.startswith(room + ".")
        ]
        return max(under)[1:] if under else None


@dataclass(frozen=True)
class House:
    """The modules of the package and what each imports."""

    paths: Mapping[str, Path]
    imports: Mapping[str, frozenset[str]]
    contracts: tuple[Floors, ...]
    trees: Mapping[str, ast.Module] = field(repr=False)

    def room(self, module: str) -> str:
        """The folder that a module lies in."""
        return module if self.paths[module].name == "__init__.py" else module.rpartition(".")[0]

    @cached_property
    def rooms(self) -> dict[str, list[str]]:
        """Every folder and the modules that lie in it itself."""
        found = defaultdict(list)
        for module in self.paths:
            found[self.room(module)].append(module)
        return dict(found)

    def circles_of_rooms(self) -> list[list[str]]:
        """Knots of folders that lie side by side in one folder, each with all that is in it."""
        found = []
        for parent in self.rooms:
            beside = [room for room in self.rooms if room.rpartition(".")[0] == parent]
            within = {room: {module for module in self.paths if f"{module}.".startswith(f"{room}.")} for room in beside}
            used = {room: set().union(*(self.imports[module] for module in within[room])) for room in beside}
            found += circles({room: [o for o in beside if o != room and used[room] & within[o]] for room in beside})
        return found

    @property
    def upward(self) -> list[str]:
        """Imports that go up, or sideways where the contract keeps rooms apart."""
        found = []
        for floors in self.contracts:
            for module, targets in sorted(self.imports.items()):
                here = floors.place(module)
                for target in sorted(targets):
                    there = floors.place(target)
                    if here is None or there is None or here == there:
                        continue
                    if there[0] < here[0] or (there[0] == here[0] and floors.apart[here[0]]):
                        found.append(f"{module} imports {target}")
        return found


def read_house(root: Path = ROOT) -> House:
    """Read the package under ``root/src`` and the floors of ``root/pyproject.toml``."""
    source = root / "src"
    paths = {_module(path.relative_to(source)): path for path in sorted((source / PACKAGE).rglob("*.py"))}
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in paths.items()}
    imports = {module: frozenset(_imported(trees[module], paths)) - {module} for module in paths}
    config = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    return House(paths, imports, tuple(_floors(one) for one in contracts if one["type"] == "layers"), trees)


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The knots of a graph: sets of two or more nodes each of which reaches all others (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    knots = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in graph[node]:
            if target not in order:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == order[node]:
            knot = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(knot) > 1:
                knots.append(sorted(knot))

    for node in graph:
        if node not in order:
            visit(node)
    return knots


def measures(house: House) -> Iterator[str]:
    """The measures, a line each."""
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in house.paths.items()}
    yield f"{'circles between modules':42} {len(circles(house.imports))}"
    yield f"{'circles between rooms':42} {len(house.circles_of_rooms())}"
    yield f"{'upward imports':42} {len(house.upward)}"
    yield f"{'lines of src':42} {sum(lines.values())}"
    yield f"{'files':42} {len(lines)}"
    longest = max(lines, key=lambda module: lines[module])
    yield f"{'longest file':42} {lines[longest]}  {longest}"
    fullest = max(house.rooms, key=lambda room: len(house.rooms[room]))
    yield f"{'files in the fullest room':42} {len(house.rooms[fullest])}  {fullest}"
    operations = [path for module, path in house.paths.items() if module.startswith(f"{PACKAGE}.operations.")]
    count = sum(path.read_text(encoding="utf-8").count("dict[str, Any]") for path in operations)
    yield f"{'dict[str, Any] in operations':42} {count}"
    for thing, sources in SHAPES.items():
        found = representations(house, *sources)
        yield f"{f'representations of a {thing}':42} {len(found)}"
        yield from (f"    {one}" for one in found)
    for tool in ("restated.py", "stays.py"):
        if (path := ROOT / "tools" / tool).is_file():
            said = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
            yield from said.stdout.splitlines()
    yield "lines and files by room"
    for room, modules in sorted(house.rooms.items()):
        yield f"    {room:38} {sum(lines[module] for module in modules):6} {len(modules):4}"


def representations(house: House, *sources: str) -> list[str]:
    """Classes of fields, and dicts written out, at least half of whose names are fields of the ``sources``.

    A class counts with the fields that it inherits, from three shared names on; a dict from four on.
    """
    classes = {
        node.name: node for tree in house.trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }
    words = set().union(*(_fields(classes[source], classes) for source in sources)) - {"id", "error", "created_at"}
    found = []
    for module, tree in house.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names, least, called = _fields(node, classes), 3, node.name
            elif isinstance(node, ast.Dict):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                names, least, called = {key for key in keys if isinstance(key, str)}, 4, f"a dict in line {node.lineno}"
            else:
                continue
            if len(shared := names & words) >= least and 2 * len(shared) >= len(names):
                found.append(f"{module}: {called} ({len(shared)} of {len(names)})")
    return found


def _fields(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> set[str]:
    own = {
        line.target.id
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and "ClassVar" not in ast.unparse(line.annotation)
    }
    above = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id != node.name]
    return own.union(*(_fields(classes[name], classes) for name in above if name in classes))


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.Module, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known or node.module in known:
                    yield inner if inner in known else node.module


def _floors(contract: Mapping[str, Any]) -> Floors:
    (container,) = contract.get("containers") or [""]
    layers = [str(layer) for layer in contract["layers"]]
    before = f"{container}." if container else ""
    rows = tuple(tuple(before + room.strip(" ()") for room in re.split(r"[|:]", layer)) for layer in layers)
    return Floors(container or PACKAGE, rows, tuple("|" in layer for layer in layers))


# --- the drawing

WIDTH, LEFT, RIGHT, STEP = 1000, 118, 716, 22
"""Pixels: the drawing, from where to where rooms stand, and from one rail to the next."""
TITLES = {
    "__main__": "the program",
    "cli": "faces",
    "services": "plain classes",
    "studio": "studio",
    "operations": "operations",
    "datasets": "stages",
    "flux": "engine, vendors",
    "catalog": "data",
    "http_server": "plain ground",
}
"""What the floor is called that begins with this room."""
LEGEND = "Every import goes down. A dot: this floor uses the one that its line leads to."
STYLE = """
svg{--paper:#fff;--floor:#f4f4f4;--room:#fff;--line:#d4d4d4;--rail:#b4b4b4;--ink:#1a1a1a;--quiet:#5c5c5c;--accent:#17666d;\
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",Arial,sans-serif}
@media(prefers-color-scheme:dark){svg{--paper:#151515;--floor:#1d1d1d;--room:#272727;--line:#3c3c3c;--rail:#5e5e5e;\
--ink:#ececec;--quiet:#a8a8a8;--accent:#74c5c9}}
.paper{fill:var(--paper)}.floor{fill:var(--floor)}.room{fill:var(--room);stroke:var(--line)}
.name{fill:var(--ink);font-size:12.5px;font-weight:600;text-anchor:middle}
.note{fill:var(--quiet);font-size:11px;text-anchor:middle}.title{fill:var(--quiet);font-size:12px}
.rail,.wire{fill:none;stroke:var(--rail);stroke-width:1.5}.wire{stroke:var(--line)}
.dot{fill:var(--accent)}.into{fill:var(--rail)}
"""


def picture(house: House) -> str:
    """The house as SVG: rooms on their floors, and for every floor one rail that comes down from all who use it."""
    outer, inner = house.contracts
    drawn: list[str] = []
    tops, heights = [], []
    top = 56
    for row in outer.rows:
        within = inner.container in row
        height = 34 * len(inner.rows) + 44 if within else _row_height(house, row)
        tops.append(top)
        heights.append(height)
        drawn.append(f'<rect class="floor" x="8" y="{top}" width="{RIGHT}" height="{height}" rx="10"/>')
        title = TITLES.get(row[0].rpartition(".")[2], "")
        drawn.append(f'<text class="title" x="20" y="{top + 24}">{title}</text>')
        if within:
            drawn += _inner_floors(house, inner, top + 32)
        else:
            drawn += _rooms(house, row, top + 8, RIGHT - LEFT, height - 16)
        top += height + 10
    drawn += _rails(house, outer, [(at, at + high) for at, high in zip(tops, heights, strict=True)], RIGHT + 8, STEP)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 6}" role="img" '
        'aria-label="The rooms of limner on their floors; every import goes down">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{top + 6}"/>',
        f'<text class="title" x="20" y="24">{LEGEND}</text>',
    ]
    return "\n".join([*head, *drawn, "</svg>\n"])


def _lines(row: tuple[str, ...]) -> list[tuple[str, ...]]:
    """A floor of many small modules in lines of the same length, six at most."""
    each = -(-len(row) // -(-len(row) // 6))
    return [row[at : at + each] for at in range(0, len(row), each)]


def _row_height(house: House, row: tuple[str, ...]) -> int:
    lines = _lines(row)
    notes = max(len(_notes(house, room, (RIGHT - LEFT) / len(lines[0]) - 8)) for room in row)
    return 8 + len(lines) * (36 + 14 * notes)


def _notes(house: House, room: str, width: float) -> list[str]:
    """The rooms within a room, in lines that fit."""
    within = [one.rpartition(".")[2] for one in house.rooms if one.rpartition(".")[0] == room]
    return textwrap.wrap(", ".join(within), int(width / 5.9))


def _rooms(house: House, row: tuple[str, ...], top: float, width: float, height: float) -> Iterator[str]:
    lines = _lines(row)
    high = (height + 8) / len(lines)
    for at, line in enumerate(lines):
        each = (width + 8) / len(line)
        for place, room in enumerate(line):
            yield from _room(house, room, LEFT + place * each, top + at * high, each - 8, high - 8)


def _room(house: House, room: str, x: float, y: float, width: float, height: float) -> Iterator[str]:
    wrapped = _notes(house, room, width)
    yield f'<rect class="room" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"/>'
    middle, first = x + width / 2, y + height / 2 + 4.5 - 7 * len(wrapped)
    yield f'<text class="name" x="{middle:.0f}" y="{first:.0f}">{room.rpartition(".")[2]}</text>'
    for at, line in enumerate(wrapped):
        yield f'<text class="note" x="{middle:.0f}" y="{first + 14 * (at + 1):.0f}">{line}</text>'


def _inner_floors(house: House, inner: Floors, top: int) -> Iterator[str]:
    spans = []
    for row in inner.rows:
        yield from _rooms(house, row, top, 320, 26)
        spans.append((top, top + 26))
        top += 34
    yield from _rails(house, inner, spans, LEFT + 328, STEP)


def _rails(house: House, floors: Floors, spans: list[tuple[int, int]], left: int, step: int) -> Iterator[str]:
    """For each floor that is used a rail, with a dot at every floor that uses it and an arrow into itself."""
    users = defaultdict(set)
    for module, targets in house.imports.items():
        here = floors.place(module)
        for target in targets:
            there = floors.place(target)
            if here is not None and there is not None and here[0] < there[0]:
                users[there[0]].add(here[0])
    rails = {floor: left + 14 + at * step for at, floor in enumerate(sorted(users))}
    for floor in range(len(floors.rows)):
        own = [rails[target] for target in users if floor in users[target]]
        if own:
            yield f'<path class="wire" d="M{left - 6} {spans[floor][1] - 8}H{max(own)}"/>'
    for floor, x in rails.items():
        low = spans[floor][0] + 8
        yield f'<path class="rail" d="M{x} {spans[min(users[floor])][1] - 8}V{low}H{left}"/>'
        yield f'<path class="into" d="M{left - 6} {low}l8 -4v8z"/>'
        for user in sorted(users[floor]):
            yield f'<circle class="dot" cx="{x}" cy="{spans[user][1] - 8}" r="3.5"/>'


def main(words: list[str]) -> int:
    house = read_house()
    if "--draw" in words:
        PICTURE.write_text(picture(house), encoding="utf-8")
        return 0
    if "--check" not in words:
        say(measures(house))
        return 0
    wrong = [" and ".join(knot) + " use each other" for knot in [*circles(house.imports), *house.circles_of_rooms()]]
    say([*wrong, *house.upward])
    return 1 if wrong or house.upward else 0


def say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
