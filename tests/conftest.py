"""What holds for all tests: no property test fails because the machine was busy, no hub is reached by mistake."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Read by huggingface_hub when it is imported: a stand-in hub has no Xet.
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

settings.register_profile("limner", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("limner")
