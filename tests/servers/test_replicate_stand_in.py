"""The stand-in, driven by the vendor's own SDK and by plain requests: it answers as the real one does."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Iterator

import httpx2
import pytest
from PIL import Image

from limner.stand_ins.replicate.server import ReplicateStandIn
from limner.stand_ins.serving import serve
from limner.vendors.http.standard_webhooks import verify
from tests.servers.contracts import Validated
from tests.servers.quick_engine import QuickEngine
from tests.servers.replicate_bench import described

replicate = pytest.importorskip("replicate")

TRAINER = "limner/limner-tiny-trainer"


@pytest.fixture
def vendor() -> Iterator[ReplicateStandIn]:
    stand_in = ReplicateStandIn(QuickEngine(), tokens={"r8_ann": "ann", "r8_bob": "bob"})
    checked = Validated(stand_in.app, "replicate", under="/v1")
    checked.described = described()
    with serve(checked, stand_in):
        yield stand_in
    assert checked.violations == []


@pytest.fixture
def sdk(vendor: ReplicateStandIn) -> Iterator[object]:
    yield replicate.Client(api_token="r8_ann", base_url=vendor.url)


def photos(count: int = 3, nested: bool = False, captions: bool = True) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            picture = io.BytesIO()
            Image.new("RGB", (32, 32), (number * 40, 90, 20)).save(picture, "PNG")
            folder = "photos/" if nested else ""
            archive.writestr(f"{folder}{number}.png", picture.getvalue())
            if captions:
                archive.writestr(f"{folder}{number}.txt", f"a photo of [trigger], {number}")
        archive.writestr("__MACOSX/._0.png", b"x")
    return out.getvalue()


def named(data: bytes, name: str = "photos.zip") -> io.BytesIO:
    file = io.BytesIO(data)
    file.name = name
    return file


def ended(job: object) -> object:
    for _ in range(1000):
        job.reload()  # type: ignore[attr-defined]
        if job.status in ("succeeded", "failed", "canceled"):  # type: ignore[attr-defined]
            return job
        time.sleep(0.005)
    raise AssertionError("not ended")


def version_of(vendor: ReplicateStandIn, model: str = TRAINER) -> str:
    return vendor.models[model].versions[0].id


def begun(vendor: ReplicateStandIn, sdk: object, data: bytes | None = None, **inputs: object) -> object:
    """A training begun with the SDK as its documentation shows it."""
    if "ann/zibbo" not in vendor.models:
        sdk.models.create(owner="ann", name="zibbo", visibility="private", hardware="gpu-t4")  # type: ignore[attr-defined]
    file = sdk.files.create(named(photos() if data is None else data), metadata={"a": 1})  # type: ignore[attr-defined]
    given = {"input_images": file.urls["get"], "steps": 20, "lora_rank": 4, "trigger_word": "zibbo", **inputs}
    return sdk.trainings.create(model=TRAINER, version=version_of(vendor), input=given, destination="ann/zibbo")  # type: ignore[attr-defined]


def test_the_sdk_trains_and_draws(vendor: ReplicateStandIn, sdk: object) -> None:
    assert sdk.accounts.current().username == "ann"  # type: ignore[attr-defined]
    assert "gpu-t4" in {one.sku for one in sdk.hardware.list()}  # type: ignore[attr-defined]
    training = begun(vendor, sdk)
    assert training.status == "starting"  # type: ignore[attr-defined]
    training = ended(training)
    assert training.status == "succeeded" and "loss: " in training.logs  # type: ignore[attr-defined]
    name, _, version = training.output["version"].partition(":")  # type: ignore[attr-defined]
    assert name == "ann/zibbo"
    with tarfile.open(fileobj=io.BytesIO(httpx2.get(training.output["weights"]).content)) as tar:  # type: ignore[attr-defined]
        names = [member.name for member in tar if member.isreg()]
        root = "output/flux_train_replicate"
        assert names == [
            f"{root}/lora.safetensors",
            f"{root}/config.yaml",
            *(f"{root}/captions/{n}.txt" for n in range(3)),
        ]
        caption = tar.extractfile(f"{root}/captions/1.txt")
        assert caption is not None and caption.read() == b"a photo of zibbo, 1"
    model = sdk.models.get("ann/zibbo")  # type: ignore[attr-defined]
    assert model.visibility == "private" and model.latest_version.id == version
    assert "lora_scale" in model.latest_version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    given = {"prompt": "zibbo", "aspect_ratio": "custom", "width": 96, "height": 64, "output_format": "png"}
    prediction = sdk.predictions.create(version=version, input=given)  # type: ignore[attr-defined]
    prediction.wait()
    with Image.open(io.BytesIO(httpx2.get(prediction.output[0]).content)) as picture:
        assert picture.size == (96, 64) and picture.format == "PNG"
    assert [paid.what for paid in vendor.paid] == ["training", "prediction"]


def test_the_sdk_lists_in_pages(vendor: ReplicateStandIn, sdk: object) -> None:
    vendor.page_size = 2
    made = [ended(begun(vendor, sdk, seed=n)).id for n in range(5)]  # type: ignore[attr-defined]
    page = sdk.trainings.list()  # type: ignore[attr-defined]
    listed = [one.id for one in page]
    while page.next:
        page = sdk.trainings.list(page.next)  # type: ignore[attr-defined]
        listed += [one.id for one in page]
    assert listed == made[::-1] and len(page) == 1
    assert len(sdk.files.list()) == 2  # type: ignore[attr-defined]
    with pytest.raises(replicate.exceptions.ReplicateError):
        replicate.Client(api_token="r8_bob", base_url=vendor.url).trainings.get(made[0])


def test_the_sdk_uploads_and_deletes_files(vendor: ReplicateStandIn, sdk: object) -> None:
    data = photos()
    file = sdk.files.create(named(data), metadata={"limner": "t"})  # type: ignore[attr-defined]
    assert file.checksums["sha256"] == hashlib.sha256(data).hexdigest() and file.size == len(data)
    assert file.metadata == {"limner": "t"} and file.content_type == "application/zip"
    assert sdk.files.get(file.id).name == "photos.zip"  # type: ignore[attr-defined]
    with pytest.raises(replicate.exceptions.ReplicateError):
        replicate.Client(api_token="r8_bob", base_url=vendor.url).files.get(file.id)
    assert sdk.files.delete(file.id)  # type: ignore[attr-defined]
    vendor.most_file_bytes = 100
    with pytest.raises(replicate.exceptions.ReplicateError) as refusal:
        sdk.files.create(named(data))  # type: ignore[attr-defined]
    assert refusal.value.status == 413
    vendor.most_file_bytes, vendor.file_seconds = 10**8, -1.0
    expired = sdk.files.create(named(data))  # type: ignore[attr-defined]
    with pytest.raises(replicate.exceptions.ReplicateError):
        sdk.files.get(expired.id)  # type: ignore[attr-defined]


def test_the_sdk_cancels(vendor: ReplicateStandIn, sdk: object) -> None:
    vendor.held = "processing"
    training = begun(vendor, sdk)
    training.cancel()  # type: ignore[attr-defined]
    assert ended(training).status == "canceled"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"no zip", "input_images must be a zip file"),
        (photos(0), "No images found"),
        (photos(nested=True), "No images found"),
    ],
)
def test_a_zip_that_cannot_be_used_fails_the_training(
    vendor: ReplicateStandIn, sdk: object, data: bytes, error: str
) -> None:
    training = ended(begun(vendor, sdk, data))
    assert training.status == "failed" and error in training.error  # type: ignore[attr-defined]


def call(vendor: ReplicateStandIn, method: str, path: str, token: str = "r8_ann", **more: object) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.request(method, f"{vendor.url}/v1{path}", headers=headers, **more)  # type: ignore[arg-type]


def test_refusals_have_the_vendor_s_form(vendor: ReplicateStandIn) -> None:
    trainings = f"/models/{TRAINER}/versions/{version_of(vendor)}/trainings"
    answer = call(vendor, "POST", trainings, json={"destination": "ann/nothing", "input": {}})
    assert (answer.status_code, answer.json()) == (
        404,
        {"detail": "The specified training destination does not exist", "status": 404},
    )
    model = {"owner": "ann", "name": "zibbo", "visibility": "private", "hardware": "gpu-t4"}
    assert call(vendor, "POST", "/models", json=model).status_code == 201
    assert call(vendor, "POST", "/models", json=model).status_code == 409
    assert call(vendor, "POST", "/models", json={**model, "owner": "bob"}).status_code == 403
    assert call(vendor, "GET", "/models/ann/zibbo", "r8_bob").status_code == 404
    answer = call(vendor, "POST", trainings, json={"destination": "ann/zibbo", "input": {"steps": 7000}})
    assert (
        answer.status_code == 422
        and "input" not in answer.json()
        and answer.json()["invalid_fields"][0]["field"] == "steps"
    )
    wrong = {"destination": "ann/zibbo", "input": {}, "webhook": "ftp://x"}
    assert call(vendor, "POST", trainings, json=wrong).status_code == 422
    assert call(vendor, "GET", "/account", "r8_nobody").json()["status"] == 401
    assert call(vendor, "POST", "/predictions", json={"version": "f" * 64, "input": {}}).status_code == 422
    assert vendor.paid == []


def test_rate_limits_are_told_and_kept(vendor: ReplicateStandIn) -> None:
    vendor.per_minute = (600, 3)
    answers = [call(vendor, "GET", "/account") for _ in range(8)]
    left = [int(one.headers["ratelimit-remaining"]) for one in answers if one.status_code == 200]
    assert {3, 2, 1, 0} >= set(left)
    refused = [one for one in answers if one.status_code == 429]
    assert refused and "Your rate limit resets in ~" in refused[0].json()["detail"]


def test_the_data_of_a_prediction_vanish(vendor: ReplicateStandIn, sdk: object) -> None:
    version = version_of(vendor, "limner/limner-tiny")
    given = {"prompt": "zibbo", "aspect_ratio": "custom", "width": 64, "height": 64}
    prediction = sdk.predictions.create(version=version, input=given)  # type: ignore[attr-defined]
    prediction.wait()
    [url] = prediction.output
    vendor.retention = -1.0
    body = call(vendor, "GET", f"/predictions/{prediction.id}").json()
    assert body["data_removed"] and body["input"] == {} and body["output"] is None and body["status"] == "succeeded"
    assert httpx2.get(url).status_code == 404


def test_parts_of_a_delivery(vendor: ReplicateStandIn, sdk: object) -> None:
    training = ended(begun(vendor, sdk))
    url = training.output["weights"]  # type: ignore[attr-defined]
    whole = httpx2.get(url).content
    rest = httpx2.get(url, headers={"range": "bytes=100-"})
    assert rest.status_code == 206 and rest.content == whole[100:]
    assert httpx2.get(url, headers={"range": f"bytes={len(whole)}-"}).status_code == 416


def test_loras_by_address(vendor: ReplicateStandIn, sdk: object) -> None:
    begun_one = ended(begun(vendor, sdk))
    name, _, version = begun_one.output["version"].partition(":")  # type: ignore[attr-defined]
    general = version_of(vendor, "limner/limner-tiny")
    given = {"prompt": "x", "aspect_ratio": "custom", "width": 64, "height": 64, "seed": 1, "output_format": "png"}

    def drawn(**more: object) -> object:
        prediction = sdk.predictions.create(version=general, input={**given, **more})  # type: ignore[attr-defined]
        prediction.wait()
        return prediction

    assert "404" in drawn(lora_weights=f"{name}/{version}").error  # type: ignore[attr-defined]
    vendor.mixes_private = True
    with_lora = drawn(lora_weights=f"{name}/{version}")
    assert with_lora.status == "succeeded"  # type: ignore[attr-defined]
    plain = drawn()
    bytes_of = [httpx2.get(one.output[0]).content for one in (with_lora, plain)]  # type: ignore[attr-defined]
    assert bytes_of[0] != bytes_of[1]
    assert "Failed to parse URL" in drawn(lora_weights="https://x.example/a/b/c").error  # type: ignore[attr-defined]
    assert "NSFW" in drawn(prompt="nsfw").error  # type: ignore[attr-defined]


def test_webhooks_are_signed_filtered_and_in_order(vendor: ReplicateStandIn, sdk: object) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    async def receiver(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        got.append(({key.decode(): value.decode() for key, value in scope["headers"]}, body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    version = version_of(vendor, "limner/limner-tiny")
    given = {"prompt": "x", "aspect_ratio": "custom", "width": 64, "height": 64}
    secret = sdk.webhooks.default.secret()  # type: ignore[attr-defined]
    with serve(receiver) as url:
        sdk.predictions.create(
            version=version, input=given, webhook=f"{url}/a", webhook_events_filter=["start", "completed"]
        ).wait()  # type: ignore[attr-defined]
        for _ in range(400):
            if len(vendor.webhooks.sent) == 2:
                break
            time.sleep(0.005)
    assert [json.loads(body)["status"] for _, body in got] == ["processing", "succeeded"]
    for headers, body in got:
        verify(secret.key, headers, body)
        replicate.webhook.Webhooks.validate(headers=headers, body=body.decode(), secret=secret, tolerance=60)
    vendor.plain_webhooks = False
    with pytest.raises(replicate.exceptions.ReplicateError):
        sdk.predictions.create(version=version, input=given, webhook="http://127.0.0.1/a")  # type: ignore[attr-defined]


def test_what_a_training_gives_can_be_spoilt(vendor: ReplicateStandIn, sdk: object) -> None:
    vendor.change_weights = lambda lora: lora + b"spoilt"
    vendor.make_tar = lambda name, lora, captions: b"TAR" + lora
    training = ended(begun(vendor, sdk))
    assert httpx2.get(training.output["weights"]).content.startswith(b"TAR")  # type: ignore[attr-defined]
    assert vendor.models["ann/zibbo"].versions[-1].lora.endswith(b"spoilt")
