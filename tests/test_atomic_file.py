"""Files that are there whole, as they were before, or not at all."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limner.atomic_file import atomic_file, write_atomically


def test_it_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    write_atomically(path, b"after", mode=0o600)
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError(28, "full"), ValueError("damaged"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(failure: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(type(failure)), atomic_file(path) as file:
        file.write(b"half")
        raise failure
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sees_a_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / ("name" * 50)
    with atomic_file(path, mode=0o644) as file:
        file.write(b"secret")
        [partial] = tmp_path.iterdir()
        assert partial != path
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
    assert path.read_bytes() == b"secret"


def test_the_first_of_many_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_atomically(path, b"%d" % number, first=True), range(40)))
    kept = path.read_bytes()
    write_atomically(path, b"late", first=True)
    assert path.read_bytes() == kept
    assert list(tmp_path.iterdir()) == [path]
