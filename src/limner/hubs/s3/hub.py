"""The hub s3: loras in a bucket, closed to everyone without its credentials, and opened one at a time where asked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from limner.catalog import bases
from limner.errors import Conflict, InputRefused, LimnerError, NotFound, NotReady, StorageFailed
from limner.hubs.card import card_header
from limner.hubs.folder.repo import revision_of
from limner.hubs.hub import WEIGHTS_NAME, Listing, LoraPackage, Published, TagTaken
from limner.hubs.repo_names import check_repo, check_tag
from limner.hubs.s3.bucket import Bucket, Moved, Stored, credentials
from limner.hubs.s3.grants import Grant, Grants, open_policy
from limner.hubs.s3.refs import File, Refs, Revision, open_folder, parse_refs, refs_key, revision_folder
from limner.hubs.soundness import check_package, file_sha256
from limner.settings import Settings
from limner.types import BackEnd, Health, Need, Reach, Visibility

__all__ = ["S3Hub"]

CARD_NAME = "README.md"
ROUNDS = 8
"""How often a change is made anew because somebody else changed the repo meanwhile."""


class S3Hub:
    """Keeps repos in ``settings.s3_bucket`` under ``settings.s3_prefix``. Nothing is public but copies under ``open/``.

    Two machines may publish at once: a repo's record is only replaced as it was read. All errors are of limner.errors.
    """

    def __init__(self, settings: Settings) -> None:
        self._bucket = Bucket(settings)
        self._grants = Grants(self._bucket, settings.home)
        self._owner = settings.hub_namespace or "limner"
        self._probed: set[str] = set()

    def describe(self) -> BackEnd:
        """Say what this hub is, and whether a bucket and credentials are set."""
        place = f"the bucket {self._bucket.name}" if self._bucket.name else "a bucket of yours"
        return BackEnd(
            name="s3",
            title="S3 bucket",
            summary=f"Private copies in {place}; a generation can open one for as long as it takes.",
            bases=tuple(bases()),
            needs=(
                Need("a bucket", bool(self._bucket.name), "Set LIMNER_S3_BUCKET to a private bucket of yours."),
                Need(
                    "credentials of the bucket",
                    credentials() is not None,
                    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or fill ~/.aws/credentials.",
                ),
            ),
            reach=(Reach.URL,),
        )

    def full_name(self, repo: str) -> str:
        """``owner/name`` of a repo given as either; the owner is ``hub_namespace``, or limner. NameRefused."""
        return "/".join(check_repo(repo if "/" in repo else f"{self._owner}/{repo}"))

    def address(self, repo: str, *, revision: str = "main") -> str:
        """Where anyone can fetch the weights of a public repo; "" for a private one, or one that is not there."""
        refs, _ = self._read(repo)
        found = refs.resolve(revision) if refs else ""
        if refs is None or not found or self._visibility(refs) is Visibility.PRIVATE:
            return ""
        return self._bucket.url(f"{open_folder(repo, found)}/{WEIGHTS_NAME}")

    def publish(self, repo: str, package: LoraPackage, *, visibility: Visibility, tag: str, message: str) -> Published:
        """Publish as one revision named ``tag``; the same content again makes no second revision.

        TagTaken if the tag names other content; Conflict if the repo has another one's name but for case; InputRefused
        if the card or a name is unusable; NotReady if the bucket is open to everyone, or cannot be opened for a public
        repo; StorageFailed if the weights are not those of the digest.
        """
        check_repo(repo)
        check_tag(tag)
        check_package(package)
        self._refuse_clash(repo)
        self._check_access(visibility)
        digests = _digests(package)
        revision = revision_of(digests)
        for _ in range(ROUNDS):
            before, e_tag = self._read(repo)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            refs = before or Refs(repo, visibility)
            if refs.tags.get(tag, revision) != revision:
                raise TagTaken(
                    f"The tag {tag} of {repo} already names other content.",
                    remedy="Publish under a new tag.",
                    thing=repo,
                )
            files = self._fill(refs, revision, package, digests)
            known = refs.revisions.get(revision)
            made = Revision(files, known.message if known else message, known.made_at if known else now)
            revisions = {**refs.revisions, revision: made}
            after = Refs(repo, visibility, revision, {**refs.tags, tag: revision}, revisions, now)
            if visibility is Visibility.PRIVATE:
                self._close(repo)
            try:
                if before is None or not after.same_as(before):
                    self._bucket.replace(refs_key(repo), after.to_bytes(), e_tag)
            except Moved:
                continue
            self._open_if_public(after)
            url = self.address(repo, revision=revision) or self._place(repo, revision)
            return Published(repo, revision, self._visibility(after), url, refs.main != revision)
        raise self._busy(repo)

    def status(self, repo: str, *, revision: str = "main", weights_digest: str = "") -> Health:
        """Say whether a revision is ready for use, and by whom; a repo that is not there is not ready."""
        check_repo(repo)
        refs, _ = self._read(repo)
        found = refs.resolve(revision) if refs else ""
        if refs is None or not found:
            what = f"There is no revision {revision} of {repo}" if refs else f"There is no repo {repo}"
            return Health(False, Visibility.PRIVATE, "nobody", "", False, (f"{what} on this hub.",))
        problems = self._content_problems(refs, found)
        matches = not any(problem.startswith("The weights") for problem in problems)
        if weights_digest and weights_digest != refs.weights_digest(found):
            matches = False
            problems.append("The weights of this revision are another lora's than the one asked for.")
        visibility = self._visibility(refs)
        if visibility is not refs.visibility:
            problems.append(f"The repo is {visibility}, but was made {refs.visibility}; publish it again.")
        if self._bucket.open_to_all(f"{revision_folder(repo, found)}/{CARD_NAME}"):
            problems.append(f"The bucket lets anyone read {self._bucket.prefix}/repos/: close it.")
        usable = f"whoever has credentials for the bucket {self._bucket.name}"
        if visibility is Visibility.PUBLIC:
            usable = "anyone who has its address"
        return Health(not problems, visibility, usable, found, matches, tuple(problems))

    def fetch(self, repo: str, into: Path, *, revision: str = "main") -> Path:
        """Copy the weights of a revision (main, a tag, or 40 digits) into a folder, checked against their digest."""
        refs, found = self._find(repo, revision)
        into.mkdir(parents=True, exist_ok=True)
        temporary = into / f".{WEIGHTS_NAME}.{secrets.token_hex(6)}"
        try:
            digest = self._bucket.download(f"{revision_folder(repo, found)}/{WEIGHTS_NAME}", temporary)
            if digest != refs.weights_digest(found):
                what = "were changed in the bucket: their digest differs" if digest else "are gone from the bucket"
                raise StorageFailed(
                    f"The weights of {repo} at {found} {what}.", remedy="Publish the lora again.", thing=repo
                )
            temporary.replace(into / WEIGHTS_NAME)
        finally:
            temporary.unlink(missing_ok=True)
        return into / WEIGHTS_NAME

    def listing(self) -> Sequence[Listing]:
        """All repos, sorted by name. One whose record is damaged is left out; its status says why."""
        found = []
        for repo in self._repos():
            with suppress(StorageFailed):
                refs, _ = self._read(repo)
                if refs is not None:
                    tags = tuple(sorted(refs.tags, key=lambda tag: (len(tag), tag)))
                    digest, visibility = refs.weights_digest(refs.main), self._visibility(refs)
                    found.append(Listing(repo, refs.main, visibility, digest, tags, refs.updated_at))
        return found

    def set_visibility(self, repo: str, visibility: Visibility) -> Visibility:
        """Open a repo to anyone, or close it; give what anyone without credentials then sees."""
        for _ in range(ROUNDS):
            refs, _ = self._find(repo, "main")
            self._check_access(visibility)
            _, e_tag = self._read(repo)
            if visibility is Visibility.PRIVATE:
                self._close(repo)
            after = replace(refs, visibility=visibility)
            try:
                if after != refs:
                    self._bucket.replace(refs_key(repo), after.to_bytes(), e_tag)
            except Moved:
                continue
            self._open_if_public(after)
            return self._visibility(after)
        raise self._busy(repo)

    def delete(self, repo: str) -> None:
        """Remove a repo with all its revisions, open copies and grants; NotFound if there is none."""
        check_repo(repo)
        held = [stored.key for stored in self._bucket.objects(f"repos/{repo}")]
        if self._bucket.read(refs_key(repo)) is None and not held:
            raise _absent(repo)
        self._close(repo)
        self._grants.close_of(repo)
        # the record goes first: what is left after a crash is no repo, and is removed by deleting once more
        self._bucket.remove([refs_key(repo)])
        self._bucket.remove(held)

    def grant(self, repo: str, revision: str, key: str) -> str:
        """Open the weights of a revision under a key; give an address that ends in ``.safetensors``. See Granting.

        Whoever learns the address can fetch the weights until ``revoke(key)``, and keep what they fetched.
        """
        _, found = self._find(repo, revision)
        return self._grants.open(repo, found, key, f"{revision_folder(repo, found)}/{WEIGHTS_NAME}")

    def revoke(self, key: str) -> None:
        """Close whatever was opened under a key. Harmless if nothing was."""
        self._grants.close(key)

    def granted(self) -> Sequence[Grant]:
        """What is open by grants now, of any home folder; what a crash left open is among it."""
        return list(self._grants.all())

    def _read(self, repo: str) -> tuple[Refs | None, str]:
        """A repo's record and its e_tag; (None, "") where there is none."""
        check_repo(repo)
        found = self._bucket.read(refs_key(repo))
        return (None, "") if found is None else (parse_refs(found[0], repo), found[1])

    def _find(self, repo: str, revision: str) -> tuple[Refs, str]:
        refs, _ = self._read(repo)
        found = refs.resolve(revision) if refs else ""
        if refs is None or not found:
            raise _absent(repo, revision if refs else "")
        return refs, found

    def _repos(self) -> list[str]:
        names = [stored.key.removeprefix("refs/") for stored in self._bucket.objects("refs")]
        return [name.removesuffix(".json") for name in names if name.endswith(".json") and name.count("/") == 1]

    def _refuse_clash(self, repo: str) -> None:
        """A name that another repo has but for case would be the same repo on the Hub."""
        owner = repo.partition("/")[0]
        for known in self._repos():
            theirs = known.partition("/")[0]
            owner_differs = theirs != owner and theirs.casefold() == owner.casefold()
            if owner_differs or (known != repo and known.casefold() == repo.casefold()):
                raise Conflict(
                    f"{repo} differs from the existing {known} only in case.",
                    remedy="Use the existing spelling, or another name.",
                    thing=repo,
                )

    def _check_access(self, visibility: Visibility) -> None:
        """NotReady: the bucket shows everything to everyone, or nothing to anyone where a public repo is wanted."""
        if "private" not in self._probed:
            self._bucket.write("repos/probe.txt", b"nobody without credentials may read this\n")
            if self._bucket.open_to_all("repos/probe.txt"):
                raise NotReady(
                    f"Anyone can read everything in the bucket '{self._bucket.name}', without credentials.",
                    remedy="Block public access to it (all but the folder open/), then publish again.",
                    thing="s3",
                )
            self._probed.add("private")
        if visibility is Visibility.PUBLIC and "public" not in self._probed:
            self._bucket.write("open/probe.txt", b"anyone may read this\n")
            if problem := self._bucket.readable_at(self._bucket.url("open/probe.txt")):
                raise NotReady(
                    f"The bucket '{self._bucket.name}' shows nothing to anyone, so no repo can be public: {problem}.",
                    remedy=f"Allow it for {self._bucket.prefix}/open/ only: {open_policy(self._bucket)}",
                    thing="s3",
                )
            self._probed.add("public")

    def _fill(self, refs: Refs, revision: str, package: LoraPackage, digests: Mapping[str, str]) -> dict[str, File]:
        """Have all files of a revision in the bucket; those that are there unchanged are not sent again."""
        folder = revision_folder(refs.repo, revision)
        there = {stored.key: stored for stored in self._bucket.objects(folder)}
        known = refs.revisions[revision].files if revision in refs.revisions else {}
        files = {}
        for path, digest in digests.items():
            held, recorded = there.get(f"{folder}/{path}"), known.get(path)
            if held is not None and recorded is not None and recorded == File(digest, held.size, held.e_tag):
                files[path] = recorded
                continue
            stored = self._put(refs, f"{folder}/{path}", path, package, digest)
            files[path] = File(digest, stored.size, stored.e_tag)
        return files

    def _put(self, refs: Refs, key: str, path: str, package: LoraPackage, digest: str) -> Stored:
        if path == CARD_NAME:
            return self._bucket.write(key, package.card.encode())
        if path != WEIGHTS_NAME:
            return self._bucket.upload(key, package.samples[path.removeprefix("images/")], digest)
        twin = self._twin(refs, digest)
        if twin is not None:
            with suppress(FileNotFoundError):
                self._bucket.copy(twin, key)
                return next(stored for stored in self._bucket.objects(key.rpartition("/")[0]) if stored.key == key)
        return self._bucket.upload(key, package.weights, digest)

    def _twin(self, refs: Refs, digest: str) -> str | None:
        """The same weights in another revision, unchanged, so that a new card alone sends no weights."""
        for name, revision in refs.revisions.items():
            if revision.files[WEIGHTS_NAME].sha256 == digest:
                folder = revision_folder(refs.repo, name)
                for stored in self._bucket.objects(folder):
                    if stored.key == f"{folder}/{WEIGHTS_NAME}" and stored.e_tag == revision.files[WEIGHTS_NAME].e_tag:
                        return stored.key
        return None

    def _open_if_public(self, refs: Refs) -> None:
        """Copy every revision of a public repo to where anyone may read it; what is no revision any more goes."""
        if refs.visibility is Visibility.PRIVATE:
            return
        there = {stored.key: stored.size for stored in self._bucket.objects(open_folder(refs.repo))}
        for name, revision in refs.revisions.items():
            for path, file in revision.files.items():
                copy = f"{open_folder(refs.repo, name)}/{path}"
                if there.pop(copy, None) != file.size:
                    self._bucket.copy(f"{revision_folder(refs.repo, name)}/{path}", copy)
        self._bucket.remove(list(there))

    def _close(self, repo: str) -> None:
        self._bucket.remove([stored.key for stored in self._bucket.objects(open_folder(repo))])

    def _visibility(self, refs: Refs) -> Visibility:
        """Who can see a repo, found out by trying without credentials."""
        weights = f"{open_folder(refs.repo, refs.main)}/{WEIGHTS_NAME}"
        there = any(stored.key == weights for stored in self._bucket.objects(open_folder(refs.repo, refs.main)))
        seen = there and self._bucket.open_to_all(weights)
        return Visibility.PUBLIC if seen else Visibility.PRIVATE

    def _content_problems(self, refs: Refs, revision: str) -> list[str]:
        """What is wrong with a revision in the bucket, by the sizes and tags that its files had when written."""
        folder = revision_folder(refs.repo, revision)
        there = {stored.key.removeprefix(f"{folder}/"): stored for stored in self._bucket.objects(folder)}
        problems = []
        weights = [path for path in there if path.endswith(".safetensors") and "/" not in path]
        if len(weights) > 1:
            problems.append(f"There are {len(weights)} .safetensors files at the root; loaders then guess or refuse.")
        for path, file in refs.revisions[revision].files.items():
            what = f"The weights ({path})" if path == WEIGHTS_NAME else f"The file {path}"
            held = there.get(path)
            if held is None:
                problems.append(f"{what} is missing.")
            elif (held.size, held.e_tag) != (file.size, file.e_tag):
                problems.append(f"{what} changed in the bucket.")
        card = self._bucket.read(f"{folder}/{CARD_NAME}")
        with suppress(UnicodeDecodeError, InputRefused):
            if card is not None and card_header(card[0].decode("utf-8")).get("base_model"):
                return problems
        return [*problems, "The model card names no base_model, so nobody can tell what the lora fits."]

    def _place(self, repo: str, revision: str) -> str:
        return f"s3://{self._bucket.name}/{self._bucket.prefix}/{revision_folder(repo, revision)}/"

    def _busy(self, repo: str) -> LimnerError:
        return Conflict(
            f"The repo {repo} was changed by others all the while.", remedy="Try again when they are done.", thing=repo
        )


def _digests(package: LoraPackage) -> dict[str, str]:
    files = {CARD_NAME: hashlib.sha256(package.card.encode()).hexdigest(), WEIGHTS_NAME: package.weights_digest}
    return files | {f"images/{name}": file_sha256(path) for name, path in sorted(package.samples.items())}


def _absent(repo: str, revision: str = "") -> NotFound:
    what = f"revision {revision} of {repo}" if revision else f"repo {repo}"
    return NotFound(f"There is no {what} on this hub.", remedy="See the hub's listing for what is there.", thing=repo)
