"""Who is copying a folder, and what it will read next.

How it thinks: a copier is one process that reads file after file of a folder whole, from the first byte
to the last, faster than music plays, going on at once, in an order that never changes: as listed (tar,
Python), by name (rsync), by number (`cp -r` sorts so). An order is a `Way` from file to file; at first
all ways are open, and each file that is opened closes those that would have led elsewhere. Two files read
whole and a third opened behind them make a copy; what comes next is what all ways that are still open
agree on. A player reads as slowly as it plays or waits between songs, a prober reads in part, an indexer
never gets here.

What must always be true: a file that is read in part, a jump, a pause or a step elsewhere ends the copy
at once; never more than `AHEAD` files are foretold.

What it refuses: programs that read several files at a time: those are `crews`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from musicfs.model import Span

T = TypeVar("T")

AHEAD = 2
"""Files foretold (DESIGN §2, promise 3)."""

CONVINCED = 2
"""Files read whole before the one that makes it a copy: a person opens one and then its neighbour."""

PAUSE = 2.0
"""Seconds from a file's last byte to the next file's opening; `cp` and rsync take milliseconds."""

FASTER = 2
"""Times faster than it plays that a song must be read: a player that reads ahead reaches some 1.1."""

MOST = 16
"""Processes kept in mind; more that copy at a time have no use for more connections."""

_DENSE = 40_000
"""Bytes a second of the densest mp3 (320 kbit/s): no song of unknown length plays for less long."""


class Way(Protocol[T]):
    """One constant order of a folder."""

    def after(self, file: T, count: int) -> Sequence[T]:
        """Give the files that follow one, at most so many."""
        ...


Tiers = Sequence[Sequence[Way[T]]]
"""Ways by what they cost to walk; the dear ones are only tried if no cheap one fits."""


class Reading:
    """How far one open file of `size` bytes has been read without a jump."""

    __slots__ = ("_beyond", "_reached", "_size", "_straight", "_widest", "begun", "seconds")

    def __init__(self, size: int, now: float, plays: float | None) -> None:
        self.begun = now
        self.seconds = plays if plays is not None else size / _DENSE
        self._size = size
        self._reached = self._widest = 0
        self._beyond: list[Span] = []
        self._straight = True

    @property
    def whole(self) -> bool:
        """Whether every byte was read, the first first and the last last."""
        return self._straight and self._reached >= self._size

    @property
    def untouched(self) -> bool:
        """Whether nothing was read."""
        return self._straight and not self._widest

    def note(self, read: Span) -> bool:
        """Take note of a read; True when it is the one that makes the file read whole."""
        start, stop = read.start, min(read.stop, self._size)
        if not self._straight or self._reached >= self._size or start >= stop:
            return False
        self._widest = max(self._widest, stop - start)
        if start > self._reached:
            # The kernel has two of its requests under way at a time, and either may come first.
            self._straight = start - self._reached <= 2 * self._widest and len(self._beyond) < 4
            self._beyond.append(Span(start, stop))
            return False
        self._reached = max(self._reached, stop)
        for span in sorted(self._beyond):
            if span.start <= self._reached:
                self._reached = max(self._reached, span.stop)
                self._beyond.remove(span)
        return self._reached >= self._size

    def brisk(self, now: float) -> bool:
        """Tell whether it was read much faster than it plays."""
        return (now - self.begun) * FASTER <= self.seconds


@dataclass(slots=True)
class _Run(Generic[T]):
    """One process on its way."""

    last: T
    moment: float
    """When the last file was done with."""
    whole: int = 1
    """Files read whole, one behind the other."""
    reading: bool = False
    """Whether it is in the middle of `last`."""
    ways: Sequence[Way[T]] | None = None
    """None until a second file was opened: all are open."""


class Copiers(Generic[T]):
    """The processes that may be copying. Moments are seconds on any clock that only rises."""

    def __init__(self, ways: Callable[[T], Tiers[T]]) -> None:
        self._ways = ways
        self._runs: dict[int, _Run[T]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, who: int) -> bool:
        return who in self._runs

    def tidy(self, now: float) -> list[int]:
        """Let go of those that paused, and give them."""
        idle = [who for who, run in self._runs.items() if not run.reading and now - run.moment > PAUSE]
        for who in idle:
            del self._runs[who]
        return idle

    def opened(self, who: int, file: T) -> Sequence[T]:
        """Take note that a process opened a file; gives what it will open next, if it is copying."""
        run = self._runs.get(who)
        if run is None:
            return ()
        tiers: Tiers[T] = self._ways(run.last) if run.ways is None else (run.ways,)
        run.ways = () if run.reading else _still_open(tiers, run.last, file)
        if not run.ways:
            del self._runs[who]
            return ()
        run.last, run.reading = file, True
        return _agreed(run.ways, file) if run.whole >= CONVINCED else ()

    def read(self, who: int, file: T, reading: Reading, now: float) -> None:
        """Take note that a process has read a file whole."""
        run = self._runs.pop(who, None)
        if not reading.brisk(now):
            return
        if run is None or run.last != file:
            run = _Run(file, now, 0)
        run.moment, run.whole, run.reading = now, run.whole + 1, False
        self._runs[who] = run
        if len(self._runs) > MOST:
            del self._runs[next(iter(self._runs))]

    def passed(self, who: int, now: float) -> None:
        """Take note that a process closed a file whose bytes the kernel had: that tells nothing."""
        if (run := self._runs.get(who)) is not None:
            run.moment, run.reading = now, False

    def left(self, who: int) -> bool:
        """Take note that a process is no copier; tells whether it was taken for one."""
        return self._runs.pop(who, None) is not None


def _still_open(tiers: Tiers[T], last: T, file: T) -> Sequence[Way[T]]:
    """Give the ways that lead from one file to the next, of the cheapest tier that has one."""
    for ways in tiers:
        if fit := [way for way in ways if list(way.after(last, 1)) == [file]]:
            return fit
    return ()


def _agreed(ways: Sequence[Way[T]], file: T) -> Sequence[T]:
    """Give the files that every way has next."""
    first, *others = [way.after(file, AHEAD) for way in ways]
    return [one for one in first if all(one in other for other in others)]
