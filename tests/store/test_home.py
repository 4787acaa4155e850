"""The home folder is its owner's alone, however it came to be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.errors import StorageFailed
from limner.operations.home.workspace import Workspace
from limner.settings import Settings
from limner.store.home import close_home, open_to_others


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_paths(home: Path) -> list[str]:
    """What another user of the machine can get at: no folder above it is closed to them."""

    def closed(path: Path) -> bool:
        return any(
            not place.lstat().st_mode & 0o077 for place in (path, *path.parents) if home in (place, *place.parents)
        )

    return [str(path) for path in (home, *home.rglob("*")) if not closed(path)]


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o750, 0o705, None])
def test_a_home_that_was_there_is_closed(tmp_path: Path, mode: int | None) -> None:
    home = tmp_path / "home"
    if mode is not None:
        home.mkdir()
        home.chmod(mode)
    workspace = Workspace(Settings(home=home, start_worker=False))
    workspace.blobs.put(b"a photo")
    workspace.directory("job_1")
    workspace.close()
    assert open_paths(home) == []
    assert (home / "limner.db").stat().st_mode & 0o777 == 0o600


def test_an_older_home_with_open_files_is_closed_at_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in ("blobs/ab", "runs/job_1", "logs"):
        (home / folder).mkdir(parents=True)
    for name in ("blobs/ab/cd", "limner.db", "limner.db-wal", "logs/worker.log"):
        (home / name).write_bytes(b"x")
    close_home(home)
    assert open_paths(home) == []


def test_a_folder_of_other_things_keeps_its_rights_and_ours_are_closed(tmp_path: Path) -> None:
    """LIMNER_HOME may be somebody's whole home folder, or a volume: what is not ours stays as it was."""
    home = tmp_path / "shared"
    (home / "public_html").mkdir(parents=True)
    (home / "blobs").mkdir()
    (home / "elsewhere").mkdir()
    (home / "hub").symlink_to(home / "elsewhere")
    (home / "limner.db").write_bytes(b"")
    home.chmod(0o755)
    close_home(home)
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()}
    assert home.stat().st_mode & 0o777 == 0o755
    assert modes["public_html"] == modes["elsewhere"] == 0o755
    assert (modes["blobs"], modes["limner.db"]) == (0o700, 0o600)
    assert [path.name for path in open_to_others(home)] == ["hub"]


@pytest.mark.parametrize("left", [None, b""])
def test_a_home_that_lost_its_database_keeps_its_files(tmp_path: Path, left: bytes | None) -> None:
    settings = Settings(home=tmp_path / "home", start_worker=False)
    workspace = Workspace(settings)
    digest = workspace.blobs.put(b"a photo")
    workspace.close()
    for path in (tmp_path / "home").glob("limner.db*"):
        path.unlink()
    if left is not None:
        (tmp_path / "home" / "limner.db").write_bytes(left)
    with pytest.raises(StorageFailed, match="files are stored") as refused:
        Workspace(settings)
    assert "backup" in refused.value.remedy
    assert workspace.blobs.read(digest) == b"a photo"


def test_what_cannot_be_closed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk without rights, such as a memory stick."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    home = tmp_path / "home"
    (home / "blobs").mkdir(parents=True)
    home.chmod(0o755)
    monkeypatch.setattr(os, "chmod", refuse)
    close_home(home)
    assert "cannot be closed" in caplog.text
    assert [path.name for path in open_to_others(home)] == ["blobs"]
