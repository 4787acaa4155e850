"""The folder hub on the disk: layout, crashes at any moment, full disks, damage, two processes, rights."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limner.errors import Conflict, NameRefused, NotFound, StorageFailed
from limner.hubs.card import card_header
from limner.hubs.folder.hub import FolderHub
from limner.hubs.folder.repo import FolderRepo
from limner.hubs.hub import WEIGHTS_NAME, LoraPackage
from limner.hubs.repo_names import check_picture_name, check_repo
from limner.settings import Settings
from limner.types import Visibility
from tests.waiting import PATIENCE

from .conftest import Packer

PRIVATE, PUBLIC = Visibility.PRIVATE, Visibility.PUBLIC


def publish(hub: FolderHub, package: LoraPackage, *, repo="ann/jane", tag="v1", visibility=PRIVATE):
    return hub.publish(repo, package, visibility=visibility, tag=tag, message="")


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def everything(hub: FolderHub) -> set[str]:
    """All files of a hub but the locks, which stay."""
    return {name for name in files_of(hub.root) if not name.startswith(".limner/locks/")}


def test_the_layout_is_that_of_a_repo_on_the_hugging_face_hub(folder_hub: FolderHub, pack: Packer) -> None:
    package = pack()
    published = publish(folder_hub, package)
    shown = folder_hub.root / "ann" / "jane"
    assert published.url == shown.as_uri()
    assert files_of(shown) == {"README.md", WEIGHTS_NAME, "images/a.png"}
    assert (shown / "README.md").read_text(encoding="utf-8") == package.card
    assert (shown / "images" / "a.png").read_bytes() == b"picture"


def test_diffusers_reads_the_shown_folder_as_it_is(folder_hub: FolderHub, pack: Packer) -> None:
    from diffusers.loaders import FluxLoraLoaderMixin

    publish(folder_hub, pack())
    state = FluxLoraLoaderMixin.lora_state_dict(str(folder_hub.root / "ann" / "jane"))
    assert list(state) == ["transformer.x_embedder.lora_A.weight"]


def test_private_and_public_are_the_rights_of_the_folder(folder_hub: FolderHub, pack: Packer) -> None:
    publish(folder_hub, pack())
    kept = folder_hub.root / ".limner" / "repos" / "ann" / "jane"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert (folder_hub.root / "ann" / "jane").resolve().is_relative_to(kept)
    assert "only the user" in folder_hub.status("ann/jane").usable_by
    folder_hub.set_visibility("ann/jane", PUBLIC)
    assert kept.stat().st_mode & 0o777 == 0o755
    kept.chmod(0o700)
    health = folder_hub.status("ann/jane")
    assert not health.ready
    assert health.visibility is PRIVATE


def test_a_closed_folder_above_a_public_repo_is_told(folder_hub: FolderHub, pack: Packer) -> None:
    publish(folder_hub, pack(), visibility=PUBLIC)
    folder_hub.root.chmod(0o700)
    assert str(folder_hub.root) in folder_hub.status("ann/jane").usable_by


def test_a_repo_stays_private_when_a_public_publication_fails(folder_hub: FolderHub, pack: Packer) -> None:
    publish(folder_hub, pack(1))
    package = pack(2)
    package.weights.write_bytes(b"changed under our feet")
    with pytest.raises(StorageFailed, match="digest"):
        publish(folder_hub, package, tag="v2", visibility=PUBLIC)
    assert folder_hub.status("ann/jane").visibility is PRIVATE
    assert folder_hub.listing()[0].tags == ("v1",)


def test_a_first_publication_that_fails_leaves_nothing(folder_hub: FolderHub, pack: Packer) -> None:
    package = pack()
    package.weights.write_bytes(b"changed under our feet")
    with pytest.raises(StorageFailed):
        publish(folder_hub, package)
    assert everything(folder_hub) == set()
    assert not (folder_hub.root / "ann").exists()
    assert list(folder_hub.listing()) == []


def test_new_cards_share_the_weights_on_the_disk(folder_hub: FolderHub, pack: Packer) -> None:
    first = publish(folder_hub, pack())
    second = publish(folder_hub, pack(title="Better"), tag="v2")
    revisions = folder_hub.root / ".limner" / "repos" / "ann" / "jane" / "revisions"
    assert (revisions / first.revision / WEIGHTS_NAME).samefile(revisions / second.revision / WEIGHTS_NAME)


@pytest.mark.parametrize("damage", ["weights", "card", "picture", "second weights", "no weights", "link"])
def test_damage_is_told_and_put_right_by_publishing_again(folder_hub: FolderHub, pack: Packer, damage: str) -> None:
    package = pack()
    first = publish(folder_hub, package)
    shown = folder_hub.root / "ann" / "jane"
    target = {"weights": shown / WEIGHTS_NAME, "card": shown / "README.md", "picture": shown / "images" / "a.png"}
    if damage in target:
        target[damage].chmod(0o644)
        target[damage].write_bytes(b"---\n---\n")
    elif damage == "second weights":
        (shown / "other.safetensors").write_bytes(b"x")
    elif damage == "no weights":
        (shown / WEIGHTS_NAME).unlink()
    else:
        shown.unlink()
    health = folder_hub.status("ann/jane")
    assert not health.ready
    assert health.problems
    assert health.digest_matches is (damage not in ("weights", "no weights"))
    again = publish(folder_hub, package)
    assert again.revision == first.revision
    health = folder_hub.status("ann/jane", weights_digest=package.weights_digest)
    assert health.ready, health.problems
    assert files_of(shown) == {"README.md", WEIGHTS_NAME, "images/a.png"}


def test_changed_weights_are_not_fetched(folder_hub: FolderHub, pack: Packer, tmp_path: Path) -> None:
    publish(folder_hub, pack())
    weights = folder_hub.root / "ann" / "jane" / WEIGHTS_NAME
    weights.chmod(0o644)
    weights.write_bytes(b"other")
    into = tmp_path / "into"
    with pytest.raises(StorageFailed, match="digest differs"):
        folder_hub.fetch("ann/jane", into)
    assert list(into.iterdir()) == []


def test_a_damaged_state_is_a_storage_error_and_can_be_deleted(folder_hub: FolderHub, pack: Packer) -> None:
    publish(folder_hub, pack())
    publish(folder_hub, pack(), repo="ann/other")
    (folder_hub.root / ".limner" / "repos" / "ann" / "jane" / "state.json").write_text("{")
    with pytest.raises(StorageFailed, match="damaged"):
        folder_hub.status("ann/jane")
    assert [listed.repo for listed in folder_hub.listing()] == ["ann/other"]
    folder_hub.delete("ann/jane")
    assert publish(folder_hub, pack()).changed


def test_a_folder_that_is_no_repo_is_left_alone(folder_hub: FolderHub, pack: Packer) -> None:
    theirs = folder_hub.root / "ann" / "jane" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(Conflict):
        publish(folder_hub, pack())
    assert theirs.read_text() == "mine"
    with pytest.raises(NotFound):
        folder_hub.delete("ann/jane")


def test_a_link_that_a_user_made_is_left_alone(folder_hub: FolderHub, pack: Packer, tmp_path: Path) -> None:
    link = folder_hub.root / "ann" / "jane"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path)
    with pytest.raises(Conflict):
        publish(folder_hub, pack())
    with pytest.raises(NotFound):
        folder_hub.delete("ann/jane")
    assert link.readlink() == tmp_path


PUBLISHER = """
import hashlib, sys
from dataclasses import replace
from pathlib import Path
from limner.hubs.folder import FolderHub
from limner.hubs.hub import LoraPackage
from limner.settings import Settings
from limner.types import Visibility

home, repo, forever = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "forever"
hub = FolderHub(Settings(home=home))
card = (home.parent / "card.md").read_text()
sources = sorted(home.parent.glob("weights-*.safetensors"))
packages = [LoraPackage(p, hashlib.sha256(p.read_bytes()).hexdigest(), card, {"a.png": p}) for p in sources]
print("ready", flush=True)
round = 0
while True:
    for number, package in enumerate(packages):
        visibility = list(Visibility)[number % 2]
        hub.publish(repo, package, visibility=visibility, tag=f"r{round}-{number}", message="")
    if not forever:
        break
    round += 1
    if round % 2 == 0:
        hub.delete(repo)
print("done", flush=True)
"""


def start_publisher(settings: Settings, repo: str, mode: str) -> subprocess.Popen[str]:
    run = [sys.executable, "-c", PUBLISHER, str(settings.home), repo, mode]
    child = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", child.stderr.read() if child.stderr else ""
    return child


def test_killed_at_any_moment_it_shows_the_old_or_the_new(
    folder_hub: FolderHub, settings: Settings, pack: Packer, tmp_path: Path
) -> None:
    """SIGKILL at 20 random moments of publishing and deleting: what is shown is always whole, and nothing piles up."""
    packages = [pack(seed, size=400_000) for seed in (1, 2)]
    packages = [replace(package, samples={"a.png": package.weights}) for package in packages]
    (tmp_path / "card.md").write_text(packages[0].card)
    known = {package.weights_digest for package in packages}
    shown = folder_hub.root / "ann" / "jane"
    chance, seen = random.Random(7), 0
    for _ in range(20):
        child = start_publisher(settings, "ann/jane", "forever")
        time.sleep(chance.uniform(0.0, 0.12))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        if shown.exists():
            seen += 1
            assert files_of(shown) == {"README.md", WEIGHTS_NAME, "images/a.png"}
            assert hashlib.sha256((shown / WEIGHTS_NAME).read_bytes()).hexdigest() in known
            assert card_header((shown / "README.md").read_text())["base_model"] == "limner-tiny"
        else:
            assert not shown.is_symlink() or not folder_hub.listing()
        tag = f"after-{chance.random()}"
        assert publish(folder_hub, packages[0], tag=tag).visibility is PRIVATE
        assert folder_hub.status("ann/jane", weights_digest=packages[0].weights_digest).ready
        (listed,) = folder_hub.listing()
        revisions = {name.split("/")[5] for name in everything(folder_hub) if "/revisions/" in name}
        assert listed.revision in revisions
        assert len(revisions) <= 2
        assert not [name for name in everything(folder_hub) if "incoming" in name or "trash" in name or ".link" in name]
    assert seen > 0
    folder_hub.delete("ann/jane")
    assert everything(folder_hub) == set()


def test_the_same_content_again_leaves_a_sound_revision_where_it_is(folder_hub: FolderHub, pack: Packer) -> None:
    package = pack()
    publish(folder_hub, package, tag="v1")
    [revision] = (folder_hub.root / ".limner" / "repos" / "ann" / "jane" / "revisions").iterdir()
    before = revision.stat().st_ino
    publish(folder_hub, package, tag="v2")
    assert revision.stat().st_ino == before


def test_the_visible_name_never_leads_to_a_revision_that_goes(
    folder_hub: FolderHub, pack: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between a new state and its link, then killed again while that is put right."""
    publish(folder_hub, pack())
    repo = FolderRepo(folder_hub.root, "ann", "jane")
    [main] = (repo.folder / "revisions").iterdir()
    shutil.copytree(main, main.with_name("0" * 40))
    repo.visible.unlink()
    repo.visible.symlink_to(os.path.relpath(main.with_name("0" * 40), repo.visible.parent))
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(FolderRepo, "_discard", interrupt)
        repo.tidy()
    assert repo.visible_revision() == main.name


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_deletion_that_was_killed_is_ended_by_the_next_one(folder_hub: FolderHub, pack: Packer) -> None:
    publish(folder_hub, pack())
    kept = folder_hub.root / ".limner" / "repos" / "ann" / "jane"
    trash = folder_hub.root / ".limner" / "trash"
    trash.mkdir()
    kept.rename(trash / "ann--jane.0123456789ab")
    assert list(folder_hub.listing()) == []
    folder_hub.delete("ann/jane")
    assert everything(folder_hub) == set()
    assert not (folder_hub.root / "ann").exists()


def test_two_processes_on_one_repo_lose_nothing(
    folder_hub: FolderHub, settings: Settings, pack: Packer, tmp_path: Path
) -> None:
    packages = [pack(seed) for seed in range(6)]
    (tmp_path / "card.md").write_text(packages[0].card)
    children = [start_publisher(settings, "ann/jane", "once") for _ in range(2)]
    for child in children:
        out, errors = child.communicate(timeout=PATIENCE)
        assert out == "done\n", errors
    (listed,) = folder_hub.listing()
    assert listed.tags == tuple(f"r0-{number}" for number in range(6))
    for number, package in enumerate(packages):
        assert folder_hub.status("ann/jane", revision=f"r0-{number}", weights_digest=package.weights_digest).ready


def test_a_lock_that_is_held_is_a_conflict(
    folder_hub: FolderHub, pack: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.hubs.folder import repo as folder_repo

    publish(folder_hub, pack())
    monkeypatch.setattr(folder_repo, "LOCK_SECONDS", 0.1)
    with (
        folder_repo.FolderRepo(folder_hub.root, "ann", "jane").locked(),
        pytest.raises(Conflict, match="Another process"),
    ):
        publish(folder_hub, pack(2), tag="v2")


@pytest.mark.parametrize("published_before", [False, True])
def test_a_disk_that_fills_up_half_way_leaves_nothing_behind(
    folder_hub: FolderHub, settings: Settings, pack: Packer, tmp_path: Path, published_before: bool
) -> None:
    if published_before:
        publish(folder_hub, pack(0, size=4), tag="v0")
    before = everything(folder_hub)
    big = pack(1, size=400_000)
    card = tmp_path / "card.md"
    card.write_text(big.card)
    code = (
        "import resource, sys; from pathlib import Path; from limner.hubs.folder.hub import FolderHub\n"
        "from limner.hubs.hub import LoraPackage; from limner.settings import Settings\n"
        "from limner.types import Visibility; from limner.errors import StorageFailed\n"
        "hub = FolderHub(Settings(home=Path(sys.argv[1])))\n"
        "package = LoraPackage(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]).read_text())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "try: hub.publish('ann/jane', package, visibility=Visibility.PRIVATE, tag='v1', message='')\n"
        "except StorageFailed as failure: print(failure)\n"
    )
    run = [sys.executable, "-c", code, str(settings.home), str(big.weights), big.weights_digest, str(card)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "Publishing ann/jane" in done.stdout
    assert "too large" in done.stdout
    assert everything(folder_hub) == before
    assert len(folder_hub.listing()) == published_before
    assert publish(folder_hub, big).changed


def test_a_hub_that_cannot_be_written_says_so(settings: Settings, pack: Packer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    hub = FolderHub(settings.model_copy(update={"hub_folder": tmp_path / "file" / "hub"}))
    assert not hub.describe().ready
    with pytest.raises(StorageFailed):
        publish(hub, pack())


@given(st.text(alphabet="aZ0._-/ \n", max_size=12).map(lambda text: f"a{text}") | st.text(max_size=20))
@example("a/b")
@example("a" * 48 + "/" + "b" * 48)
def test_repo_names_are_those_of_huggingface_hub(text: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(text)
        theirs = "/" in text
    except HFValidationError:
        theirs = False
    try:
        ours = check_repo(text) == tuple(text.split("/"))
    except NameRefused:
        ours = False
    assert ours <= theirs
    # ours is the stricter one only where a part of the name, not the whole, begins or ends with a mark
    if theirs and not ours:
        assert any(part[:1] in ("", "-", ".") or part[-1:] in ("-", ".") for part in text.split("/"))


@pytest.mark.parametrize("name", ["../a.png", "a/b.png", ".a.png", "a.safetensors", "a.png\n", "a.svg", "", "a..png"])
def test_sample_names_are_plain(folder_hub: FolderHub, pack: Packer, name: str) -> None:
    with pytest.raises(NameRefused):
        check_picture_name(name)
    package = pack()
    bad = LoraPackage(package.weights, package.weights_digest, package.card, {name: package.weights})
    with pytest.raises(NameRefused):
        publish(folder_hub, bad)
    assert not folder_hub.root.exists() or everything(folder_hub) == set()


def test_missing_files_are_named(folder_hub: FolderHub, pack: Packer) -> None:
    package = pack()
    package.weights.unlink()
    with pytest.raises(NotFound, match="weights"):
        publish(folder_hub, package)
    package = pack(sample=b"x")
    package.samples["a.png"].unlink()
    with pytest.raises((NotFound, StorageFailed)):
        publish(folder_hub, package)
    assert list(folder_hub.listing()) == []
