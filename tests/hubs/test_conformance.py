"""What every hub must do, whoever wrote it; run over all hubs that are installed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from limner.errors import Conflict, InputRefused, NameRefused, NotFound
from limner.hubs.hub import WEIGHTS_NAME, Hub, LoraPackage, TagTaken
from limner.plugins import back_end, names
from limner.settings import Settings
from limner.types import BackEnd, Reach, Visibility

from .conftest import Packer

PRIVATE, PUBLIC = Visibility.PRIVATE, Visibility.PUBLIC


@pytest.fixture(params=names("limner.hubs"))
def hub(request: pytest.FixtureRequest, settings_for: Callable[[str], Settings]) -> Hub:
    made = back_end("limner.hubs", request.param, settings=settings_for(request.param))
    assert isinstance(made, Hub)
    return made


def publish(
    hub: Hub, package: LoraPackage, *, repo: str = "ann/jane", tag: str = "v1", visibility: Visibility = PRIVATE
):
    return hub.publish(repo, package, visibility=visibility, tag=tag, message="first")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_says_what_it_is(hub: Hub) -> None:
    described = hub.describe()
    assert isinstance(described, BackEnd)
    assert described.title
    assert described.summary
    assert described.ready


def test_what_is_published_is_listed_ready_and_fetched_unchanged(hub: Hub, pack: Packer, tmp_path: Path) -> None:
    package = pack()
    published = publish(hub, package)
    assert published.changed
    assert published.visibility is PRIVATE
    assert len(published.revision) == 40
    for revision in ("main", "v1", published.revision):
        health = hub.status("ann/jane", revision=revision, weights_digest=package.weights_digest)
        assert health.ready, health.problems
        assert (health.revision, health.visibility, health.digest_matches) == (published.revision, PRIVATE, True)
        assert health.usable_by
        fetched = hub.fetch("ann/jane", tmp_path / revision, revision=revision)
        assert fetched.name == WEIGHTS_NAME
        assert digest(fetched) == package.weights_digest
    (listed,) = hub.listing()
    assert (listed.repo, listed.revision, listed.tags) == ("ann/jane", published.revision, ("v1",))
    assert (listed.visibility, listed.weights_digest) == (PRIVATE, package.weights_digest)


def test_the_same_content_again_is_no_second_revision(hub: Hub, pack: Packer) -> None:
    first = publish(hub, pack())
    again = publish(hub, pack())
    assert not again.changed
    assert again.revision == first.revision
    tagged = publish(hub, pack(), tag="v2")
    assert (tagged.revision, tagged.changed) == (first.revision, False)
    assert hub.listing()[0].tags == ("v1", "v2")


def test_versions_follow_each_other_and_the_old_ones_stay(hub: Hub, pack: Packer, tmp_path: Path) -> None:
    one, two = pack(1), pack(2)
    first, second = publish(hub, one), publish(hub, two, tag="v2")
    assert first.revision != second.revision
    assert hub.status("ann/jane").revision == second.revision
    assert digest(hub.fetch("ann/jane", tmp_path, revision="v1")) == one.weights_digest
    assert digest(hub.fetch("ann/jane", tmp_path)) == two.weights_digest
    back = publish(hub, one, tag="v3")
    assert back.changed
    assert hub.status("ann/jane").revision == back.revision
    assert digest(hub.fetch("ann/jane", tmp_path)) == one.weights_digest
    assert digest(hub.fetch("ann/jane", tmp_path, revision="v2")) == two.weights_digest


def test_a_new_card_is_a_new_revision_of_the_same_weights(hub: Hub, pack: Packer) -> None:
    first = publish(hub, pack())
    second = publish(hub, pack(title="Jane, better told"), tag="v2")
    assert second.changed
    assert second.revision != first.revision
    assert hub.listing()[0].weights_digest == pack().weights_digest


def test_a_tag_never_moves(hub: Hub, pack: Packer) -> None:
    first = publish(hub, pack(1))
    with pytest.raises(TagTaken):
        publish(hub, pack(2))
    assert hub.status("ann/jane", revision="v1").revision == first.revision


def test_visibility_is_set_and_read_back(hub: Hub, pack: Packer) -> None:
    assert publish(hub, pack()).visibility is PRIVATE
    assert hub.set_visibility("ann/jane", PUBLIC) is PUBLIC
    assert hub.status("ann/jane").visibility is PUBLIC
    assert publish(hub, pack(2), tag="v2").visibility is PRIVATE
    assert hub.set_visibility("ann/jane", PRIVATE) is PRIVATE
    assert hub.listing()[0].visibility is PRIVATE
    assert publish(hub, pack(3), repo="ann/open", visibility=PUBLIC).visibility is PUBLIC


def test_a_name_is_completed_and_an_address_is_given_only_for_what_anyone_may_fetch(hub: Hub, pack: Packer) -> None:
    assert hub.full_name("ann/jane") == "ann/jane"
    assert hub.full_name("jane").endswith("/jane")
    for name in ("", "a/b/c", "../x"):
        with pytest.raises(NameRefused):
            hub.full_name(name)
    assert hub.address("ann/jane") == ""
    published = publish(hub, pack())
    assert hub.address("ann/jane") == ""
    if Reach.FILE not in hub.describe().reach:
        hub.set_visibility("ann/jane", PUBLIC)
        pinned = hub.address("ann/jane")
        assert published.revision in pinned
        assert pinned.endswith(".safetensors")
        publish(hub, pack(2), tag="v2", visibility=PUBLIC)
        assert hub.address("ann/jane", revision="v1") == pinned


def test_the_wrong_weights_are_told(hub: Hub, pack: Packer) -> None:
    publish(hub, pack(1))
    health = hub.status("ann/jane", weights_digest=pack(2).weights_digest)
    assert not health.ready
    assert not health.digest_matches
    assert health.problems


def test_deleting_removes_everything_of_one_repo_only(hub: Hub, pack: Packer, tmp_path: Path) -> None:
    publish(hub, pack(1))
    publish(hub, pack(2), tag="v2")
    publish(hub, pack(1), repo="ann/other")
    hub.delete("ann/jane")
    assert [listed.repo for listed in hub.listing()] == ["ann/other"]
    assert not hub.status("ann/jane").ready
    with pytest.raises(NotFound):
        hub.fetch("ann/jane", tmp_path)
    with pytest.raises(NotFound):
        hub.delete("ann/jane")
    assert publish(hub, pack(2)).changed


def test_what_is_not_there_is_said_so(hub: Hub, pack: Packer, tmp_path: Path) -> None:
    assert list(hub.listing()) == []
    health = hub.status("ann/nobody")
    assert (health.ready, health.revision) == (False, "")
    assert health.problems
    for call in (
        lambda: hub.fetch("ann/nobody", tmp_path),
        lambda: hub.delete("ann/nobody"),
        lambda: hub.set_visibility("ann/nobody", PUBLIC),
    ):
        with pytest.raises(NotFound):
            call()
    publish(hub, pack())
    assert not hub.status("ann/jane", revision="v9").ready
    with pytest.raises(NotFound):
        hub.fetch("ann/jane", tmp_path, revision="0" * 40)


@pytest.mark.parametrize(
    "repo", ["", "jane", "a/b/c", "../x", "ann/..", "ann/.git", "/etc/passwd", "ann/a b", "ann/x\n"]
)
def test_names_that_the_hub_would_not_take(hub: Hub, pack: Packer, repo: str) -> None:
    with pytest.raises(NameRefused):
        publish(hub, pack(), repo=repo)
    with pytest.raises(NameRefused):
        hub.delete(repo)


@pytest.mark.parametrize("tag", ["", "main", "v 1", "../v1", "a" * 40, "v1.lock", "x" * 65])
def test_tags_that_could_be_mistaken(hub: Hub, pack: Packer, tag: str) -> None:
    with pytest.raises(NameRefused):
        publish(hub, pack(), tag=tag)
    assert list(hub.listing()) == []


def test_a_name_that_differs_only_in_case_is_refused(hub: Hub, pack: Packer) -> None:
    publish(hub, pack())
    for repo in ("ann/Jane", "Ann/jane"):
        with pytest.raises(Conflict):
            publish(hub, pack(), repo=repo)
        with pytest.raises(NotFound):
            hub.delete(repo)
    assert [listed.repo for listed in hub.listing()] == ["ann/jane"]


def test_a_card_without_a_base_is_refused(hub: Hub, pack: Packer) -> None:
    package = pack()
    for card in ("no header", "---\nlicense: mit\n---\n", "---\n: : :\n\t-\n---\n"):
        with pytest.raises(InputRefused):
            publish(hub, LoraPackage(package.weights, package.weights_digest, card, package.samples))
    assert list(hub.listing()) == []
