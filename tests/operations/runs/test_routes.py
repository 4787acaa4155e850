"""Routes: which ways lead from photos to pictures, by back ends and rows made up for the purpose and by our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from limner import plugins
from limner.catalog import bases
from limner.catalog.hosted import HostedModel
from limner.errors import InputRefused, NotFound
from limner.operations.home.workspace import Workspace
from limner.operations.runs import routes as module
from limner.operations.runs.routes import alternatives, routes
from limner.operations.subjects.actions import Subjects
from limner.records import Route
from limner.settings import Settings
from limner.types import BackEnd, Need, Price, Reach

KEY = Need("a key", False, "limner login shop")


def row(vendor: str, does: str, price: Price, **options: Any) -> HostedModel:
    facts = {"base": "flux2-dev", "source": "here", "as_of": "2026-11-24", "seconds": 60.0, "steps": 1000, **options}
    return HostedModel(f"{vendor}-{does}", vendor, does, model=f"{vendor}/{does}", price=price, **facts)


def per(what: str, amount: str, **options: Any) -> Price:
    return Price(f"per_{what}", Decimal(amount), **options)


class Granter:
    """A hub that opens private loras for a while."""

    def __init__(self, about: BackEnd) -> None:
        self.about = about

    def describe(self) -> BackEnd:
        return self.about

    def grant(self, repo: str, revision: str, key: str) -> str:
        raise AssertionError("nothing is opened to look at routes")

    revoke = grant


class Plain:
    def __init__(self, about: BackEnd) -> None:
        self.about = about

    def describe(self) -> BackEnd:
        return self.about


class World:
    """The back ends that are installed, and the catalog's rows."""

    def __init__(self) -> None:
        self.ends: dict[str, dict[str, Any]] = {"limner.trainers": {}, "limner.hubs": {}, "limner.generators": {}}
        self.rows: list[HostedModel] = []

    def add(self, kind: str, name: str, *, grants: bool = False, **facts: Any) -> None:
        about = BackEnd(name, name.title(), "", **facts)
        self.ends[f"limner.{kind}s"][name] = Granter(about) if grants else Plain(about)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    def find(vendor: str, does: str, *, base: str = "") -> list[HostedModel]:
        rows = [one for one in made.rows if (one.vendor, one.does, one.base) == (vendor, does, base)]
        return sorted(rows, key=lambda one: bool(one.withdrawn))

    monkeypatch.setattr(plugins, "names", lambda group: sorted(made.ends[group]))
    monkeypatch.setattr(plugins, "back_end", lambda group, name, **_: made.ends[group][name])
    monkeypatch.setattr(module, "find_hosted", find)
    monkeypatch.setattr(module, "hosted", lambda: {one.id: one for one in made.rows})
    monkeypatch.setattr(module, "_has_gpu", lambda settings: False)
    return made


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(Settings(home=tmp_path / "home"))
    yield made
    made.close()


def hosted_world(world: World) -> World:
    """A vendor that trains and draws, another that only draws what it can fetch, and three hubs."""
    world.add("trainer", "shop", vendor="shop", sees_photos="Shop, for a day")
    world.add("generator", "shop", vendor="shop", reach=(Reach.HOSTED, Reach.URL))
    world.add("generator", "far", vendor="far", reach=(Reach.URL,))
    world.add("hub", "folder", reach=(Reach.FILE,))
    world.add("hub", "wide", vendor="wide", reach=(Reach.HUGGING_FACE, Reach.URL))
    world.add("hub", "vault", reach=(Reach.URL,), grants=True)
    world.rows = [
        row("shop", "train", per("step", "0.002")),
        row("shop", "generate", per("run", "0.05"), seconds=5.0),
        row("far", "generate", per("megapixel", "0.01"), seconds=2.0),
    ]
    return world


def named(found: list[Route]) -> dict[str, Route]:
    return {"-".join(filter(None, (one.trainer, one.hub, one.generator))): one for one in found}


def test_a_route_goes_through_a_hub_only_where_the_lora_must_be_fetched(world: World, workspace: Workspace) -> None:
    found = named(routes(hosted_world(world) and workspace, base="flux2-dev"))
    assert set(found) == {"shop-shop", "shop-folder-far", "shop-wide-far", "shop-vault-far"}
    assert {name for name, one in found.items() if one.works} == {"shop-shop", "shop-wide-far", "shop-vault-far"}
    assert found["shop-folder-far"].reasons == ("Far cannot fetch a lora from Folder.",)
    assert not found["shop-folder-far"].possible


def test_the_price_is_that_of_a_training_and_ten_pictures_and_the_cheapest_comes_first(
    world: World, workspace: Workspace
) -> None:
    found = routes(hosted_world(world) and workspace, base="flux2-dev")
    able = [one for one in found if one.works]
    # 1,500 steps at 0.002; ten pictures of two megapixels, begun, at 0.01, or at 0.05 each.
    assert [one.steps[0].cost for one in able] == [Decimal("3.0")] * 3
    assert {one.generator: one.cost for one in able} == {"far": Decimal("3.2"), "shop": Decimal("3.5")}
    assert [one.cost for one in able] == sorted(one.cost for one in able)
    assert named(able)["shop-shop"].seconds == 90 + 50
    assert [step.stage for step in named(able)["shop-wide-far"].steps] == ["train", "publish", "generate"]


def test_it_says_who_sees_the_photos_and_the_lora(world: World, workspace: Workspace) -> None:
    found = named(routes(hosted_world(world) and workspace, base="flux2-dev"))
    assert {one.sees_photos for one in found.values()} == {"Shop, for a day"}
    assert found["shop-shop"].sees_lora == "Shop"
    assert found["shop-wide-far"].sees_lora == "anyone: it must be public on Wide"
    assert found["shop-vault-far"].sees_lora == "Vault; Far, for as long as it draws"


def test_a_persons_lora_that_would_become_public_is_told(world: World, workspace: Workspace) -> None:
    Subjects(workspace).add("ann", kind="person")
    found = named(routes(hosted_world(world) and workspace, base="flux2-dev", subject="ann"))
    assert "consent" in found["shop-wide-far"].notes[0]
    assert not found["shop-vault-far"].notes and not found["shop-shop"].notes


def test_an_account_that_is_missing_is_named_once_with_the_way_to_get_it(world: World, workspace: Workspace) -> None:
    hosted_world(world).add("trainer", "shop", vendor="shop", needs=(KEY,))
    world.add("generator", "shop", vendor="shop", reach=(Reach.HOSTED,), needs=(KEY,))
    one = named(routes(workspace, base="flux2-dev"))["shop-shop"]
    assert (one.works, one.possible) == (False, True)
    assert one.reasons == ("Shop needs a key: limner login shop",)
    assert [step.ready for step in one.steps] == [False, False]


def test_a_model_that_was_withdrawn_and_a_base_that_nobody_serves_are_told(world: World, workspace: Workspace) -> None:
    hosted_world(world)
    world.rows[2] = replace(world.rows[2], withdrawn="2026-02-25")
    found = named(routes(workspace, base="flux2-dev"))
    assert "Far took far/generate off on 2026-02-25." in found["shop-wide-far"].reasons
    found = named(routes(workspace, base="flux1-dev"))
    assert "Shop trains nothing of flux1-dev." in found["shop-shop"].reasons
    assert "Shop draws nothing of flux1-dev." in found["shop-shop"].reasons
    assert not any(one.works for one in found.values())


def test_a_newer_row_takes_the_place_of_a_withdrawn_one(world: World, workspace: Workspace) -> None:
    hosted_world(world)
    gone = replace(world.rows[2], id="old", model="far/old", withdrawn="2026-02-25")
    world.rows.insert(0, gone)
    assert named(routes(workspace, base="flux2-dev"))["shop-wide-far"].steps[-1].model == "far/generate"


def test_this_machine_trains_large_bases_only_with_a_gpu(
    world: World, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("trainer", "here", bases=tuple(bases()))
    world.add("generator", "here", bases=tuple(bases()))
    [large] = routes(workspace, base="flux1-dev")
    assert not large.works and "no GPU" in large.reasons[0]
    [tiny] = routes(workspace, base="limner-tiny")
    assert (tiny.works, tiny.cost, tiny.certain, tiny.hub) == (True, Decimal(0), True, "")
    monkeypatch.setattr(module, "_has_gpu", lambda settings: True)
    assert routes(workspace, base="flux1-dev")[0].works


def test_a_strangers_back_end_is_priced_by_what_it_says_of_itself(world: World, workspace: Workspace) -> None:
    world.add("trainer", "cloud", vendor="cloud", bases=("flux2-dev",), price=per("run", "4", certain=False))
    world.add("generator", "here", reach=(Reach.FILE,), vendor="here", bases=("flux2-dev",))
    [one] = routes(workspace, base="flux2-dev")
    assert (one.works, one.cost, one.certain) == (True, Decimal(4), False)
    [other] = routes(workspace, base="flux1-dev")
    assert other.reasons == ("Cloud trains nothing of flux1-dev.", "Here draws nothing of flux1-dev.")


def test_alternatives_name_what_works_without_a_vendor(world: World, workspace: Workspace) -> None:
    hosted_world(world)
    assert alternatives(workspace, "flux2-dev", "far") == "What works for flux2-dev: shop → shop (about $3.50)."
    assert alternatives(workspace, "flux2-dev", "shop") == ""


def test_names_that_are_not_there_are_refused(workspace: Workspace) -> None:
    with pytest.raises(InputRefused):
        routes(workspace, base="flux9")
    with pytest.raises(NotFound):
        routes(workspace, subject="nobody")


# --- with what is installed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", list(bases()))
def test_our_own_back_ends_give_a_sound_list_for_every_base(workspace: Workspace, base: str) -> None:
    found = routes(workspace, base=base)
    assert found
    for one in found:
        assert one.works == (not one.reasons)
        assert one.possible or one.reasons
        assert one.cost == sum((step.cost for step in one.steps), Decimal(0))
        assert [step.stage for step in one.steps][:: len(one.steps) - 1] == ["train", "generate"]
    assert all(earlier.works >= later.works for earlier, later in pairwise(found))


def test_the_default_base_works_here_with_nothing_set(workspace: Workspace) -> None:
    first = routes(workspace)[0]
    assert (first.base, first.trainer, first.generator, first.works) == ("limner-tiny", "local", "local", True)
    assert first.sees_photos == first.sees_lora == "nobody but this machine"
