"""schemathesis against a real server of a seeded home: all checks, for so many seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2

from limner.stand_ins.serving import serve
from limner.web.access import Rules
from limner.web.app import create_app
from tests.web.api.seeded import Seeded

__all__ = ["fuzz"]

ROOT = Path(__file__).parents[3]
REFUSALS = "401, 402, 403, 404, 409, 412, 413, 415, 422, 424, 429, 502, 507"
CONFIG = f"""
[checks.not_a_server_error]
# A vendor or hub that does not answer is not our mistake.
expected-statuses = ["2xx", "3xx", "4xx", 502]

[checks.positive_data_acceptance]
# What fits the schema may still be refused: a slug that is taken, a token without the scope, a vendor that is away.
expected-statuses = ["2xx", 304, {REFUSALS}]

[checks.negative_data_rejection]
expected-statuses = [400, {REFUSALS}, 405, 406, 460]

[checks.missing_required_header]
expected-statuses = [400, 401, 412, 415, 422]

[[operations]]
# It goes on as long as its job does; tests/web/api/test_client.py looks at it.
include-operation-id = "follow_job"
enabled = false
"""


def fuzz(seeded: Seeded, folder: Path, *, seconds: int, seed: int, more: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run it; its exit code and what it said."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    names = {
        "subject": "zib",
        "photo": seeded.photo,
        "dataset": seeded.dataset,
        "training": seeded.training,
        "lora": seeded.lora,
        "generation": seeded.generation,
        "image": seeded.image + 1,
        "grid": seeded.grid,
        "job": seeded.job,
        "base": "limner-tiny",
        "vendor": "replicate",
        "step": 10,
        "position": 0,
    }
    bodies = {
        "subject": "zib",
        "loras": [seeded.lora],
        "base": "limner-tiny",
        "trainer": "local",
        "generator": "local",
        "dataset": "",
        "training": seeded.training,
        "images": [seeded.image + 1],
        "preset": "quick",
        "settings": {"steps": 20},
        "source": "anna/zibbo-lora",
        "captions": {seeded.photo: "a photo of {trigger}"},
        "prompt": "a photo of {trigger}",
        "prompts": ["a photo of {trigger}"],
        "model": "",
        "extra": {},
        "hub": "folder",
    }
    app = create_app(seeded.settings, rules=Rules(login=True))
    asking = {"Authorization": f"Bearer {seeded.token}"}
    with serve(app) as url:
        (own,) = [
            one for one in httpx2.get(f"{url}/api/v1/tokens", headers=asking).json()["items"] if one["name"] == "all"
        ]
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file",
            str(config),
            "run",
            f"{url}/api/v1/openapi.json",
            "--header",
            f"Authorization: {asking['Authorization']}",
            "--checks=all",
            f"--max-time={seconds}",
            f"--seed={seed}",
            "--continue-on-failure",
            "--request-timeout=30",
            "--generation-database=none",
            "--no-color",
            *more,
        ]
        environment = os.environ | {
            "LIMNER_FUZZ_NAMES": json.dumps(names),
            "LIMNER_FUZZ_BODIES": json.dumps(bodies),
            "LIMNER_FUZZ_KEPT": json.dumps([own["owner"], own["id"], own["name"]]),
            "SCHEMATHESIS_HOOKS": "tests.web.api.fuzz_hooks",
            "PYTHONPATH": str(ROOT),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        asked = httpx2.get(f"{url}/api/v1/users", headers=asking)
        assert asked.status_code == 200, f"it lost its right to ask on the way: {asked.text[:300]}"
    return done.returncode, done.stdout + done.stderr
