"""The bytes of one version of one file, and what is known of them.

How it thinks: a blob is where readers and the jobs that bring bytes meet. It is either RANGED (any part
may be asked for; blocks come and go) or WHOLE (one pass, kept or dropped whole). It knows its length once
a service has said it, keeps the entry on the shelf, the jobs under way, the reading positions and the
last failure.

What must always be true: `collect` gives exactly the asked bytes or None; bytes of two versions never
meet in one blob; a blob that was superseded serves what it has and fetches nothing more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from musicfs.content.asset import Asset
from musicfs.content.ports import Entry
from musicfs.content.progress import Progress
from musicfs.core.readahead import Cursors
from musicfs.core.spans import BLOCK
from musicfs.core.streams import Streams
from musicfs.errors import MusicfsError, TooSlow
from musicfs.model import Span
from musicfs.slab import Slab


class Job(Protocol):
    """Something that brings bytes of a blob."""

    progress: Progress

    @property
    def left(self) -> float:
        """Bytes still to come, inf where nobody knows."""
        ...

    def shows(self, start: int, stop: int) -> bool:
        """Tell whether these bytes are at hand in memory."""
        ...

    def peek(self, start: int, stop: int) -> memoryview:
        """Show bytes that are at hand, one at least; good until more come."""
        ...

    def will_reach(self, offset: int) -> bool:
        """Tell whether it will come by this byte."""
        ...

    def brings(self, stop: int) -> int:
        """Say how far toward `stop` it goes."""
        ...


@dataclass(slots=True)
class Trouble:
    """A failure and until when it answers for the next who ask, on trio's clock."""

    failure: MusicfsError
    until: float


_ANSWER = Slab(1024 * 1024)
"""The kernel's largest read."""
_FAILED = 1.0  # seconds a failure answers for the next who ask (DESIGN §3)
_WARY = 5.0  # seconds in which a disk that lost two passes loses the third: longer than one pass takes


class Blob:
    """The bytes of one version of one file."""

    def __init__(self, asset: Asset, version: int) -> None:
        self.asset = asset
        self.version = version
        self.size: int | None = None
        """Exact length in bytes, once known."""
        self.validator = ""
        self.one_pass = False
        """WHOLE: brought by one pass. False: RANGED."""
        self.foretold = False
        """It is fetched ahead, and nobody has opened it yet."""
        self.blind = False
        """A pass that may turn out to be another version: nothing is served before its end."""
        self.open_ended = False
        """A pass whose length nobody told: whether it ends where readers were told is known at its end."""
        self.inflate: Callable[[Blob], Awaitable[None]] | None = None
        """Brings the bytes of a deflated stem; None for what a service sends."""
        self.entry: Entry | None = None
        self.loose: Callable[[int], bytes | None] = lambda block: None
        """Blocks that found no room on the disk and pass through memory."""
        self.jobs: list[Job] = []
        self.cursors = Cursors()
        self.streams = Streams()
        self.goal = Span(0, 0)
        """What it is wise to have for the latest reader."""
        self.checked_until = 0.0
        """Until when an `open` need not ask again, on trio's clock."""
        self.trouble: Trouble | None = None
        self.late: Trouble | None = None
        """What an `open` with a deadline is told at once, because one has just waited in vain."""
        self.last_failure: MusicfsError | None = None
        """For `musicfs why`; kept until something succeeds."""
        self.failed_at = 0.0
        """When that was, on trio's clock."""
        self.in_parts = True
        """Whether the last answer was a part: who asks for two may get the whole twice."""
        self.wary_until = 0.0
        """Until when the disk is not trusted with another pass (one was lost, and none read since)."""
        self.wanted = False
        """What was here before was pinned: so is what comes, as soon as it has a place."""
        self.gone = False
        """Superseded: the service has other bytes now."""
        self.holders = 0
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<Blob {self.asset.key} v{self.version} {self.size} bytes, {len(self.jobs)} jobs>"

    @property
    def whole(self) -> bool:
        """Whether every byte is on the shelf."""
        return self.entry is not None and self.entry.whole

    def ready(self, now: float, at: int = 0) -> bool:
        """Tell whether an `open` may be answered: the size is exact and nothing foreseeable is wrong.

        That is so if the byte `at` is here, where the reader begins.
        """
        if self.whole or self.size == 0:
            return True
        if self.size is None or self.blind:
            return False
        if self.one_pass:
            return any(job.progress.headed for job in self.jobs)
        return now < self.checked_until or self._has(at // BLOCK)

    def failed(self, failure: MusicfsError, now: float) -> None:
        """Have a failure answer for the next who ask, for a second."""
        self.trouble = Trouble(failure, now + _FAILED)

    def waited_in_vain(self, now: float) -> MusicfsError | None:
        """Have an `open` that ran into its deadline answer for the next ones, as long as a failure does.

        Players open a file six times over and would wait six times; nobody who waits already is told. Gives
        what is being tried again, None if nothing came at all.
        """
        met = next((job.progress.setback for job in self.jobs if job.progress.setback is not None), None)
        self.late = Trouble(met or TooSlow("nothing came within the deadline a moment ago"), now + _FAILED)
        return met

    def failing(self, now: float) -> MusicfsError | None:
        """Give the failure that still answers."""
        if self.trouble is not None and now >= self.trouble.until:
            self.trouble = None
        return self.trouble.failure if self.trouble is not None else None

    def lost(self, now: float) -> bool:
        """Take note that a pass was lost on the disk; True if one was a moment ago, so that it is no use."""
        again, self.wary_until = now < self.wary_until, now + _WARY
        return again

    def collect(self, span: Span) -> bytes | memoryview | None:
        """Give the bytes of `span` if all of them are here."""
        if self.blind and not self.whole:
            return None
        entry = self.entry
        if entry is not None and entry.whole:
            data = entry.read(span)
            self.wary_until = 0.0  # The disk gives what it was given: the next loss is the first again.
            return data
        if self.one_pass:
            if entry is None or span.stop > entry.watermark or (self.open_ended and span.stop == self.size):
                return None
            return entry.read(span)
        parts: list[memoryview | Span] = []
        passing, at = False, span.start
        while at < span.stop:
            job = next((job for job in self.jobs if job.shows(at, at + 1)), None)
            part = self._kept(at, span.stop) if job is None else job.peek(at, span.stop)
            if part is None:
                return None
            parts.append(part)
            passing = passing or job is not None
            at = part.stop if isinstance(part, Span) else at + len(part)
        # The disk is asked once all of it is known to be here: a read that has to wait cost it twice.
        pieces = [self._read(part) if isinstance(part, Span) else part for part in parts]
        return pieces[0] if len(pieces) == 1 and not passing else _ANSWER.joined(pieces)

    def _kept(self, at: int, stop: int) -> memoryview | Span | None:
        """Give bytes from `at` on, as many as lie together, or where they lie on the shelf; None if the first
        is not here."""
        block, entry = at // BLOCK, self.entry
        end = min(stop, (block + 1) * BLOCK)
        if entry is not None and block in (have := entry.have):
            while end < stop and end // BLOCK in have:
                end = min(stop, end + BLOCK)
            return Span(at, end)
        data = self.loose(block)
        if data is not None:
            return memoryview(data)[at - block * BLOCK : end - block * BLOCK]
        return None

    def _read(self, span: Span) -> memoryview:
        assert self.entry is not None
        return self.entry.read(span)

    def _has(self, block: int) -> bool:
        return (self.entry is not None and block in self.entry.have) or self.loose(block) is not None

    def lacks(self, span: Span) -> int:
        """Give the first offset in `span` that is not here (`span.stop` if none)."""
        at = span.start
        while at < span.stop:
            block = at // BLOCK
            end = min(span.stop, (block + 1) * BLOCK)
            if not self._has(block) and not any(job.shows(at, end) for job in self.jobs):
                return at
            at = end
        return span.stop

    def holds(self, block: int) -> bool:
        """Tell whether a block is here, on the shelf or in memory."""
        return self._has(block)

    async def news(self) -> None:
        """Wait until something about this blob changes."""
        await self._news.wait()

    def ring(self) -> None:
        """Tell everybody that something changed."""
        self._news.set()
        self._news = trio.Event()
