"""Faults of the vendors' own state: which attribute of which stand-in makes each, and what mends it."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.loras.conversion.convert import convert
from limner.stand_ins.rehearsal import ACCOUNT, TOKENS
from limner.stand_ins.replicate.jobs import make_tar
from limner.types import TensorNaming
from tests.faults.world import World
from tests.servers.faults import Fault

if TYPE_CHECKING:
    from tests.faults.scenarios import Route

__all__ = ["STATES", "State"]

Change = Callable[[World], Any]


@dataclass(frozen=True)
class State:
    """A fault that is set on a stand-in before the run; ``heal`` is what the user, or time, does about it.

    ``where`` says for which vendor: the trainer's, the generator's, or "huggingface". ``patience`` is after how many
    seconds the user cancels a job that gets nowhere.
    """

    name: str
    what: str
    vendor: str
    where: str
    attribute: str
    set: Change
    heal: Change = lambda world: None
    patience: float | None = None
    base: str = ""

    def concerns(self, route: Route) -> bool:
        """Whether it can happen on a route."""
        if self.base and route.base != self.base:
            return False
        if self.where == "train":
            return route.trainer == self.vendor
        if self.where == "generate":
            return route.generator == self.vendor
        return True


def _put(vendor: str, name: str, value: Any) -> Change:
    return lambda world: setattr(getattr(world, vendor), name, value)


def _fail(vendor: str, *endings: Any) -> Change:
    name = "endings" if vendor == "replicate" else "failures"
    return lambda world: getattr(getattr(world, vendor), name).extend(endings)


def _odd_tar(name: str, lora: bytes, captions: Sequence[tuple[str, str]]) -> bytes:
    """The real tar, with members that no archive should have before and after what belongs there."""
    out = io.BytesIO(make_tar(name, lora, captions))
    with tarfile.open(fileobj=out, mode="a") as tar:
        for path in ("/tmp/limner-escaped.txt", "../../../limner-escaped.txt", "output/a/../../../limner-escaped"):
            entry = tarfile.TarInfo(path)
            entry.size = 4
            tar.addfile(entry, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("output/flux_train_replicate/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        device = tarfile.TarInfo("output/flux_train_replicate/pipe")
        device.type = tarfile.FIFOTYPE
        tar.addfile(device)
        named = tarfile.TarInfo("output/flux_train_replicate/optimizer.pt")
        named.size = 9
        tar.addfile(named, io.BytesIO(b"optimizer"))
    return out.getvalue()


def _renamed(naming: TensorNaming) -> Callable[[bytes], bytes]:
    """The weights in another naming."""

    def change(lora: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lora.safetensors"
            path.write_bytes(lora)
            return convert(path, naming, Path(folder) / "other.safetensors").path.read_bytes()

    return change


def _foreign_repo(world: World) -> None:
    """The name is taken: a repo of the user's that holds something else."""
    from limner.stand_ins.hub.repos import HubRepo

    repo = HubRepo(f"{ACCOUNT}/zib-lora", private=True, contents=world.huggingface.contents)
    files = {"notes.txt": repo.keep(b"something of mine", lfs=False)}
    repo.commit(files, summary="mine", author=ACCOUNT)
    world.huggingface.repos[repo.id.lower()] = repo


def _once_moved(world: World) -> None:
    """Somebody else commits to the branch, once, between our look and our commit."""
    moved: list[bool] = []

    def move(repo: Any) -> None:
        if not moved:
            moved.append(True)
            files = {**repo.main.files, "README.md": repo.keep(b"edited on the page", lfs=False)}
            repo.commit(files, summary="edited on the page", author=ACCOUNT)

    world.huggingface.before_commit = move


def _gated(world: World) -> None:
    world.huggingface.before_commit = lambda repo: setattr(repo, "gated", "auto")


def _open_gates(world: World) -> None:
    world.huggingface.before_commit = lambda repo: None
    for repo in world.huggingface.repos.values():
        repo.gated = False


def _made_private(world: World) -> None:
    world.huggingface.ignore_private = False
    for repo in world.huggingface.repos.values():
        repo.private = True


def _destination_private(world: World) -> None:
    world.replicate.ignores_private = False
    for model in world.replicate.models.values():
        if model.owner == ACCOUNT:
            model.visibility = "private"


def _withdraw_together(world: World) -> None:
    world.together.kept_rows = dict(world.together.rows)
    world.together.rows.clear()


def _edit(vendor: str, path: str, times: int, edit: Callable[[Any], Any]) -> Change:
    return lambda world: world.faulty[vendor].add(Fault("edited", "GET", path, times=times, edit=edit))


TOKEN = TOKENS["HF_TOKEN"]
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB"

# A fault in three lines reads better than in twelve.
# fmt: off
STATES: list[State] = [
    State(
        "training-failed", "the training fails at the vendor", "replicate", "train", "endings", _fail("replicate",
        ("failed", OUT_OF_MEMORY))
    ),
    State(
        "training-failed", "the training fails at the vendor", "fal", "train", "failures", _fail("fal", (500, {"detail":
        OUT_OF_MEMORY}))
    ),
    State(
        "training-aborted", "the training ends before it began", "replicate", "train", "endings", _fail("replicate",
        ("aborted", ""))
    ),
    State(
        "cancelled-elsewhere", "the training is cancelled on the vendor's page", "replicate", "train", "endings",
        _fail("replicate", ("canceled", ""))
    ),
    State(
        "training-stuck", "the training never gets on; the user cancels it", "replicate", "train", "endings",
        _fail("replicate", ("stuck", "")), patience=3.0
    ),
    State(
        "queue-stuck", "the request never leaves the queue; the user cancels it", "fal", "train", "gate", lambda world:
        world.fal.gate.clear(), lambda world: world.fal.gate.set(), patience=3.0
    ),
    State(
        "unknown-status", "a status that nobody has heard of, three times", "replicate", "train", "(edited answers)",
        _edit("replicate", r"/trainings/\w+$", 3, lambda job: {**job, "status": "warming-up"})
    ),
    State(
        "unknown-status", "a status that nobody has heard of, three times", "fal", "train", "(edited answers)",
        _edit("fal", "/status$", 3, lambda job: {**job, "status": "PREPARING"})
    ),
    State(
        "odd-tar", "a tar with paths that lead out, links, a pipe and more files", "replicate", "train", "make_tar",
        _put("replicate", "make_tar", _odd_tar)
    ),
    State(
        "weights-kohya", "the weights come in Kohya's naming", "replicate", "train", "change_weights", _put("replicate",
        "change_weights", _renamed(TensorNaming.KOHYA))
    ),
    State(
        "weights-bfl", "the weights come in BFL's naming", "replicate", "train", "change_weights", _put("replicate",
        "change_weights", _renamed(TensorNaming.BFL))
    ),
    State(
        "private-ignored-model", "the destination model is public though private was asked", "replicate", "train",
        "ignores_private", _put("replicate", "ignores_private", True), _destination_private
    ),
    State(
        "private-ignored-repo", "the repo is public though private was asked", "huggingface", "publish",
        "ignore_private", _put("huggingface", "ignore_private", True), _made_private
    ),
    State(
        "trainer-withdrawn", "the trainer's model is no longer offered", "fal", "train", "withdrawn", lambda world:
        world.fal.withdrawn.update({"limner/limner-tiny-trainer", "limner/flux2-random-trainer"}), lambda world:
        world.fal.withdrawn.clear()
    ),
    State(
        "trainer-withdrawn", "the trainer's model is no longer offered", "replicate", "train", "withdrawn", lambda
        world: world.replicate.withdrawn.add("limner/limner-tiny-trainer"), lambda world:
        world.replicate.withdrawn.clear()
    ),
    State(
        "model-withdrawn", "the model that draws is no longer offered", "together", "generate", "rows",
        _withdraw_together, lambda world: world.together.rows.update(world.together.kept_rows)
    ),
    State(
        "model-withdrawn", "the model that draws is no longer offered", "replicate", "generate", "withdrawn", lambda
        world: world.replicate.withdrawn.add("limner/limner-tiny"), lambda world: world.replicate.withdrawn.clear()
    ),
    State(
        "repo-gated", "the published repo is gated, so that the vendor cannot fetch the lora", "huggingface", "publish",
        "before_commit", _gated, _open_gates
    ),
    State(
        "quota-exceeded", "the Hub account has no room left", "huggingface", "publish", "quota", _put("huggingface",
        "quota", 10), _put("huggingface", "quota", None)
    ),
    State(
        "name-taken", "a repo of that name is there, with something else in it", "huggingface", "publish", "repos",
        _foreign_repo, lambda world: (world.huggingface.repos.pop(f"{ACCOUNT}/zib-lora", None) if "notes.txt" in
        world.huggingface.repos[f"{ACCOUNT}/zib-lora"].main.files else None )
    ),
    State(
        "branch-moved", "somebody commits to the repo between our look and our commit", "huggingface", "publish",
        "before_commit", _once_moved
    ),
    State(
        "token-read-only", "the Hub token may not write", "huggingface", "publish", "read_only", lambda world:
        world.huggingface.read_only.add(TOKEN), lambda world: world.huggingface.read_only.clear()
    ),
    State(
        "no-credit", "the account has no credit", "fal", "train", "no_credit", _put("fal", "no_credit", True),
        _put("fal", "no_credit", False)
    ),
    State(
        "no-credit", "the account has no credit", "together", "generate", "credit", _put("together", "credit", 1),
        _put("together", "credit", None)
    ),
    State(
        "content-refused", "the content filter refuses the prompt", "together", "generate", "banned", _put("together",
        "banned", ("at sea")), _put("together", "banned", ())
    ),
    State(
        "content-refused", "the content filter refuses the prompt", "fal", "generate", "refused_words", _put("fal",
        "refused_words", ("at sea")), _put("fal", "refused_words", ())
    ),
    State(
        "picture-failed", "drawing fails at the vendor", "replicate", "generate", "endings", _fail("replicate",
        ("failed", OUT_OF_MEMORY))
    ),
    State(
        "rate-limit", "one request in a second is allowed", "together", "generate", "rate, burst", lambda world:
        (_put("together", "rate", 2.0)(world), _put("together", "burst", 1)(world))
    ),
    State(
        "other-answers", "answers without object and type, and addresses instead of pictures", "together", "generate",
        "lenient, always_url", lambda world: (_put("together", "lenient", True)(world), _put("together", "always_url",
        True)(world))
    ),
    State(
        "upload-too-large", "the vendor takes no upload of that size", "replicate", "train", "most_file_bytes",
        _put("replicate", "most_file_bytes", 10), _put("replicate", "most_file_bytes", 100_000_000)
    ),
    State(
        "upload-expired", "the uploaded photos expire before the training reads them", "replicate", "train",
        "file_seconds", _put("replicate", "file_seconds", -1.0), _put("replicate", "file_seconds", 86400.0)
    ),
    State(
        "foreign-keys", "the weights carry keys that loaders refuse", "fal", "train", "guidance_keys", _put("fal",
        "guidance_keys", True)
    ),
    State(
        "running-listed", "the vendor's list also holds what still runs", "fal", "train", "lists_running", _put("fal",
        "lists_running", True)
    ),
]
# fmt: on
