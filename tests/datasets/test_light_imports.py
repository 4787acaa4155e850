"""What the CLI touches before it works with pictures loads no picture library."""

from __future__ import annotations

import subprocess
import sys


def test_captions_triggers_and_packages_load_no_picture_library() -> None:
    code = (
        "import sys; import limner.datasets.captions.template, limner.datasets.captions.captioning, "
        "limner.datasets.triggers, "
        "limner.datasets.buckets, limner.datasets.manifest, limner.datasets.render, limner.datasets.packages; "
        "print(sorted({'torch', 'pyvips', 'PIL', 'numpy', 'yaml', 'pydantic'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
