"""Grants: a private lora copied to an address that nobody can guess, for as long as one generation takes.

The address is a keyed digest of the grant's key, with a secret that only the home folder holds: a run after a crash
finds what it opened and can close it, and whoever reads keys of grants in a log cannot work out their addresses.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limner.errors import NotFound, NotReady, StorageFailed
from limner.hubs.hub import WEIGHTS_NAME
from limner.hubs.s3.bucket import Bucket

__all__ = ["Grant", "Grants", "open_policy"]

SECRET_NAME = "s3-grants.secret"  # noqa: S105 - a file's name


@dataclass(frozen=True, slots=True)
class Grant:
    """What is open now: of which repo and revision, since when (ISO 8601), and the folder of its copy."""

    repo: str
    revision: str
    since: str
    folder: str


class Grants:
    """The grants of one home folder in one bucket."""

    def __init__(self, bucket: Bucket, home: Path) -> None:
        self._bucket = bucket
        self._home = home

    def open(self, repo: str, revision: str, key: str, weights: str) -> str:
        """Copy the weights (a key of the bucket) to the grant's address; give the address.

        It is written down before it is opened, so that a crash leaves nothing open that is not known.
        NotReady: nobody can read it there, and how to allow that.
        """
        folder = f"{self._folder(key)}/{self._digest('of', repo, revision)[:16]}"
        note = {"repo": repo, "revision": revision, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        self._bucket.write(f"grants/{folder}.json", json.dumps(note, sort_keys=True).encode())
        copy = f"open/{folder}/{WEIGHTS_NAME}"
        try:
            self._bucket.copy(weights, copy)
        except FileNotFoundError as absent:
            self._close(folder)
            raise NotFound(
                f"The weights of {repo} at {revision} are not in the bucket.",
                remedy="Publish the lora again.",
                thing=repo,
            ) from absent
        url = self._bucket.url(copy)
        if problem := self._bucket.readable_at(url):
            self._close(folder)
            raise NotReady(
                f"What the hub s3 opens cannot be read without credentials: {problem}.",
                remedy=f"Allow it for {self._bucket.prefix}/open/ only: {open_policy(self._bucket)}",
                thing="s3",
            )
        return url

    def close(self, key: str) -> None:
        """Take away whatever is open under a key, and then the note of it."""
        self._close(self._folder(key))

    def close_of(self, repo: str) -> None:
        """Take away whatever is open of a repo, by whichever home folder it was opened."""
        for grant in self.all():
            if grant.repo == repo:
                self._close(grant.folder)

    def all(self) -> Iterator[Grant]:
        """Everything that is open in this bucket."""
        for stored in self._bucket.objects("grants"):
            found = self._bucket.read(stored.key)
            folder = stored.key.removeprefix("grants/").removesuffix(".json")
            try:
                note = json.loads(found[0]) if found else {}
                yield Grant(str(note["repo"]), str(note["revision"]), str(note["since"]), folder)
            except (ValueError, KeyError, TypeError):
                yield Grant("", "", "", folder)

    def _close(self, folder: str) -> None:
        self._bucket.remove([stored.key for stored in self._bucket.objects(f"open/{folder}")])
        notes = [stored.key for stored in self._bucket.objects(f"grants/{folder}")]
        self._bucket.remove([*notes, f"grants/{folder}.json"] if "/" in folder else notes)

    def _folder(self, key: str) -> str:
        return self._digest("grant", key)[:40]

    def _digest(self, *words: str) -> str:
        text = "\0".join((*words, self._bucket.name, self._bucket.prefix))
        return hmac.new(self._secret(), text.encode(), hashlib.sha256).hexdigest()

    def _secret(self) -> bytes:
        """The home folder's secret, made at first use and readable by its user only."""
        path = self._home / SECRET_NAME
        try:
            if not path.exists():
                self._home.mkdir(parents=True, exist_ok=True)
                made = self._home / f".{SECRET_NAME}.{secrets.token_hex(4)}"
                descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_hex(32).encode())
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    os.link(made, path)  # of two processes one wins, and both read the winner's
                except FileExistsError:
                    pass
                finally:
                    made.unlink()
            found = path.read_bytes().strip()
        except OSError as failure:
            raise StorageFailed(
                f"The secret of the hub s3 at {path} cannot be kept: {failure.strerror or failure}.",
                remedy="Check the rights of the home folder.",
                thing="s3",
            ) from failure
        if len(found) < 32:
            raise StorageFailed(
                f"The secret of the hub s3 at {path} is damaged.",
                remedy="Delete that file, and the folder open/ of the bucket to close what was opened with it.",
                thing="s3",
            )
        return found


def open_policy(bucket: Bucket) -> str:
    """The bucket policy that lets anyone read what is open, and nothing else, as one line of JSON."""
    statement = {
        "Sid": "LimnerOpen",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket.name}/{bucket.prefix}/open/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
