"""The JavaScript and CSS by others: locked by digest, and the built files are those of the lock."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from limner.web.rendering.templates import STATIC, static_url

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "web-assets/package-lock.json"
VENDOR = STATIC / "vendor"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_lock_holds_a_digest_of_each_package_and_no_address() -> None:
    packages = {place: package for place, package in json.loads(LOCK.read_bytes())["packages"].items() if place}
    assert {"node_modules/htmx.org", "node_modules/photoswipe", "node_modules/uplot"} <= packages.keys()
    for place, package in packages.items():
        assert package["integrity"].startswith("sha512-"), place
        assert "resolved" not in package, place
    assert not re.search(r"registry|\.tgz", LOCK.read_text())


def test_the_versions_are_exact_and_those_of_the_lock() -> None:
    wanted = json.loads((LOCK.parent / "package.json").read_bytes())["dependencies"]
    packages = json.loads(LOCK.read_bytes())["packages"]
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert packages[f"node_modules/{name}"]["version"] == version


def test_the_built_files_are_those_of_the_lock() -> None:
    stamp = json.loads((VENDOR / "stamp.json").read_bytes())
    assert stamp["lock"] == _digest(LOCK), "built from another lock: run pip install -e . again"
    assert stamp["files"] == {name: _digest(VENDOR / name) for name in stamp["files"]}
    there = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    assert there == {*stamp["files"], "stamp.json"}


def test_each_package_s_licence_goes_along() -> None:
    text = (VENDOR / "LICENSES.txt").read_text(encoding="utf-8")
    for place, package in json.loads(LOCK.read_bytes())["packages"].items():
        if place:
            assert f"{place.removeprefix('node_modules/')} {package['version']}" in text


@pytest.mark.parametrize("name", ["htmx/htmx.min.js", "htmx/hx-sse.min.js", "tus/tus.min.js", "uplot/uPlot.min.css"])
def test_what_the_pages_load_is_there(name: str) -> None:
    assert static_url(f"vendor/{name}").startswith(f"/static/vendor/{name}?v=")
