"""A piece of memory beside the heap, lent to one large answer after another.

How it thinks: an answer of up to a megabyte that is taken from the C library's heap and given back a moment
later leaves a hole that something small soon lies in; taken from the kernel, it costs a page fault for every
4 KiB. One answer is alive at a time: pyfuse3 hands it to the kernel before anything else runs. So one slab
serves all of them. Where an answer is still held, the next one comes from the heap.

What must always be true: what is lent is not lent again while anybody can look at it. Python refuses to
resize memory that somebody looks at, and so it is asked.
It refuses threads: it is the loop's.
"""

from __future__ import annotations

from collections.abc import Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

Bytes = bytes | memoryview


def memory(length: int) -> mmap:
    """Give `length` bytes of memory that no heap knows of; a page counts once it was written."""
    return mmap(-1, length, flags=MAP_PRIVATE | MAP_ANONYMOUS)


class Slab:
    """The memory for one answer of at most `length` bytes."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._memory = memory(length)

    def lend(self, length: int) -> memoryview | None:
        """Give room for an answer; None if it is too long, or the last one is still held."""
        if length > self._length:
            return None
        try:
            self._memory.resize(self._length)
        except BufferError:
            return None
        return memoryview(self._memory)[:length]

    def joined(self, pieces: Sequence[Bytes]) -> Bytes:
        """Give a copy of pieces in a row."""
        room = self.lend(sum(map(len, pieces)))
        if room is None:
            return b"".join(pieces)
        at = 0
        for piece in pieces:
            room[at : at + len(piece)] = piece
            at += len(piece)
        return room
