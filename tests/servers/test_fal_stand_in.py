"""fal's stand-in, spoken with by fal's own client (fal-client): uploads, queue, logs, results, refusals, cancelling."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fal_client
import httpx
import numpy as np
import pytest
from fal_client import client as protocol
from PIL import Image

from tests.servers.fal_bench import TOKEN, FalBench, open_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FalBench]:
    with open_bench(tmp_path, monkeypatch) as made:
        # fal's client knows its hosts by these names; it has no setting for an address without TLS
        monkeypatch.setattr(protocol, "QUEUE_URL_FORMAT", f"{made.stand_in.queue_url}/")
        monkeypatch.setattr(protocol, "REST_URL", made.stand_in.rest_url)
        monkeypatch.setattr(protocol, "CDN_URL", f"{made.stand_in.url}/cdn")
        yield made


@pytest.fixture
def fal(bench: FalBench) -> fal_client.SyncClient:
    return fal_client.SyncClient(key=TOKEN)


def zipped(*, captions: bool = True) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for number in range(3):
            picture = io.BytesIO()
            Image.fromarray(np.full((8, 8, 3), number * 40, np.uint8)).save(picture, "PNG")
            archive.writestr(f"{number}.png", picture.getvalue())
            if captions:
                archive.writestr(f"{number}.txt", f"[trigger], number {number}")
    return sink.getvalue()


def test_train_and_draw(bench: FalBench, fal: fal_client.SyncClient) -> None:
    url = fal.upload(zipped(), "application/zip", file_name="photos.zip")
    seen: list[fal_client.Status] = []
    bench.stand_in.pace = 0.01
    result = fal.subscribe(
        "limner/limner-tiny-trainer",
        {"images_data_url": url, "steps": 8, "trigger_word": "zibbo"},
        with_logs=True,
        interval=0.005,
        on_queue_update=seen.append,
    )
    weights = httpx.get(result["diffusers_lora_file"]["url"]).content
    assert len(weights) == result["diffusers_lora_file"]["file_size"]
    ended = seen[-1]
    assert isinstance(ended, fal_client.Completed)
    assert ended.logs is not None
    assert "8/8" in ended.logs[-1]["message"]
    assert any(isinstance(one, fal_client.InProgress) for one in seen)
    lora = fal.upload(weights, "application/octet-stream", file_name="lora.safetensors")
    drawn = fal.subscribe(
        "limner/limner-tiny",
        {
            "prompt": "zibbo",
            "loras": [{"path": lora, "scale": 1}],
            "image_size": {"width": 64, "height": 64},
            "seed": 3,
            "num_inference_steps": 4,
        },
        interval=0.005,
    )
    with Image.open(io.BytesIO(httpx.get(drawn["images"][0]["url"]).content)) as picture:
        assert picture.size == (64, 64)
    assert [one.what for one in bench.stand_in.paid] == ["training", "picture"]


def test_uploads_in_parts_and_by_address(
    bench: FalBench, fal: fal_client.SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MULTIPART_THRESHOLD", 1000)
    monkeypatch.setattr(protocol, "MULTIPART_CHUNK_SIZE", 400)
    data = bytes(range(256)) * 5
    assert httpx.get(fal.upload(data, "application/zip", file_name="a.zip")).content == data
    assert httpx.get(fal.upload(data, "application/zip", file_name="a.zip", repository="fal")).content == data
    lasting = fal_client.StorageSettings(expires_in="1h")
    url = fal.upload(b"x", "text/plain", file_name="a.txt", lifecycle=lasting)
    bench.stand_in.files.clock = lambda: 4e9
    assert httpx.get(url).status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Field required"),
        ({"images_data_url": "https://nowhere.invalid/a.zip"}, "Failed to download"),
        ({"images_data_url": "ours", "steps": 0}, "greater than or equal to 1"),
        ({"images_data_url": "ours", "steps": "many"}, "valid integer"),
        ({"images_data_url": "broken"}, "not a zip"),
    ],
)
def test_refused_inputs(bench: FalBench, fal: fal_client.SyncClient, body: dict[str, object], said: str) -> None:
    files = {"ours": zipped(), "broken": b"no zip"}
    url = body.get("images_data_url")
    if url in files:
        body = {**body, "images_data_url": fal.upload(files[str(url)], "application/zip", file_name="a.zip")}
    with pytest.raises(fal_client.FalClientHTTPError) as refused:
        fal.subscribe("limner/limner-tiny-trainer", body, interval=0.005)
    assert refused.value.status_code == 422
    assert said in str(refused.value.message)
    assert bench.stand_in.paid == []


def test_flux2_needs_captions(bench: FalBench, fal: fal_client.SyncClient) -> None:
    url = fal.upload(zipped(captions=False), "application/zip", file_name="a.zip")
    model = "limner/flux2-random-trainer"
    with pytest.raises(fal_client.FalClientHTTPError, match="default_caption"):
        fal.subscribe(model, {"image_data_url": url, "steps": 4}, interval=0.005)
    told = {"image_data_url": url, "steps": 4, "default_caption": "zibbo"}
    assert fal.subscribe(model, told, interval=0.005)["config_file"]["url"]


def test_cancel_and_keys(bench: FalBench, fal: fal_client.SyncClient) -> None:
    bench.stand_in.gate.clear()
    handle = fal.submit("limner/limner-tiny", {"prompt": "a"})
    status = handle.status()
    assert isinstance(status, fal_client.Queued)
    assert status.position == 0
    handle.cancel()
    bench.stand_in.wait()
    ended = handle.status()
    assert isinstance(ended, fal_client.Completed)
    assert ended.error == "Request was cancelled"
    assert bench.stand_in.paid == []
    with pytest.raises(fal_client.FalClientHTTPError, match="Authentication"):
        fal_client.SyncClient(key="nobody's").submit("limner/limner-tiny", {"prompt": "a"})
    other = fal_client.SyncClient(key="fal-another-key")
    with pytest.raises(fal_client.FalClientHTTPError, match="not found"):
        other.status("limner/limner-tiny", handle.request_id)
