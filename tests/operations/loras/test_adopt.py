"""Importing loras of others: every form of source, every naming, and what must not be fetched or believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from limner.errors import (
    AccountRefused,
    BaseUnclear,
    Conflict,
    InputRefused,
    LimnerError,
    LoraRefused,
    NotFound,
    StorageFailed,
)
from limner.hubs.hub import WEIGHTS_NAME
from limner.operations.home.workspace import Workspace
from limner.operations.loras import sources as lora_sources
from limner.operations.loras.actions import Loras
from limner.operations.loras.remote import describe_remote
from limner.operations.loras.sources import HubFile
from limner.operations.publications.actions import Publications
from limner.settings import Settings
from limner.stand_ins.hub.repos import HubRepo
from limner.stand_ins.hub.server import HuggingFaceStandIn
from limner.stand_ins.serving import serve
from limner.types import Visibility
from tests.servers.hub import hub_server
from tests.servers.quick_engine import QuickEngine, quick_lora

__all__ = ["hub_server"]

CARD = "---\nbase_model: limner-tiny\ninstance_prompt: zibbo\ntags: [lora]\n---\n# x\n"


def lora_bytes(seed: int = 0) -> bytes:
    """A small true lora of limner-tiny, in diffusers' naming."""
    picture = QuickEngine().draw("limner-tiny", "x", loras=(), width=64, height=64, steps=1, guidance=1.0, seed=seed)
    return QuickEngine().train(
        "limner-tiny", [("a.png", picture, "")], steps=1, rank=2, learning_rate=1.0, seed=seed,
        on_step=lambda step, loss: None, cancelled=lambda: False,
    )  # fmt: skip


def kohya(path: Path) -> dict[str, Any]:
    """A lora of limner-tiny in Kohya's naming, its strength said by alpha: its weights are half as strong."""
    chance = np.random.default_rng(3)
    stem = "lora_unet_double_blocks_0_img_attn_proj"
    tensors = {
        f"{stem}.lora_down.weight": chance.standard_normal((4, 192)).astype(np.float32),
        f"{stem}.lora_up.weight": chance.standard_normal((192, 4)).astype(np.float32),
        f"{stem}.alpha": np.array(2.0, np.float32),
    }
    save_file(tensors, path)
    return tensors


@pytest.fixture
def workspace(tmp_path: Path, hub_server: HuggingFaceStandIn) -> Iterator[Workspace]:
    made = Workspace(Settings(home=tmp_path / "home", huggingface_url=hub_server.url, start_worker=False))
    yield made
    made.close()


@pytest.fixture
def on_hub(hub_server: HuggingFaceStandIn) -> Callable[..., HubRepo]:
    """Put files on the hub: ``on_hub({"a.safetensors": data}, card="", private=False, owner="ann")``."""

    def put(files: dict[str, bytes], *, card: str = CARD, private: bool = False, owner: str = "ann") -> HubRepo:
        repo = HubRepo(f"{owner}/zib", private, hub_server.contents)
        held = {name: repo.keep(data, lfs=name.endswith(".safetensors")) for name, data in files.items()}
        repo.commit(held | {"README.md": repo.keep(card.encode(), lfs=False)}, summary="x", author=owner)
        hub_server.repos[f"{owner}/zib"] = repo
        return repo

    return put


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("ann/zib", HubFile("ann/zib")),
        ("ann/zib@v2", HubFile("ann/zib", "v2")),
        ("ann/zib@refs/pr/1", HubFile("ann/zib", "refs/pr/1")),
        ("ann/zib/a.safetensors", HubFile("ann/zib", "", "a.safetensors")),
        ("ann/zib@v2/deep/a.safetensors", HubFile("ann/zib", "v2", "deep/a.safetensors")),
        ("https://huggingface.co/ann/zib", HubFile("ann/zib")),
        ("https://hf.co/ann/zib/", HubFile("ann/zib")),
        ("https://huggingface.co/ann/zib/tree/main", HubFile("ann/zib", "main")),
        ("https://huggingface.co/ann/zib/blob/main/a.safetensors", HubFile("ann/zib", "main", "a.safetensors")),
        ("https://huggingface.co/ann/zib/resolve/v1/a%20b.safetensors?download=true",
         HubFile("ann/zib", "v1", "a b.safetensors")),
        ("https://huggingface.co/ann/zib/resolve/refs%2Fpr%2F1/a.safetensors",
         HubFile("ann/zib", "refs/pr/1", "a.safetensors")),
        ("https://example.org/a.safetensors", "https://example.org/a.safetensors"),
        ("./a.safetensors", Path("a.safetensors")),
        ("/nowhere/a.safetensors", Path("/nowhere/a.safetensors")),
        ("loras/a.safetensors", Path("loras/a.safetensors")),
    ],
)  # fmt: skip
def test_a_source_is_what_it_looks_like(source: str, place: object) -> None:
    assert lora_sources.parse(source, Settings()) == place


@pytest.mark.parametrize(
    "source",
    ["", "zib", "https://huggingface.co/datasets/ann/zib", "a b/c", "https://hf.co/ann", "https://[x", "a/" * 300],
)
def test_what_names_no_lora_is_refused(source: str) -> None:
    with pytest.raises(InputRefused):
        lora_sources.parse(source, Settings())


@given(st.text(max_size=80) | st.from_regex(r"[a-z./@:-]{1,40}", fullmatch=True))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    try:
        place = lora_sources.parse(text, Settings())
    except (LimnerError, ValueError) as refused:
        assert isinstance(refused, LimnerError), text
    else:
        assert isinstance(place, Path | HubFile | str)


# --- importing --------------------------------------------------------------------------------------------------------


def test_a_file_becomes_a_lora_of_a_new_subject(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(lora_bytes())
    made = Loras(workspace).adopt(path, subject="zib", kind="character", trigger="zibbo")
    assert (made.name, made.base, made.trigger, made.training) == ("zib@v1", "limner-tiny", "zibbo", None)
    assert made.path.read_bytes() == path.read_bytes()
    assert Loras(workspace).adopt(path, subject="zib").name == "zib@v1"
    path.write_bytes(lora_bytes(1))
    assert Loras(workspace).adopt(path, subject="zib").name == "zib@v2"
    with pytest.raises(Conflict, match="zib@v2"):
        Loras(workspace).adopt(path, subject="other")
    assert not list((workspace.home / "runs").glob("import-*"))


def test_another_naming_is_converted_without_changing_what_it_does(workspace: Workspace, tmp_path: Path) -> None:
    tensors = kohya(tmp_path / "kohya.safetensors")
    made = Loras(workspace).adopt(tmp_path / "kohya.safetensors", subject="zib")
    assert made.naming == "diffusers"
    got = load_file(made.path)
    (up,) = [value for name, value in got.items() if name.endswith("lora_B.weight")]
    (down,) = [value for name, value in got.items() if name.endswith("lora_A.weight")]
    before = [value for name, value in tensors.items() if value.ndim == 2]
    assert np.allclose(up @ down, before[1] @ before[0] * 0.5, rtol=1e-6)


def test_what_conversion_mends_is_mended(workspace: Workspace, tmp_path: Path) -> None:
    tensors = kohya(tmp_path / "a.safetensors")
    chance = np.random.default_rng(5)
    stem = "transformer.transformer_blocks.1.attn.to_q"
    tensors[f"{stem}.lora_A.weight"] = chance.standard_normal((4, 192)).astype(np.float32)
    tensors[f"{stem}.lora_B.weight"] = chance.standard_normal((192, 4)).astype(np.float32)
    save_file(tensors, tmp_path / "mixed.safetensors")
    made = Loras(workspace).adopt(tmp_path / "mixed.safetensors", subject="zib")
    assert made.naming == "diffusers"
    assert all(name.startswith("transformer.") for name in load_file(made.path))
    assert len(load_file(made.path)) == 4


@pytest.mark.parametrize(
    ("card", "base"),
    [("black-forest-labs/FLUX.1-schnell", "flux1-schnell"), ("black-forest-labs/FLUX.2-dev", "")],
)
def test_the_card_decides_between_bases_that_fit_and_no_others(
    workspace: Workspace, on_hub: Callable[..., HubRepo], card: str, base: str
) -> None:
    on_hub({WEIGHTS_NAME: quick_lora("flux1-dev", 1, b"x")}, card=CARD.replace("limner-tiny", card))
    seen = describe_remote("ann/zib", workspace.settings)
    assert (seen.base, set(seen.candidates)) == (base, {"flux1-dev", "flux1-schnell"})
    if base:
        assert Loras(workspace).adopt("ann/zib", subject="zib").base == base
    else:
        with pytest.raises(BaseUnclear):
            Loras(workspace).adopt("ann/zib", subject="zib")


def test_what_is_no_lora_stays_out(workspace: Workspace, tmp_path: Path) -> None:
    for name, data in {
        "page.safetensors": b"<!doctype html>",
        "cut.safetensors": lora_bytes()[:-10],
        "other.safetensors": save({"lora_te_text_model.x": np.zeros((2, 2), np.float32)}),
        "pickle.safetensors": b"\x80\x02}q\x00.",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(LoraRefused):
            Loras(workspace).adopt(tmp_path / name, subject="zib")
    with pytest.raises(NotFound):
        Loras(workspace).adopt(tmp_path / "nothing.safetensors", subject="zib")
    with workspace.database.read() as session:
        from limner.store.models import LoraRow, SubjectRow

        assert session.query(LoraRow).count() == session.query(SubjectRow).count() == 0
    assert workspace.blobs.digests() == []


@pytest.mark.parametrize(
    "source",
    ["ann/zib", "ann/zib@main", f"ann/zib/{WEIGHTS_NAME}", "{url}/ann/zib", "{url}/ann/zib/blob/main/" + WEIGHTS_NAME],
)
def test_from_the_hub_with_the_words_of_its_card(
    workspace: Workspace, on_hub: Callable[..., HubRepo], hub_server: HuggingFaceStandIn, source: str
) -> None:
    on_hub({WEIGHTS_NAME: lora_bytes(), "other.safetensors": b"x\0"}, private=True)
    made = Loras(workspace).adopt(source.format(url=hub_server.url), subject="zib")
    assert (made.name, made.trigger, made.base) == ("zib@v1", "zibbo", "limner-tiny")
    assert made.path.read_bytes() == lora_bytes()


def test_a_cards_sentence_is_no_trigger_of_a_subject(workspace: Workspace, on_hub: Callable[..., HubRepo]) -> None:
    on_hub({WEIGHTS_NAME: lora_bytes()}, card=CARD.replace("zibbo", "a photo, of zibbo!"))
    assert Loras(workspace).adopt("ann/zib", subject="zib").trigger == "a photo, of zibbo!"
    with workspace.database.read() as session:
        from limner.store.models import SubjectRow

        assert session.get_one(SubjectRow, "zib").trigger == "zib"


def test_several_files_and_none_are_told(workspace: Workspace, on_hub: Callable[..., HubRepo]) -> None:
    on_hub({"a.safetensors": lora_bytes(), "b.safetensors": lora_bytes(1)})
    with pytest.raises(InputRefused, match=r"a\.safetensors, b\.safetensors"):
        Loras(workspace).adopt("ann/zib", subject="zib")
    assert Loras(workspace).adopt("ann/zib/b.safetensors", subject="zib").name == "zib@v1"
    on_hub({"deep/a.safetensors": lora_bytes()})
    with pytest.raises(NotFound) as raised:
        Loras(workspace).adopt("ann/zib", subject="zib")
    assert "ann/zib/deep/a.safetensors" in raised.value.remedy
    with pytest.raises(NotFound):
        Loras(workspace).adopt("ann/nobody", subject="zib")


def test_a_gated_repo_says_what_to_do(
    workspace: Workspace, on_hub: Callable[..., HubRepo], hub_server: HuggingFaceStandIn
) -> None:
    repo = on_hub({WEIGHTS_NAME: lora_bytes()}, owner="bob")
    repo.gated = "auto"
    with pytest.raises(AccountRefused, match="gated") as raised:
        Loras(workspace).adopt("bob/zib", subject="zib")
    assert "terms" in raised.value.remedy
    hub_server.granted.add(("bob/zib", "ann"))
    assert Loras(workspace).adopt("bob/zib", subject="zib").name == "zib@v1"


def test_what_the_hub_gives_must_be_what_it_promised(
    workspace: Workspace, on_hub: Callable[..., HubRepo], hub_server: HuggingFaceStandIn
) -> None:
    repo = on_hub({WEIGHTS_NAME: lora_bytes()})
    hub_server.contents[repo.main.files[WEIGHTS_NAME].sha256] = lora_bytes(1)
    with pytest.raises(StorageFailed, match="digest"):
        Loras(workspace).adopt("ann/zib", subject="zib")


# --- from afar --------------------------------------------------------------------------------------------------------


def test_a_lora_is_known_from_afar_by_the_start_of_its_file(
    workspace: Workspace, on_hub: Callable[..., HubRepo], hub_server: HuggingFaceStandIn
) -> None:
    data = lora_bytes()
    repo = on_hub({WEIGHTS_NAME: data})
    seen = describe_remote("ann/zib", workspace.settings)
    assert (seen.base, seen.naming, seen.trigger, seen.byte_size) == ("limner-tiny", "diffusers", "zibbo", len(data))
    assert seen.digest == repo.main.files[WEIGHTS_NAME].sha256
    assert seen.url == f"{hub_server.url}/ann/zib/resolve/{repo.main.sha}/{WEIGHTS_NAME}"
    repo.private = True
    assert describe_remote("ann/zib", workspace.settings).url == ""


def test_only_the_header_is_read_however_long(
    workspace: Workspace, on_hub: Callable[..., HubRepo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.operations.loras.remote.FIRST_READ", 64)
    read: list[int] = []
    start = lora_sources.PublicWeb.start

    def counted(self: Any, url: str, count: int, **options: Any) -> Any:
        got = start(self, url, count, **options)
        read.append(len(got.data))
        return got

    monkeypatch.setattr(lora_sources.PublicWeb, "start", counted)
    data = lora_bytes()
    on_hub({WEIGHTS_NAME: data})
    assert describe_remote("ann/zib", workspace.settings).base == "limner-tiny"
    assert len(read) == 2
    assert sum(read) == 8 + int.from_bytes(data[:8], "little") < len(data)


def test_a_file_here_is_not_far(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(lora_bytes())
    with pytest.raises(InputRefused, match="on this machine"):
        describe_remote(str(path), workspace.settings)


# --- any address ------------------------------------------------------------------------------------------------------


def site(ranges: bool = True) -> tuple[Starlette, list[Request]]:
    """A plain web server: a lora, one that is larger than told, and redirects to wherever."""
    seen: list[Request] = []

    async def lora(request: Request) -> Response:
        seen.append(request)
        data, span = lora_bytes(), request.headers.get("range", "")
        if ranges and span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            end = min(int(last or len(data) - 1), len(data) - 1)
            headers = {"content-range": f"bytes {first}-{end}/{len(data)}", "etag": '"x"'}
            return Response(data[int(first) : end + 1], 206, headers)
        return Response(data, headers={"etag": '"x"'})

    async def away(request: Request) -> Response:
        return RedirectResponse(request.query_params["to"])

    return Starlette(routes=[Route("/lora.safetensors", lora), Route("/away", away)]), seen


@pytest.mark.parametrize("ranges", [True, False])
def test_an_address_of_any_server(workspace: Workspace, ranges: bool) -> None:
    app, seen = site(ranges)
    with serve(app) as url:
        address = f"{url}/lora.safetensors"
        far = describe_remote(address, workspace.settings)
        assert (far.base, far.url, far.byte_size) == ("limner-tiny", address, len(lora_bytes()))
        made = Loras(workspace).adopt(f"{url}/away?to={address}", subject="zib")
        assert made.path.read_bytes() == lora_bytes()
    assert not any("authorization" in request.headers for request in seen)


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.safetensors",
        "ftp://example.org/a.safetensors",
        "file:///etc/passwd",
        "https://10.0.0.1/a.safetensors",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:192.168.0.1]/a.safetensors",
        "https://[fd00::1]/a.safetensors",
        "https://0.0.0.0/a.safetensors",
        "https://user:secret@1.1.1.1/a.safetensors",
    ],
)
def test_no_address_leads_inside(workspace: Workspace, address: str) -> None:
    with pytest.raises(InputRefused, match="is not fetched") as raised:
        Loras(workspace).adopt(address, subject="zib")
    assert "secret" not in str(raised.value)


def test_no_redirect_leads_inside(workspace: Workspace) -> None:
    app, _ = site()
    with serve(app) as url:
        for target in ("https://10.0.0.1/x", "https://192.168.1.1/x", "file:///etc/passwd"):
            with pytest.raises(InputRefused):
                Loras(workspace).adopt(f"{url}/away?to={target}", subject="zib")


def test_a_name_that_leads_inside_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = [(2, 1, 6, "", ("1.1.1.1", 443)), (2, 1, 6, "", ("192.168.0.7", 443))]
    monkeypatch.setattr("limner.vendors.http.public_web.socket.getaddrinfo", lambda *a, **k: inside)
    with pytest.raises(InputRefused, match="inside a network"):
        Loras(workspace).adopt("https://nice.example/a.safetensors", subject="zib")


def test_a_file_too_large_is_refused_at_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = site()
    monkeypatch.setattr("limner.loras.file.header.LARGEST_FILE", 1000)
    with serve(app) as url, pytest.raises(StorageFailed, match="larger"):
        Loras(workspace).adopt(f"{url}/lora.safetensors", subject="zib")


# --- what is published ------------------------------------------------------------------------------------------------


def test_what_is_on_the_hub_is_listed_opened_and_taken_away(
    workspace: Workspace, hub_server: HuggingFaceStandIn, tmp_path: Path
) -> None:
    from limner.operations.publications import job as publication_job

    (tmp_path / "a.safetensors").write_bytes(lora_bytes())
    Loras(workspace).adopt(tmp_path / "a.safetensors", subject="zib", kind="character", trigger="zibbo")
    publication_job.publish_now(workspace, "zib", hub="huggingface", visibility=Visibility.PRIVATE)
    (entry,) = Publications(workspace).hub_listing("huggingface")
    assert (entry.repo, entry.visibility, entry.loras) == ("ann/zib-lora", Visibility.PRIVATE, ("zib@v1",))
    assert Publications(workspace).set_visibility("zib", Visibility.PUBLIC) == [
        ("huggingface", "ann/zib-lora", Visibility.PUBLIC)
    ]
    assert not hub_server.repos["ann/zib-lora"].private
    with workspace.database.read() as session:
        from limner.store.models import PublicationRow

        assert {row.visibility for row in session.query(PublicationRow)} == {"public"}
    del hub_server.repos["ann/zib-lora"]
    assert Publications(workspace).unpublish("zib") == [("huggingface", "ann/zib-lora")]
    with pytest.raises(NotFound, match="not published"):
        Publications(workspace).unpublish("zib")
    assert Publications(workspace).hub_listing("huggingface") == []


def test_a_person_is_not_made_public_without_consent(
    workspace: Workspace, hub_server: HuggingFaceStandIn, tmp_path: Path
) -> None:
    from limner.operations.publications import job as publication_job

    (tmp_path / "a.safetensors").write_bytes(lora_bytes())
    Loras(workspace).adopt(tmp_path / "a.safetensors", subject="jane", kind="person", trigger="jane_doe")
    publication_job.publish_now(workspace, "jane", hub="huggingface", visibility=Visibility.PRIVATE)
    with pytest.raises(Conflict, match="consent"):
        Publications(workspace).set_visibility("jane", Visibility.PUBLIC)
    assert hub_server.repos["ann/jane-lora"].private


# --- what PEFT and ComfyUI save ---------------------------------------------------------------------------------------

PEFT_LAYER = "base_model.model.transformer_blocks.0.attn.to_q.lora_{}.my_style.weight"
PEFT = {PEFT_LAYER.format("A"): np.ones((4, 192), np.float32), PEFT_LAYER.format("B"): np.ones((192, 4), np.float32)}
CONFIG = b'{"peft_type": "LORA", "r": 4, "lora_alpha": 1.2}'
STORED = "transformer.transformer_blocks.0.attn.to_q.lora_{}.weight"


def strength_of(path: Path) -> float:
    """What the one layer of a file adds to each weight, as a program that reads weights alone would have it."""
    tensors = load_file(path)
    assert set(tensors) == {STORED.format("A"), STORED.format("B")}
    change = tensors[STORED.format("B")].astype(float) @ tensors[STORED.format("A")].astype(float)
    assert np.ptp(change) == 0
    return float(change[0, 0])


@pytest.mark.parametrize("place", ["file", "folder", "repo", "folder of a repo"])
def test_a_peft_lora_has_the_strength_of_the_config_beside_it(
    workspace: Workspace, tmp_path: Path, on_hub: Callable[..., HubRepo], place: str
) -> None:
    folder = tmp_path / "my_style"
    folder.mkdir()
    save_file(PEFT, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes(CONFIG)
    weights = (folder / "adapter_model.safetensors").read_bytes()
    on_hub({"adapter_model.safetensors": weights, "adapter_config.json": CONFIG})
    source = {"file": str(folder / "adapter_model.safetensors"), "folder": str(folder), "repo": "ann/zib"}.get(place)
    if source is None:
        files = {"ema/adapter_model.safetensors": weights, "ema/adapter_config.json": CONFIG}
        on_hub(files | {"adapter_config.json": b"{}"})
        source = "ann/zib/ema/adapter_model.safetensors"
    made = Loras(workspace).adopt(source, subject="zibbo", base="limner-tiny")
    assert strength_of(made.path) == pytest.approx(1.2, rel=1e-6)
    assert "adapter-config" in {finding.code for finding in made.findings}


def test_a_strength_that_only_the_header_says_is_stored_in_the_weights(workspace: Workspace, tmp_path: Path) -> None:
    tensors = {STORED.format("A"): PEFT[PEFT_LAYER.format("A")], STORED.format("B"): PEFT[PEFT_LAYER.format("B")]}
    for alpha in (1.2, 8.0):
        header = f'{{"transformer.r": 4, "transformer.lora_alpha": {alpha}}}'
        path = tmp_path / f"{alpha}.safetensors"
        save_file(tensors, path, {"lora_adapter_metadata": header})
        made = Loras(workspace).adopt(path, subject="zibbo", base="limner-tiny")
        assert strength_of(made.path) == pytest.approx(alpha, rel=1e-6)
    as_it_is = tmp_path / "plain.safetensors"
    save_file(tensors, as_it_is)
    kept = Loras(workspace).adopt(as_it_is, subject="zibbo", base="limner-tiny")
    assert kept.path.read_bytes() == as_it_is.read_bytes()


def test_additions_are_refused_with_their_size_or_left_out_on_request(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "comfyui.safetensors"
    stem = "diffusion_model.double_blocks.0.img_attn.proj"
    added = {f"{stem}.diff_b": np.full(192, 0.25, np.float32)}
    plain = {name.replace("lora_unet_double_blocks_0_img_attn_proj", stem): t for name, t in kohya(path).items()}
    save_file(plain | added, path)
    with pytest.raises(LoraRefused, match=r"at most 0\.25") as refused:
        Loras(workspace).adopt(path, subject="zibbo", base="limner-tiny")
    assert "--drop-additions" in refused.value.remedy
    made = Loras(workspace).adopt(path, subject="zibbo", base="limner-tiny", drop_additions=True)
    assert "additions-left-out" in {finding.code for finding in made.findings}
    assert not any("diff" in name for name in load_file(made.path))


@pytest.mark.parametrize("base", ["", "limner-tiny", "flux2-dev"])
@pytest.mark.parametrize("fault", ["two adapters", "second (lora_B) is missing", "different ranks"])
def test_what_no_base_can_be_right_for_is_refused_with_the_true_reason(
    workspace: Workspace, tmp_path: Path, fault: str, base: str
) -> None:
    down, up = PEFT_LAYER.format("A"), PEFT_LAYER.format("B")
    tensors = {
        "two adapters": PEFT | {name.replace("my_style", "other"): tensor for name, tensor in PEFT.items()},
        "second (lora_B) is missing": {down: PEFT[down]},
        "different ranks": {down: PEFT[down], up: np.ones((192, 5), np.float32)},
    }[fault]
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(LoraRefused) as refused:
        Loras(workspace).adopt(tmp_path / "a.safetensors", subject="zibbo", base=base)
    assert fault in str(refused.value)
