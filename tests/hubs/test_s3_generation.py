"""A private lora in a bucket, opened for Together AI for one generation and closed again: all of it over sockets."""

# ruff: noqa: F811 - a fixture is imported by its name

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from limner.errors import VendorRefused
from limner.hubs.card import model_card
from limner.hubs.hub import LoraPackage
from limner.hubs.s3.hub import S3Hub
from limner.types import Visibility
from tests.generation.together_bench import TogetherBench, together_bench  # noqa: F401

from .conftest import card_facts


def test_a_private_lora_is_open_for_one_generation_only(
    together_bench: TogetherBench, bucket_settings: dict[str, str], tmp_path: Path
) -> None:
    bench = together_bench
    hub = S3Hub(bench.settings.model_copy(update=bucket_settings))
    shelved = bench.lora()
    weights = tmp_path / "rex.safetensors"
    weights.write_bytes(bench.shelf.files["rex.safetensors"])
    package = LoraPackage(weights, hashlib.sha256(weights.read_bytes()).hexdigest(), model_card(card_facts()), {})
    published = hub.publish("ann/jane", package, visibility=Visibility.PRIVATE, tag="v1", message="first")
    url = hub.grant("ann/jane", published.revision, "generation_1 rex")
    order = bench.order(replace(shelved, url=url), count=2)
    assert asyncio.run(bench.generator.plan(order)).refusals == ()
    drawn = bench.draw(order)
    assert [one.data for one in drawn] == [one.data for one in bench.draw(bench.order(shelved, count=2))]
    hub.revoke("generation_1 rex")
    assert httpx2.get(url).status_code in (403, 404)
    assert [one.code for one in asyncio.run(bench.generator.plan(order)).refusals] == ["lora-out-of-reach"]
    paid = len(bench.stand_in.paid)
    with pytest.raises(VendorRefused, match="cannot get at the lora"):
        bench.draw(order)
    assert len(bench.stand_in.paid) == paid
