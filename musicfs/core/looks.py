"""How much of a file a program looks at, foretold from the last ones it looked at.

How it thinks: a prober (ffprobe, a tagger) opens a file, asks for some of its beginning and perhaps of its
end, and closes it. Of the next file of that kind it asks for as much, for the kernel reads ahead for it in
the same steps, and tags and tables of one service's songs are about equally long. So what is asked for
between an opening and a closing is taken down, and once the last `AGREED` files of a kind were all looks,
the least of them is fetched of the next one at once, in pieces side by side. Without that a prober pays a
round trip for each step, because nobody knows how far it goes.

What must always be true: never is more foretold than was asked for of each of those files, and never more
than `DEEPEST` and `LONGEST`; one file that is read on, read in its middle or left untouched ends it at once.
What a first request brings anyway is not foretold.

It refuses to know what a program is and what a kind is, and to remember more of them than `MOST`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple

from musicfs.core.readahead import FIRST
from musicfs.core.spans import BLOCK, align, joined
from musicfs.model import Span

AGREED = 2
"""Files that must have been looked at: as many as a copier must have copied (`copying.CONVINCED`)."""

DEEPEST = 1024 * 1024
"""Bytes of a beginning: `ffprobe` of an mp3 is 448 KiB; who asks for more is reading."""

LONGEST = 512 * 1024
"""Bytes of an end: an m4a's table of eight minutes (clients.md: 205 KB per 200 s with a cover)."""

MOST = 64
"""Kinds of looks remembered, the latest used: a few hundred bytes each."""

_RUNS = 4
"""Stretches that do not touch: two at either end, as the kernel's requests come in any order."""


class Ends(NamedTuple):
    """So many bytes of a file's beginning and of its end."""

    head: int
    tail: int


NOTHING = Ends(0, 0)


class Look:
    """One program at one file, from its opening to its closing; by default somebody of no interest."""

    __slots__ = ("_learn", "_runs", "begun", "foretold")

    def __init__(self, foretold: Ends = NOTHING, learn: Callable[[Ends], None] | None = None) -> None:
        self.foretold = foretold
        self.begun = False
        """Whether anything was fetched because it was foretold."""
        self._learn = learn
        self._runs: list[Span] = []

    def note(self, read: Span, size: int) -> None:
        """Take note of a read of a file of `size` bytes; one that is no look's ends the matter."""
        if self._learn is None:
            return
        self._runs = joined([*self._runs, Span(read.start, min(read.stop, size))])
        if len(self._runs) > _RUNS or (self._runs and self._runs[0].length > DEEPEST):
            self._tell(NOTHING)

    def over(self, size: int) -> None:
        """Take note that the file is closed."""
        if self._learn is None or not (self._runs or self.begun) or self._runs == [Span(0, size)]:
            return  # The kernel had what was read, or the file is as short as a look: neither tells anything.
        self._tell(_ends(self._runs, size))

    def spoil(self) -> None:
        """Take note that no part of the file can be had by itself."""
        self._tell(NOTHING)

    def _tell(self, ends: Ends) -> None:
        if self._learn is not None:
            self._learn(ends)
            self._learn = None


def _ends(runs: list[Span], size: int) -> Ends:
    """Say what was asked for of a file, in its last block or before; nothing if that was no look."""
    if not 1 <= len(runs) <= 2 or runs[0].start > 0 or runs[0].stop > DEEPEST:
        return NOTHING
    if len(runs) == 1:
        return Ends(runs[0].stop, 0)
    tail = size - runs[1].start
    return Ends(runs[0].stop, tail) if align(runs[1], size).stop == size and tail <= LONGEST else NOTHING


class Looks:
    """How the last files were looked at; `who` is a program and a kind of file."""

    def __init__(self) -> None:
        self._last: dict[Hashable, deque[Ends]] = {}
        """Least recently used first."""

    def __len__(self) -> int:
        return len(self._last)

    def begin(self, who: Hashable) -> Look:
        """Begin to take down a look."""
        return Look(self._foretold(who), lambda ends: self._learn(who, ends))

    def _foretold(self, who: Hashable) -> Ends:
        last = self._last.get(who, ())
        if len(last) < AGREED or NOTHING in last:
            return NOTHING
        ends = Ends(min(one.head for one in last), min(one.tail for one in last))
        return ends if ends.tail or ends.head > FIRST else NOTHING

    def _learn(self, who: Hashable, ends: Ends) -> None:
        last = self._last.pop(who, None) or deque(maxlen=AGREED)
        last.append(ends)
        self._last[who] = last
        if len(self._last) > MOST:
            del self._last[next(iter(self._last))]


def pieces(ends: Ends, size: int) -> list[Span]:
    """Cut what is foretold of a file of `size` bytes into what is fetched side by side, in whole blocks.

    More of a beginning than a first request brings comes over two connections, in half the time; the latter
    half is the longer one, because a prober waits for the former's last byte and not for its own last.
    """
    head = align(Span(0, ends.head), size).stop
    half = head // 2 // BLOCK * BLOCK if head > FIRST else 0
    tail = align(Span(size - ends.tail, size), size).start
    cut = (Span(0, half), Span(half, head), Span(max(head, tail), size))
    return [piece for piece in cut if piece.length > 0]
