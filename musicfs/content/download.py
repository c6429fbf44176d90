"""A span on its way to the shelf, by range.

How it thinks: it is a sink that `wire` fills. The first answer teaches the blob its length and validator;
every later one must repeat them. Bytes are gathered to runs of four blocks, which go to the shelf at once:
a write for each block costs twice the CPU. What has just come is served from memory, so a reader is woken
by the byte it needs and not by the block. A server that answers a range with the whole (200) is read from
its first byte to its last, once.

What must always be true: `at` is the next byte wanted; blocks reach the shelf only whole; once nobody has
the file open any more, a ranged download stops by itself.
"""

from __future__ import annotations

from typing import Protocol

from musicfs.content.blob import Blob
from musicfs.content.progress import Progress
from musicfs.content.window import RUN, Window, Windows
from musicfs.core.spans import BLOCK
from musicfs.core.streams import Haste
from musicfs.core.validators import agree
from musicfs.errors import Changed, Misbehaved, UpstreamError
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

    def keep(self, blob: Blob, block: int, data: memoryview) -> None:
        """Put whole blocks, from `block` on, where they can be read from."""
        ...


class Watch(Protocol):
    """Who is told how a download gets on."""

    ahead: bool
    """Whether it was begun for nobody who waits."""

    def moved(self, amount: int, left: int) -> None:
        """Take note that bytes came and how many are still to come."""
        ...

    def ended(self) -> None:
        """Take note of its end, however it ended."""
        ...


class Download:
    """One span of a blob, being fetched."""

    def __init__(self, blob: Blob, span: Span, keeper: Keeper, watch: Watch, windows: Windows) -> None:
        self.at = span.start
        self.stop: int | None = span.stop
        self.progress = Progress(span.start)
        self.watch = watch
        self._blob, self._keeper = blob, keeper
        self._kept = span.start
        self._window = Window(windows, span.start)
        """The last bytes before `at`; those before `_kept` are on the shelf as well."""

    def __repr__(self) -> str:
        return f"<Download {self._blob.asset.key} to {self.stop} at {self.at}>"

    @property
    def foretold(self) -> bool:
        """Whether nobody has opened its file yet."""
        return self._blob.foretold

    @property
    def left(self) -> int:
        """Bytes still to come; 0 while nobody knows the end."""
        return max(0, (self.stop or 0) - self.at)

    @property
    def haste(self) -> Haste:
        """How soon its first bytes are needed; who comes later has to wait a moment more."""
        if self.watch.ahead and self._blob.streams.abreast:
            return Haste.ABREAST
        return Haste.AHEAD if self.watch.ahead and not self.progress.waiting else Haste.NOW

    def will_reach(self, offset: int) -> bool:
        """Tell whether this download will come by `offset`."""
        return self._kept <= offset and (self.stop is None or offset < self.stop)

    def brings(self, stop: int) -> int:
        """Say how far toward `stop` this download goes."""
        return stop if self.stop is None else min(stop, self.stop)

    def shows(self, start: int, stop: int) -> bool:
        """Tell whether these bytes are at hand in memory."""
        return self._window.start <= start and stop <= self._window.stop

    def peek(self, start: int, stop: int) -> memoryview:
        """Show bytes from `start` on that are at hand in memory, up to `stop`; good until more come."""
        return self._window.piece(start, min(stop, self._window.stop))

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
        blob.in_parts = head.ranged
        self.stop = min(self.stop or head.total, head.total) if head.ranged else head.total
        if head.start != self.at:
            self.at = self._kept = head.start
            self._window.move(head.start)
        self.progress.headed = True
        blob.ring()

    def take(self, data: bytes) -> bool:
        """Gather bytes to blocks; False once all wanted came or nobody wants more."""
        view, more = memoryview(data), True
        for start in range(0, len(view) or 1, RUN):
            more = self._gather(view[start : start + RUN])
        return more

    def _gather(self, data: memoryview) -> bool:
        """Take a run at most."""
        self._window.put(data)
        self.at += len(data)
        enough = self.stop is not None and self.at >= self.stop
        wanted = self._blob.holders > 0 or self.progress.waiting > 0
        if self.at - self._kept >= RUN or enough or not wanted:
            self.flush()
        self.progress.advance(self.at)
        self.watch.moved(len(data), self.left)
        return wanted and not enough

    def faltered(self, failure: UpstreamError) -> None:
        """Take note that a request failed, and is made again."""
        self.progress.setback = failure

    def flush(self) -> None:
        """Put the whole blocks that have come on the shelf; the last ones stay at hand for their readers."""
        size = self._blob.size or 0
        whole = self.at if self.at == size else self.at - self.at % BLOCK
        begun, place = self._kept, self._kept
        while place < whole:
            # A stream that started over comes by blocks that are here already.
            if self._blob.holds(place // BLOCK):
                self._keep(begun, place)
                begun = place + BLOCK
            place += BLOCK
        self._keep(begun, whole)
        self._kept = max(self._kept, whole)

    def _keep(self, start: int, stop: int) -> None:
        for piece in self._window.pieces(start, stop):
            self._keeper.keep(self._blob, start // BLOCK, piece)
            start += len(piece)

    def close(self) -> None:
        """Leave the memory to others: what came is on the shelf."""
        self._window.close()

    def end(self) -> None:
        """Refuse an end before the span's."""
        if self.stop is not None and self.at < self.stop:
            raise Misbehaved("the body ended early")
