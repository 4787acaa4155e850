"""Uploads over a line that breaks: everything arrives once, whatever was cut, and a server that was killed goes on."""

from __future__ import annotations

import hashlib
import random
import signal
import time
from pathlib import Path

from playwright.sync_api import Browser, Route, expect

from limner.settings import Settings
from limner.store.web_models import UploadRow
from limner.studio import Studio

from ..photos.making import encoded, picture
from .broken_line import Line
from .chromium import LOOKS, tab
from .server import Server

COUNT = 500
LONG = 120_000


def photos(folder: Path, count: int) -> list[Path]:
    """Small JPEGs that differ."""
    folder.mkdir(exist_ok=True)
    files = []
    for number in range(count):
        file = folder / f"photo-{number:03}.jpg"
        file.write_bytes(encoded(picture(number, 320, 256), "JPEG", quality=92))
        files.append(file)
    return files


def subject_in(home: Path) -> None:
    with Studio(settings=Settings(home=home, start_worker=False)) as studio:
        studio.subjects.add("rex", name="Rex", kind="pet", class_word="dog", trigger="rex_dog")


def arrived(home: Path) -> list[tuple[str, str, bool]]:
    """Name, digest and whether it is taken, of everything that was announced."""
    with (
        Studio(settings=Settings(home=home, start_worker=False)) as studio,
        studio._workspace.database.read() as session,
    ):
        return [(row.name, row.digest, bool(row.job)) for row in session.query(UploadRow)]


def until(told, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_a_line_cut_twice_and_a_server_killed_lose_nothing_and_double_nothing(browser: Browser, tmp_path: Path) -> None:
    files = photos(tmp_path / "in", COUNT)
    total = sum(file.stat().st_size for file in files)
    server = Server(tmp_path / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    subject_in(server.home)
    try:
        with Line(server.url) as line, tab(browser, line.url, LOOKS[0], allowed=("Failed to load", "net::ERR")) as it:
            page = it.go("/subjects/rex")
            line.slow(0.005)
            line.cut_after(total // 5)
            page.locator("#f-photos").set_input_files([str(file) for file in files])
            until(lambda: line.cuts == 1)
            line.cut_after(total // 4)
            page.wait_for_timeout(200)
            until(lambda: line.cuts == 2 or page.wait_for_timeout(50))
            before = line.up
            until(lambda: line.up > before + total // 6 or page.wait_for_timeout(50))
            server.stop(signal.SIGKILL)
            assert line.up < total, "everything was sent before the server was killed"
            expect(page.locator("[data-sending=rest]")).to_contain_text("no answer, trying again")
            expect(page.locator("#live")).to_contain_text("what arrived is kept")
            server.start()
            expect(page.locator('[data-intake="waiting"]')).to_be_visible(timeout=LONG)
            it.quiet()
        rows = arrived(server.home)
        wanted = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        assert len(rows) == COUNT and all(taken for _, _, taken in rows)
        assert {name: digest for name, digest, _ in rows} == wanted
        assert line.cuts >= 2
    finally:
        server.stop()


def test_a_page_that_was_left_in_the_midst_goes_on_with_the_same_files(browser: Browser, tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 30)
    total = sum(file.stat().st_size for file in files)
    server = Server(tmp_path / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    subject_in(server.home)
    try:
        with Line(server.url) as line:
            line.slow(0.005)
            with tab(browser, line.url, LOOKS[0], allowed=("net::ERR",)) as it:
                page = it.go("/subjects/rex")
                before = line.up
                page.locator("#f-photos").set_input_files([str(file) for file in files])
                until(lambda: line.up > before + total // 2 or page.wait_for_timeout(20))
                line.dead(True)
            line.dead(False)
            with tab(browser, line.url, LOOKS[0]) as it:
                page = it.go("/subjects/rex")
                expect(page.locator("[data-pending]")).to_contain_text("of an earlier drop arrived")
                sent = line.up
                page.locator("#f-photos").set_input_files([str(file) for file in files])
                expect(page.locator('[data-intake="waiting"]')).to_be_visible(timeout=LONG)
                assert line.up - sent < total * 0.75, "what had arrived was sent again"
                it.quiet()
        rows = arrived(server.home)
        assert sorted(name for name, _, _ in rows) == [file.name for file in files]
        assert all(taken for _, _, taken in rows)
    finally:
        server.stop()


def test_what_a_dead_line_leaves_is_told_and_tried_again(browser: Browser, tmp_path: Path) -> None:
    """No answer when the drop is to be taken in is no word about the photos."""
    files = photos(tmp_path / "in", 3)
    server = Server(tmp_path / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    subject_in(server.home)
    try:
        with Line(server.url) as line, tab(browser, line.url, LOOKS[0], allowed=("Failed to load", "net::ERR")) as it:
            page = it.go("/subjects/rex")
            page.route("**/batches/*/commit", lambda route: route.abort("connectionreset"), times=2)
            page.locator("#f-photos").set_input_files([str(file) for file in files])
            expect(page.locator('[data-intake="waiting"]')).to_be_visible(timeout=LONG)
            assert "here already" not in page.locator("main").inner_text()
            it.quiet()
        assert len(arrived(server.home)) == 3
    finally:
        server.stop()


REFUSED = {"detail": "This file is not wanted.", "remedy": "Send another."}


def test_a_file_that_stopped_half_way_is_left_out_of_the_rest(browser: Browser, tmp_path: Path) -> None:
    """It takes two pieces, and the second is refused. Its row is legible in a narrow window."""
    files = photos(tmp_path / "in", 2)
    large = tmp_path / "in" / "large.jpg"
    large.write_bytes(random.Random(1).randbytes(9 << 20))
    server = Server(tmp_path / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    subject_in(server.home)

    def answer(route: Route) -> None:
        if route.request.method == "PATCH":
            route.fulfill(status=400, json=REFUSED)
        else:
            route.continue_()

    try:
        with tab(browser, server.url, LOOKS[2], allowed=("Failed to load",)) as it:
            page = it.go("/subjects/rex")
            page.route("**/api/v1/uploads/upload_*", answer)
            page.locator("#f-photos").set_input_files([str(file) for file in (*files, large)])
            page.get_by_role("button", name="Take in the rest").wait_for()
            row = page.locator(".file[data-state=failed]")
            expect(row.locator(".file-state")).to_contain_text("not wanted")
            name, state = row.locator(".file-name").bounding_box(), row.locator(".file-state").bounding_box()
            assert name is not None and state is not None
            assert name["width"] > 80 and state["y"] >= name["y"] + name["height"]
            it.sound("one-file-failed")
            page.get_by_role("button", name="Take in the rest").click()
            expect(page.locator('[data-intake="waiting"]')).to_be_visible(timeout=LONG)
            it.quiet()
        rows = arrived(server.home)
        assert sorted(name for name, _, _ in rows) == [file.name for file in files]
        assert all(taken for _, _, taken in rows)
    finally:
        server.stop()


def test_where_all_failed_nothing_is_called_here_already_and_a_row_is_tried_again(
    browser: Browser, tmp_path: Path
) -> None:
    (file,) = photos(tmp_path / "in", 1)
    server = Server(tmp_path / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    subject_in(server.home)
    try:
        with tab(browser, server.url, LOOKS[0], allowed=("Failed to load",)) as it:
            page = it.go("/subjects/rex")
            page.route("**/api/v1/uploads", lambda route: route.fulfill(status=400, json=REFUSED), times=1)
            page.locator("#f-photos").set_input_files(str(file))
            page.get_by_role("button", name="Take in the rest").click()
            expect(page.locator("#sending")).to_contain_text("Nothing was taken in: 1 file did not arrive")
            assert "here already" not in page.locator("#sending").inner_text()
            page.locator(".file").get_by_role("button", name="Retry").click()
            expect(page.locator('[data-intake="waiting"]')).to_be_visible(timeout=LONG)
            it.quiet()
        assert [name for name, _, _ in arrived(server.home)] == [file.name]
    finally:
        server.stop()


def test_offline_nothing_fails_and_it_goes_on_by_itself(browser: Browser, tmp_path: Path) -> None:
    files = photos(tmp_path / "in", 40)
    server = Server(tmp_path / "home", environment={"LIMNER_START_WORKER": "false"}).start()
    subject_in(server.home)
    try:
        with Line(server.url) as line, tab(browser, line.url, LOOKS[0], allowed=("Failed to load", "net::ERR")) as it:
            page = it.go("/subjects/rex")
            line.slow(0.01)
            page.locator("#f-photos").set_input_files([str(file) for file in files])
            page.locator(".file[data-state=sent]").first.wait_for()
            page.context.set_offline(True)
            line.cut()
            expect(page.locator("#sending")).to_contain_text("Waiting for the connection")
            assert page.locator(".file[data-state=failed]").count() == 0
            page.context.set_offline(False)
            expect(page.locator('[data-intake="waiting"]')).to_be_visible(timeout=LONG)
            it.quiet()
        assert sorted(name for name, _, _ in arrived(server.home)) == [file.name for file in files]
    finally:
        server.stop()
