"""Content credentials, judged by the c2pa library's own reader; the key they are signed with, and its folder."""

from __future__ import annotations

import io
import json
import stat
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509

from limner.errors import StorageFailed
from limner.generation.metadata import c2pa as credentials
from limner.generation.metadata.c2pa import sign_png, verify
from limner.generation.metadata.pixels import pixel_digest
from limner.generation.metadata.png import Chunk, read_chunks, write_chunks
from limner.generation.metadata.provenance import seal_image
from tests.generation.making import flat_png, record, saved_as


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def sealed(home: Path) -> bytes:
    return seal_image(flat_png(), record(), credentials=home)


def by_c2pa(data: bytes) -> dict[str, Any]:
    """The report of the library's reader, with its own settings."""
    with c2pa.Reader("image/png", io.BytesIO(data)) as reader:
        return dict(json.loads(reader.json()))


def failures(report: dict[str, Any]) -> set[str]:
    return {entry["code"] for entry in report["validation_results"]["activeManifest"]["failure"]}


def tampered(data: bytes, kind: bytes) -> bytes:
    """The PNG with one byte of one chunk changed and every checksum right: a pixel, or a letter of a text."""
    chunks = read_chunks(data)
    at = next(number for number, chunk in enumerate(chunks) if chunk.kind == kind)
    body = chunks[at].body
    raw = bytearray(zlib.decompress(body) if kind == b"IDAT" else body)
    raw[-1] ^= 1
    chunks[at] = Chunk(kind, zlib.compress(bytes(raw)) if kind == b"IDAT" else bytes(raw))
    return write_chunks(chunks)


def test_the_credential_says_created_by_ai_and_holds(sealed: bytes) -> None:
    report = by_c2pa(sealed)
    assert report["validation_state"] == "Valid"
    assert failures(report) <= {"signingCredential.untrusted"}
    manifest = report["manifests"][report["active_manifest"]]
    [created] = next(a for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))["data"]["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"] == ("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")
    assert manifest["signature_info"]["alg"].lower() == "es256"
    ours = next(a for a in manifest["assertions"] if a["label"] == credentials.PROVENANCE_LABEL)["data"]
    assert ours["seed"] == "7"
    assert ours["pixels"] == pixel_digest(flat_png())
    assert "zibbo" not in json.dumps(report)


def test_our_judgement_of_it(sealed: bytes) -> None:
    found = verify(sealed)
    assert (found.state, found.trusted, found.ai_made) == ("valid", False, True)
    assert found.made_with.startswith("Limner")
    assert "nobody vouches" in found.says
    assert found.provenance["loras"] == [{"digest": "1" * 64, "scale": 0.8}]


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt", b"iTXt", b"eXIf"])
def test_a_change_of_pixel_text_or_mark_breaks_it(sealed: bytes, kind: bytes) -> None:
    changed = tampered(sealed, kind)
    report = by_c2pa(changed)
    assert report["validation_state"] == "Invalid"
    assert "assertion.dataHash.mismatch" in failures(report)
    found = verify(changed)
    assert (found.state, found.ai_made, dict(found.provenance)) == ("invalid", False, {})
    assert "the file was changed after it was signed" in found.says


def test_a_credential_moved_to_another_picture_does_not_hold(sealed: bytes) -> None:
    stolen = next(chunk for chunk in read_chunks(sealed) if chunk.kind == b"caBX")
    first, *rest = read_chunks(flat_png())
    assert verify(write_chunks([first, stolen, *rest])).state == "invalid"


def test_a_credential_that_is_garbage(sealed: bytes) -> None:
    first, *rest = read_chunks(flat_png())
    found = verify(write_chunks([first, Chunk(b"caBX", b"garbage" * 9), *rest]))
    assert found.state in ("absent", "unreadable", "invalid")
    assert not found.ai_made


@pytest.mark.parametrize(("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_no_credential(kind: str, media_type: str) -> None:
    assert verify(saved_as(kind), media_type).state == "absent"


def test_the_key_is_kept_for_its_owner_alone(home: Path, sealed: bytes) -> None:
    key = home / "credentials" / "signing.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    before = key.read_bytes()
    key.chmod(0o644)
    sign_png(flat_png(), home)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_bytes() == before
    assert b"PRIVATE KEY" not in sealed


def test_the_first_of_many_makes_the_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda _: sign_png(flat_png(), tmp_path), range(4)))
    assert [path.name for path in (tmp_path / "credentials").iterdir()] == ["signing.pem"]
    assert len({verify(picture).signer for picture in pictures}) == 1
    assert all(verify(picture).state == "valid" for picture in pictures)


def test_a_key_that_cannot_be_used_is_told_and_never_quoted(tmp_path: Path) -> None:
    sign_png(flat_png(), tmp_path)
    key = tmp_path / "credentials" / "signing.pem"
    secret, _, _ = key.read_text().partition("-----BEGIN CERTIFICATE")
    key.write_text(secret)
    with pytest.raises(StorageFailed, match=r"signing\.pem cannot be used") as told:
        sign_png(flat_png(), tmp_path)
    assert secret.splitlines()[1] not in str(told.value)
    assert "LIMNER_SIGN_IMAGES" in told.value.remedy


def test_a_certificate_that_has_ended_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_VALID_FOR", timedelta(hours=-1))
    folder = tmp_path / "credentials"
    credentials._create(folder / "signing.pem")
    monkeypatch.undo()
    assert verify(sign_png(flat_png(), tmp_path)).state == "valid"
    assert len(list(folder.glob("ended-*.pem"))) == 1
    leaf, _ = x509.load_pem_x509_certificates((folder / "signing.pem").read_bytes())
    assert leaf.not_valid_after_utc > datetime.now(UTC) + timedelta(days=7000)
