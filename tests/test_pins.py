"""No pin, and no lower bound of ours, is a release with a known hole for which there is a mended one.

`make audit` asks the advisory services about all pins. This list is what is known where none can be asked: of each
package that we use, the newest advisory and the first release that is free of it and of all before.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
MENDED = {
    "certifi": ("CVE-2024-39689", "2024.7.4"),
    "cryptography": ("CVE-2026-26007", "46.0.5"),
    "filelock": ("CVE-2026-22701", "3.20.3"),
    "flask": ("CVE-2026-27205", "3.1.3"),
    "fonttools": ("CVE-2025-66034", "4.60.2"),
    "h11": ("CVE-2025-43859", "0.16.0"),
    "idna": ("CVE-2024-3651", "3.7"),
    "jaraco-context": ("CVE-2026-23949", "6.1.0"),
    "jinja2": ("CVE-2025-27516", "3.1.6"),
    "markdown-it-py": ("CVE-2023-26302", "2.2.0"),
    "mcp": ("CVE-2025-66416", "1.23.0"),
    "pillow": ("CVE-2026-25990", "12.1.1"),
    "pyjwt": ("CVE-2026-32597", "2.12.0"),
    "python-dotenv": ("CVE-2026-28684", "1.2.2"),
    "python-multipart": ("CVE-2026-24486", "0.0.22"),
    "pyyaml": ("CVE-2020-14343", "5.4"),
    "requests": ("CVE-2024-47081", "2.32.4"),
    "sentencepiece": ("CVE-2026-1260", "0.2.1"),
    "starlette": ("CVE-2025-62727", "0.49.1"),
    "torch": ("CVE-2025-32434", "2.6.0"),
    "tqdm": ("CVE-2024-34062", "4.66.3"),
    "transformers": ("CVE-2025-6921", "4.53.0"),
    "urllib3": ("CVE-2026-21441", "2.6.3"),
    "werkzeug": ("CVE-2026-21860", "3.1.5"),
    "zipp": ("CVE-2024-5569", "3.19.1"),
}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def lowest() -> dict[str, Version]:
    """The oldest release that may be installed of each package that pyproject.toml names with a bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    found = {}
    for requirement in map(Requirement, named):
        bound = re.search(r"(?:>=|==)\s*([\d.]+)", str(requirement.specifier))
        if bound:
            found[canonicalize_name(requirement.name)] = Version(bound[1])
    return found


@pytest.mark.parametrize("name", MENDED)
def test_no_release_with_a_known_hole_is_installed(name: str) -> None:
    advisory, mended = MENDED[name]
    assert pins()[name] >= Version(mended), advisory
    assert lowest().get(name, Version(mended)) >= Version(mended), f"pyproject.toml admits {advisory}"


def test_every_package_of_ours_is_pinned() -> None:
    assert set(lowest()) - {"uvloop"} <= set(pins())
