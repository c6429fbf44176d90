"""One open file.

How it thinks: it holds its blob while it is open and knows how long the file is; the bytes are `Content`'s
business, whether they are here (`here`) or on their way (`read`). What is read is noted, so that the next
file is fetched as this one was looked at (`core.looks`).

What must always be true: length and version stay what they were at `open`; the hold is taken back once.
"""

from __future__ import annotations

from typing import Protocol

from musicfs.content.blob import Blob
from musicfs.content.shelving import Shelving
from musicfs.core.looks import Look
from musicfs.core.spans import BLOCK, blocks_of, clip
from musicfs.model import Span


class Source(Protocol):
    """Who gives a blob's bytes."""

    async def read(self, blob: Blob, wanted: Span, size: int, ahead: int, look: int) -> bytes | memoryview:
        """Give exactly the bytes of `wanted`, waiting for them."""
        ...

    def here(self, blob: Blob, wanted: Span, size: int, ahead: int, look: int) -> bytes | memoryview | None:
        """Give the same if it is here."""
        ...


class BlobReader:
    """One open file; it takes over the hold that was taken for it."""

    def __init__(self, source: Source, shelving: Shelving, blob: Blob, look: Look) -> None:
        self._source, self._shelving, self._blob, self._look = source, shelving, blob, look
        self._open = True
        self.size = blob.size or 0
        """Exact length in bytes; it does not change while the file is open."""
        self.ahead = self.size
        """Offset that is not read ahead of: where a stem ends, its neighbour begins."""

    @property
    def version(self) -> int:
        """Which version its bytes are of."""
        return self._blob.version

    def missing(self, span: Span) -> int:
        """Count the bytes, in whole blocks, that a read of `span` would have fetched."""
        return sum(BLOCK for block in blocks_of(clip(span, self.size)) if not self._blob.holds(block))

    async def read(self, span: Span) -> bytes | memoryview:
        """Give exactly the bytes of `span`, clipped to the file."""
        self._look.note(span, self.size)
        return await self._source.read(self._blob, span, self.size, self.ahead, self._look.foretold.head)

    def here(self, span: Span) -> bytes | memoryview | None:
        """Give the same if it is here."""
        data = self._source.here(self._blob, span, self.size, self.ahead, self._look.foretold.head)
        if data is not None:
            self._look.note(span, self.size)
        return data

    def close(self) -> None:
        """End this use; a second call does nothing."""
        if self._open:
            self._open = False
            if self._blob.in_parts:
                self._look.over(self.size)
            else:
                self._look.spoil()
            self._shelving.release(self._blob)
