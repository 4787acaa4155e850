"""Settings looked at and changed: where each comes from, what cannot be changed, and a file that stays the user's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from limner.errors import ChangedMeanwhile, Conflict, InputRefused, StorageFailed
from limner.operations.home import settings_store
from limner.setting_groups import GROUPS
from limner.settings import Settings, read_settings
from limner.studio import Studio
from tests.operations.conftest import draw_photos, kill_all, processes_of

WRITTEN = """# what I may spend
budget_day = "3.00"  # a coffee

[base_paths]
flux1-dev = "/models/flux1"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "home"
    made.mkdir()
    (made / "limner.toml").write_text(WRITTEN)
    return made


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    with Studio(settings=read_settings(home)) as made:
        yield made


def test_every_setting_stands_in_one_group() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(Settings.model_fields)


def test_each_setting_says_where_it_comes_from(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_TRAINER", "replicate")
    (tmp_path / ".env").write_text("LIMNER_GENERATOR=fal\n")
    with Studio(settings=read_settings(home)) as studio:
        found = studio.settings_file.report()
        assert (found["budget_day"].value, found["budget_day"].source) == ("3.00", "limner.toml")
        assert (found["trainer"].value, found["trainer"].source) == ("replicate", "environment")
        assert (found["generator"].value, found["generator"].source) == ("local", "default")
        assert (found["hub"].value, found["hub"].source) == ("folder", "default")
        assert "LIMNER_TRAINER" in found["trainer"].fixed
        assert found["hub"].fixed == ""
        with pytest.raises(Conflict, match="cannot be changed here"):
            studio.settings_file.change({"trainer": "local"})


def test_a_change_keeps_comments_and_holds_at_once_and_later(studio: Studio, home: Path) -> None:
    other = studio.owned_by("anna")
    after = studio.settings_file.change(
        {"budget_day": "5.50", "budget_total": "0.1", "sign_images": "no", "trainer": "fal"}
    )
    assert after["budget_day"].value == "5.50"
    text = (home / "limner.toml").read_text()
    assert "# what I may spend" in text
    assert 'budget_day = "5.50"  # a coffee' in text
    assert 'flux1-dev = "/models/flux1"' in text
    assert other.settings.budget_total == Decimal("0.1")
    assert other.settings.sign_images is False
    later = read_settings(home)
    assert (later.budget_day, later.budget_total) == (Decimal("5.50"), Decimal("0.1"))
    assert (later.sign_images, later.trainer) == (False, "fal")
    assert later.base_paths == {"flux1-dev": Path("/models/flux1")}


def test_empty_goes_back_to_the_default(studio: Studio, home: Path) -> None:
    studio.settings_file.change({"workers": "3"})
    studio.settings_file.change({"budget_day": "", "workers": None})
    assert studio.settings.budget_day is None
    assert studio.settings.workers == 0
    text = (home / "limner.toml").read_text()
    assert "budget_day" not in text
    assert "workers" not in text


def test_all_or_none_and_each_wrong_one_is_named(studio: Studio, home: Path) -> None:
    with pytest.raises(InputRefused) as refused:
        studio.settings_file.change(
            {"budget_total": "9", "budget_day": "-1", "workers": "many", "trainer": "nobody", "consent_above": "nan"}
        )
    assert set(refused.value.fields) == {"budget_day", "workers", "trainer", "consent_above"}  # type: ignore[attr-defined]
    assert (home / "limner.toml").read_text() == WRITTEN
    assert studio.settings.budget_total is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget_day", "1e999999"),
        ("budget_day", "inf"),
        ("workers", "9" * 400),
        ("workers", "2.5"),
        ("upload_hours", "0"),
        ("max_upload_files", "0"),
        ("device", "abacus"),
        ("hub_namespace", "a\nb"),
        ("hub_namespace", "x" * 3000),
        ("sign_images", "perhaps"),
        ("public_url", "ftp://example.org"),
    ],
)
def test_what_cannot_be_used_is_refused(studio: Studio, home: Path, name: str, value: str) -> None:
    with pytest.raises(InputRefused):
        studio.settings_file.change({name: value})
    assert (home / "limner.toml").read_text() == WRITTEN


def test_two_tabs_the_second_is_told(studio: Studio) -> None:
    seen = studio.settings_file.report().seen
    studio.settings_file.change({"workers": "2"}, seen=seen)
    with pytest.raises(ChangedMeanwhile):
        studio.settings_file.change({"workers": "3"}, seen=seen)
    assert studio.settings.workers == 2


def test_many_at_once_lose_nothing(studio: Studio, home: Path) -> None:
    names = ["budget_total", "budget_subject", "consent_above", "workers", "upload_hours", "disk_reserve"]

    def change(name: str) -> None:
        with Studio(settings=read_settings(home)) as other:
            other.settings_file.change({name: "7"})

    threads = [threading.Thread(target=change, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    later = read_settings(home)
    assert [float(getattr(later, name)) for name in names] == [7.0] * len(names)


def test_who_sits_elsewhere_changes_no_paths_and_no_addresses(home: Path) -> None:
    with Studio(settings=read_settings(home), from_here=False) as studio:
        for name in (
            "home",
            "hub_folder",
            "catalog",
            "replicate_url",
            "hosts",
            "webhooks_to_loopback",
        ):
            assert studio.settings_file.report()[name].fixed
            with pytest.raises(Conflict):
                studio.settings_file.change({name: "/tmp"})
        studio.settings_file.change({"workers": "1"})
    with Studio(settings=read_settings(home)) as here:
        here.settings_file.change({"replicate_url": "https://replicate.example"})
        assert read_settings(home).replicate_url == "https://replicate.example"


def test_a_setting_that_is_none_is_refused(studio: Studio) -> None:
    for name in ("model_config", "nothing", "__class__"):
        with pytest.raises(InputRefused):
            studio.settings_file.change({name: "1"})


def test_what_is_changed_elsewhere_is_taken_up_by_a_process_that_lives(studio: Studio, home: Path) -> None:
    theirs = studio.owned_by("anna")
    kept = studio.settings
    with Studio(settings=read_settings(home)) as other:
        other.settings_file.change({"budget_day": "8", "budget_total": "20", "hosts": "limner.example.org"})
    for one in (studio, theirs):
        assert one.settings is kept
        assert (kept.budget_day, kept.budget_total) == (Decimal(8), Decimal(20))
        assert one.settings_file.report()["budget_day"].value == "8"
    assert kept.hosts == ""  # a server that runs was told its names when it began
    (home / "limner.toml").unlink()
    assert studio.settings.budget_day is None
    assert studio.settings.base_paths == {}


def test_a_file_that_cannot_be_used_changes_nothing_until_it_is_mended(
    studio: Studio, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "limner.toml").write_text('budget_day = "4"\nworkers = "many"\n')
    assert studio.settings.budget_day == studio.settings.budget_day == Decimal("3.00")
    assert len([one for one in caplog.records if "workers" in one.getMessage()]) == 1
    (home / "limner.toml").write_text('budget_day = "4"\nworkers = "2"\n')
    assert (studio.settings.budget_day, studio.settings.workers) == (Decimal(4), 2)


def test_code_goes_before_the_environment_and_both_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_BUDGET_DAY", "1")
    monkeypatch.setenv("LIMNER_BUDGET_TOTAL", "1")
    given = Settings(home=home, budget_day=Decimal(2), budget_subject=None).model_copy(update={"workers": 5})
    with Studio(settings=given) as studio:
        studio.settings.sign_images = False
        (home / "limner.toml").write_text(
            "budget_day = 7\nbudget_total = 7\nbudget_subject = 7\nworkers = 7\nsign_images = true\ndisk_reserve = 7\n"
        )
        now = studio.settings
        assert (now.budget_day, now.budget_total, now.budget_subject) == (Decimal(2), Decimal(1), None)
        assert (now.workers, now.sign_images, now.disk_reserve) == (5, False, 7)
        report = studio.settings_file.report()
        assert report["budget_day"].source == report["workers"].source == report["sign_images"].source == "program"
        assert (report["budget_total"].source, report["disk_reserve"].source) == ("environment", "limner.toml")
        with pytest.raises(Conflict, match="The program that uses Limner"):
            studio.settings_file.change({"workers": "3"})
        # The same in a process that is started from here.
        for name, value in now.as_environment().items():
            monkeypatch.setenv(name, value)
        assert read_settings().model_dump() == now.model_dump()


@pytest.fixture
def lasting(home: Path) -> Iterator[Studio]:
    """A studio whose worker lives on, so that it is told of nothing but by the file."""
    with Studio(settings=Settings(home=home, worker_idle_seconds=120.0)) as made:
        yield made
    kill_all(home)


def test_a_worker_that_lives_has_what_code_gave_and_takes_up_what_the_page_changes(
    lasting: Studio, home: Path, tmp_path: Path
) -> None:
    """The budget that refused a job is raised, and the job resumed, while the worker of both lives."""
    lasting.subjects.add("zib", kind="character", trigger="zibbo")
    photos = draw_photos(tmp_path / "photos", 1)
    lasting.settings_file.change({"max_photo_pixels": "10"})
    first = lasting.wait(lasting.photos.add("zib", [photos]))
    assert [entry.photo for entry in lasting.photos.report("zib", first.id)] == [None]
    [worker] = [number for number in processes_of(home) if b"limner.operations.jobs.worker" in command(number)]
    lasting.settings_file.change({"max_photo_pixels": ""})
    second = lasting.wait(lasting.photos.add("zib", [photos]))
    assert len(lasting.photos.all("zib")) == 1, lasting.photos.report("zib", second.id)
    environment = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
    assert b"LIMNER_WORKER_IDLE_SECONDS=120.0" in environment
    assert not [one for one in environment if one.startswith(b"LIMNER_MAX_PHOTO_PIXELS")]
    assert worker in processes_of(home)


def command(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def test_a_file_that_cannot_be_written_stays_as_it_was(
    studio: Studio, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(settings_store.Path, "replace", full)
    with pytest.raises(StorageFailed):
        studio.settings_file.change({"workers": "2"})
    assert (home / "limner.toml").read_text() == WRITTEN
    assert sorted(path.name for path in home.glob("*.toml*")) == ["limner.toml"]
    assert list(home.glob(".limner.toml*")) == []
    assert studio.settings.workers == 0


def test_a_file_that_is_no_toml_is_not_overwritten(studio: Studio, home: Path) -> None:
    (home / "limner.toml").write_text("workers = = 3")
    with pytest.raises(InputRefused, match=r"limner\.toml is no TOML"):
        studio.settings_file.change({"workers": "2"})
    assert (home / "limner.toml").read_text() == "workers = = 3"
