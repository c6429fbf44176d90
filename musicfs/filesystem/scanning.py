"""What a media server may have of songs that are not cached: heads and tails, and so much a day.

How it thinks: Navidrome, MPD and Jellyfin open every file to read its tags, and by and by again; tags and
tables stand at a file's ends. So a program that is named in the settings gets the bytes there and no others,
nothing is read ahead for it, and what is fetched for all of them is counted. What comes in one pass only (a
Flow Music mp3) has no ends that could be asked for; the same song's m4a has. What is in the cache is served
as to anybody, so a server plays what was warmed.

What must always be true: a byte is counted before it is asked for (a picture's when its length is known), so
a day's sum is never above the budget by more than one request of the kernel's, or one picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from musicfs.content import Asset, Content, Opened
from musicfs.content.reader import BlobReader
from musicfs.core.spans import BLOCK
from musicfs.errors import ScanRefused
from musicfs.model import Form, Span

HEAD = 8 * BLOCK  # bytes: tags with a picture in front of the sound (clients.md §4.13: half a megabyte)
TAIL = 5 * BLOCK  # bytes: an m4a's table of 200 s has 205 KB (clients.md §4.13), and pages begin before it
SCANNED = "bytes scanned"
"""What it is counted as."""


class Budget:
    """What media servers may have fetched: `limit` bytes a day. `today` gives the day's counts."""

    def __init__(
        self,
        limit: int,
        note: Callable[[str, int], None] = lambda kind, amount: None,
        today: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.limit, self._note, self._today = limit, note, today

    @property
    def left(self) -> bool:
        """Whether the day has bytes left."""
        return self._today().get(SCANNED, 0) < self.limit

    async def open(self, content: Content, asset: Asset) -> Opened:
        """Open a file that is not cached for a scan.

        Raises:
            ScanRefused: it has no ends that could be asked for, or the day's budget is spent.
            MusicfsError: it cannot be had now.
        """
        if asset.member is not None or content.facts(asset).one_pass:
            raise ScanRefused("media servers are served this file from the cache only")
        self._afford(0)
        if asset.form.startswith(Form.COVER):
            self._afford(content.facts(asset).size)
            cover = await content.open(asset)
            self._note(SCANNED, cover.size)  # which may be a tenth of its estimate
            return cover
        first = Span(0, BLOCK)
        if not content.blob(asset).holds(0):
            self.spend(BLOCK)
        return Scanned(await content.open(asset, first), self)

    def spend(self, amount: int) -> None:
        """Count bytes that are about to be fetched.

        Raises:
            ScanRefused: the day's budget does not have them.
        """
        self._afford(amount)
        if amount:
            self._note(SCANNED, amount)

    def _afford(self, amount: int) -> None:
        if self._today().get(SCANNED, 0) + max(amount, 1) > self.limit:
            raise ScanRefused("today's bytes for media servers are spent")


class Scanned:
    """A file that is open for a scan."""

    def __init__(self, opened: BlobReader, budget: Budget) -> None:
        self._opened, self._budget = opened, budget
        self.size, self.version = opened.size, opened.version

    async def read(self, span: Span) -> bytes | memoryview:
        """Give exactly the bytes of `span`, clipped to the file.

        Raises:
            ScanRefused: they are neither at an end nor in the cache, or the day's budget is spent.
        """
        if missing := self._opened.missing(span):
            if HEAD <= span.start < self.size - TAIL:
                raise ScanRefused("media servers are served the ends of a song that is not cached")
            self._budget.spend(missing)
        self._opened.ahead = min(span.stop, self.size)  # what is not asked for is not scanned
        return await self._opened.read(span)

    def here(self, span: Span) -> bytes | memoryview | None:
        """Give the same if none of it is to be fetched."""
        return None if self._opened.missing(span) else self._opened.here(span)

    def close(self) -> None:
        """End this use."""
        self._opened.close()
