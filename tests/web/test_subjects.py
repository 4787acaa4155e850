"""The pages of a subject: a new one, its photos by a plain form, the report, consent and erasing."""

from __future__ import annotations

import re
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from limner.settings import Settings
from limner.store.models import now
from limner.store.web_models import ErasedRow
from limner.studio import Studio
from limner.web.app import create_app
from tests.operations.conftest import draw_photos

PERSON = {"name": "John Doe", "kind": "person", "consent": "given", "given_by": "John Doe", "statement": "All of it."}


def test_a_new_subject(client: TestClient, studio: Studio) -> None:
    assert "New subject" in client.get("/subjects/new").text
    answer = client.post("/subjects/new", data=PERSON)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/subjects/john-doe")
    subject = studio.subjects.get("john-doe")
    assert (subject.trigger, subject.class_word) == ("john_doe", "person")
    assert subject.consent is not None
    assert (subject.consent.given_by, subject.consent.statement) == ("John Doe", "All of it.")
    again = client.post("/subjects/new", data=PERSON)
    assert again.status_code == 422
    assert "There is a subject" in again.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"consent": ""}, "Say whether this person agreed"),
        ({"given_by": " "}, "Say who agreed"),
        ({"name": ""}, "Give it a name"),
        ({"slug": "Not A Slug"}, "may hold only a-z"),
        ({"trigger": "a,b"}, "must be 1 to 64 letters"),
        ({"class_word": "a,b"}, "must be a plain word or two"),
        ({"kind": "ghost", "consent": "later"}, "is not a kind of subject"),
    ],
)
def test_a_form_that_is_refused_comes_back_filled_in(
    client: TestClient, studio: Studio, change: dict[str, str], said: str
) -> None:
    answer = client.post("/subjects/new", data={**PERSON, "class_word": "man", **change})
    assert answer.status_code == 422
    assert said in answer.text
    assert 'value="John Doe"' in answer.text
    assert "All of it." in answer.text
    if "class_word" not in change:
        assert 'value="man"' in answer.text
    assert studio.subjects.all() == []


def test_what_a_name_holds_is_text(client: TestClient) -> None:
    name = '<script>alert("x")</script>'
    answer = client.post("/subjects/new", data={"name": name, "kind": "pet", "slug": "x", "trigger": "zorp"})
    page = client.get(answer.headers["Location"])
    assert name not in page.text
    assert "&lt;script&gt;" in page.text
    refused = client.post("/subjects/new", data={"name": name, "kind": "pet", "slug": "x"})
    assert refused.status_code == 422
    assert name not in refused.text


def test_names_are_checked_while_they_are_typed(client: TestClient, studio: Studio) -> None:
    said = client.post("/subjects/new/names", data={"name": "Dog", "kind": "pet", "trigger": "dog"}).text
    assert "common word" in said
    assert "<html" not in said
    assert "Nothing speaks against it" in client.post("/subjects/new/names", data={"name": "Zibbo"}).text
    studio.subjects.add("zibbo", kind="pet")
    assert "There is a subject" in client.post("/subjects/new/names", data={"name": "Zibbo"}).text


def test_photos_by_a_plain_form(client: TestClient, studio: Studio, tmp_path: Path) -> None:
    studio.subjects.add("zibbo", kind="character")
    drawn = draw_photos(tmp_path / "drawn", 3)
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(drawn / "photo-2.png", "photo-2.png")
    files = [
        ("photos", ("photo-0.png", (drawn / "photo-0.png").read_bytes(), "image/png")),
        ("photos", ("photo-0.txt", (drawn / "photo-0.txt").read_bytes(), "text/plain")),
        ("photos", ('../../"é\n<b>.png', (drawn / "photo-1.png").read_bytes(), "image/png")),
        ("photos", ("again.png", (drawn / "photo-1.png").read_bytes(), "image/png")),
        (
            "photos",
            ("no.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/svg+xml"),
        ),
        ("folder", ("", b"", "application/octet-stream")),
        ("folder", ("trip/@eaDir/a.jpg/THUMB.png", (drawn / "photo-0.png").read_bytes(), "image/png")),
        ("photos", ("more.zip", (tmp_path / "more.zip").read_bytes(), "application/zip")),
    ]
    answer = client.post("/subjects/zibbo/drop", files=files)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/subjects/zibbo")
    (job,) = studio.jobs.all("zibbo")
    running = client.get("/subjects/zibbo").text
    assert f"/subjects/zibbo/intake/{job.id}" in running
    studio.work(idle_seconds=0.0)
    studio.wait(job)
    assert len(studio.photos.all("zibbo")) == 3
    assert next(one for one in studio.photos.all("zibbo") if one.source == "photo-0.png").caption_from == "sidecar"
    page = client.get("/subjects/zibbo").text
    assert "no.svg" in page and "THUMB" not in page
    # What the server passes over, the page's script need not send.
    assert "/@eadir/" in page.partition('data-passed-over="')[2].partition('"')[0]
    assert "It is the same picture as" in page
    assert "<b>" not in page
    assert str(studio.settings.home) not in page
    digest = studio.photos.all("zibbo")[0].digest
    assert f"/subjects/zibbo/photos/{digest}/thumb" in page
    gone = client.post("/subjects/zibbo/remove-photo", data={"photo": digest})
    assert gone.status_code == 303
    assert len(studio.photos.all("zibbo")) == 2
    partial = {"HX-Request": "true", "HX-Request-Type": "partial"}
    assert "3 photos taken in" in client.get(f"/subjects/zibbo/intake/{job.id}", headers=partial).text
    assert client.get(f"/subjects/zibbo/intake/{job.id}").status_code == 303


def test_a_form_without_files_or_broken_leaves_nothing(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("zibbo", kind="character")
    empty = [("photos", ("", b"", "application/octet-stream"))]
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    cut = b'--x\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\nabc'
    for options in ({"files": empty}, {"content": b"nonsense", "headers": head}, {"content": cut, "headers": head}):
        answer = client.post("/subjects/zibbo/drop", **options)  # type: ignore[arg-type]
        assert answer.status_code == 303
        assert "fullmatch" not in answer.headers["Location"]
        assert studio.jobs.all("zibbo") == []
        assert studio.uploads.pending("zibbo") == []
        assert list((studio.settings.home / "uploads").iterdir()) == []


def test_a_form_that_is_too_large_is_refused(tmp_path: Path) -> None:
    from tests.web.conftest import Browser

    settings = Settings(home=tmp_path / "small", start_worker=False, max_upload_bytes=10)
    with Browser(create_app(settings), base_url="http://localhost", follow_redirects=False) as client:
        with Studio(settings=settings) as studio:
            studio.subjects.add("zibbo", kind="character")
        answer = client.post("/subjects/zibbo/drop", files=[("photos", ("a.jpg", b"x" * 11, "image/jpeg"))])
        assert answer.status_code == 303
        assert "more than 10 bytes" in client.get("/subjects/zibbo").text
    assert list((settings.home / "uploads").iterdir()) == []


def test_an_earlier_drop_is_taken_in_or_thrown_away(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("zibbo", kind="character")
    first, second = studio.uploads.open("zibbo").id, studio.uploads.open("zibbo").id
    for batch in (first, second):
        whole = studio.uploads.add("zibbo", batch, "a.jpg", 3)
        with studio.uploads.receive(whole.id, 0) as receiver:
            receiver.write(b"abc")
        studio.uploads.add("zibbo", batch, "b.jpg", 3)
    assert "1 of 2 files of an earlier drop arrived" in client.get("/subjects/zibbo").text
    assert client.post(f"/subjects/zibbo/uploads/{first}/take").status_code == 303
    assert len(studio.uploads.batch(first).uploads) == 1
    assert studio.uploads.batch(first).job
    assert client.post(f"/subjects/zibbo/uploads/{second}/discard").status_code == 303
    assert studio.uploads.pending("zibbo") == []


def test_consent_is_recorded_and_withdrawn(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("john", kind="person")
    assert "None is on record" in client.get("/subjects/john").text
    client.post("/subjects/john/consent", data={"given_by": " "})
    assert studio.subjects.get("john").consent is None
    client.post("/subjects/john/consent", data={"given_by": "John"})
    assert "John" in client.get("/subjects/john").text
    client.post("/subjects/john/consent", data={"action": "withdraw"})
    assert studio.subjects.get("john").consent is None


def test_erasing_says_what_goes_and_asks_for_the_slug(client: TestClient, studio: Studio, tmp_path: Path) -> None:
    studio.subjects.add("zibbo", kind="character", name="Zibbo")
    job = studio.photos.add("zibbo", [draw_photos(tmp_path / "drawn", 3)])
    page = client.get("/subjects/zibbo/erase").text
    assert "Work on it has not ended" in page
    assert client.post("/subjects/zibbo/erase", data={"typed": "zibbo"}).status_code == 422
    studio.work(idle_seconds=0.0)
    studio.wait(job)
    page = client.get("/subjects/zibbo/erase").text
    assert re.search(r"<dt>Photos</dt>\s*<dd>3", page)
    refused = client.post("/subjects/zibbo/erase", data={"typed": "zibb"})
    assert refused.status_code == 422
    assert 'value="zibb"' in refused.text
    assert len(studio.photos.all("zibbo")) == 3
    assert client.get("/subjects/zibbo/erased").status_code == 404
    for _ in range(2):  # sent twice, or again after the answer was lost
        done = client.post("/subjects/zibbo/erase", data={"typed": "zibbo"})
        assert (done.status_code, done.headers["Location"]) == (303, "/subjects/zibbo/erased")
        report = client.get("/subjects/zibbo/erased").text
        assert "zibbo is erased" in report
        assert re.search(r"<dt>Photos</dt>\s*<dd>3", report)
    assert studio.subjects.all() == []
    with studio._workspace.database.write() as session:
        session.execute(update(ErasedRow).values(created_at=now() - timedelta(days=31)))
    studio.subjects.add("rex", kind="pet")
    studio.erasure.erase("rex")
    assert [one.subject for one in studio.erasure.all()] == ["rex"]
    assert client.post("/subjects/zibbo/erase", data={"typed": "zibbo"}).status_code == 404


@pytest.mark.parametrize("path", ["/subjects/nobody", "/subjects/nobody/erase", "/subjects/..%2f..", "/subjects/%00"])
def test_a_subject_that_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_photos_of_the_same_file_name_are_told_apart(client: TestClient, studio: Studio, tmp_path: Path) -> None:
    studio.subjects.add("zibbo", kind="character")
    drawn = draw_photos(tmp_path / "drawn", 2)
    first, second = ((drawn / f"photo-{number}.png").read_bytes() for number in range(2))

    def drop(*files: bytes) -> None:
        sent = [("photos", ("image.png", data, "image/png")) for data in files]
        assert client.post("/subjects/zibbo/drop", files=sent).status_code == 303
        studio.work(idle_seconds=0.0)

    drop(first)
    drop(second)
    earlier, later = studio.photos.all("zibbo")
    page = client.get("/subjects/zibbo").text
    report = page[page.index("h-report") :]
    assert f"/photos/{later.digest}/thumb?w=160" in report
    assert f'name="photo" value="{later.digest}"' in report
    drop(second)
    page = client.get("/subjects/zibbo").text
    report = page[page.index("h-report") :]
    assert f"/photos/{later.digest}/thumb?w=160" in report
    assert f"/photos/{earlier.digest}/thumb?w=160" not in report
