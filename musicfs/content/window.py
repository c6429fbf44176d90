"""The last bytes of a stream, in memory that one download leaves to the next.

How it thinks: a download holds half a megabyte for a while: what is not yet on the shelf, and what went there
last, for readers who come close behind. Bytearrays that grow and are cut again tear the C library's heap: 8
files at a time took 25 MB of it where 11 were in use. So each download has a `Window`, a ring in memory of
its own, and `Windows` keeps what an ended one leaves.

What must always be true: a byte lies at its offset modulo the ring's length, which is a number of blocks,
so no block is in two pieces; what was overwritten is not here any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

from musicfs.core.spans import BLOCK
from musicfs.slab import memory

RUN = 4 * BLOCK
"""Bytes that go to the shelf at a time: a write for each block costs twice the CPU."""
_LENGTH = 3 * RUN
"""Bytes of a ring: a run that was kept last, one that is not kept yet, and one that comes in one piece."""
_SPARE = 2
"""Rings kept for later: one stream after the other, or two, go on without asking the kernel for memory."""


class Windows:
    """The memory of windows."""

    def __init__(self) -> None:
        self._spare: list[mmap] = []

    def take(self) -> mmap:
        """Give a ring's memory."""
        return self._spare.pop() if self._spare else memory(_LENGTH)

    def leave(self, ring: mmap) -> None:
        """Take it back."""
        if len(self._spare) < _SPARE:
            self._spare.append(ring)


class Window:
    """The bytes `[start, stop)` of a stream; it takes memory when the first ones come."""

    def __init__(self, windows: Windows, at: int) -> None:
        self.start = self.stop = at
        self._windows = windows
        self._ring: mmap | None = None

    def move(self, at: int) -> None:
        """Begin anew, at another byte."""
        self.start = self.stop = at

    def put(self, data: bytes | memoryview) -> None:
        """Take the bytes behind the last ones, a run of them at most."""
        if self._ring is None:
            self._ring = self._windows.take()
        place = self.stop % _LENGTH
        first = min(len(data), _LENGTH - place)
        self._ring[place : place + first] = data[:first]
        self._ring[: len(data) - first] = data[first:]
        self.stop += len(data)
        self.start = max(self.start, self.stop - _LENGTH)

    def piece(self, start: int, stop: int) -> memoryview:
        """Show the bytes from `start` on that lie together, up to `stop`; good until the next `put`."""
        assert self._ring is not None, "nothing came yet"
        place = start % _LENGTH
        return memoryview(self._ring)[place : min(place + stop - start, _LENGTH)]

    def pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        """Show the bytes of a stretch that is here, in one piece or in two; good until the next `put`."""
        while start < stop:
            piece = self.piece(start, stop)
            yield piece
            start += len(piece)

    def close(self) -> None:
        """Leave the memory to others; nothing is here from now on."""
        self.start = self.stop
        if self._ring is not None:
            self._windows.leave(self._ring)
            self._ring = None
