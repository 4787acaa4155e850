"""What Limner starts runs nothing of the folder that the user stands in, and is handed no more than it needs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import limner
from limner.processes import our_environment, program, python_module

SOURCE = Path(limner.__file__).parent


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in whose modules leave a mark when they are imported."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in ("sqlalchemy", "timeit", "json", "typer", "httpx2", "limner_trap"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'a').write({name!r})\nraise ImportError\n")
    monkeypatch.chdir(folder)
    return tmp_path / "RAN"


def test_no_module_starts_python_or_a_program_in_a_way_of_its_own() -> None:
    for path in SOURCE.rglob("*.py"):
        if path.name == "processes.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("executable", "Popen", "run", "call", "check_output"):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                assert (owner, node.attr) != ("sys", "executable"), f"{path}: use processes.python_module"
                if owner == "subprocess":
                    text = path.read_text(encoding="utf-8")
                    assert any(f"{way}(" in text for way in ("python_module", "python_code", "program")), path


@pytest.mark.parametrize("paths", ["", ":", "{here}/../downloaded/..:", ".:", "sub:"])
def test_a_module_of_ours_imports_nothing_of_the_current_folder(
    trap: Path, paths: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", paths.format(here=Path.cwd()))
    Path("sub").mkdir()
    Path("sub/sqlalchemy.py").write_text(Path("sqlalchemy.py").read_text())
    done = subprocess.run(
        python_module("limner.operations.jobs.worker", "--help"), env=our_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not trap.exists()


def test_python_dash_m_limner_forgets_the_current_folder(trap: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "limner", "--version"], capture_output=True, text=True)
    assert "limner" in done.stdout, done.stderr
    assert not trap.exists()


def test_children_of_ours_are_safe_too(trap: Path) -> None:
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'import limner_trap']))"
    assert subprocess.run([sys.executable, "-c", code], env=our_environment(), capture_output=True).returncode == 1
    assert not trap.exists()


def test_a_program_is_never_one_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ps").write_text("#!/bin/sh\n")
    (tmp_path / "ps").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for start in ("", ".", "./", "../" + tmp_path.name):
        monkeypatch.setenv("PATH", f"{start}{os.pathsep}/usr/bin{os.pathsep}/bin")
        assert program("ps") in ("/usr/bin/ps", "/bin/ps")
    assert program("no-such-program") is None
