"""Turn what a terminal shows into an SVG for the docs.

tmux capture-pane -ep | python tools/terminal_picture.py docs/images/terminal.svg "limner run"
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    target, title = Path(sys.argv[1]), sys.argv[2]
    lines = sys.stdin.read().rstrip("\n").split("\n")
    console = Console(record=True, width=max(len(Text.from_ansi(line)) for line in lines) + 1, file=sys.stderr)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, crop=False)
    drawn = console.export_svg(title=title)
    # The font would be fetched from a stranger's server; every reader has a monospaced one.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
