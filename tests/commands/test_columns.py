"""Tables and numbers for people."""

from __future__ import annotations

import io
import os
import pty

import pytest

from musicfs.commands.columns import Table, bytes_text, draw, span_text

TABLES = [
    Table("", ("", ""), [("mounted", "/m"), ("pid", "3")]),
    Table("Songs", ("a", "b"), [("[red]x", "")]),
]


def test_a_pipe_gets_plain_aligned_columns() -> None:
    """No colour, no cutting, no trailing blanks."""
    stream = io.StringIO()
    draw(TABLES, stream)
    assert stream.getvalue() == "mounted  /m\npid      3\n\nSongs\n  a       b\n  [red]x\n"


def test_a_terminal_gets_the_same_words() -> None:
    """What looks like rich's markup is a title and stays one."""
    ours, theirs = pty.openpty()
    with open(theirs, "w") as stream:
        draw(TABLES, stream)
    written = _all_of(ours)
    os.close(ours)
    assert "[red]x" in written
    assert "mounted" in written


def _all_of(terminal: int) -> str:
    """Read what was written to a terminal whose other end is closed: it comes in pieces, then EIO."""
    written = b""
    while True:
        try:
            written += os.read(terminal, 65536)
        except OSError:
            return written.decode()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (10 << 30, "10.0 GiB"),
        (3 << 40, "3.0 TiB"),
        (None, "?"),
    ],
)
def test_bytes(count: object, text: str) -> None:
    """Binary units, one decimal."""
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h"), ("x", "?")],
)
def test_spans(seconds: object, text: str) -> None:
    """The two largest units."""
    assert span_text(seconds) == text
