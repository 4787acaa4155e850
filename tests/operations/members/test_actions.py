"""Users, passwords, sessions, tokens and the home's key."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from limner import Studio
from limner.errors import AccessRefused, Conflict, InputRefused, NameRefused, NotFound, StorageFailed
from limner.operations.home import signing_key
from limner.operations.members import passwords
from limner.settings import Settings
from limner.store.models import SubjectRow, now
from limner.store.web_models import SessionRow, TokenRow, UserRow

PASSWORD = "four plain words here"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        yield made
    passwords._nobodys.cache_clear()


def test_the_first_user_is_an_admin_and_gets_what_is_there(studio: Studio) -> None:
    studio.subjects.add("rex", kind="pet")
    studio.members.add_token("old script")
    anna = studio.members.add("anna", PASSWORD)
    assert (anna.admin, anna.adopted) == (True, 2)
    assert [one.slug for one in studio.owned_by("anna").subjects.all()] == ["rex"]
    assert [one.name for one in studio.owned_by("anna").members.tokens()] == ["old script"]
    ben = studio.members.add("ben", PASSWORD)
    assert (ben.admin, ben.adopted) == (False, 0)
    assert studio.owned_by("ben").subjects.all() == []


@pytest.mark.parametrize("name", ["", "Anna", "anna smith", "-anna", "ä", "a/b", "../x", "a" * 65, "anna\n"])
def test_names_that_cannot_be(studio: Studio, name: str) -> None:
    with pytest.raises(NameRefused):
        studio.members.add(name, PASSWORD)


@pytest.mark.parametrize("password", ["", "nine char", "x" * 1_001])
def test_passwords_that_cannot_be(studio: Studio, password: str) -> None:
    with pytest.raises(InputRefused) as refused:
        studio.members.add("anna", password)
    assert not password or password not in str(refused.value)
    assert studio.members.users() == []


def test_passwords_are_kept_as_argon2id_with_the_librarys_own_cost(studio: Studio) -> None:
    assert PasswordHasher().type.name == "ID"
    studio.members.add("anna", PASSWORD)
    with studio._workspace.database.read() as session:
        kept = session.scalars(select(UserRow.password)).one()
    assert kept.startswith("$argon2id$")


def test_a_password_is_checked_and_its_hash_renewed(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    members = studio.members
    members.add("anna", "Zoë’s long password")
    assert members.check_password("anna", "Zoe\u0308’s long password") is not None
    assert members.check_password("anna", "Zoë’s long passwor") is None
    assert members.check_password("nobody", PASSWORD) is None
    assert members.check_password("anna", "x" * 100_000) is None

    def kept() -> str:
        with studio._workspace.database.read() as session:
            return session.scalars(select(UserRow.password)).one()

    before = kept()
    members.check_password("anna", "Zoë’s long password")
    assert kept() == before
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    assert members.check_password("anna", "Zoë’s long password") is not None
    assert kept() != before
    assert members.check_password("anna", "Zoë’s long password") is not None


def test_the_last_admin_stays(studio: Studio) -> None:
    members = studio.members
    members.add("anna", PASSWORD)
    members.add("ben", PASSWORD)
    for act in (lambda: members.remove("anna"), lambda: members.set_admin("anna", False)):
        with pytest.raises(Conflict):
            act()
    members.set_admin("ben", True)
    assert not members.set_admin("anna", False).admin


def test_who_goes_leaves_nothing_to_a_later_user_of_the_name(studio: Studio) -> None:
    members = studio.members
    members.add("anna", PASSWORD)
    members.add("ben", PASSWORD)
    studio.owned_by("ben").subjects.add("rex", kind="pet")
    secret = members.open_session("ben")
    token = studio.owned_by("ben").members.add_token("script")
    studio.settings.webhooks_to_loopback = True
    for owner in ("anna", "ben"):
        studio.owned_by(owner).webhooks.add(f"http://127.0.0.1:9/{owner}")
    with pytest.raises(Conflict):
        members.remove("ben")
    with pytest.raises(NotFound):
        members.remove("ben", give_to="nobody")
    members.remove("ben", give_to="anna")
    assert members.session(secret) is None
    assert members.token(token.secret) is None
    # His server knows its secret, and is to hear nothing more.
    assert [hook.url for hook in studio.webhooks.all()] == ["http://127.0.0.1:9/anna"]
    assert [one.slug for one in studio.owned_by("anna").subjects.all()] == ["rex"]
    members.add("ben", PASSWORD)
    assert studio.owned_by("ben").subjects.all() == []


def test_when_the_last_user_goes_everything_belongs_to_nobody(studio: Studio) -> None:
    studio.members.add("anna", PASSWORD)
    studio.subjects.add("rex", kind="pet")
    studio.members.remove("anna")
    with studio._workspace.database.read() as session:
        assert session.scalar(select(SubjectRow.owner)) is None
    assert studio.members.add("carl", PASSWORD).adopted == 1


def test_only_admins_manage_others(studio: Studio) -> None:
    studio.members.add("anna", PASSWORD)
    studio.members.add("ben", PASSWORD)
    bens, annas = studio.owned_by("ben").members, studio.owned_by("anna").members
    for act in (
        lambda: bens.add("carl", PASSWORD),
        lambda: bens.set_admin("ben", True),
        lambda: bens.remove("anna", give_to="ben"),
        lambda: bens.add_token("x", owner="anna"),
        lambda: bens.add_token("x", scopes=["admin"]),
    ):
        with pytest.raises(AccessRefused):
            act()
    for hidden in (lambda: bens.set_password("anna", PASSWORD), lambda: bens.close_sessions("anna")):
        with pytest.raises(NotFound):
            hidden()
    assert [one.name for one in bens.users()] == ["ben"]
    assert [one.name for one in annas.users()] == ["anna", "ben"]
    bens.set_password("ben", "another long one")
    assert annas.add_token("x", owner="ben").token.owner == "ben"


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_sessions_are_kept_as_digests_and_end(studio: Studio) -> None:
    members = studio.members
    members.add("anna", PASSWORD)
    secret = members.open_session("anna")
    assert len(secret) == 43
    found = members.session(secret)
    assert found is not None
    assert (found.user, found.admin) == ("anna", True)
    assert members.session(found.digest) is None, "what is in the table opens nothing"
    with studio._workspace.database.write() as session:
        session.execute(update(SessionRow).values(expires_at=now() - timedelta(seconds=1)))
    assert members.session(secret) is None
    members.open_session("anna")
    with studio._workspace.database.read() as session:
        assert len(session.scalars(select(SessionRow.digest)).all()) == 1, "the ended one is swept"
    assert members.close_sessions("anna") == 1


def test_another_password_ends_the_sessions(studio: Studio) -> None:
    studio.members.add("anna", PASSWORD)
    secret = studio.members.open_session("anna")
    studio.members.set_password("anna", "another long one")
    assert studio.members.session(secret) is None


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_tokens_are_kept_as_digests(studio: Studio) -> None:
    made = studio.members.add_token("script", scopes=["write", "read"], days=1)
    assert made.secret.startswith("lim_")
    assert made.secret not in repr(made)
    found = studio.members.token(made.secret)
    assert found is not None
    assert (found[0].scopes, found[0].owner, found[1]) == (("read", "write"), "", True)
    assert studio.members.tokens()[0].last_used_at is not None
    assert studio.members.token(made.secret[:-1]) is None
    with studio._workspace.database.write() as session:
        session.execute(update(TokenRow).values(expires_at=now()))
    assert studio.members.token(made.secret) is None


@pytest.mark.parametrize(
    "wrong", [{"scopes": []}, {"scopes": ["all"]}, {"days": 0}, {"days": 99_999}, {"name": " "}, {"name": "x\ny"}]
)
def test_tokens_that_cannot_be(studio: Studio, wrong: dict[str, object]) -> None:
    with pytest.raises(InputRefused):
        studio.members.add_token(**{"name": "script", **wrong})  # type: ignore[arg-type]
    assert studio.members.tokens() == []


def test_tokens_are_revoked_by_id_or_by_a_name_that_is_clear(studio: Studio) -> None:
    members = studio.members
    first, second = members.add_token("script"), members.add_token("script")
    with pytest.raises(Conflict):
        members.remove_token("script")
    members.remove_token(first.token.id)
    assert members.remove_token("script").id == second.token.id
    with pytest.raises(NotFound):
        members.remove_token("script")


# --- the home's key ---------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    found: list[bytes] = []
    at_once = threading.Barrier(8)

    def ask() -> None:
        at_once.wait()
        found.append(signing_key.home_key(tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    assert stat.S_IMODE((tmp_path / "run" / "web.key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["web.key"]


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "web.key").write_bytes(b"short")
    with pytest.raises(StorageFailed, match="damaged"):
        signing_key.home_key(tmp_path)


def test_secrets_differ_by_purpose_and_name_and_last(studio: Studio, tmp_path: Path) -> None:
    made = {studio.members.secret_for(*words) for words in (("a", "b"), ("a", "c"), ("ab", ""), ("", "ab"))}
    assert len(made) == 4
    assert studio.members.secret_for("a", "b") in made
    assert signing_key.derived(signing_key.home_key(studio.settings.home), "a", "b") in made
