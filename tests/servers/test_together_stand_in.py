"""The Together stand-in under the vendor's own SDK, and against the vendor's published description."""

# ruff: noqa: F811 - a fixture is imported by its name

from __future__ import annotations

import base64
import io

import httpx
import pytest
import together
from PIL import Image

from tests.generation.together_bench import TOKEN, TogetherBench, together_bench  # noqa: F401

MODEL = "limner/limner-tiny"
SMALL = {"model": MODEL, "prompt": "a robot", "width": 64, "height": 96, "steps": 2, "seed": 1}


def sdk(bench: TogetherBench, token: str = TOKEN) -> together.Together:
    # version 2 of the SDK wants the address with /v1, version 3 without
    root = bench.settings.together_url + ("/v1" if together.__version__.startswith("2.") else "")
    return together.Together(api_key=token, base_url=root, max_retries=0)


def pictures(answer: object) -> list[bytes]:
    return [base64.b64decode(entry.b64_json) for entry in answer.data]  # type: ignore[attr-defined]


def test_the_sdk_lists_models(together_bench: TogetherBench) -> None:
    names = {model.id for model in sdk(together_bench).models.list()}
    assert {MODEL, "limner/flux2-random", "black-forest-labs/FLUX.2-dev"} <= names
    assert "black-forest-labs/FLUX.1-dev-lora" not in names
    assert together_bench.checked.violations == []


def test_the_sdk_draws_as_our_generator_does(together_bench: TogetherBench) -> None:
    bench = together_bench
    lora = bench.lora()
    answer = sdk(bench).images.generate(
        model=MODEL,
        prompt="a drawing of zibbo",
        width=128,
        height=64,
        steps=4,
        seed=7,
        n=2,
        response_format="base64",
        output_format="png",
        image_loras=[{"path": lora.url, "scale": 0.8}],
        extra_body={"guidance": 2.0},
    )
    assert pictures(answer) == [one.data for one in bench.draw(bench.order(lora, count=2))]
    assert [entry.index for entry in answer.data] == [0, 1]
    assert len(bench.stand_in.paid) == 4
    assert bench.checked.violations == []


def test_the_sdk_gets_addresses_and_jpegs_by_default(together_bench: TogetherBench) -> None:
    bench = together_bench
    (entry,) = sdk(bench).images.generate(**SMALL).data
    assert entry.url.startswith(bench.settings.together_url)
    with Image.open(io.BytesIO(httpx.get(entry.url).content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 96))
    assert httpx.get(entry.url, headers={"user-agent": ""}).status_code == 403
    assert httpx.get(f"{bench.settings.together_url}/given/other.png").status_code == 404
    bench.stand_in.lenient = True
    (plain,) = sdk(bench).images.generate(**SMALL).data
    assert plain.url
    assert plain.type is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "black-forest-labs/FLUX.1-dev-lora"}, together.NotFoundError, "Unable to access model"),
        ({"prompt": "a forbidden-word"}, together.UnprocessableEntityError, "NSFW"),
        ({"width": 65}, together.BadRequestError, "multiple of 16"),
        ({"steps": 51}, together.BadRequestError, "steps"),
        ({"n": 5}, together.BadRequestError, "n must be"),
        ({"prompt": " "}, together.BadRequestError, "prompt"),
        ({"image_loras": [{"path": "ann/rex", "scale": 1}]}, together.BadRequestError, "full URL"),
        ({"image_loras": [{"path": "https://x/y"}]}, together.BadRequestError, "scale"),
        ({"image_loras": [{"path": "https://x/y", "scale": 1}] * 3}, together.BadRequestError, "at most 2"),
    ],
)
def test_refusals_cost_nothing(
    together_bench: TogetherBench, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        sdk(together_bench).images.generate(**{**SMALL, **changes})
    assert together_bench.stand_in.paid == []


def test_loras_that_cannot_be_used(together_bench: TogetherBench) -> None:
    bench = together_bench
    other = bench.lora("other", base="flux2-random")
    bench.lora("hidden")
    bench.shelf.private.add("hidden.safetensors")
    bench.shelf.files["text.safetensors"] = b"no tensors"
    wrong = {
        other.url: "unused keys",
        f"{bench.shelf.url}/hidden.safetensors": "status 401",
        f"{bench.shelf.url}/gone.safetensors": "status 404",
        f"{bench.shelf.url}/text.safetensors": "not a valid Flux LoRA",
        f"{bench.shelf.url}/ann/rex/blob/main/x.safetensors": "blob",
        f"{bench.shelf.url}/ann/rex/x.bin": "must end with",
        "http://127.0.0.1:9/x.safetensors": "ConnectError",
    }
    for url, words in wrong.items():
        with pytest.raises(together.BadRequestError, match=words):
            sdk(bench).images.generate(**SMALL, image_loras=[{"path": url, "scale": 1.0}])
    assert bench.stand_in.paid == []


def test_the_account_is_checked(together_bench: TogetherBench) -> None:
    bench = together_bench
    for call in (lambda: sdk(bench, "wrong").models.list(), lambda: sdk(bench, "wrong").images.generate(**SMALL)):
        with pytest.raises(together.AuthenticationError):
            call()
    bench.stand_in.credit = 1
    sdk(bench).images.generate(**SMALL)
    with pytest.raises(together.APIStatusError) as poor:
        sdk(bench).images.generate(**SMALL)
    assert poor.value.status_code == 402


def test_the_rate_is_kept_and_says_when_to_come_again(together_bench: TogetherBench) -> None:
    bench = together_bench
    bench.stand_in.rate, bench.stand_in.burst = 0.5, 2
    bench.stand_in._turns = 2.0
    for _ in range(2):
        sdk(bench).images.generate(**SMALL)
    with pytest.raises(together.RateLimitError) as early:
        sdk(bench).images.generate(**SMALL)
    assert 0 < float(early.value.response.headers["x-ratelimit-reset"]) <= 2
    assert len(bench.stand_in.paid) == 2


def test_a_body_that_is_none(together_bench: TogetherBench) -> None:
    url = f"{together_bench.settings.together_url}/v1/images/generations"
    for body in (b"", b"[]", b"{", b'"x"'):
        answer = httpx.post(url, content=body, headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"
