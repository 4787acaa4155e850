"""Back ends are found by entry point; what is unknown, twice there or broken is told with a way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from limner import plugins
from limner.errors import Conflict, InputRefused, NotReady
from limner.settings import Settings

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package on the path: ``install(distribution, "group: name = module:Class", the module's text)``."""

    def make(distribution: str, point: str, text: str) -> None:
        group, _, entry = point.partition(": ")
        module = entry.partition(" = ")[2].partition(":")[0]
        site = tmp_path / distribution
        about = site / f"{distribution}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
        (site / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(site)
        plugins._points.cache_clear()

    yield make
    plugins._points.cache_clear()


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_an_unknown_back_end_is_refused_with_the_known_ones(group: str) -> None:
    with pytest.raises(InputRefused, match="'photocopier'") as refusal:
        plugins.back_end(group, "photocopier")
    assert all(name in refusal.value.remedy for name in plugins.names(group))


def test_ours_are_found_and_loaded() -> None:
    ours = [point for group in plugins.GROUPS for point in entry_points(group=group) if _ours(point)]
    assert {(point.group, point.name) for point in ours} >= {
        ("limner.trainers", "local"),
        ("limner.hubs", "folder"),
        ("limner.generators", "local"),
    }
    for point in ours:
        assert plugins.back_end(point.group, point.name, settings=Settings()).describe().name == point.name


def test_a_strangers_back_end_is_found_beside_ours(install: Install) -> None:
    text = "class Captioner:\n    def __init__(self, settings):\n        self.settings = settings\n"
    install("strangers", "limner.captioners: guess = strangers_guess:Captioner", text)
    assert "guess" in plugins.names("limner.captioners")
    assert plugins.back_end("limner.captioners", "guess", settings=7).settings == 7


def test_a_name_that_two_packages_offer_is_refused_not_guessed(install: Install) -> None:
    install("impostor", "limner.hubs: folder = impostor_hub:Hub", "class Hub: pass\n")
    with pytest.raises(Conflict, match=r"(?=.*impostor)(?=.*limner)"):
        plugins.back_end("limner.hubs", "folder", settings=Settings())


@pytest.mark.parametrize(
    "text",
    ["import a_module_that_is_not_there", "raise OSError('no such library')", "Another = 1", "def Hub(): return 1"],
)
def test_a_broken_back_end_names_its_package_and_the_reason(install: Install, text: str) -> None:
    install("brittle", f"limner.hubs: brittle = brittle_{abs(hash(text))}:Hub", text)
    with pytest.raises(NotReady, match=r"package brittle cannot be loaded: .+") as failure:
        plugins.back_end("limner.hubs", "brittle", settings=Settings())
    assert failure.value.remedy


def _ours(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == "limner"
