"""The end of an object whose length nobody knows yet: one request tells the length and brings the end.

How it thinks: a ZIP is read from its end, so its first request asks for the last bytes, wherever they are.
What of them makes whole blocks goes to the shelf as of any download; the piece before those, which begins
in the middle of a block, is only handed to who asked. A server that answers with the whole makes it an
ordinary download from the first byte, and it stays one, whatever that server answers later.

What must always be true: `got` is exactly the object's end once the job has ended well, else empty.
"""

from __future__ import annotations

from musicfs.content.blob import Blob
from musicfs.content.download import Download, Head, Keeper, Watch
from musicfs.content.window import Windows
from musicfs.core.spans import BLOCK
from musicfs.model import Span


class Tail(Download):
    """The last `length` bytes of a blob, being fetched."""

    def __init__(self, blob: Blob, length: int, keeper: Keeper, watch: Watch, windows: Windows) -> None:
        super().__init__(blob, Span(-length, 0), keeper, watch, windows)
        self.stop = None
        self._ranged = True
        self._got = bytearray()

    @property
    def got(self) -> bytes:
        """The object's end, if all of it has come; empty where the server sends the whole."""
        return bytes(self._got) if self._got and self.at == self.stop else b""

    @property
    def from_start(self) -> bool:
        """Whether the server sends the whole instead."""
        return self.progress.headed and not self._ranged

    def begin(self, head: Head) -> None:
        """Learn the length, and where the end begins; only the first answer may begin anywhere but where the
        last one broke off, or at the object's start."""
        first = not self.progress.headed
        super().begin(head)
        if not head.ranged:
            self._ranged = False
            self._got.clear()
        elif first:
            self._kept = min(-(-head.start // BLOCK) * BLOCK, head.total or 0)
            self._window.move(self._kept)

    def take(self, data: bytes) -> bool:
        """Keep all that comes for who asked, and whole blocks for everybody."""
        if self._ranged:
            self._got += data
            lead = max(0, min(self._kept - self.at, len(data)))
            self.at += lead
            data = data[lead:]
        return super().take(data)
