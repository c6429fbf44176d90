"""`docs/semantics.md` says nothing that no test executes.

How it thinks: a paragraph or point of that page is the docstring of a test function, or a part of one, word
for word; headings are free. So a sentence cannot be added or changed there without a test that says the same,
nor a test's words without the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "semantics.md"


def said(page: str) -> list[str]:
    """Give the paragraphs and points of a page, each as one line."""
    blocks = re.split(r"\n\s*\n|\n(?=- )", re.sub(r"^#.*$", "\n", page, flags=re.MULTILINE))
    return [line for block in blocks if (line := _flat(block).removeprefix("- "))]


def executed() -> Iterator[str]:
    """Give the docstring of every test function of this folder and below, as one line."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield _flat(ast.get_docstring(node) or "")


def _flat(text: str) -> str:
    return " ".join(text.split())


def unkept(page: str) -> list[str]:
    """Give what a page says and no test does."""
    kept = list(executed())
    return [line for line in said(page) if not any(line in words for words in kept)]


def test_every_sentence_is_executed() -> None:
    """Each sentence on this page is said, word for word, by a test that executes it."""
    page = PAGE.read_text("utf-8")
    assert len(said(page)) > 80
    assert unkept(page) == []


def test_a_sentence_without_a_test_is_found() -> None:
    """What no test says is named, a point among kept ones and a paragraph alike; a heading is not."""
    kept = "- `df` is answered from local numbers."
    page = f"# A heading\n\nSongs are blue\nat night.\n\n{kept}\n- It also\n  cooks.\n"
    assert unkept(page) == ["Songs are blue at night.", "It also cooks."]
