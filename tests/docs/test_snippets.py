"""Python in the pages is Python that runs: every block is parsed, and that of limner-tiny draws."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from PIL import Image

from .markdown import DOCS, ROOT, pages


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "page", [page for page in pages() if blocks(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_block_is_python_and_what_it_imports_of_limner_is_there(page: Path) -> None:
    for code in blocks(page):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "limner":
                exec(ast.unparse(node), {})


@pytest.mark.engine
def test_limner_tiny_draws_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks(DOCS / "limner-tiny.md")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("num_inference_steps=20", "num_inference_steps=1"), {})
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (128, 128)
