"""Blobs: what goes in comes out, once, whatever breaks."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import NotFound, StorageFailed
from limner.store import Blobs, file_digest
from tests.written_bytes import written


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@given(data=st.binary(max_size=5000))
def test_bytes_come_back_by_their_digest(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    blobs = Blobs(tmp_path_factory.mktemp("blobs"))
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.put(data) == digest
    assert blobs.read(digest) == data
    assert blobs.digests() == [digest]


def test_a_file_is_stored_streamed_and_once(blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 20_000)
    digest = blobs.put(path)
    assert digest == blobs.put(path) == file_digest(path)
    assert blobs.path(digest).read_bytes() == path.read_bytes()
    assert path.exists()


def test_a_file_of_ours_is_a_blob_without_a_byte_being_written(blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4_000)
    path.chmod(0o644)
    before = written()
    digest = blobs.link(path)
    assert written() - before < 1000
    assert digest == blobs.link(path) == file_digest(path) and blobs.path(digest).stat().st_mode & 0o777 == 0o600
    path.unlink()
    assert blobs.read(digest) == bytes(range(256)) * 4_000
    assert list(blobs.leftovers()) == []


def test_without_second_names_a_file_of_ours_is_copied(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "file").write_bytes(b"weights")
    assert blobs.read(blobs.link(tmp_path / "file")) == b"weights"


def test_sixteen_threads_put_the_same_bytes(blobs: Blobs) -> None:
    data, found = b"same" * 10_000, []
    threads = [threading.Thread(target=lambda: found.append(blobs.put(data))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert blobs.digests() == [found[0]]


def test_damage_is_noticed(blobs: Blobs) -> None:
    digest = blobs.put(b"precious")
    blobs.path(digest).write_bytes(b"changed!")
    with pytest.raises(StorageFailed, match="damaged"):
        blobs.read(digest)


@pytest.mark.parametrize("damage", [b"", b"changed!"])
def test_storing_the_same_bytes_again_mends_a_damaged_blob(blobs: Blobs, tmp_path: Path, damage: bytes) -> None:
    digest = blobs.put(b"precious")
    blobs.path(digest).write_bytes(damage)
    assert blobs.put(b"precious") == digest
    assert blobs.read(digest) == b"precious"
    blobs.path(digest).write_bytes(damage)
    (tmp_path / "file").write_bytes(b"precious")
    assert blobs.put(tmp_path / "file") == digest
    assert blobs.read(digest) == b"precious"
    blobs.path(digest).write_bytes(damage)
    assert blobs.link(tmp_path / "file") == digest
    assert blobs.read(digest) == b"precious"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/x"])
def test_what_is_no_digest_is_never_a_path(blobs: Blobs, name: str) -> None:
    with pytest.raises(NotFound):
        blobs.path(name)


def test_a_missing_blob_says_what_to_do(blobs: Blobs) -> None:
    with pytest.raises(NotFound, match="Restore it"):
        blobs.read("0" * 64)


def test_a_full_disk_leaves_no_half_blob(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import resource, signal, sys
        from pathlib import Path
        from limner.errors import StorageFailed
        from limner.store import Blobs
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        blobs = Blobs(Path({str(tmp_path / "blobs")!r}))
        small = blobs.put(b"small")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            blobs.put(b"x" * 1_000_000)
        except StorageFailed as failure:
            assert blobs.digests() == [small], blobs.digests()
            print(failure)
            sys.exit(0)
        sys.exit("never full")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "could not be stored" in done.stdout


def test_exporting_is_whole_or_not_at_all(blobs: Blobs, tmp_path: Path) -> None:
    digest = blobs.put(b"weights")
    path = blobs.export(digest, tmp_path / "deep" / "lora.safetensors")
    assert path.read_bytes() == b"weights"
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageFailed):
        blobs.export(digest, tmp_path / "taken")
    with pytest.raises(StorageFailed):
        blobs.export(digest, path / "inside-a-file")
    assert blobs.export(digest, tmp_path / ("ä" * 127)).read_bytes() == b"weights"
    assert [p.name for p in tmp_path.rglob("*.partial")] == []


def test_removing_twice_is_harmless(blobs: Blobs) -> None:
    digest = blobs.put(b"gone")
    blobs.remove(digest)
    blobs.remove(digest)
    assert not blobs.has(digest)


def test_removing_takes_what_a_killed_process_left_half_written(blobs: Blobs) -> None:
    """The name of what is half-written is the object store's own: found out, not assumed."""
    program = textwrap.dedent(
        f"""
        import os
        from pathlib import Path
        from limner.store import Blobs
        data = b"face" * 10_000_000
        blobs = Blobs(Path({str(blobs.folder)!r}))
        print("ready", flush=True)
        while True:
            digest = blobs.put(data)
            (blobs.folder / digest[:2] / digest[2:]).unlink()
        """
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        left: list[Path] = []
        while not left:
            left = [path for path in blobs.folder.glob("??/*") if len(path.name) != 62]
            if left:
                writer.kill()
                writer.wait()
                left = [path for path in left if path.exists()]
                if not left:
                    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
            assert writer.poll() is None or left
    finally:
        writer.kill()
        writer.communicate()
    blobs.remove(hashlib.sha256(b"face" * 10_000_000).hexdigest())
    assert list(blobs.folder.glob("??/*")) == []
