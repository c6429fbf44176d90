"""How far ahead of its readers an object should be fetched.

How it thinks: one file has several readers at once (a player, a thumbnailer at the tail, Ardour with a
cursor a channel), and the kernel hands their reads over in pieces of 128 KiB to 1 MiB, two to four at a
time and out of order. So nothing is concluded from one read that jumps. What is remembered is *runs*:
stretches that were read without a hole. A read that touches a run lengthens it; a read that closes a hole
joins two runs into one; a read that touches nothing starts a run of its own and is given exactly its own
blocks. A run is believed to be sequential once two reads have followed each other in it, or when it began
at the file's first byte.

A sequential run has a window, doubled each time its reader has passed the middle of what was last
recommended; so the download is always at least half a window ahead, and a long song runs at full speed
after five steps. A look at a file's head costs 256 KiB: the kernel asks for as much when a program reads
half of it, so only a read beyond tells a reader from a prober, or a first read of 128 KiB, which the
kernel makes for a program that reads more than 32 KiB at a time, as copiers do and probers do not (where
root has raised the read-ahead, of 32 KiB too). Who is known to look at more (`looks`) is given that and no
more until it reads beyond. Where a page cache left a hole, the stretch beyond it takes
over the window of a run close behind. A read of the tail (tags, `moov`) that continues nothing leaves no
trace at all.

What must always be true: the answer covers the read, lies inside the file, and never reaches more than 8
MiB beyond what was read; reads that touch no other are answered with their own blocks and nothing else.

What it refuses: to know what is already here. The answer is what is wise to have; `content/fetching`
says what of it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from musicfs.core.spans import align, clip
from musicfs.model import Span

FIRST = 256 * 1024
"""Bytes of the first window: two kernel requests of 128 KiB, enough for most probers (clients.md)."""

EAGER = 128 * 1024
"""Bytes of a first read (the kernel's read-ahead) whose reader is given twice `FIRST`: at 100 Mbit/s they
come for 42 ms, nearly as long as the next request is under way; with 256 KiB a line was idle for 32 ms."""

LARGEST = 8 * 1024 * 1024
"""Bytes of the largest window: above it a download gains no speed, and a reader that stops wastes more."""

NEAR = 1024 * 1024
"""Bytes: the kernel's largest request, so how far out of order a read of the same reader can come."""

TAIL = 256 * 1024
"""Bytes at the end that hold tags or a small `moov` (clients.md: 205 KB per 200 s with a cover)."""

MOST = 8
"""Runs remembered per object: more readers than that of one song are scanners."""


@dataclass(slots=True)
class _Run:
    """A stretch read without a hole. `window` 0: one read so far, not known to be sequential."""

    start: int
    stop: int
    window: int
    edge: int
    """Where the last recommendation for this run ended."""

    def touches(self, span: Span) -> bool:
        """Say whether a read overlaps or adjoins the run."""
        return span.start <= self.stop and span.stop >= self.start

    def trim(self) -> None:
        """Let go of what lies far behind the reader, so that going back there is a seek."""
        self.start = max(self.start, self.stop - NEAR)

    def stretch(self, look: int) -> None:
        """Recommend the next window once the reader has passed the middle of the last one."""
        if 2 * (self.edge - self.stop) > self.window or (self.start == 0 and self.stop <= look):
            return
        self.window = min(max(FIRST, 2 * self.window), LARGEST)
        self.edge = min(max(self.edge, self.stop) + self.window, self.stop + LARGEST)


class Cursors:
    """The reading positions of one object."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        """Least recently used first."""

    def __repr__(self) -> str:
        shown = ", ".join(f"[{run.start},{run.stop}) to {run.edge}" for run in self._runs)
        return f"<Cursors {shown}>"

    def forget(self) -> None:
        """Drop every position, as when the last handle closes or the bytes change."""
        self._runs.clear()

    def note(self, span: Span, size: int, look: int = 0) -> Span:
        """Take note of a read and say which bytes (whole blocks) are wise to have for it.

        `look` is how many bytes of the head its reader is known to look at (`looks`), 0 if that is not known.
        """
        read = clip(span, size)
        if read.stop <= read.start:
            return read
        touched = [run for run in self._runs if run.touches(read)]
        if not touched and read.start > 0 and read.start >= size - TAIL:
            return align(read, size)
        run = self._join(read, touched, look)
        run.edge = min(run.edge, size)
        self._keep(run)
        return align(Span(read.start, max(read.stop, run.edge)), size)

    def _join(self, read: Span, touched: list[_Run], look: int) -> _Run:
        """Make one run of a read and the runs that it touches, and stretch it if it went forward."""
        run = _Run(read.start, read.stop, 0, read.stop)
        if read.start == 0:
            run.window = look or (FIRST if read.stop < EAGER else 2 * FIRST)
            run.edge = max(read.stop, run.window)
        if not touched:
            return run
        leader = max(touched, key=lambda other: (other.window, -other.start))
        for other in touched:
            self._absorb(run, other)
        if run.stop > leader.stop:
            self._inherit(run)
            run.stretch(look or FIRST)
        run.trim()
        return run

    def _absorb(self, run: _Run, other: _Run) -> None:
        """Let `run` take over all that `other` stood for."""
        run.start = min(run.start, other.start)
        run.stop = max(run.stop, other.stop)
        run.window = max(run.window, other.window)
        run.edge = max(run.edge, other.edge)
        self._runs.remove(other)

    def _inherit(self, run: _Run) -> None:
        """Let a run that has just become sequential go on for one that stopped short of it at a hole."""
        if run.window:
            return
        behind = [other for other in self._runs if other.window and 0 < run.start - other.stop <= NEAR]
        if behind:
            self._absorb(run, max(behind, key=lambda other: other.stop))

    def _keep(self, run: _Run) -> None:
        """Remember a run as the latest used; when there are too many, single reads go before sequences."""
        if len(self._runs) >= MOST:
            self._runs.remove(next((old for old in self._runs if not old.window), self._runs[0]))
        self._runs.append(run)
