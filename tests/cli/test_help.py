"""What every command has: help that reads well, ``--json``, a light start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import Shell
from .tree import COMMANDS, GROUPS

PROMISED = """
subjects add, subjects list, subjects show, subjects remove, photos add, photos list, photos report, datasets freeze,
datasets show, datasets package, train, trainings list, trainings show, trainings watch, trainings cancel,
trainings resume, loras list, loras show, loras export, publish, generate, images list, images open, inspect, reproduce,
doctor, demo, run, jobs list, jobs show, jobs watch, jobs cancel, jobs resume
""".replace("\n", " ")
# fmt: off
HEAVY = {
    "torch", "dbos", "sqlalchemy", "diffusers", "transformers", "peft", "pyvips", "PIL", "numpy",
    "huggingface_hub", "httpx2", "keyring", "starlette", "uvicorn", "fastapi", "mcp", "argon2", "tomlkit",
    "markdown_it", "uvloop", "alembic", "obstore", "cryptography", "c2pa", "pydantic", "pydantic_settings",
    "rich", "jinja2", "yaml", "pillow_heif", "safetensors", "multiprocessing",
}
# fmt: on
HOME = {"sqlalchemy", "pydantic", "pydantic_settings", "rich"}
"""Settings, the database and a table."""
TOKENS = {"keyring", "cryptography"}
"""The system's keyring, and what its back end on Linux speaks with."""
LOADED = {
    "--help": set(),
    "train --help": {"pydantic"},
    "--version": set(),
    "subjects list": HOME,
    "photos list zib": HOME,
    "jobs list": HOME,
    "costs": HOME,
    "settings": HOME | {"tomlkit"},
    "backends": HOME | TOKENS,
    "doctor": HOME | TOKENS,
}


def test_the_promised_commands_are_there() -> None:
    assert {name.strip() for name in PROMISED.split(",")} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_takes_json(path: str) -> None:
    [option] = [parameter for parameter in COMMANDS[path].params if "--json" in parameter.opts]
    assert option.is_flag


@pytest.mark.parametrize("path", COMMANDS)
def test_every_parameter_says_what_it_is(path: str) -> None:
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name} has no help"
        shown = getattr(parameter, "metavar", None) or ""
        assert (
            getattr(parameter, "is_flag", False) or shown.strip("[]. ").replace("/", "").replace("=", "").isupper()
        ), f"{path}: {parameter.name} shows '{shown}'"


@pytest.mark.parametrize("path", [*COMMANDS, *GROUPS])
def test_help_fits_a_narrow_terminal_and_cuts_nothing(path: str, limner: Shell) -> None:
    shown = limner(*path.split(), "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert shown.code == 0
    assert not shown.err
    assert max(map(len, shown.out.splitlines())) <= 80
    assert not [line for line in shown.out.splitlines() if line.endswith("...") and not line.startswith("Usage")]
    assert not limner.home.exists()


@pytest.mark.parametrize("path", GROUPS)
def test_a_group_called_bare_shows_its_help(path: str, limner: Shell) -> None:
    assert limner(*path.split()) == limner(*path.split(), "--help")


NOUNS = [path for path in (*COMMANDS, *GROUPS) if path.endswith("s") and " " not in path]


def test_the_nouns_are_plural() -> None:
    assert {path for path in GROUPS if path and path != "mcp"} <= set(NOUNS)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_is_taken_in_the_singular_too_and_not_listed(noun: str, limner: Shell) -> None:
    singular = noun.removesuffix("s")
    assert limner(singular, "--help") == limner(noun, "--help")
    assert f"  {singular} " not in limner("--help").out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("trian", "train"), ("photo ad", "photos add"), ("subjetcs list", "subjects"), ("costs opne", "costs open")],
)
def test_a_near_miss_names_the_command_that_may_be_meant(typed: str, meant: str, limner: Shell) -> None:
    said = limner(*typed.split())
    assert said.code == 2
    assert said.err.splitlines()[1:] == [f"  → Did you mean: limner {meant}"]
    assert "Did you mean" not in limner("xyzzy").err


def test_every_command_is_in_a_section_of_the_main_help(limner: Shell) -> None:
    listed = {line.split()[0] for line in limner("--help").out.splitlines() if line.startswith("  ") and line.strip()}
    assert {path.split()[0] for path in COMMANDS} <= listed


@pytest.mark.parametrize("words", LOADED)
def test_a_command_loads_of_what_is_heavy_what_it_needs(words: str, limner: Shell) -> None:
    limner("subjects", "add", "zib", "--kind", "character")  # so that nothing has to be migrated
    code = (
        "import sys; from limner.cli.main import run; "
        f"run({words.split()!r}); print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], env=limner.environment, capture_output=True, text=True, check=True
    )
    loaded = set(child.stdout.splitlines()[-1].split())
    assert loaded - TOKENS == LOADED[words] - TOKENS
    assert loaded <= LOADED[words]  # where there is no keyring its back end is not loaded


def test_the_shell_completes_slugs_loras_and_bases(limner: Shell) -> None:
    limner("subjects", "add", "zib", "--kind", "character")
    completing = {**limner.environment, "_LIMNER_COMPLETE": "complete_bash"}

    def completed(line: str) -> list[str]:
        child = subprocess.run(
            [sys.executable, "-c", "from limner.cli.main import app; app(prog_name='limner')"],
            env={**completing, "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
            capture_output=True,
            text=True,
        )
        return child.stdout.split()

    assert "trainings" in completed("limner tr")
    assert completed("limner train z") == ["zib"]
    assert completed("limner train zib --base limner-") == ["limner-tiny"]


def test_completion_in_a_broken_home_is_silent(limner: Shell) -> None:
    limner.home.mkdir(parents=True)
    (limner.home / "limner.db").write_bytes(b"no database" * 100)
    child = subprocess.run(
        [sys.executable, "-c", "from limner.cli.main import app; app(prog_name='limner')"],
        env={
            **limner.environment,
            "_LIMNER_COMPLETE": "complete_bash",
            "COMP_WORDS": "limner train z",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
    )
    assert child.stdout.split() == []
    assert "Traceback" not in child.stderr
