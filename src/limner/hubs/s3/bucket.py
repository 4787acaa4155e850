"""A bucket as the hub s3 needs it: objects by key, changed only if they are as they were read; errors in our words."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from limner.errors import AccountRefused, InputRefused, NotReady, StorageFailed, VendorFailed
from limner.settings import Settings
from limner.vendors.secrets.tokens import Secret, redact

__all__ = ["Bucket", "Moved", "Stored", "credentials"]

CHUNK = 4 << 20
SMALL = 8 << 20
_OTHER_WAYS = tuple(
    f"AWS_{name}"
    for name in ("WEB_IDENTITY_TOKEN_FILE", "CONTAINER_CREDENTIALS_RELATIVE_URI", "CONTAINER_CREDENTIALS_FULL_URI")
)


class Moved(Exception):
    """Somebody else changed the object since it was read."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the bucket lists it. Its ``e_tag`` changes with its content."""

    key: str
    size: int
    e_tag: str


def credentials() -> dict[str, Secret] | None:
    """The keys of the usual AWS variables, else of ``~/.aws/credentials``; {} where obstore finds others by itself."""
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    found: Mapping[str, str] = {name: os.environ.get(name.upper(), "") for name in names}
    if not (found[names[0]] and found[names[1]]):
        if any(os.environ.get(name) for name in _OTHER_WAYS):
            return {}
        found = _from_file()
    if not (found.get(names[0]) and found.get(names[1])):
        return None
    return {name.removeprefix("aws_"): Secret(found[name]) for name in names if found.get(name)}


def _from_file() -> Mapping[str, str]:
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser[os.environ.get("AWS_PROFILE") or "default"])
    except (OSError, KeyError, configparser.Error, UnicodeDecodeError):
        return {}


class Bucket:
    """The objects under a prefix of one bucket. Keys are given without the prefix."""

    def __init__(self, settings: Settings) -> None:
        self.name, self.region = settings.s3_bucket, settings.s3_region
        self.prefix = settings.s3_prefix.strip("/")
        endpoint = settings.s3_endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self.endpoint = (endpoint or f"https://s3.{self.region}.amazonaws.com").rstrip("/")
        aws = f"https://{self.name}.s3.{self.region}.amazonaws.com"
        self.direct_url = f"{self.endpoint}/{self.name}" if endpoint else aws
        self.public_url = settings.s3_public_url.rstrip("/") or self.direct_url
        self._store: Any = None

    def check_setup(self) -> None:
        """NotReady: no bucket, prefix or credentials; InputRefused: an address that must not be used."""
        if not self.name:
            raise NotReady("The hub s3 has no bucket.", remedy="Set LIMNER_S3_BUCKET to a bucket of yours.", thing="s3")
        if not re.fullmatch(r"[A-Za-z0-9._/-]+", self.prefix):
            raise InputRefused(
                f"'{self.prefix}' cannot be the prefix of the hub s3.", remedy="Use a plain folder name."
            )
        for what, url in (("s3_endpoint", self.endpoint), ("s3_public_url", self.public_url)):
            parts = urlsplit(url)
            if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
                raise InputRefused(
                    f"The setting {what} is {url}: credentials and loras are sent over https only.",
                    remedy="Use an https address; http is for this machine alone.",
                    thing=what,
                )

    def store(self) -> Any:
        """obstore's client. NotReady or AccountRefused: it cannot be made."""
        if self._store is None:
            from obstore.store import S3Store

            self.check_setup()
            keys = credentials()
            if keys is None:
                raise AccountRefused(
                    "There are no credentials for the bucket.",
                    remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or fill ~/.aws/credentials.",
                    thing="s3",
                )
            self._store = S3Store(
                self.name,
                region=self.region,
                endpoint=self.endpoint,
                aws_endpoint_url_s3=self.endpoint,
                virtual_hosted_style_request=False,
                client_options={"allow_http": self.endpoint.startswith("http://"), "timeout": "300s"},
                **{name: key.reveal() for name, key in keys.items()},
            )
        return self._store

    def url(self, key: str) -> str:
        """Where anyone would read an object, if it is open."""
        return f"{self.public_url}/{quote(self._key(key))}"

    def read(self, key: str) -> tuple[bytes, str] | None:
        """An object's bytes and its e_tag; None where there is none."""
        with self._errors(f"Reading {key}"):
            try:
                found = self.store().get(self._key(key))
                return bytes(found.bytes()), found.meta["e_tag"] or ""
            except FileNotFoundError as absent:
                self._refuse_missing_bucket(absent)
                return None

    def download(self, key: str, into: Path) -> str | None:
        """Write an object to a new file; the SHA-256 of what was written, None where there is no such object."""
        digest = hashlib.sha256()
        with self._errors(f"Fetching {key}"):
            try:
                found = self.store().get(self._key(key))
            except FileNotFoundError as absent:
                self._refuse_missing_bucket(absent)
                return None
            with into.open("xb") as file:
                for chunk in found.stream(min_chunk_size=CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()

    def write(self, key: str, data: bytes) -> Stored:
        """Write a small object, whatever was there."""
        with self._errors(f"Writing {key}"):
            put = self.store().put(self._key(key), data, mode="overwrite")
        return Stored(key, len(data), put["e_tag"] or "")

    def upload(self, key: str, path: Path, sha256: str) -> Stored:
        """Write a file. StorageFailed: its bytes are not of the digest; then the object is gone again."""
        digest, size = hashlib.sha256(), 0

        def chunks() -> Iterator[bytes]:
            nonlocal size
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    yield chunk

        with self._errors(f"Uploading {path.name}"):
            # one request for what is small, parts for what is large
            small = path.stat().st_size <= SMALL
            body: Any = b"".join(chunks()) if small else chunks()
            put = self.store().put(self._key(key), body, mode="overwrite", use_multipart=not small, chunk_size=SMALL)
        if digest.hexdigest() != sha256:
            self.remove([key])
            raise StorageFailed(
                f"The file {path} has the digest {digest.hexdigest()}, not {sha256}.",
                remedy="The file was changed or damaged; publish the lora again from its original.",
            )
        return Stored(key, size, put["e_tag"] or "")

    def replace(self, key: str, data: bytes, e_tag: str) -> str:
        """Write an object if it is still as read (``e_tag`` "" for absent); its new e_tag. Moved: it is not."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._errors(f"Writing {key}"):
            try:
                mode: Any = {"e_tag": e_tag} if e_tag else "create"
                return str(self.store().put(self._key(key), data, mode=mode)["e_tag"] or "")
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as failure:
                if isinstance(failure, FileNotFoundError):
                    self._refuse_missing_bucket(failure)
                raise Moved from failure

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the bucket. FileNotFoundError: there is no such object."""
        with self._errors(f"Copying {source}"):
            try:
                self.store().copy(self._key(source), self._key(target), overwrite=True)
            except FileNotFoundError as absent:
                self._refuse_missing_bucket(absent)
                raise

    def objects(self, folder: str) -> list[Stored]:
        """All objects whose keys begin with ``folder/``, by key."""
        cut = len(self.prefix) + 1
        with self._errors(f"Listing {folder}"):
            try:
                found = [one for page in self.store().list(f"{self.prefix}/{folder}/") for one in page]
            except FileNotFoundError as absent:
                self._refuse_missing_bucket(absent)
                return []
        listed = [Stored(one["path"][cut:], one["size"], one["e_tag"] or "") for one in found]
        return sorted(listed, key=lambda stored: stored.key)

    def remove(self, keys: list[str]) -> None:
        """Remove objects; those that are not there do no harm."""
        if keys:
            with self._errors(f"Deleting {keys[0]}"):
                self.store().delete([self._key(key) for key in keys])

    def open_to_all(self, key: str) -> bool:
        """Whether anyone without credentials can read an object, at the bucket itself or at its public address."""
        import httpx2

        path = quote(self._key(key))
        for root in dict.fromkeys((self.direct_url, f"{self.endpoint}/{self.name}", self.public_url)):
            try:
                with httpx2.stream("GET", f"{root}/{path}", headers={"range": "bytes=0-0"}, timeout=20) as answer:
                    if answer.status_code < 300:
                        return True
            except httpx2.HTTPError:
                continue
        return False

    def readable_at(self, url: str) -> str:
        """ "" if anyone can read that address from here, else what stands in the way."""
        import httpx2

        try:
            with httpx2.stream("GET", url, headers={"range": "bytes=0-0"}, timeout=20) as answer:
                return "" if answer.status_code < 300 else f"it answers {answer.status_code}"
        except httpx2.HTTPError as failure:
            return type(failure).__name__

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}"

    def _refuse_missing_bucket(self, failure: Exception) -> None:
        if "NoSuchBucket" in str(failure):
            raise NotReady(
                f"There is no bucket '{self.name}' at {self.endpoint}.",
                remedy="Make it, private, or correct LIMNER_S3_BUCKET and LIMNER_S3_REGION.",
                thing="s3",
            ) from failure

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError, PermissionError) as failure:
            raise AccountRefused(
                f"{what} in the bucket '{self.name}' failed: its credentials may not do that ({_short(failure)}).",
                remedy="They need s3:ListBucket, GetObject, PutObject and DeleteObject on the bucket.",
                thing="s3",
            ) from failure
        except (BaseError, TimeoutError) as failure:
            raise VendorFailed(
                f"{what} in the bucket '{self.name}' failed: {_short(failure)}.",
                remedy="Check LIMNER_S3_ENDPOINT and the network, and try again.",
                thing="s3",
            ) from failure
        except FileNotFoundError:
            raise
        except OSError as failure:
            raise StorageFailed(
                f"{what} failed: {failure.strerror or failure}.", remedy="Check the disk.", thing="s3"
            ) from failure


def _short(failure: BaseException) -> str:
    """The first sentence of obstore's account, which goes on with everything that it tried."""
    text = redact(str(failure)).partition("Debug source")[0].partition("<?xml")[0]
    return " ".join(text.split()).rstrip(":. ")[:300]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
