"""A span on its way to the shelf, by range.

How it thinks: it is a sink that `wire` fills. The first answer teaches the blob its length and validator;
every later one must repeat them. Bytes are gathered to blocks, a full block goes to the shelf, the
unfinished one is served from memory, so a reader is woken by the byte it needs and not by the block. A
server that answers a range with the whole (200) is read from its first byte to its last, once.

What must always be true: `at` is the next byte wanted; blocks reach the shelf only whole; once nobody has
the file open any more, a ranged download stops by itself.
"""

from __future__ import annotations

from typing import Protocol

from musicfs.content.blob import Blob
from musicfs.content.progress import Progress
from musicfs.core.spans import BLOCK
from musicfs.core.validators import agree
from musicfs.errors import Changed, Misbehaved
from musicfs.model import Span


class Unsized(Misbehaved):
    """The service gives no length: the object has to be read in one pass."""

    temporary = False


class Head(Protocol):
    """What is needed of a checked answer's head."""

    @property
    def start(self) -> int:
        """Offset of the body's first byte."""
        ...

    @property
    def total(self) -> int | None:
        """The object's length in bytes."""
        ...

    @property
    def ranged(self) -> bool:
        """Whether it is a part."""
        ...

    @property
    def validator(self) -> str:
        """What later answers must repeat."""
        ...

    @property
    def announced(self) -> int | None:
        """How long the body is said to be."""
        ...


class Keeper(Protocol):
    """What a download tells the front of the content room."""

    def learned(self, blob: Blob, size: int, validator: str) -> None:
        """Take note of a blob's length and validator, or that they were confirmed."""
        ...

    def disagreed(self, blob: Blob, size: int, validator: str) -> None:
        """Take note that the service has other bytes now."""
        ...

    def keep(self, blob: Blob, block: int, data: bytes) -> None:
        """Put a block where it can be read from."""
        ...


class Watch(Protocol):
    """Who is told how a download gets on."""

    def moved(self, amount: int, left: int) -> None:
        """Take note that bytes came and how many are still to come."""
        ...

    def ended(self) -> None:
        """Take note of its end, however it ended."""
        ...


class Download:
    """One span of a blob, being fetched."""

    def __init__(self, blob: Blob, span: Span, keeper: Keeper, watch: Watch) -> None:
        self.at = span.start
        self.stop: int | None = span.stop
        self.progress = Progress(span.start)
        self.watch = watch
        self._blob, self._keeper = blob, keeper
        self._base = span.start
        self._pending = bytearray()

    def __repr__(self) -> str:
        return f"<Download {self._blob.asset.key} [{self._base}, {self.stop}) at {self.at}>"

    @property
    def left(self) -> int:
        """Bytes still to come; 0 while nobody knows the end."""
        return max(0, (self.stop or 0) - self.at)

    def will_reach(self, offset: int) -> bool:
        """Tell whether this download will come by `offset`."""
        return self._base <= offset and (self.stop is None or offset < self.stop)

    def brings(self, stop: int) -> int:
        """Say how far toward `stop` this download goes."""
        return stop if self.stop is None else min(stop, self.stop)

    def peek(self, start: int, stop: int) -> bytes | None:
        """Give bytes of the unfinished block, if they have come."""
        if self._base <= start and stop <= self._base + len(self._pending):
            return bytes(self._pending[start - self._base : stop - self._base])
        return None

    def begin(self, head: Head) -> None:
        """Check a head against what is known, learn what is not.

        Raises:
            Unsized: it tells no length.
            Changed: it speaks of other bytes than before.
        """
        blob = self._blob
        if head.total is None:
            if blob.size is not None:
                raise Misbehaved("the service no longer tells the length")
            raise Unsized("the service tells no length")
        if blob.size is not None and (head.total != blob.size or not agree(blob.validator, head.validator)):
            self._keeper.disagreed(blob, head.total, head.validator)
            raise Changed("the service has other bytes now")
        self._keeper.learned(blob, head.total, head.validator)
        self.stop = min(self.stop or head.total, head.total) if head.ranged else head.total
        if head.start != self.at:
            self.at = self._base = head.start
            self._pending.clear()
        self.progress.headed = True
        blob.ring()

    def take(self, data: bytes) -> bool:
        """Gather bytes to blocks; False once all wanted came or nobody wants more."""
        size = self._blob.size or 0
        self._pending += data
        self.at += len(data)
        while len(self._pending) >= BLOCK:
            self._keep(bytes(self._pending[:BLOCK]))
        if self._pending and self._base + len(self._pending) == size:
            self._keep(bytes(self._pending))
        self.progress.advance(self.at)
        self.watch.moved(len(data), self.left)
        if self.stop is not None and self.at >= self.stop:
            return False
        return self._blob.holders > 0 or self.progress.waiting > 0

    def _keep(self, data: bytes) -> None:
        # A stream that started over comes by blocks that are here already.
        block = self._base // BLOCK
        if self._base % BLOCK == 0 and not self._blob.holds(block):
            self._keeper.keep(self._blob, block, data)
        del self._pending[: len(data)]
        self._base += len(data)

    def end(self) -> None:
        """Refuse an end before the span's."""
        if self.stop is not None and self.at < self.stop:
            raise Misbehaved("the body ended early")
