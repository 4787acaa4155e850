"""A rehearsal serves all four vendors, and says all that Limner must be told."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from limner.catalog.bases import base_location, find_base
from limner.catalog.hosted import find_hosted
from limner.settings import Settings
from limner.stand_ins.random_flux2 import FLUX2_RANDOM
from limner.stand_ins.rehearsal import TOKENS, rehearsal
from tests.servers.quick_engine import QuickEngine


def test_all_vendors_answer_their_own_tokens_only(tmp_path: Path) -> None:
    with rehearsal(tmp_path / "rehearsal", engine=QuickEngine()) as made:
        settings = Settings(home=tmp_path / "home", **made.settings)
        calls = {
            "REPLICATE_API_TOKEN": ("Bearer", f"{settings.replicate_url}/v1/account"),
            "FAL_KEY": ("Key", f"{settings.fal_api_url}/models/requests/by-endpoint?endpoint_id=x"),
            "HF_TOKEN": ("Bearer", f"{settings.huggingface_url}/api/whoami-v2"),
            "TOGETHER_API_KEY": ("Bearer", f"{settings.together_url}/v1/models"),
        }
        assert made.environment.keys() >= TOKENS.keys()
        for name, (scheme, url) in calls.items():
            right = httpx.get(url, headers={"authorization": f"{scheme} {made.environment[name]}"})
            wrong = httpx.get(url, headers={"authorization": f"{scheme} another"})
            assert (name, right.status_code, wrong.status_code) == (name, 200, 401)
        assert made.replicate.url == settings.replicate_url
        assert made.environment["HF_ENDPOINT"] == made.huggingface.url
    with pytest.raises(httpx.ConnectError):
        httpx.get(settings.together_url)


def test_its_models_are_in_the_catalog_from_then_on(tmp_path: Path) -> None:
    with rehearsal(tmp_path, engine=QuickEngine()) as made:
        assert (made.settings["catalog"] / "hosted.toml").is_file()
        assert find_base(FLUX2_RANDOM.id) == FLUX2_RANDOM
        assert [row.model for row in find_hosted("replicate", "train", base="limner-tiny")] == [
            "limner/limner-tiny-trainer"
        ]
        assert find_hosted("together", "generate", base=FLUX2_RANDOM.id)


def test_something_may_be_put_around_a_vendor(tmp_path: Path) -> None:
    seen: list[str] = []

    def around(vendor: str, app: object) -> object:
        seen.append(vendor)
        return app

    with rehearsal(tmp_path, engine=QuickEngine(), around=around):  # type: ignore[arg-type]
        assert sorted(seen) == ["fal", "huggingface", "replicate", "together"]


@pytest.mark.engine
def test_without_an_engine_it_works_for_real(tmp_path: Path) -> None:
    with rehearsal(tmp_path) as made:
        base = find_base(FLUX2_RANDOM.id)
        assert base_location(base, made.settings["base_paths"]) == str(tmp_path / FLUX2_RANDOM.id)
        picture = made.together.engine.draw(
            "limner-tiny", "a zib", loras=[], width=64, height=64, steps=1, guidance=1.0, seed=1
        )
        assert picture.startswith(b"\x89PNG")
