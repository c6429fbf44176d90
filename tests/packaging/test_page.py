"""docs/install.md says nothing that nobody runs."""

from __future__ import annotations

from tests.packaging import page
from tests.packaging.__main__ import WAYS

RUN = {*WAYS, "builder", "upgrade", "remove", "purge"}
"""The roots, and the moments in one, whose blocks `python -m tests.packaging` runs."""


def test_each_block_is_run_by_somebody_somewhere() -> None:
    """A block without a root, or with one that nobody knows, is a command that nobody tried."""
    found = page.blocks(page.PAGE.read_text("utf-8"))
    assert [block.text for block in found if not block.root] == [page.ITSELF]
    assert {block.root for block in found if block.root} == RUN
    assert {block.user for block in found if block.root} == {"root", "ada"}


def test_what_follows_is_read_as_blocks() -> None:
    """A block is what is between its fences; the remark above it belongs to it only if nothing is between."""
    text = "<!-- run in deb as root -->\n```\none\ntwo\n```\n\n```\nthree\n```\n"
    text += "\n<!-- run in uv as ada -->\nno\n```\nfour\n```\n"
    assert [(block.root, block.user, block.text) for block in page.blocks(text)] == [
        ("deb", "root", "one\ntwo"),
        ("", "", "three"),
        ("", "", "four"),
    ]
