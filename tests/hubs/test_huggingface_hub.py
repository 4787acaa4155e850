"""The Hugging Face hub through the real huggingface_hub, on a real socket: privacy, crashes, lost answers."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from limner.errors import AccountRefused, Conflict, LimnerError, OutOfCredit, StorageFailed, VendorBusy, VendorFailed
from limner.hubs.hub import WEIGHTS_NAME, LoraPackage, Published
from limner.hubs.huggingface.hub import HuggingFaceHub
from limner.settings import Settings
from limner.stand_ins.hub.repos import HubRepo
from limner.stand_ins.hub.server import HuggingFaceStandIn
from limner.stand_ins.serving import serve
from limner.types import Reach, Visibility
from tests.servers.hub import TOKEN

from .conftest import Packer

PRIVATE, PUBLIC = Visibility.PRIVATE, Visibility.PUBLIC


@pytest.fixture
def hub(settings_for: Callable[[str], Settings]) -> HuggingFaceHub:
    return HuggingFaceHub(settings=settings_for("huggingface"))


def publish(
    hub: HuggingFaceHub, package: LoraPackage, *, tag: str = "v1", visibility: Visibility = PRIVATE
) -> Published:
    return hub.publish("ann/jane", package, visibility=visibility, tag=tag, message="Jane v1")


class Between:
    """Stands before a hub: ``see`` hears of every request, ``answers`` says which get another answer, and when."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.paths: list[tuple[str, str]] = []
        self.see: Callable[[str, str], None] = lambda method, path: None
        self.before: Callable[[str, str], tuple[int, dict[str, str]] | None] = lambda method, path: None
        self.after: Callable[[str, str], int | None] = lambda method, path: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        method, path = scope["method"], scope["path"]
        self.paths.append((method, path))
        self.see(method, path)
        refused = self.before(method, path)
        if refused is not None:
            return await page(send, *refused)
        status = self.after(method, path)
        if status is not None:
            await self.app(scope, receive, nowhere)
            return await page(send, status, {})
        return await self.app(scope, receive, send)


async def nowhere(message: Any) -> None:
    """The answer that gets lost."""


async def page(send: Any, status: int, headers: dict[str, str]) -> None:
    given = [(key.encode(), value.encode()) for key, value in {"content-type": "text/html", **headers}.items()]
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": b"<html>no</html>"})


@pytest.fixture
def between(hub_server: HuggingFaceStandIn, settings: Settings):
    """The hub through something that may spoil it: (what stands between, a client that goes through it)."""
    spoiler = Between(hub_server.app)
    with serve(spoiler) as url:
        yield spoiler, HuggingFaceHub(settings=settings.model_copy(update={"huggingface_url": url}))


def repo_of(server: HuggingFaceStandIn) -> HubRepo:
    return server.repos["ann/jane"]


def files_of(server: HuggingFaceStandIn) -> set[str]:
    return set(repo_of(server).main.files) - {".gitattributes"}


def times(number: int) -> Callable[[], bool]:
    """True for the first so many calls."""
    left = [number]

    def take() -> bool:
        left[0] -= 1
        return left[0] >= 0

    return take


# --- what is put there ------------------------------------------------------------------------------------------------


def test_one_commit_a_version_with_a_tag(hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer) -> None:
    package = pack()
    published = publish(hub, package)
    repo = repo_of(hub_server)
    assert [commit.summary for commit in repo.history] == ["initial commit", "Jane v1"]
    assert repo.tags == {"v1": published.revision}
    assert files_of(hub_server) == {"README.md", WEIGHTS_NAME, "images/a.png"}
    assert repo.main.files[WEIGHTS_NAME].lfs
    assert repo.content(repo.main.files[WEIGHTS_NAME]) == package.weights.read_bytes()
    assert repo.content(repo.main.files["README.md"]).decode() == package.card
    assert published.url == f"{hub_server.url}/ann/jane"
    assert "limner" in repo.card(repo.main)["tags"]


def test_a_file_in_parts_arrives_whole(hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer) -> None:
    hub_server.large_files.multipart_above, hub_server.large_files.chunk_size = 1000, 3000
    package = pack(size=40_000)
    publish(hub, package)
    repo = repo_of(hub_server)
    assert repo.content(repo.main.files[WEIGHTS_NAME]) == package.weights.read_bytes()


def test_old_pictures_and_other_weights_of_ours_go(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    publish(hub, pack())
    repo = repo_of(hub_server)
    extra = {name: repo.keep(b"old\0", lfs=True) for name in ("images/old.png", "other.safetensors", "LICENSE")}
    repo.commit({**repo.main.files, **extra}, summary="by hand", author="ann")
    assert not hub.status("ann/jane").ready
    assert publish(hub, pack(2), tag="v2").changed
    assert files_of(hub_server) == {"README.md", WEIGHTS_NAME, "images/a.png", "LICENSE"}
    assert len(repo.history) == 4


def test_published_twice_at_once_is_one_commit(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    package = pack()
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: publish(hub, package), range(4)))
    assert {one.revision for one in done} == {repo_of(hub_server).main.sha}
    assert len(repo_of(hub_server).history) == 2


def test_the_bare_name_is_the_accounts(hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, settings: Settings) -> None:
    assert hub.full_name("jane") == "ann/jane"
    other = settings.model_copy(update={"huggingface_url": hub_server.url, "hub_namespace": "club"})
    assert HuggingFaceHub(settings=other).full_name("jane") == "club/jane"
    assert hub.describe().reach == (Reach.HUGGING_FACE, Reach.URL)


# --- privacy ----------------------------------------------------------------------------------------------------------


def test_a_hub_that_makes_it_public_gets_no_byte(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    hub_server.ignore_private = True
    package = pack()
    with pytest.raises(VendorFailed, match="public") as raised:
        publish(hub, package)
    assert raised.value.remedy
    assert hub_server.repos == {}
    assert package.weights_digest not in hub_server.contents


def test_a_public_repo_that_stays_public_gets_no_byte(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    publish(hub, pack(), visibility=PUBLIC)
    hub_server.ignore_private = True
    package = pack(2)
    with pytest.raises(VendorFailed, match="still public"):
        publish(hub, package, tag="v2")
    assert package.weights_digest not in hub_server.contents


def test_it_is_public_only_when_all_is_there(between, hub_server: HuggingFaceStandIn, pack: Packer) -> None:
    spoiler, hub = between
    package = pack()

    def look(method: str, path: str) -> None:
        for repo in hub_server.repos.values():
            if not repo.private:
                assert repo.main.files[WEIGHTS_NAME].sha256 == package.weights_digest
                assert repo.tags == {"v1": repo.main.sha}

    seen: list[BaseException] = []

    def see(method: str, path: str) -> None:
        try:
            look(method, path)
        except BaseException as failure:
            seen.append(failure)

    spoiler.see = see
    assert publish(hub, package, visibility=PUBLIC).visibility is PUBLIC
    assert seen == []
    assert not repo_of(hub_server).private


def test_others_see_only_what_is_public(
    hub: HuggingFaceHub,
    hub_server: HuggingFaceStandIn,
    pack: Packer,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    publish(hub, pack())
    stranger = HuggingFaceHub(settings=settings.model_copy(update={"huggingface_url": hub_server.url}))
    with monkeypatch.context() as theirs:
        theirs.setenv("HF_TOKEN", "hf_of_somebody_else")
        assert stranger.status("ann/jane").usable_by == "nobody"
        assert list(stranger.listing()) == []
        with pytest.raises(LimnerError):
            publish(stranger, pack(2))
    hub.set_visibility("ann/jane", PUBLIC)
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert "anyone" in stranger.status("ann/jane").usable_by
    with pytest.raises(AccountRefused):
        stranger.set_visibility("ann/jane", PRIVATE)


def test_a_gated_repo_is_not_ready_and_has_no_address(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    publish(hub, pack(), visibility=PUBLIC)
    repo_of(hub_server).gated = "manual"
    health = hub.status("ann/jane")
    assert not health.ready
    assert any("gated" in problem for problem in health.problems)
    assert hub.address("ann/jane") == ""


# --- other people's hands ---------------------------------------------------------------------------------------------


def test_a_repo_that_limner_did_not_make_is_left_alone(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    publish(hub, pack())
    repo = repo_of(hub_server)
    repo.commit({"model.safetensors": repo.keep(b"x\0y", lfs=True)}, summary="mine", author="ann")
    with pytest.raises(Conflict, match="did not make"):
        publish(hub, pack(2), tag="v2")
    assert len(repo.history) == 3


def test_a_branch_that_moved_is_read_again(hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer) -> None:
    moves = times(2)

    def somebody_else(repo: HubRepo) -> None:
        if moves():
            repo.commit({**repo.main.files, "NOTES.md": repo.keep(b"hi", lfs=False)}, summary="notes", author="ann")

    publish(hub, pack())
    hub_server.before_commit = somebody_else
    assert publish(hub, pack(2), tag="v2").changed
    assert "NOTES.md" in files_of(hub_server)
    assert [commit.summary for commit in repo_of(hub_server).history].count("Jane v1") == 2


def test_a_branch_that_never_rests_is_a_conflict(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    publish(hub, pack())
    hub_server.before_commit = lambda repo: repo.commit(repo.main.files, summary="again", author="ann") and None
    with pytest.raises(Conflict, match="keeps moving"):
        publish(hub, pack(2), tag="v2")
    assert "v2" not in repo_of(hub_server).tags


# --- the line breaks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["/commit/main", "/api/repos/create", "/tag/", "/settings"])
def test_a_lost_answer_doubles_nothing(between, hub_server: HuggingFaceStandIn, pack: Packer, what: str) -> None:
    spoiler, hub = between
    lose = times(1)
    spoiler.after = lambda method, path: 502 if what in path and lose() else None
    published = publish(hub, pack(), visibility=PUBLIC)
    repo = repo_of(hub_server)
    assert published.changed
    assert (published.revision, len(repo.history), repo.tags) == (repo.main.sha, 2, {"v1": repo.main.sha})
    assert not repo.private


def test_wherever_it_broke_off_the_next_run_ends_the_same(
    between, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    spoiler, hub = between
    package = pack()
    publish(hub, package, visibility=PUBLIC)
    whole = len(spoiler.paths)
    assert whole > 8
    for point in range(whole):
        hub_server.repos.clear()
        hub_server.contents.clear()
        spoiler.paths.clear()
        spoiler.before = lambda method, path: (503, {}) if len(spoiler.paths) > point else None  # noqa: B023
        with pytest.raises(LimnerError):
            publish(hub, package, visibility=PUBLIC)
        for repo in hub_server.repos.values():
            assert repo.private or repo.tags
        spoiler.before = lambda method, path: None
        again = publish(hub, package, visibility=PUBLIC)
        repo = repo_of(hub_server)
        assert len(repo.history) == 2, point
        assert (repo.tags, repo.private) == ({"v1": again.revision}, False)
        assert repo.main.sha == again.revision


def test_a_short_pause_that_the_hub_asks_for_is_kept(
    between, hub_server: HuggingFaceStandIn, pack: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiler, hub = between
    waited: list[float] = []
    monkeypatch.setattr("limner.vendors.huggingface.hub.PAUSE", waited.append)
    busy = times(1)
    spoiler.before = lambda method, path: (429, {"retry-after": "7"}) if path.endswith("/refs") and busy() else None
    publish(hub, pack())
    assert [round(seconds) for seconds in waited] == [7]
    spoiler.before = lambda method, path: (429, {"retry-after": "4000"})
    with pytest.raises(VendorBusy) as raised:
        hub.status("ann/jane")
    assert raised.value.remedy
    assert len(waited) == 1


def test_a_long_pause_is_told_also_where_the_client_would_wait_by_itself(
    between, hub_server: HuggingFaceStandIn, pack: Packer
) -> None:
    spoiler, hub = between
    spoiler.before = lambda method, path: (429, {"retry-after": "4000"}) if "/preupload/" in path else None
    with pytest.raises(VendorBusy, match="wait long"):
        publish(hub, pack())
    assert len([path for _, path in spoiler.paths if "/preupload/" in path]) == 1
    spoiler.before = lambda method, path: (429, {"retry-after": "4000"}) if "lfs-store" in path else None
    with pytest.raises(VendorBusy, match="wait long"):
        publish(hub, pack())
    spoiler.before = lambda method, path: None
    assert publish(hub, pack()).changed


def test_what_arrives_changed_is_refused(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer, tmp_path: Path
) -> None:
    package = pack()
    publish(hub, package)
    data = hub_server.contents[package.weights_digest]
    hub_server.contents[package.weights_digest] = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(StorageFailed, match="whole"):
        hub.fetch("ann/jane", tmp_path / "got")
    assert list((tmp_path / "got").iterdir()) == []


# --- the account ------------------------------------------------------------------------------------------------------


def spoil_revoked(server: HuggingFaceStandIn) -> None:
    server.revoked.add(TOKEN)


def spoil_read_only(server: HuggingFaceStandIn) -> None:
    server.read_only.add(TOKEN)


def spoil_quota(server: HuggingFaceStandIn) -> None:
    server.quota = 100


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(spoil_revoked, AccountRefused), (spoil_read_only, AccountRefused), (spoil_quota, OutOfCredit)],
)
def test_the_hubs_refusals_in_one_sentence_without_the_token(
    hub: HuggingFaceHub, hub_server: HuggingFaceStandIn, pack: Packer, spoil: Any, error: type[LimnerError]
) -> None:
    spoil(hub_server)
    with pytest.raises(error) as raised:
        publish(hub, pack())
    assert raised.value.remedy
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value.as_problem())
    assert TOKEN not in shown
    assert "\n" not in raised.value.message


def test_without_a_token_it_says_how_to_get_one(
    hub_server: HuggingFaceStandIn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    hub = HuggingFaceHub(settings=settings.model_copy(update={"huggingface_url": hub_server.url}))
    assert not hub.describe().ready
    with pytest.raises(AccountRefused, match="no token"):
        hub.full_name("jane")
    assert hub.status("ann/jane").usable_by == "nobody"


def test_a_hub_that_is_not_there_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.vendors.huggingface.hub.PAUSE", lambda seconds: None)
    hub = HuggingFaceHub(settings=settings.model_copy(update={"huggingface_url": "http://127.0.0.1:9"}))
    with pytest.raises(VendorFailed, match="cannot be reached"):
        hub.status("ann/jane")


# --- the client -------------------------------------------------------------------------------------------------------


def test_describing_loads_no_client() -> None:
    code = (
        "import sys; from limner.settings import Settings; from limner.hubs.huggingface.hub import HuggingFaceHub;"
        "HuggingFaceHub(settings=Settings()).describe();"
        "print({'huggingface_hub', 'httpx2', 'torch', 'numpy'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("first", ["", "import huggingface_hub.constants, huggingface_hub.hf_api\n"])
def test_a_hub_without_xet_is_spoken_to_without_xet(
    hub_server: HuggingFaceStandIn, pack: Packer, tmp_path: Path, first: str
) -> None:
    """In a process that has not switched Xet off, and has perhaps loaded the client before."""
    package = pack()
    (tmp_path / "card.md").write_text(package.card, encoding="utf-8")
    code = first + (
        "import sys; from pathlib import Path; from limner.settings import Settings\n"
        "from limner.types import Visibility\n"
        "from limner.hubs.hub import LoraPackage; from limner.hubs.huggingface.hub import HuggingFaceHub\n"
        "weights, digest, card, url = sys.argv[1:]\n"
        "package = LoraPackage(Path(weights), digest, Path(card).read_text())\n"
        "hub = HuggingFaceHub(settings=Settings(huggingface_url=url))\n"
        "hub.publish('ann/jane', package, visibility=Visibility.PRIVATE, tag='v1', message='')\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_DISABLE_XET"}
    given = [str(package.weights), package.weights_digest, str(tmp_path / "card.md"), hub_server.url]
    subprocess.run([sys.executable, "-c", code, *given], check=True, env=environment)
    assert repo_of(hub_server).main.files[WEIGHTS_NAME].sha256 == package.weights_digest
