"""The Hugging Face Hub: private first, one atomic commit a version, a tag that never moves, public only at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from limner.catalog import bases
from limner.errors import Conflict, LimnerError, NotFound, StorageFailed, VendorFailed
from limner.hubs.hub import WEIGHTS_NAME, Listing, LoraPackage, Published, TagTaken
from limner.hubs.huggingface.contents import OUR_TAG, Repo, Wanted, changes, is_foreign, repo_of, wanted_of
from limner.hubs.repo_names import check_repo, check_tag
from limner.hubs.soundness import check_package, check_weights, file_sha256
from limner.settings import Settings
from limner.types import BackEnd, Health, Need, Reach, Visibility
from limner.vendors.http.backoff import retry_delay
from limner.vendors.huggingface import hub as vendor
from limner.vendors.huggingface.hub import HubAccount, HubLost
from limner.vendors.secrets.tokens import has_token

__all__ = ["HuggingFaceHub"]

TRIES = 5
"""How often a commit is built anew because the branch moved, or the answer was lost."""


class HuggingFaceHub:
    """Repos of the user's account, or of ``hub_namespace``. All errors are of limner.errors; none holds the token."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._account = HubAccount(settings)

    def describe(self) -> BackEnd:
        """Say what this hub is, and whether there is a token for it."""
        return BackEnd(
            name="huggingface",
            title="Hugging Face Hub",
            summary=f"Model repos at {self._account.endpoint}, private unless told otherwise.",
            bases=tuple(bases()),
            needs=(
                Need(
                    "a Hugging Face token that may write",
                    has_token("huggingface", self._settings),
                    f"Make one at {vendor.TOKEN_PAGE}, then: limner login huggingface",
                ),
            ),
            vendor="huggingface",
            reach=(Reach.HUGGING_FACE, Reach.URL),
        )

    def full_name(self, repo: str) -> str:
        """``owner/name`` of a repo given as either; the owner is ``hub_namespace``, or the token's account.

        NameRefused: the hub would not take it. AccountRefused: the owner is asked of the hub, and there is no token.
        """
        if "/" in repo:
            return "/".join(check_repo(repo))
        return "/".join(check_repo(f"{self._settings.hub_namespace or self._account.name}/{repo}"))

    def address(self, repo: str, *, revision: str = "main") -> str:
        """The resolve URL of the weights, pinned to the commit; "" where only some may fetch it."""
        found = self._find(repo, revision)
        if found is None or found.visibility is Visibility.PRIVATE or found.gated or WEIGHTS_NAME not in found.files:
            return ""
        return f"{self._account.endpoint}/{found.id}/resolve/{found.revision}/{WEIGHTS_NAME}"

    def publish(self, repo: str, package: LoraPackage, *, visibility: Visibility, tag: str, message: str) -> Published:
        """Publish as one commit named ``tag``; the same content again makes none. A re-run after a crash goes on.

        TagTaken if the tag names other content. Conflict if the repo is somebody else's, differs in case from one that
        is there, or moves all the time. VendorFailed if the hub makes it public against our word: then nothing is
        uploaded. AccountRefused, OutOfCredit, VendorBusy as the hub says.
        """
        check_repo(repo)
        check_tag(tag)
        check_package(package)
        check_weights(package)
        wanted = wanted_of(package)
        found = self._find(repo) or self._create(repo)
        self._refuse_others(repo, found, wanted)
        known = self._tagged(repo, tag)
        if known is not None and changes(known, wanted):
            raise _tag_taken(repo, tag)
        if found.visibility is Visibility.PUBLIC and visibility is Visibility.PRIVATE:
            self._show(repo, Visibility.PRIVATE)
        revision, changed = self._commit(repo, found, wanted, message or f"Publish {tag}")
        if known is None:
            self._tag(repo, tag, revision, wanted, message)
        seen = self._show(repo, visibility)
        return Published(repo, revision, seen, f"{self._account.endpoint}/{repo}", changed)

    def status(self, repo: str, *, revision: str = "main", weights_digest: str = "") -> Health:
        """Say whether a revision is ready for use, and by whom; a repo that is not there is not ready."""
        check_repo(repo)
        found = self._find(repo, revision)
        if found is None or found.id != repo:
            there = found is None and self._find(repo) is not None
            what = f"There is no revision {revision} of {repo}" if there else f"There is no repo {repo}"
            return Health(False, Visibility.PRIVATE, "nobody", "", False, (f"{what} that this account can see.",))
        problems = list(_problems(found))
        matches = bool(found.weights_digest) and found.weights_digest == (weights_digest or found.weights_digest)
        if weights_digest and found.weights_digest and not matches:
            problems.append("The weights of this revision are another lora's than the one asked for.")
        return Health(not problems, found.visibility, _usable_by(found), found.revision, matches, tuple(problems))

    def fetch(self, repo: str, into: Path, *, revision: str = "main") -> Path:
        """Copy the weights of a revision (main, a tag, or a commit) into a folder, checked against their digest."""
        check_repo(repo)
        found = self._find(repo, revision)
        if found is None or found.id != repo or WEIGHTS_NAME not in found.files:
            raise _absent(repo, revision)
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=".fetching-") as folder:
            api = self._account.api
            got = self._account.ask(api.hf_hub_download, repo, WEIGHTS_NAME, revision=found.revision, local_dir=folder)
            if found.weights_digest and file_sha256(Path(got)) != found.weights_digest:
                raise StorageFailed(
                    f"The weights of {repo} did not arrive whole: their digest differs.",
                    remedy="Fetch them again.",
                    thing=repo,
                )
            Path(got).replace(into / WEIGHTS_NAME)
        return into / WEIGHTS_NAME

    def listing(self) -> Sequence[Listing]:
        """The repos of this account that Limner made, sorted by name."""
        api, owner = self._account.api, self._settings.hub_namespace or self._account.name
        listed = self._account.ask(lambda: [one.id for one in api.list_models(author=owner, filter=OUR_TAG)])
        found = []
        for name in sorted(listed):
            repo = self._find(name)
            if repo is None:
                continue
            tags = tuple(sorted(self._tags(name), key=lambda tag: (len(tag), tag)))
            found.append(Listing(name, repo.revision, repo.visibility, repo.weights_digest, tags, repo.updated_at))
        return found

    def set_visibility(self, repo: str, visibility: Visibility) -> Visibility:
        """Change who can see a repo; give what the hub says afterwards. NotFound; VendorFailed: it did not obey."""
        self._present(repo)
        return self._show(repo, visibility)

    def delete(self, repo: str) -> None:
        """Remove a repo with all its revisions; NotFound if there is none."""
        self._present(repo)
        self._delete(repo)

    # --- asking the hub -----------------------------------------------------------------------------------------

    def _find(self, repo: str, revision: str = "main") -> Repo | None:
        """The repo at a revision; None where there is none, or none that this account may see."""
        api = self._account.api
        try:
            return repo_of(self._account.ask(api.model_info, repo, revision=revision, files_metadata=True))
        except NotFound:
            return None

    def _present(self, repo: str) -> Repo:
        check_repo(repo)
        found = self._find(repo)
        if found is None or found.id != repo:
            raise _absent(repo)
        return found

    def _tags(self, repo: str) -> dict[str, str]:
        refs = self._account.ask(self._account.api.list_repo_refs, repo)
        return {tag.name: tag.target_commit for tag in refs.tags}

    def _tagged(self, repo: str, tag: str) -> Repo | None:
        """What a tag names, None if there is no such tag."""
        return self._find(repo, tag) if tag in self._tags(repo) else None

    def _refuse_others(self, repo: str, found: Repo, wanted: Mapping[str, Wanted]) -> None:
        if found.id != repo:
            raise Conflict(
                f"{repo} differs from the existing {found.id} only in spelling.",
                remedy=f"Use {found.id}, or another name.",
                thing=repo,
            )
        if is_foreign(found) and changes(found, wanted):
            raise Conflict(
                f"The repo {repo} holds files that Limner did not make.",
                remedy="Publish under another name, or empty that repo first.",
                thing=repo,
            )

    # --- changing the hub ---------------------------------------------------------------------------------------

    def _create(self, repo: str) -> Repo:
        """Make a private repo and look whether it is. VendorFailed: the hub made it public; it is removed again."""
        made = True
        try:
            self._account.tell(self._account.api.create_repo, repo, visibility="private", repo_type="model")
        except (Conflict, HubLost):
            made = False
        found = self._find(repo)
        if found is None:
            raise VendorFailed(f"The hub did not make the repo {repo}.", remedy="Try again.", thing=repo)
        if found.visibility is Visibility.PRIVATE or not made:
            return found
        self._delete(repo)
        raise VendorFailed(
            f"The hub made {repo} public although a private repo was asked for. Nothing was uploaded.",
            remedy="The empty repo was removed again. Use a hub that keeps repos private, or make the repo by hand.",
            thing=repo,
        )

    def _delete(self, repo: str) -> None:
        try:
            self._account.ask(self._account.api.delete_repo, repo, repo_type="model")
        except NotFound:
            if self._find(repo) is not None:
                raise

    def _commit(self, repo: str, found: Repo, wanted: Mapping[str, Wanted], message: str) -> tuple[str, bool]:
        """Make main hold the package with one commit at most; give the revision and whether a commit was made."""
        sent = False
        last: LimnerError | None = None
        for attempt in range(TRIES):
            operations = changes(found, wanted)
            if not operations:
                return found.revision, sent
            try:
                done = self._account.tell(
                    self._account.api.create_commit,
                    repo,
                    operations,
                    commit_message=message,
                    parent_commit=found.revision,
                )
            except HubLost as failure:
                # it may be there: only a look tells, and only what is not there is sent again
                sent, last = True, failure
            except Conflict as failure:
                last = failure
            else:
                return done.oid, True
            vendor.PAUSE(retry_delay(0, {}, None, attempt))
            found = self._present(repo)
            self._refuse_others(repo, found, wanted)
        if not changes(found, wanted):
            return found.revision, sent
        if isinstance(last, HubLost):
            raise last
        raise Conflict(
            f"The branch main of {repo} keeps moving: somebody else publishes there.",
            remedy="Publish again when they are done.",
            thing=repo,
        )

    def _tag(self, repo: str, tag: str, revision: str, wanted: Mapping[str, Wanted], message: str) -> None:
        for attempt in range(TRIES):
            try:
                self._account.tell(
                    self._account.api.create_tag, repo, tag=tag, tag_message=message or None, revision=revision
                )
            except (Conflict, HubLost):
                known = self._tagged(repo, tag)
                if known is not None and changes(known, wanted):
                    raise _tag_taken(repo, tag) from None
                if known is None and attempt + 1 == TRIES:
                    raise
                if known is None:
                    vendor.PAUSE(retry_delay(0, {}, None, attempt))
                    continue
            return

    def _show(self, repo: str, visibility: Visibility) -> Visibility:
        """Set the visibility where it is another, and give it as it is read back."""
        seen = self._present(repo).visibility
        if seen is visibility:
            return seen
        self._account.ask(self._account.api.update_repo_settings, repo, visibility=visibility.value, repo_type="model")
        seen = self._present(repo).visibility
        if seen is not visibility:
            raise VendorFailed(
                f"{repo} is still {seen} although the hub was told to make it {visibility}.",
                remedy="Change it on the repo's page, under Settings, then try again.",
                thing=repo,
            )
        return seen


def _problems(repo: Repo) -> list[str]:
    found = []
    if WEIGHTS_NAME not in repo.files:
        found.append(f"The weights ({WEIGHTS_NAME}) are missing.")
    elif not repo.weights_digest:
        found.append("The hub tells no digest of the weights: they are not kept as a large file.")
    if len(repo.weights) > 1:
        found.append(f"There are {len(repo.weights)} .safetensors files at the root; loaders then guess or refuse.")
    if not repo.card.get("base_model"):
        found.append("The model card names no base_model, so nobody can tell what the lora fits.")
    if not repo.card.get("license"):
        found.append("The model card names no licence.")
    if repo.gated:
        found.append("The repo is gated: no service can fetch it, and everybody else must ask for it first.")
    if repo.disabled:
        found.append("The hub has disabled the repo.")
    return found


def _usable_by(repo: Repo) -> str:
    if repo.visibility is Visibility.PRIVATE:
        return f"only those whom {repo.id.split('/')[0]} lets read private repos, with a token"
    who = "whoever is let in on the repo's page" if repo.gated else "anyone, and services that fetch by address"
    if repo.card.get("license") == "other":
        return f"{who}, under {repo.card.get('license_name') or 'the licence of its card'}"
    return who


def _tag_taken(repo: str, tag: str) -> TagTaken:
    return TagTaken(
        f"The tag {tag} of {repo} already names other content.", remedy="Publish under a new tag.", thing=repo
    )


def _absent(repo: str, revision: str = "") -> NotFound:
    what = f"revision {revision} of {repo}" if revision else f"repo {repo}"
    return NotFound(
        f"There is no {what} on the hub that this account can see.",
        remedy="See what is there: limner hub list --hub huggingface",
        thing=repo,
    )
