"""What one user owns is not there for another: every method of the studio, and every table, is asked."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy import inspect as look_at

from limner import Studio
from limner.errors import AccessRefused, Conflict, InputRefused, LimnerError, NotFound
from limner.operations.home.ownership import BELONGING, FREE, OWNED, as_seen_by
from limner.plain_text import plain
from limner.records import GalleryFilter
from limner.settings import Settings
from limner.store.models import (
    BlobRow,
    CheckpointRow,
    CurvePointRow,
    DatasetPhotoRow,
    DatasetRow,
    GenerationLoraRow,
    GenerationRow,
    GenerationSubjectRow,
    ImageRow,
    IntakeRow,
    IntentRow,
    JobRow,
    LedgerRow,
    LoraOriginalRow,
    LoraRow,
    PhotoRow,
    PublicationRow,
    Row,
    SampleRow,
    SubjectRow,
    TrainingRow,
    now,
)
from limner.store.web_models import (
    AnswerRow,
    CaptionEditRow,
    DeliveryRow,
    EventRow,
    GridRow,
    SessionRow,
    TokenRow,
    UploadRow,
    UserRow,
    VoteRow,
    WebhookRow,
)
from limner.types import Consent, Crop

HIDDEN = "annas-secret"
DIGEST = "a1b2c3d4" * 8
LORA = "c0ffee00" * 8
PICTURE = "beefcafe" * 8
TRAINING, GENERATION, JOB = "training_aaaa1111aaaa1111", "generation_bbbb2222bbbb2222", "job_cccc3333cccc3333"
GRID, UPLOAD, WEBHOOK = "grid_dddd4444dddd4444", "upload_eeee5555eeee5555", "webhook_ffff6666ffff6666"
TAG = "generation_bbbb2222bbbb2222-0"
MARKS = (HIDDEN, DIGEST, LORA, PICTURE, TRAINING, GENERATION, JOB, GRID, UPLOAD, WEBHOOK, TAG)
"""What must not come out: every row of Anna's has one of these."""


def fill(studio: Studio) -> None:
    """One row of every kind, all Anna's; each names one of the marks."""
    studio.subjects.add(HIDDEN, kind="pet", consent=Consent(statement=HIDDEN, given_by=HIDDEN, given_at=None))
    manifest = {
        "subject": {"slug": HIDDEN, "kind": "pet", "class_word": "dog", "trigger": "annadog"},
        "resolution": 64,
        "items": [],
    }
    for digest in (DIGEST, LORA, PICTURE):
        # Their bytes are there too, or nothing could be told of them to anybody.
        file = studio._workspace.blobs.folder / studio._workspace.blobs._key(digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    with studio._workspace.database.write() as session:
        for digest in (DIGEST, LORA, PICTURE):
            session.add(BlobRow(digest=digest, media_type="image/png", byte_size=1))
        session.flush()
        groups: list[list[Row]] = [
            [
                PhotoRow(subject=HIDDEN, digest=DIGEST, width=8, height=8, source=HIDDEN, report=REPORT),
                IntakeRow(subject=HIDDEN, job=JOB, position=0, photo=DIGEST, report=REPORT),
                DatasetRow(digest=DIGEST, subject=HIDDEN, resolution=64, photos=1, manifest=manifest),
                JobRow(id=JOB, kind="train", subject=HIDDEN, target=TRAINING, request={"stages": []}, state="failed"),
                GenerationRow(
                    id=GENERATION,
                    prompt=HIDDEN,
                    base="limner-tiny",
                    generator="local",
                    loras=[],
                    width=8,
                    height=8,
                    steps=1,
                    guidance=1.0,
                    seed=1,
                    count=1,
                    state="done",
                ),
                CaptionEditRow(subject=HIDDEN, before={DIGEST: [HIDDEN, ""]}, after={DIGEST: HIDDEN}),
                UploadRow(id=UPLOAD, subject=HIDDEN, batch=HIDDEN, name=HIDDEN, byte_size=1, expires_at=now()),
                WebhookRow(id=WEBHOOK, url=HIDDEN, events=["job.done"]),
                TokenRow(id="token_1", name=HIDDEN, digest=DIGEST, scopes=["read"]),
                AnswerRow(owner="anna", key=HIDDEN, route="x", request=DIGEST),
                IntentRow(tag=TAG, job=JOB, subject=HIDDEN, vendor="fal", what="x", request={}, state="undecided"),
                LedgerRow(job=JOB, intent=TAG, subject=HIDDEN, vendor="fal", what="x", estimated=1, actual=1),
            ],
            [
                DatasetPhotoRow(dataset=DIGEST, digest=DIGEST),
                TrainingRow(
                    id=TRAINING,
                    subject=HIDDEN,
                    dataset=DIGEST,
                    base="limner-tiny",
                    trainer="local",
                    recipe={},
                    sample_prompts=[],
                    state="failed",
                ),
                GenerationLoraRow(generation=GENERATION, lora=HIDDEN),
                GenerationSubjectRow(generation=GENERATION, subject=HIDDEN),
                ImageRow(
                    generation=GENERATION,
                    position=0,
                    digest=PICTURE,
                    media_type="image/png",
                    width=8,
                    height=8,
                    seed=1,
                    seconds=1,
                ),
                EventRow(kind="job.failed", job=JOB),
            ],
            [
                CheckpointRow(training=TRAINING, step=1, digest=LORA),
                CurvePointRow(training=TRAINING, curve="loss", step=1, value=0.5),
                SampleRow(training=TRAINING, step=1, position=0, prompt=HIDDEN, digest=PICTURE),
                LoraRow(
                    subject=HIDDEN,
                    version=1,
                    digest=LORA,
                    tensor_digest=LORA,
                    training=TRAINING,
                    base="limner-tiny",
                    naming="diffusers",
                    rank=4,
                    alpha=4.0,
                    modules=1,
                    byte_size=1,
                    trigger="annadog",
                    header={},
                ),
                GridRow(id=GRID, training=TRAINING, prompt=HIDDEN, request={}, x={}, y={}, cells=[]),
                DeliveryRow(webhook=WEBHOOK, event=1),
            ],
            [
                PublicationRow(
                    lora=1, hub="folder", repo=HIDDEN, revision="1", visibility="public", url="https://example.org"
                ),
                VoteRow(grid=GRID, winner=1, loser=1),
                LoraOriginalRow(lora=1, digest=PICTURE),
            ],
        ]
        for group in groups:
            session.add_all(group)
            session.flush()


REPORT: dict[str, Any] = {
    "source": HIDDEN,
    "status": "accepted",
    "findings": [],
    "photo": None,
    "measures": None,
    "duplicate_of": None,
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A home with two users, in which everything is Anna's. Its tests change nothing of hers, or they fail."""
    home = tmp_path_factory.mktemp("filled") / "home"
    with Studio(settings=Settings(home=home, start_worker=False)) as made:
        with made._workspace.database.write() as session:
            session.add_all([UserRow(name="anna", password="-", admin=True), UserRow(name="ben", password="-")])
        made.owned_by("anna").subjects.add("bygone", kind="style")
        made.owned_by("anna").erasure.erase("bygone")
        fill(made.owned_by("anna"))
        made.members.open_session("anna")
        made._workspace.database.dispose()
        shutil.copytree(home, home.with_name("as filled"))
        yield made


@pytest.fixture(scope="module")
def annas(shared: Studio) -> set[tuple[Any, ...]]:
    return _everything(shared)


@pytest.fixture
def studio(shared: Studio, tmp_path: Path) -> Iterator[Studio]:
    """A copy of it, in which something may be changed."""
    shutil.copytree(shared.settings.home.with_name("as filled"), tmp_path / "home")
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        yield made


@pytest.fixture
def ben(studio: Studio) -> Studio:
    return studio.owned_by("ben")


# --- the tables -------------------------------------------------------------------------------------------------------

KINDS = sorted(Row.__subclasses__(), key=lambda kind: kind.__name__)


def test_every_table_has_an_owner_or_is_known_to_need_none() -> None:
    ruled = {kind.__name__ for kind in (*OWNED, *BELONGING, AnswerRow, UserRow, SessionRow)} | FREE
    assert {kind.__name__ for kind in KINDS} == ruled


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.__name__ not in FREE], ids=lambda kind: kind.__name__)
def test_no_row_of_anothers_is_read_changed_or_deleted(shared: Studio, kind: Any) -> None:
    everybody = shared._workspace.database
    own, others = as_seen_by(everybody, "anna"), as_seen_by(everybody, "ben")
    keys = [getattr(kind, column.key) for column in look_at(kind).primary_key]
    with everybody.read() as session:
        rows = [tuple(row) for row in session.execute(select(*keys))]
    with own.read() as session:
        mine = [tuple(row) for row in session.execute(select(*keys))]
        assert all(session.get(kind, row) is not None for row in mine)
    assert mine, "there is nothing to be hidden"
    with others.write() as session:
        seen = [tuple(row) for row in session.execute(select(*keys))]
        assert not set(seen) & set(mine)
        assert not {tuple(getattr(row, key.key) for key in keys) for row in session.scalars(select(kind))} & set(mine)
        assert session.scalar(select(func.count()).select_from(kind)) == len(seen)
        assert all(session.get(kind, row) is None for row in mine)
        changed = session.execute(update(kind).values({keys[0].key: keys[0]}))
        assert changed.rowcount == len(seen)
        if kind is not UserRow:
            assert session.execute(delete(kind)).rowcount == len(seen)
        session.rollback()
    with everybody.read() as session:
        left = {tuple(row) for row in session.execute(select(*keys))}
    assert left == set(rows)


# --- the methods ------------------------------------------------------------------------------------------------------

PLACES = {
    "maintenance.bases": "the catalog",
    "maintenance.back_ends": "what is installed",
    "generations.prompt_templates": "the catalog",
    "maintenance.doctor": "the machine's; the web shows it to admins",
    "accounts.all": "the home's tokens; the web shows them to admins",
    "accounts.login": "the home's tokens",
    "accounts.logout": "the home's tokens",
    "close": "of the home",
    "jobs.work": "of the home",
    "work": "of the home",
    "owned_by": "makes a view, and is not given to users",
    "loras.inspect": "reads a file of the caller's",
    "generations.reproduced": "reads a file of the caller's",
    "generations.reproduce": "reads a file of the caller's",
    "jobs.changes": "a number that says that something changed",
    "subjects.propose": "says again what it is told",
    "members.add_token": "says again what it is told",
    "answers.keep": "keeps what it is given, under a key of the user's own",
    "members.session": "asked with a secret that only its owner has",
    "members.close_session": "asked with a secret that only its owner has",
    "members.token": "asked with a secret that only its owner has",
    "members.check_password": "asked with a secret that only its owner has",
    "members.open_session": "for the server, which has checked the password",
    "members.secret_for": "for the server; routes do not give it on",
    "gallery.thumbnail": "of a picture that was looked up before",
    "gallery.drawn_thumbnail": "of a picture that was looked up before",
    "jobs.once": "starts what it is given",
}
"""Methods that give nothing of anybody's."""

ARGUMENTS: dict[str, Any] = {
    "slug": HIDDEN,
    "subject": HIDDEN,
    "dataset": DIGEST,
    "training": TRAINING,
    "lora": f"{HIDDEN}@v1",
    "generation": GENERATION,
    "image": 1,
    "images": [1],
    "picture": 1,
    "pictures": [1],
    "number": 1,
    "numbers": [1],
    "ids": [1],
    "thing": GENERATION,
    "job": JOB,
    "tag": TAG,
    "grid": GRID,
    "upload": UPLOAD,
    "id": UPLOAD,
    "batch": HIDDEN,
    "photo": DIGEST,
    "photos": [DIGEST],
    "digest": DIGEST,
    "digests": [DIGEST],
    "webhook": WEBHOOK,
    "token": "token_1",
    "paths": ["nowhere"],
    "prompts": ["a photo"],
    "prompt": "a photo of {trigger}",
    "destination": "nowhere",
    "layout": "kohya",
    "caption": "a dog",
    "consent": Consent(statement="yes", given_by="ben", given_at=None),
    "visibility": "public",
    "decision": "drop",
    "step": 1,
    "steps": [1],
    "source": LORA,
    "password": "another password",
    "winner": 1,
    "loser": 1,
    "offset": 0,
    "favourite": True,
    "name": f"{HIDDEN}@v1",
    "card": "a card",
    "hub": "folder",
    "captions": {DIGEST: "a dog"},
    "spool": SimpleNamespace(close=lambda: None, size=1, digest=DIGEST, file=Path("nowhere")),
    "wanted": GalleryFilter(),
    "naming": "",
}


def methods() -> list[str]:
    """All public methods of the studio and of what its properties give: a new one is asked without being listed."""
    found = []
    for name, member in vars(Studio).items():
        if name.startswith("_") or name == "settings":  # the home's, not anybody's
            continue
        if isinstance(member, property):
            kind = inspect.get_annotations(member.fget)["return"]
            module = {
                "Members": "limner.operations.members.actions",
                "Gallery": "limner.operations.gallery.actions",
                "Uploads": "limner.operations.uploads.actions",
            }.get(kind) or _module_of(kind)
            facet = getattr(__import__(module, fromlist=[kind]), kind)
            found += [
                f"{name}.{inner}"
                for inner, it in vars(facet).items()
                if isinstance(it, FunctionType) and not inner.startswith("_")
            ]
        elif callable(member) or isinstance(member, staticmethod):
            found.append(name)
    return [name for name in found if name not in PLACES]


def _module_of(kind: str) -> str:
    source = inspect.getsource(inspect.getmodule(Studio))  # type: ignore[arg-type]
    line = next(line for line in source.splitlines() if line.strip().endswith(f"import {kind}"))
    return line.split()[1]


def call(studio: Studio, name: str) -> list[Any]:
    """What a method gives when it is asked without more than it needs, and when it is asked for Anna's things."""
    facet, _, inner = name.rpartition(".")
    target = getattr(getattr(studio, facet) if facet else studio, inner or name)
    parameters = [
        one
        for one in inspect.signature(target).parameters.values()
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    needed = [one for one in parameters if one.default is one.empty]
    answers: list[Any] = []
    for wanted in (needed, parameters):
        given = {one.name: _argument(target, one) for one in wanted if one.name in ARGUMENTS or one in needed}
        if name in ("generate", "generations.start", "generations.offers", "grids.plan", "grids.start"):
            given["loras"] = [HIDDEN]
        try:
            answers.append(_all(target(**given)))
        except (NotFound, AccessRefused, Conflict, InputRefused) as refused:
            answers.append(refused)
    return answers


def _argument(target: Any, parameter: inspect.Parameter) -> Any:
    """What is asked for: Anna's, where the name tells of what kind it is, else anything of the right type."""
    if parameter.name in ARGUMENTS:
        return ARGUMENTS[parameter.name]
    kind = str(parameter.annotation)
    for start, value in (
        ("int", 1),
        ("bool", True),
        ("str", HIDDEN),
        ("Path", Path("nowhere")),
        ("bytes", b"x"),
        ("Mapping", {HIDDEN: HIDDEN}),
        ("Sequence[int", [1]),
        ("Sequence[bytes", [b"x"]),
        ("Collection[int", [1]),
        ("Sequence", [HIDDEN]),
        ("Iterable", [HIDDEN]),
        ("Collection", [HIDDEN]),
        ("Callable", lambda *_: None),
        ("Crop", Crop(0, 0, 64, 64)),
        ("Axis", ("scale", [0.5, 1.0])),
    ):
        if kind.startswith(start):
            return value
    raise AssertionError(f"say in ARGUMENTS what '{parameter.name}: {kind}' of {target.__qualname__} is")


def _all(given: Any) -> Any:
    if inspect.isgenerator(given):
        return list(given)
    if hasattr(given, "__anext__"):
        import asyncio

        async def gather() -> list[Any]:
            return [one async for one in given]

        return asyncio.run(gather())
    if inspect.iscoroutine(given):
        import asyncio

        return asyncio.run(given)
    return given


def _words(answer: Any) -> str:
    try:
        return json.dumps(plain(answer), default=repr)
    except (TypeError, ValueError):
        return repr(answer)


@pytest.mark.parametrize("name", methods())
def test_no_method_tells_or_changes_anything_of_anothers(
    shared: Studio, annas: set[tuple[Any, ...]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ben = shared.owned_by("ben")
    for answer in call(ben, name):
        if isinstance(answer, LimnerError):
            # An error says again what was asked for, and no more: Anna's subject was named, her picture was not.
            told = [mark for mark in ("annadog", PICTURE) if mark in str(answer)]
        else:
            told = [mark for mark in (*MARKS, "annadog") if mark in _words(answer)]
        assert told == [], f"{name} tells {told}: {_words(answer)[:300]}"
    assert _everything(shared) == annas, f"{name} changed something of Anna's"


def _everything(studio: Studio) -> set[tuple[Any, ...]]:
    """All that is Anna's, as it is in the tables."""
    found = set()
    own = as_seen_by(studio._workspace.database, "anna")
    with own.read() as session:
        for kind in KINDS:
            if kind.__name__ in FREE:
                continue
            columns = [getattr(kind, column.key) for column in look_at(kind).column_attrs]
            found |= {(kind.__name__, *map(repr, row)) for row in session.execute(select(*columns))}
    return found


def test_anna_sees_what_is_hers(studio: Studio) -> None:
    anna = studio.owned_by("anna")
    assert [one.slug for one in anna.subjects.all()] == [HIDDEN]
    assert anna.generations.image(1).digest == PICTURE
    assert anna.loras.get(HIDDEN).digest == LORA
    assert anna.jobs.get(JOB).subject == HIDDEN
    assert anna.payments.costs().total == 1
    assert [one.slug for one in studio.subjects.all()] == [HIDDEN], "who is nobody in particular sees everything"


WRITES = {
    "record_consent": lambda it: it.subjects.record_consent(
        HIDDEN, Consent(statement="x", given_by="x", given_at=None)
    ),
    "withdraw_consent": lambda it: it.subjects.withdraw_consent(HIDDEN),
    "remove_subject": lambda it: it.erasure.erase(HIDDEN),
    "add_photos": lambda it: it.photos.add(HIDDEN, ["nowhere"]),
    "set_caption": lambda it: it.photos.set_caption(HIDDEN, DIGEST, "x"),
    "remove_photo": lambda it: it.photos.remove(HIDDEN, DIGEST),
    "freeze": lambda it: it.datasets.freeze(HIDDEN),
    "train": lambda it: it.train(HIDDEN),
    "resume_training": lambda it: it.trainings.resume(TRAINING),
    "publish": lambda it: it.publications.start(HIDDEN),
    "unpublish": lambda it: it.publications.unpublish(HIDDEN),
    "set_lora_visibility": lambda it: it.publications.set_visibility(HIDDEN, "public"),
    "generate": lambda it: it.generate("x {trigger}", loras=[HIDDEN]),
    "run": lambda it: it.run(HIDDEN, ["nowhere"], ["x"]),
    "cancel": lambda it: it.cancel(JOB),
    "resume": lambda it: it.resume(JOB),
    "decide_purchase": lambda it: it.payments.decide(TAG, "drop"),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_anothers_cannot_be_found_to_be_changed(ben: Studio, name: str) -> None:
    with pytest.raises(NotFound):
        WRITES[name](ben)


def test_a_taken_slug_is_refused_without_saying_whose_it_is(ben: Studio) -> None:
    with pytest.raises(Conflict) as refused:
        ben.subjects.add(HIDDEN, kind="pet")
    assert "anna" not in str(refused.value).replace(HIDDEN, "")


def test_new_things_belong_to_who_makes_them(studio: Studio, ben: Studio) -> None:
    ben.subjects.add("rex", kind="pet")
    studio.subjects.add("of-the-command-line", kind="pet")
    with studio._workspace.database.read() as session:
        owners = dict(session.execute(select(SubjectRow.slug, SubjectRow.owner)).all())
    assert owners == {HIDDEN: "anna", "rex": "ben", "of-the-command-line": "anna"}


def test_without_users_everything_belongs_to_nobody(tmp_path: Path) -> None:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        made.subjects.add("rex", kind="pet")
        with made._workspace.database.read() as session:
            assert session.scalar(select(SubjectRow.owner)) is None


def test_erasing_ones_own_keeps_bytes_that_another_has_too(studio: Studio, ben: Studio) -> None:
    data = b"the same photo"
    blobs = studio._workspace.blobs
    digest = blobs.put(data)
    ben.subjects.add("rex", kind="pet")
    for owner, slug in (("anna", HIDDEN), ("ben", "rex")):
        with studio._workspace.owned_by(owner).database.write() as session:
            if owner == "anna":
                session.add(BlobRow(digest=digest, media_type="image/png", byte_size=len(data)))
                session.flush()
            session.add(PhotoRow(subject=slug, digest=digest, width=8, height=8, source="x", report=REPORT))
    assert ben.erasure.erase("rex").left == ()
    assert blobs.path(digest).read_bytes() == data
    with studio._workspace.database.read() as session:
        assert session.get(BlobRow, digest) is not None
        assert session.get(BlobRow, DIGEST) is not None


def test_all_owners_share_one_way_onto_the_queue(studio: Studio, ben: Studio) -> None:
    assert ben._workspace.submitter is studio._workspace.submitter is studio.owned_by("anna")._workspace.submitter
