"""The forms of address that Together AI fetches loras from, as its papers list them; nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.catalog.hosted import find_hosted
from limner.generation.together.checks import EXTRAS, extra_problems, is_loopback, lora_problems
from limner.types import LoraUse, Severity

HUBS = frozenset({"huggingface.co", "hf.co"})
(ROW,) = find_hosted("together", "generate", base="flux2-dev", model="black-forest-labs/FLUX.2-dev")
COMMIT = "a" * 40


def problems(url: str, *, loopback: bool = False, scale: float = 1.0) -> list[tuple[str, Severity, str]]:
    use = LoraUse(digest="d" * 64, scale=scale, name="rex@v1", url=url, base="flux2-dev")
    found = lora_problems(use, ROW, hubs=HUBS, loopback=loopback)
    return [(one.code, one.severity, f"{one.message} {one.remedy}") for one in found]


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/ann/rex",
        "https://huggingface.co/ann/rex/",
        f"https://huggingface.co/ann/rex/resolve/{COMMIT}/pytorch_lora_weights.safetensors",
        "https://bucket.s3.eu-west-1.amazonaws.com/limner/open/0a1b/pytorch_lora_weights.safetensors",
        "https://civitai.com/api/download/models/12345?type=Model&format=SafeTensor",
        "https://replicate.com/ann/rex",
        "https://replicate.com/ann/rex/versions/abc",
        "https://8.8.8.8/x.safetensors",
    ],
)
def test_addresses_that_are_listed_go_through(url: str) -> None:
    assert problems(url) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "has none"),
        ("ann/rex", "https only"),
        ("http://example.com/x.safetensors", "https only"),
        ("ftp://example.com/x.safetensors", "https only"),
        ("file:///home/ann/x.safetensors", "https only"),
        (f"https://huggingface.co/ann/rex/blob/{COMMIT}/x.safetensors", f"/resolve/{COMMIT}/x.safetensors"),
        ("https://huggingface.co/ann/rex/tree/main", "page about"),
        ("https://example.com/ann/rex", "ends in .safetensors"),
        ("https://example.com/x.safetensors.zip", "ends in .safetensors"),
        ("https://ann:secret@example.com/x.safetensors", "name or password"),
        ("https://localhost/x.safetensors", "own network"),
        ("https://127.0.0.1/x.safetensors", "own network"),
        ("https://[::1]/x.safetensors", "own network"),
        ("https://192.168.1.7/x.safetensors", "own network"),
        ("https://nas/x.safetensors", "own network"),
        ("https://nas.local/x.safetensors", "own network"),
        ("https://[broken/x.safetensors", "no address"),
        ("https://example.com:port/x.safetensors", "no address"),
    ],
)
def test_addresses_that_the_vendor_cannot_use_are_refused(url: str, words: str) -> None:
    ((_, severity, text),) = problems(url)
    assert severity is Severity.REFUSAL
    assert words in text
    assert "secret" not in text or "password" not in words


def test_what_goes_on_after_the_ending_is_doubtful() -> None:
    ((code, severity, _),) = problems("https://b.s3.amazonaws.com/x.safetensors?X-Amz-Signature=1")
    assert (code, severity) == ("lora-address", Severity.WARNING)


def test_this_machine_is_reached_only_by_a_vendor_on_it() -> None:
    for url in ("http://127.0.0.1:8000/x.safetensors", "http://localhost:1/x.safetensors"):
        assert problems(url, loopback=True) == []
        assert problems(url)
        assert is_loopback(url)
    assert not is_loopback("https://api.together.ai")
    assert not is_loopback("nonsense")


@given(st.text(max_size=60) | st.from_regex(r"(https?|ftp)://[^ ]{0,40}", fullmatch=True))
def test_no_address_breaks_the_check_or_goes_through_in_the_clear(url: str) -> None:
    found = problems(url)
    if not found:
        assert url.strip().lower().startswith("https://")


@given(
    st.dictionaries(st.sampled_from([*EXTRAS, "n", "typo"]), st.none() | st.floats() | st.text() | st.lists(st.text()))
)
def test_any_parameters_are_judged(extra: dict[str, object]) -> None:
    found = list(extra_problems(extra, ROW))
    refused = [one for one in found if one.severity is Severity.REFUSAL]
    assert len(refused) >= len({"n", "typo"} & set(extra))


def test_the_scale_is_kept_to_the_models_range() -> None:
    good = "https://huggingface.co/ann/rex"
    assert problems(good, scale=1.2) == []
    assert [code for code, _, _ in problems(good, scale=4.5)] == ["scale-out-of-range"]
