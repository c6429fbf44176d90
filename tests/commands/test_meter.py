"""How far long work is, for a terminal and for a log."""

from __future__ import annotations

import io

from musicfs.commands.meter import Lines, drawn


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_log_gets_a_line_at_each_tenth() -> None:
    """However often it is told, at most ten lines, each with bytes and words; none too early."""
    stream = io.StringIO()
    with drawn(stream, "warming") as meter:
        meter.show(0, 0, "")
        for done in range(0, 1025, 16):
            meter.show(done, 1024, "1 of 2 files")
            meter.show(done, 1024, "1 of 2 files")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("warming: 100 %, 1.0 KiB of 1.0 KiB, 1 of 2 files, ")


def test_a_line_says_how_fast_and_how_long() -> None:
    """Bytes a second since the beginning, and the time that the rest takes at that."""
    stream, now = io.StringIO(), 100.0
    with Lines(stream, "warming", lambda: now) as meter:
        now += 10.0
        meter.show(1024 * 1024, 4 * 1024 * 1024, "1 of 3 files")
        now += 30.0
        meter.show(4 * 1024 * 1024, 4 * 1024 * 1024, "")
    assert stream.getvalue().splitlines() == [
        "warming: 20 %, 1.0 MiB of 4.0 MiB, 1 of 3 files, 102.4 KiB/s, 30 s left",
        "warming: 100 %, 4.0 MiB of 4.0 MiB, 102.4 KiB/s",
    ]


def test_a_total_may_grow() -> None:
    """While files are still counted the share falls; what was said is not said again."""
    stream = io.StringIO()
    with drawn(stream, "warming") as meter:
        meter.show(50, 100, "")
        meter.show(60, 1000, "")
        meter.show(600, 1000, "")
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "warming: 50 %",
        "warming: 60 %",
    ]


def test_a_terminal_gets_a_bar() -> None:
    """With bytes and words, a title's brackets as they are, and nothing left behind but what was printed."""
    stream = Terminal()
    with drawn(stream, "warming [b]") as meter:
        meter.show(512 * 1024, 1024 * 1024, "1 of 2 files [/x]")
    said = stream.getvalue()
    assert "warming [b]" in said
    assert "1 of 2 files [/x]" in said
    assert "MiB" in said or "KiB" in said
