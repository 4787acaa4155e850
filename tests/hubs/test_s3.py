"""The hub s3 beyond what every hub does: closed to all without credentials, grants, crashes, two writers, damage."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from limner.errors import AccountRefused, InputRefused, LimnerError, NotFound, NotReady, StorageFailed, VendorFailed
from limner.hubs.granting import Granting
from limner.hubs.hub import WEIGHTS_NAME
from limner.hubs.s3.bucket import Bucket, credentials
from limner.hubs.s3.hub import S3Hub
from limner.settings import Settings
from limner.types import Visibility

from .conftest import Packer

PRIVATE, PUBLIC = Visibility.PRIVATE, Visibility.PUBLIC
KEY = "generation_1 of somebody"


@pytest.fixture
def wired(settings: Settings, bucket_settings: dict[str, str]) -> Settings:
    return settings.model_copy(update=bucket_settings)


@pytest.fixture
def hub(wired: Settings) -> S3Hub:
    return S3Hub(wired)


def put(hub: S3Hub, pack: Packer, seed: int = 1, *, tag: str = "v1", visibility: Visibility = PRIVATE, **options: Any):
    return hub.publish("ann/jane", pack(seed, **options), visibility=visibility, tag=tag, message="first")


def keys(client: Any, settings: Settings) -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=settings.s3_bucket).get("Contents", [])]


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, timeout=10)


def anonymous(settings: Settings, key: str) -> int:
    return get(f"{settings.s3_endpoint}/{settings.s3_bucket}/{key}").status_code


def test_nothing_of_a_private_repo_can_be_read_without_credentials(
    hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any
) -> None:
    put(hub, pack)
    held = keys(s3_client, wired)
    assert any(key.endswith(WEIGHTS_NAME) for key in held)
    assert {anonymous(wired, key) for key in held} == {403}
    assert hub.address("ann/jane") == ""


def test_the_layout_is_that_of_a_hub_repo(hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any) -> None:
    published = put(hub, pack)
    folder = f"limner/repos/ann/jane/revisions/{published.revision}"
    there = {key for key in keys(s3_client, wired) if key.startswith(folder)}
    assert there == {f"{folder}/README.md", f"{folder}/{WEIGHTS_NAME}", f"{folder}/images/a.png"}
    assert published.url == f"s3://{wired.s3_bucket}/{folder}/"


def test_a_public_repo_has_an_address_pinned_to_the_revision(hub: S3Hub, pack: Packer) -> None:
    package = pack(1)
    first = put(hub, pack, visibility=PUBLIC)
    second = put(hub, pack, 2, tag="v2", visibility=PUBLIC)
    address = hub.address("ann/jane", revision="v1")
    assert address == first.url == hub.address("ann/jane", revision=first.revision)
    assert address.endswith(f"/{first.revision}/{WEIGHTS_NAME}")
    assert hashlib.sha256(get(address).content).hexdigest() == package.weights_digest
    assert hub.address("ann/jane") == second.url != address
    hub.set_visibility("ann/jane", PRIVATE)
    assert hub.address("ann/jane", revision="v1") == ""
    assert get(address).status_code in (403, 404)


def test_a_grant_opens_one_revision_until_it_is_revoked(
    hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any
) -> None:
    assert isinstance(hub, Granting)
    package = pack(1)
    put(hub, pack)
    put(hub, pack, 2, tag="v2")
    url = hub.grant("ann/jane", "v1", KEY)
    (open_now,) = hub.granted()
    assert (open_now.repo, open_now.revision) == ("ann/jane", hub.status("ann/jane", revision="v1").revision)
    assert url.endswith(f"/{WEIGHTS_NAME}")
    assert hashlib.sha256(get(url).content).hexdigest() == package.weights_digest
    for word in ("ann", "jane", "generation_1"):
        assert word not in url.removeprefix(wired.s3_endpoint)
    hub.revoke(KEY)
    assert get(url).status_code in (403, 404)
    assert not [key for key in keys(s3_client, wired) if "/open/" in key or "/grants/" in key]
    hub.revoke(KEY)
    hub.revoke("never granted")


def test_after_a_crash_the_same_key_finds_and_closes_the_same_address(
    hub: S3Hub, pack: Packer, wired: Settings
) -> None:
    put(hub, pack)
    url = hub.grant("ann/jane", "main", KEY)
    again = S3Hub(wired)
    assert again.grant("ann/jane", "main", KEY) == url
    other = again.grant("ann/jane", "main", "another key")
    assert other != url
    S3Hub(wired).revoke(KEY)
    assert get(url).status_code in (403, 404)
    assert get(other).status_code == 200


def test_another_home_cannot_work_out_the_address(hub: S3Hub, pack: Packer, wired: Settings, tmp_path: Path) -> None:
    put(hub, pack)
    elsewhere = S3Hub(wired.model_copy(update={"home": tmp_path / "another"}))
    assert hub.grant("ann/jane", "main", KEY) != elsewhere.grant("ann/jane", "main", KEY)
    secret = wired.home / "s3-grants.secret"
    assert secret.stat().st_mode & 0o077 == 0


def test_deleting_a_repo_closes_its_grants_whoever_made_them(
    hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any, tmp_path: Path
) -> None:
    put(hub, pack, visibility=PUBLIC)
    urls = [hub.grant("ann/jane", "main", KEY), hub.address("ann/jane")]
    urls.append(S3Hub(wired.model_copy(update={"home": tmp_path / "another"})).grant("ann/jane", "main", KEY))
    hub.delete("ann/jane")
    assert {get(url).status_code for url in urls} <= {403, 404}
    assert not [key for key in keys(s3_client, wired) if not key.endswith("probe.txt")]


def test_what_is_not_there_is_not_granted(hub: S3Hub, pack: Packer, s3_client: Any, wired: Settings) -> None:
    with pytest.raises(NotFound):
        hub.grant("ann/jane", "main", KEY)
    published = put(hub, pack)
    with pytest.raises(NotFound):
        hub.grant("ann/jane", "v9", KEY)
    weights = f"limner/repos/ann/jane/revisions/{published.revision}/{WEIGHTS_NAME}"
    s3_client.delete_object(Bucket=wired.s3_bucket, Key=weights)
    with pytest.raises(NotFound, match="not in the bucket"):
        hub.grant("ann/jane", "main", KEY)
    assert not [key for key in keys(s3_client, wired) if "/grants/" in key]


def test_a_bucket_open_to_everyone_gets_no_weights(
    wired: Settings, pack: Packer, new_bucket: Callable[..., str], s3_client: Any
) -> None:
    wide = wired.model_copy(update={"s3_bucket": new_bucket("")})
    with pytest.raises(NotReady, match="Anyone can read everything"):
        put(S3Hub(wide), pack)
    assert keys(s3_client, wide) == ["limner/repos/probe.txt"]


def test_a_bucket_that_opens_nothing_says_what_to_allow(
    wired: Settings, pack: Packer, new_bucket: Callable[..., str], s3_client: Any
) -> None:
    shut = wired.model_copy(update={"s3_bucket": new_bucket()})
    hub = S3Hub(shut)
    with pytest.raises(NotReady) as public:
        put(hub, pack, visibility=PUBLIC)
    assert not [key for key in keys(s3_client, shut) if key.endswith(WEIGHTS_NAME)]
    put(hub, pack)
    with pytest.raises(NotReady) as granted:
        hub.grant("ann/jane", "main", KEY)
    for refused in (public, granted):
        assert f"arn:aws:s3:::{shut.s3_bucket}/limner/open/*" in refused.value.remedy
    assert not [key for key in keys(s3_client, shut) if "/open/" in key and not key.endswith("probe.txt")]
    with pytest.raises(NotReady):
        hub.set_visibility("ann/jane", PUBLIC)
    assert hub.status("ann/jane").ready


def test_a_bucket_that_was_opened_later_is_told(hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any) -> None:
    put(hub, pack)
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", '
        f'"Resource": "arn:aws:s3:::{wired.s3_bucket}/*"}}]}}'
    )
    s3_client.put_bucket_policy(Bucket=wired.s3_bucket, Policy=policy)
    health = hub.status("ann/jane")
    assert not health.ready
    assert "lets anyone read" in health.problems[0]


def test_a_new_card_sends_no_weights(hub: S3Hub, pack: Packer, monkeypatch: pytest.MonkeyPatch) -> None:
    put(hub, pack)
    sent: list[str] = []
    upload = Bucket.upload
    monkeypatch.setattr(Bucket, "upload", lambda self, key, *rest: sent.append(key) or upload(self, key, *rest))
    changed = put(hub, pack, tag="v2", title="Jane, better told")
    assert changed.changed
    assert not [key for key in sent if key.endswith(WEIGHTS_NAME)]
    assert hub.status("ann/jane", weights_digest=pack(1).weights_digest).ready


def test_large_weights_go_up_in_parts(
    hub: S3Hub, pack: Packer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.hubs.s3.bucket.SMALL", 5 << 20)
    package = pack(1, size=3_500_000)
    assert package.weights.stat().st_size > 13 << 20
    hub.publish("ann/jane", package, visibility=PUBLIC, tag="v1", message="large")
    assert hub.status("ann/jane", weights_digest=package.weights_digest).ready
    assert hashlib.sha256(hub.fetch("ann/jane", tmp_path / "f").read_bytes()).hexdigest() == package.weights_digest
    assert hashlib.sha256(get(hub.address("ann/jane")).content).hexdigest() == package.weights_digest


def test_damage_is_told_not_fetched_and_mended_by_publishing_again(
    hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any, tmp_path: Path
) -> None:
    published = put(hub, pack)
    folder = f"limner/repos/ann/jane/revisions/{published.revision}"
    size = pack(1).weights.stat().st_size
    s3_client.put_object(Bucket=wired.s3_bucket, Key=f"{folder}/{WEIGHTS_NAME}", Body=b"x" * size)
    s3_client.put_object(Bucket=wired.s3_bucket, Key=f"{folder}/other.safetensors", Body=b"x")
    s3_client.delete_object(Bucket=wired.s3_bucket, Key=f"{folder}/images/a.png")
    health = hub.status("ann/jane")
    assert not health.ready
    assert not health.digest_matches
    told = " ".join(health.problems)
    for word in ("changed in the bucket", "2 .safetensors files", "a.png is missing"):
        assert word in told
    with pytest.raises(StorageFailed, match="changed"):
        hub.fetch("ann/jane", tmp_path / "fetched")
    assert not list((tmp_path / "fetched").iterdir())
    s3_client.delete_object(Bucket=wired.s3_bucket, Key=f"{folder}/other.safetensors")
    assert not put(hub, pack).changed
    assert hub.status("ann/jane").ready


def test_a_damaged_record_is_told_and_can_be_deleted(hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any) -> None:
    put(hub, pack)
    for content in (b"", b"{}", b'{"repo": 1', b"[]", b"null", b'{"revisions": {"x": 1}}'):
        s3_client.put_object(Bucket=wired.s3_bucket, Key="limner/refs/ann/jane.json", Body=content)
        with pytest.raises(StorageFailed, match="damaged"):
            hub.status("ann/jane")
        assert list(hub.listing()) == []
    hub.delete("ann/jane")
    assert put(hub, pack).changed


def test_weights_that_are_not_those_of_the_digest_leave_no_revision(
    hub: S3Hub, pack: Packer, wired: Settings, s3_client: Any
) -> None:
    package = pack(1)
    package.weights.write_bytes(package.weights.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageFailed, match="digest"):
        hub.publish("ann/jane", package, visibility=PRIVATE, tag="v1", message="")
    assert list(hub.listing()) == []
    assert not [key for key in keys(s3_client, wired) if key.endswith(WEIGHTS_NAME)]


def test_two_who_publish_at_once_both_find_their_tag(wired: Settings, pack: Packer) -> None:
    packages = [pack(seed) for seed in range(4)]
    failures: list[BaseException] = []
    start = threading.Barrier(len(packages))

    def one(number: int) -> None:
        try:
            start.wait(10)
            S3Hub(wired).publish(
                "ann/jane", packages[number], visibility=PRIVATE, tag=f"v{number}", message=f"number {number}"
            )
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(packages))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    hub = S3Hub(wired)
    assert hub.listing()[0].tags == ("v0", "v1", "v2", "v3")
    for number, package in enumerate(packages):
        assert hub.status("ann/jane", revision=f"v{number}", weights_digest=package.weights_digest).ready


@pytest.mark.parametrize("point", ["replace", "copy", "upload", "write"])
def test_a_crash_at_any_call_leaves_the_old_or_the_new(
    hub: S3Hub, pack: Packer, wired: Settings, monkeypatch: pytest.MonkeyPatch, point: str, tmp_path: Path
) -> None:
    put(hub, pack, visibility=PUBLIC)
    call = getattr(Bucket, point)
    with monkeypatch.context() as patched:
        broken = [True]

        def crash(self: Bucket, *arguments: Any) -> Any:
            if broken:
                broken.clear()
                raise KeyboardInterrupt
            return call(self, *arguments)

        patched.setattr(Bucket, point, crash)
        with pytest.raises(KeyboardInterrupt):
            put(S3Hub(wired), pack, 2, tag="v2", visibility=PUBLIC)
    again = S3Hub(wired)
    assert hashlib.sha256(again.fetch("ann/jane", tmp_path, revision="v1").read_bytes()).hexdigest() == (
        pack(1).weights_digest
    )
    assert put(again, pack, 2, tag="v2", visibility=PUBLIC).visibility is PUBLIC
    assert again.status("ann/jane", weights_digest=pack(2).weights_digest).ready
    assert get(again.address("ann/jane")).status_code == 200


def test_what_is_missing_is_named(settings: Settings, wired: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = S3Hub(settings)
    needs = bare.describe().needs
    assert not needs[0].met
    assert "LIMNER_S3_BUCKET" in needs[0].how_to_get
    with pytest.raises(NotReady, match="no bucket"):
        bare.listing()
    assert S3Hub(wired).describe().ready
    with pytest.raises(NotReady, match="no bucket 'nowhere-at-all'"):
        S3Hub(wired.model_copy(update={"s3_bucket": "nowhere-at-all"})).status("ann/jane")
    with pytest.raises(InputRefused, match="https only"):
        S3Hub(wired.model_copy(update={"s3_endpoint": "http://192.0.2.1"})).listing()
    with pytest.raises(InputRefused, match="https only"):
        S3Hub(wired.model_copy(update={"s3_public_url": "http://example.com"})).listing()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert not S3Hub(wired).describe().ready
    with pytest.raises(AccountRefused, match="no credentials"):
        S3Hub(wired).listing()


def test_an_endpoint_that_is_down_is_told_without_secrets(wired: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = S3Hub(wired.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"}))
    store = hub._bucket.store()
    patched = type(store)(
        wired.s3_bucket,
        endpoint="http://127.0.0.1:9",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    monkeypatch.setattr(hub._bucket, "_store", patched)
    with pytest.raises(VendorFailed) as failed:
        hub.listing()
    assert "a-secret-of-the-tests-only" not in str(failed.value)
    assert len(str(failed.value)) < 600


def test_credentials_are_found_where_aws_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    assert credentials() is None
    path.write_text(
        "[default]\naws_access_key_id = one\naws_secret_access_key = planted%one\n"
        "[other]\naws_access_key_id = two\naws_secret_access_key = planted-two\naws_session_token = t\n"
    )
    found = credentials()
    assert found is not None
    assert {name: key.reveal() for name, key in found.items()} == {
        "access_key_id": "one",
        "secret_access_key": "planted%one",
    }
    assert "planted" not in repr(found)
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert set(credentials() or {}) == {"access_key_id", "secret_access_key", "session_token"}
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert credentials() is None
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/somewhere")
    assert credentials() == {}
    path.write_text("no ini at all")
    assert credentials() == {}


def test_wrong_credentials_are_told(wired: Settings, pack: Packer, s3_client: Any) -> None:
    deny = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", '
        f'"Resource": "arn:aws:s3:::{wired.s3_bucket}/*"}}]}}'
    )
    s3_client.put_bucket_policy(Bucket=wired.s3_bucket, Policy=deny)
    with pytest.raises(LimnerError) as refused:
        put(S3Hub(wired), pack)
    assert isinstance(refused.value, AccountRefused), refused.value
    assert "s3:PutObject" in refused.value.remedy or "PutObject" in refused.value.remedy
