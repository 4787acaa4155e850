"""The folder hub: loras as folders in the layout of a Hugging Face model repo, on this machine or a mounted disk."""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from limner.catalog import bases
from limner.errors import Conflict, InputRefused, NotFound, StorageFailed
from limner.hubs.card import card_header
from limner.hubs.folder.repo import FolderRepo, Revision, State, copy_file, revision_of, storage_errors, write_file
from limner.hubs.hub import WEIGHTS_NAME, Listing, LoraPackage, Published, TagTaken
from limner.hubs.repo_names import check_repo, check_tag, is_revision
from limner.hubs.soundness import check_package, file_sha256
from limner.settings import Settings
from limner.types import BackEnd, Health, Need, Reach, Visibility

__all__ = ["FolderHub"]

CARD_NAME = "README.md"
_OPENNESS = (Visibility.PRIVATE, Visibility.PUBLIC)


class FolderHub:
    """Keeps repos in ``settings.hub_folder``. A private repo opens only to the user who made it, a public one to all.

    Two processes may use one folder. All errors are of limner.errors; a full disk is StorageFailed and leaves nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self.root = settings.hub_folder or settings.home / "hub"
        self._owner = settings.hub_namespace or "limner"

    def describe(self) -> BackEnd:
        """Say what this hub is, and whether its folder can be written."""
        place = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        writable = place.is_dir() and os.access(place, os.W_OK)
        return BackEnd(
            name="folder",
            title="Folder",
            summary=f"Folders in the layout of a Hugging Face repo, under {self.root}.",
            bases=tuple(bases()),
            needs=(Need("a folder that can be written", writable, "Set LIMNER_HUB_FOLDER to a folder of yours."),),
            reach=(Reach.FILE,),
        )

    def full_name(self, repo: str) -> str:
        """``owner/name`` of a repo given as either; the owner is ``hub_namespace``, or limner. NameRefused."""
        return "/".join(check_repo(repo if "/" in repo else f"{self._owner}/{repo}"))

    def address(self, repo: str, *, revision: str = "main") -> str:
        """Always "": nobody off this machine can fetch from a folder."""
        del repo, revision
        return ""

    def publish(self, repo: str, package: LoraPackage, *, visibility: Visibility, tag: str, message: str) -> Published:
        """Publish as one revision named ``tag``; the same content again makes no second revision.

        TagTaken if the tag names other content; Conflict if the repo has another one's name but for case;
        InputRefused if the card or a name is unusable; StorageFailed if the weights are not those of the digest, or
        the disk fails.
        """
        place = self._repo(repo)
        check_tag(tag)
        check_package(package)
        with storage_errors(f"Publishing {repo} in {self.root}", repo), place.locked():
            self._refuse_clash(place)
            files = _digests(package)
            revision = revision_of(files)
            before = place.read() or State(repo, visibility)
            if before.tags.get(tag, revision) != revision:
                raise TagTaken(
                    f"The tag {tag} of {repo} already names other content.",
                    remedy="Publish under a new tag.",
                    thing=repo,
                )
            # private from the first byte on; public only when all is there
            careful = Visibility.PRIVATE if not before.main else min(visibility, before.visibility, key=_OPENNESS.index)
            try:
                place.write(replace(before, visibility=careful))
                if not _intact(place, before, revision):
                    twin = self._twin(place, before, files)
                    place.add_revision(revision, lambda folder: _fill(folder, package, files, twin))
            except BaseException:
                place.tidy()
                raise
            now = datetime.now(UTC).isoformat(timespec="seconds")
            changed = before.main != revision
            revisions = before.revisions
            if revision not in revisions:
                revisions = {**revisions, revision: Revision(files, message, now)}
            tags = {**before.tags, tag: revision}
            after = State(repo, visibility, revision, tags, revisions, now)
            if replace(after, updated_at=before.updated_at) == before:
                after = before
            try:
                place.write(after)
            except BaseException:
                place.tidy()
                raise
            return Published(repo, revision, place.visibility(), place.visible.as_uri(), changed)

    def status(self, repo: str, *, revision: str = "main", weights_digest: str = "") -> Health:
        """Say whether a revision is ready for use, and by whom; a repo that is not there is not ready."""
        place = self._repo(repo)
        with storage_errors(f"Looking at {repo}", repo):
            state = place.read()
            found = _resolve(state, revision) if state else ""
            if state is None or not found:
                what = f"There is no revision {revision} of {repo}" if state else f"There is no repo {repo}"
                return Health(False, Visibility.PRIVATE, "nobody", "", False, (f"{what} on this hub.",))
            folder = place.revision_folder(found)
            files = state.revisions[found].files
            problems, matches = _content_problems(folder, files)
            if weights_digest and weights_digest != files[WEIGHTS_NAME]:
                matches = False
                problems.append("The weights of this revision are another lora's than the one asked for.")
            visibility = place.visibility()
            if visibility is not state.visibility:
                problems.append(f"The repo is {visibility}, but was made {state.visibility}.")
            if found == state.main and place.visible_revision() != found:
                problems.append("The folder that is shown is not the newest revision; publish again to put it right.")
            return Health(not problems, visibility, _usable_by(place, visibility), found, matches, tuple(problems))

    def fetch(self, repo: str, into: Path, *, revision: str = "main") -> Path:
        """Copy the weights of a revision (main, a tag, or 40 digits) into a folder, checked against their digest."""
        place = self._repo(repo)
        with storage_errors(f"Fetching {repo}", repo):
            state = place.read()
            found = _resolve(state, revision) if state else ""
            if state is None or not found:
                raise _absent(repo, revision if state else "")
            into.mkdir(parents=True, exist_ok=True)
            temporary = into / f".{WEIGHTS_NAME}.{secrets.token_hex(6)}"
            try:
                source = place.revision_folder(found) / WEIGHTS_NAME
                copied = copy_file(source, temporary, mode=0o644)
                if copied != state.revisions[found].files[WEIGHTS_NAME]:
                    raise StorageFailed(
                        f"The weights of {repo} at {found} were changed on the disk: their digest differs.",
                        remedy="Publish the lora again.",
                        thing=repo,
                    )
                temporary.replace(into / WEIGHTS_NAME)
            finally:
                temporary.unlink(missing_ok=True)
        return into / WEIGHTS_NAME

    def listing(self) -> Sequence[Listing]:
        """All repos, sorted by name. One whose state is damaged is left out; its status says why."""
        found = []
        for state_file in sorted((self.root / ".limner" / "repos").glob("*/*/state.json")):
            place = FolderRepo(self.root, state_file.parent.parent.name, state_file.parent.name)
            try:
                state = place.read()
                if state is None or not state.main:
                    continue
                weights = state.revisions[state.main].files[WEIGHTS_NAME]
                tags = tuple(sorted(state.tags, key=lambda tag: (len(tag), tag)))
                visibility = place.visibility()
            except (StorageFailed, OSError, KeyError):
                continue
            found.append(Listing(state.repo, state.main, visibility, weights, tags, state.updated_at))
        return found

    def set_visibility(self, repo: str, visibility: Visibility) -> Visibility:
        """Change who can look into a repo; give what the folder says afterwards."""
        place = self._repo(repo)
        with storage_errors(f"Changing {repo}", repo), place.locked():
            state = place.read()
            if state is None or not state.main:
                raise _absent(repo)
            place.write(replace(state, visibility=visibility))
            return place.visibility()

    def delete(self, repo: str) -> None:
        """Remove a repo with all its revisions and whatever a crash left of it; NotFound if there is none."""
        place = self._repo(repo)
        with storage_errors(f"Deleting {repo}", repo):
            there = place.folder.exists() or place.leftovers() or place.shown()
            if not there or not self._same_case(place):
                raise _absent(repo)
            with place.locked(tidy=False):
                place.remove()

    def _repo(self, repo: str) -> FolderRepo:
        return FolderRepo(self.root, *check_repo(repo))

    def _same_case(self, place: FolderRepo) -> bool:
        folder = place.folder
        return not folder.exists() or folder.name in {sibling.name for sibling in folder.parent.iterdir()}

    def _refuse_clash(self, place: FolderRepo) -> None:
        """A name that another repo has but for case would be the same folder on many disks, and on the Hub."""
        repos = self.root / ".limner" / "repos"
        for known in repos.glob("*/*"):
            name = f"{known.parent.name}/{known.name}"
            owner_differs = known.parent.name != place.owner and known.parent.name.casefold() == place.owner.casefold()
            if owner_differs or (name != place.repo and name.casefold() == place.repo.casefold()):
                raise Conflict(
                    f"{place.repo} differs from the existing {name} only in case.",
                    remedy="Use the existing spelling, or another name.",
                    thing=place.repo,
                )
        if (place.visible.exists() or place.visible.is_symlink()) and not place.shown():
            raise Conflict(
                f"{place.visible} is there already and is no repo of this hub.",
                remedy="Move it away, or use another name.",
                thing=place.repo,
            )

    def _twin(self, place: FolderRepo, state: State, files: dict[str, str]) -> Path | None:
        """The same weights in another revision, so that a new card alone costs no second copy."""
        for name, revision in state.revisions.items():
            path = place.revision_folder(name) / WEIGHTS_NAME
            same = revision.files.get(WEIGHTS_NAME) == files[WEIGHTS_NAME] and path.is_file()
            if same and file_sha256(path) == files[WEIGHTS_NAME]:
                return path
        return None


def _digests(package: LoraPackage) -> dict[str, str]:
    files = {CARD_NAME: hashlib.sha256(package.card.encode()).hexdigest(), WEIGHTS_NAME: package.weights_digest}
    return files | {f"images/{name}": file_sha256(path) for name, path in sorted(package.samples.items())}


def _intact(place: FolderRepo, state: State, revision: str) -> bool:
    known = state.revisions.get(revision)
    if known is None:
        return False
    problems, _ = _content_problems(place.revision_folder(revision), known.files)
    return not problems


def _fill(folder: Path, package: LoraPackage, files: dict[str, str], twin: Path | None) -> None:
    """Write a revision's files and compare what was written with the digests that it is named after."""
    weights = folder / WEIGHTS_NAME
    if twin is not None:
        with suppress(OSError):  # a file system without links
            weights.hardlink_to(twin)
    if not weights.exists() and (copied := copy_file(package.weights, weights)) != package.weights_digest:
        raise StorageFailed(
            f"The weights at {package.weights} have the digest {copied}, not {package.weights_digest}.",
            remedy="The file was changed or damaged; publish the lora again from its original.",
        )
    write_file(folder / CARD_NAME, package.card.encode())
    if package.samples:
        (folder / "images").mkdir()
    for name, path in package.samples.items():
        if copy_file(path, folder / "images" / name) != files[f"images/{name}"]:
            raise StorageFailed(f"The picture {name} changed while it was published.", remedy="Publish again.")


def _resolve(state: State, revision: str) -> str:
    if revision == "main":
        return state.main
    found = revision if is_revision(revision) else state.tags.get(revision, "")
    return found if found in state.revisions else ""


def _content_problems(folder: Path, files: Mapping[str, str]) -> tuple[list[str], bool]:
    """What is wrong with a revision on the disk, compared with the digests by path that it was made of.

    With it, whether the weights are those that it was made of.
    """
    weights = [path.name for path in folder.glob("*.safetensors")] if folder.is_dir() else []
    if WEIGHTS_NAME not in weights:
        return [f"The weights ({WEIGHTS_NAME}) are missing."], False
    problems, matches = [], True
    if len(weights) > 1:
        problems.append(f"There are {len(weights)} .safetensors files at the root; loaders then guess or refuse.")
    for name, digest in files.items():
        what = f"The weights ({name})" if name == WEIGHTS_NAME else f"The file {name}"
        path = folder / name
        if not path.is_file():
            problems.append(f"{what} is missing.")
            matches = matches and name != WEIGHTS_NAME
        elif file_sha256(path) != digest:
            problems.append(f"{what} changed on the disk: the digest differs.")
            matches = matches and name != WEIGHTS_NAME
    with suppress(OSError, ValueError, InputRefused):
        if card_header((folder / CARD_NAME).read_text(encoding="utf-8")).get("base_model"):
            return problems, matches
    return [*problems, "The model card names no base_model, so nobody can tell what the lora fits."], matches


def _usable_by(place: FolderRepo, visibility: Visibility) -> str:
    if visibility is Visibility.PRIVATE:
        return f"only {_user()} on this machine"
    closed = next((folder for folder in place.folder.parents if not folder.stat().st_mode & 0o001), None)
    if closed is not None:
        return f"those who may enter {closed}, which is closed to other users of this machine"
    return "every user of this machine, and whoever the folder is shared with"


def _user() -> str:
    try:
        return f"the user {getpass.getuser()}"
    except (OSError, KeyError):  # an account without a name, as in some containers
        return "the user who made it"


def _absent(repo: str, revision: str = "") -> NotFound:
    what = f"revision {revision} of {repo}" if revision else f"repo {repo}"
    return NotFound(f"There is no {what} on this hub.", remedy="See the hub's listing for what is there.", thing=repo)
