"""The commands of docs/install.md: which block is run where, and as whom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "install.md"
ITSELF = "python -m tests.packaging"
"""The one command of the page that runs the others."""

_BLOCK = re.compile(
    r"(?:^<!-- run in (?P<root>\w+) as (?P<user>\w+) -->\n)?^```\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True, slots=True)
class Block:
    """Some commands of the page; `root` and `user` are empty where nobody runs them."""

    root: str
    user: str
    text: str


def blocks(page: str) -> Sequence[Block]:
    """Read a page's blocks, in their order."""
    return [
        Block(found["root"] or "", found["user"] or "", found["text"].strip())
        for found in _BLOCK.finditer(page)
    ]


def of(root: str) -> Sequence[Block]:
    """Give what the page wants run in one root."""
    return [block for block in blocks(PAGE.read_text("utf-8")) if block.root == root]
