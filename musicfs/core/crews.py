"""Who copies a folder with several hands, and what they will open next.

How it thinks: a crew is one process with two to eight files under way at a time (rclone, a pool of threads),
each of them read whole as a copier reads (`copying`). Whether the hands take their files from one queue or
each goes in strides of its own, together they open the folder nearly in one of its orders: what they have
opened is a run of it that lacks fewer files than there are hands, and none comes late by eight. Once eight
files were read whole, and whenever the run lacks none, what follows it in all orders that are still open is
foretold.

What must always be true: one file is foretold at a time, and the next once that one was opened. A file that
is read in part or opened again, a jump, a hand that pauses, a ninth hand: the crew is forgotten at once, and
has eight more files to read. What is kept of a crew is bounded, and so is their number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from musicfs.core.copying import MOST, PAUSE, Reading, Tiers, Way

T = TypeVar("T")

CONVINCED = 8
"""Files read whole before one is foretold: two by each of four hands. Who drags a few songs into an editor
has fewer, and with less forty songs were copied no sooner (docs/performance.md, "Four readers")."""

HANDS = 8
"""Files under way at a time: rclone has four. Who has more fills all connections by himself."""

SILENCE = 300.0
"""Seconds without an open or an end: a song of ten minutes, read no faster than a copier has to."""

_KEPT = CONVINCED + HANDS
"""Files remembered of those that were opened, before it is known for a crew: two of each of eight hands."""


@dataclass(slots=True)
class _Crew(Generic[T]):
    """One process on its way."""

    opened: dict[T, None] = field(default_factory=dict)
    """The latest files it opened, as it came to them."""
    busy: set[T] = field(default_factory=set)
    """Those it has under way."""
    free: deque[float] = field(default_factory=deque)
    """When the hands that have no file were done with their last ones."""
    hands: int = 0
    """The most files that it had under way at a time."""
    whole: int = 0
    """Files read whole."""
    ways: Sequence[Way[T]] | None = None
    """None until it is looked in which order it goes: all are open."""
    told: T | None = None
    """What was foretold and is not opened yet."""
    moment: float = 0.0
    """When it was last heard of."""


class Crews(Generic[T]):
    """The processes that may be copying so. Moments are seconds on any clock that only rises."""

    def __init__(self, ways: Callable[[T], Tiers[T]]) -> None:
        self._ways = ways
        self._crews: dict[int, _Crew[T]] = {}

    def __len__(self) -> int:
        return len(self._crews)

    def __contains__(self, who: int) -> bool:
        return who in self._crews

    def tidy(self, now: float) -> list[int]:
        """Let go of those of which a hand paused, or nothing is heard any more, and give them."""
        idle = [
            who
            for who, crew in self._crews.items()
            if now - crew.moment > SILENCE or (crew.free and now - crew.free[0] > PAUSE)
        ]
        for who in idle:
            del self._crews[who]
        return idle

    def opened(self, who: int, file: T, now: float) -> Sequence[T] | None:
        """Take note that a process opened a file; gives what will be opened next, if that is to be told now.

        None: it is no crew at work.
        """
        crew = self._crews.get(who)
        if crew is None:
            return None
        since, crew.moment = crew.free.popleft() if crew.free else now, now
        crew.busy.add(file)
        crew.hands = max(crew.hands, len(crew.busy))
        if now - since > PAUSE or file in crew.opened or len(crew.busy) > HANDS:
            del self._crews[who]
            return None
        crew.opened[file] = None
        if crew.hands > 1 and crew.whole >= CONVINCED:
            return self._step(who, crew, file)
        if len(crew.opened) > _KEPT:
            del crew.opened[next(iter(crew.opened))]
        return None

    def _step(self, who: int, crew: _Crew[T], file: T) -> Sequence[T] | None:
        """Look in which orders a crew still goes, and tell what all of them have next."""
        lines = _lines(self._ways(file) if crew.ways is None else (crew.ways,), crew)
        if not lines:
            del self._crews[who]
            return None
        crew.ways = [way for way, _ in lines]
        following = {_behind(line, crew.opened) for _, line in lines}
        for lowest in lines[0][1][: len(crew.opened) - CONVINCED]:
            crew.opened.pop(lowest, None)  # the rest is a run as well, and sooner walked over
        if crew.told == file:
            crew.told = None
        if crew.told is not None or len(crew.busy) < 2 or len(following) > 1:
            return ()
        told = following.pop()
        crew.told = told[0] if told else None
        return told

    def read(self, who: int, file: T, reading: Reading, now: float) -> None:
        """Take note that a process has read a file whole."""
        crew = self._crews.pop(who, None) or _Crew()
        if not reading.brisk(now):
            return
        if file not in crew.busy:
            crew.opened[file] = None  # It was opened before anybody looked.
        crew.whole += 1
        if self._freed(crew, file, now):
            self._crews[who] = crew
        if len(self._crews) > MOST:
            del self._crews[next(iter(self._crews))]

    def passed(self, who: int, file: T, now: float) -> None:
        """Take note that a process closed a file whose bytes the kernel had: that tells nothing."""
        crew = self._crews.get(who)
        if crew is not None and file in crew.busy and not self._freed(crew, file, now):
            del self._crews[who]

    def _freed(self, crew: _Crew[T], file: T, now: float) -> bool:
        """Take note that a hand is done with a file; False if there are too many hands."""
        crew.busy.discard(file)
        crew.free.append(now)
        crew.moment = now
        return len(crew.free) <= HANDS

    def left(self, who: int) -> bool:
        """Take note that a process is no crew; tells whether it was taken for one."""
        return self._crews.pop(who, None) is not None


def _lines(tiers: Tiers[T], crew: _Crew[T]) -> list[tuple[Way[T], Sequence[T]]]:
    """Give the ways that a crew may be on, of the cheapest tier that has one, each with its files from the
    lowest that was opened."""
    for ways in tiers:
        if fit := [(way, line) for way in ways if (line := _line(way, crew.opened, crew.hands))]:
            return fit
    return []


def _line(way: Way[T], opened: dict[T, None], hands: int) -> Sequence[T]:
    """Give a way's files from the lowest that was opened; none if what was opened is no run of it."""
    lowest, most = next(iter(opened)), len(opened) + hands - 1  # all but one hand may lack one
    for _ in range(hands):  # The first that was opened need not be the lowest: other hands may have those.
        line = [lowest, *way.after(lowest, most - 1)]
        places = {file: place for place, file in enumerate(line)}
        before = [file for file in opened if file not in places]
        if not before:
            seen = [places[file] for file in opened]
            late = max(sum(other > place for other in seen[:at]) for at, place in enumerate(seen))
            return line if late < CONVINCED else ()
        if len(before) >= hands:
            break
        lowest = before[0]
    return ()


def _behind(line: Sequence[T], opened: dict[T, None]) -> tuple[T, ...]:
    """Give what follows a run that lacks nothing."""
    count = len(opened)
    return tuple(line[count : count + 1]) if opened.keys() >= set(line[:count]) else ()
