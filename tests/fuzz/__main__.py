"""``python -m tests.fuzz [READER ...] [--seconds N]``: millions of inputs for each reader, led by coverage (atheris).

What fails is kept in ``fuzz-output/READER``, and a run begins with what earlier ones found worth keeping.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from .readers import READERS, WORDS

OUT = Path("fuzz-output")


def _one(name: str, seconds: int) -> int:
    """Fuzz one reader in this process; libFuzzer ends the process itself."""
    import atheris

    reader = next(reader for reader in READERS if reader.name == name)
    folder = OUT / name.replace(" ", "-")
    corpus, dictionary = folder / "corpus", folder / "words"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(reader.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    entries = ("".join(f"\\x{byte:02x}" for byte in word) for word in (*WORDS, *reader.words))
    dictionary.write_text("".join(f'"{entry}"\n' for entry in entries))
    with atheris.instrument_imports(include=["limner"]):
        for seed in reader.seeds:
            reader.try_on(seed)  # imports what it needs
    options = [f"-max_total_time={seconds}", f"-dict={dictionary}", f"-artifact_prefix={folder}/", "-timeout=20",
               "-rss_limit_mb=4096", "-max_len=100000", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], reader.try_on)
    atheris.Fuzz()
    return 0


def main() -> int:
    """Fuzz the readers that are named, or all, one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(reader.name for reader in READERS))
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.readers or [reader.name for reader in READERS]
    if unknown := set(names) - {reader.name for reader in READERS}:
        parser.error(f"there is no reader {', '.join(sorted(unknown))}")
    if arguments.here:
        return _one(names[0], arguments.seconds)
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--seconds", str(arguments.seconds)]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"{len(names)} readers were fuzzed; failed: {', '.join(failed) or 'none'}.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
