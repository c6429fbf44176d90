"""Which bytes to ask for next: what a reader lacks, and then what it will want.

How it thinks: a reader that lacks a byte joins the request that is on its way there, or one is sent. What
is wise to have beyond that (`readahead`) is asked for by as many streams as have shown to help
(`streams`), piece after piece: when a piece is nearly here, when one ended, and when the reader came to a
new window. What a program is known to look at (`looks`) is asked for at once. The readers of all files
together leave a connection free for who opens another.

What must always be true: no byte is asked for that is here or on its way, none outside the window, and
nothing ahead for a file that nobody has open; a reader never waits for a stream that is not its own.
"""

from __future__ import annotations

from collections.abc import Set

import trio

from musicfs.content.blob import Blob, Job
from musicfs.content.download import Download
from musicfs.content.jobs import Jobs
from musicfs.content.tail import Tail
from musicfs.core.looks import NOTHING, Look, Looks, pieces
from musicfs.core.readahead import FIRST
from musicfs.core.spans import BLOCK, blocks_of, clip
from musicfs.model import Span

_BUSY = 5  # downloads of all files beyond which none is begun ahead: a host has six connections (DESIGN §3)


class Fetching:
    """What is being fetched by ranges."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._under_way = 0
        self._looks = Looks()

    def begin(self, blob: Blob, span: Span, ahead: bool = False) -> Download:
        """Begin to bring a span; `ahead` of anybody who waits for it."""
        self._under_way += 1
        return self._jobs.start(blob, span, _Stream(self, blob, ahead))

    def begin_at_end(self, blob: Blob, length: int) -> Tail:
        """Begin to bring the last bytes of what nobody knows the length of."""
        self._under_way += 1
        return self._jobs.start_at_end(blob, length, _Stream(self, blob))

    def looking(self, blob: Blob, who: str) -> Look:
        """Begin to take down how a program looks at a file, where ranges of it are fetched for that."""
        if not who or blob.one_pass or blob.whole:
            return Look()
        return self._looks.begin((who, blob.asset.song.service, blob.asset.form))

    def look(self, blob: Blob, look: Look) -> None:
        """Begin what is foretold of a look, side by side as far as connections are free."""
        if look.foretold == NOTHING or blob.size is None or blob.one_pass or blob.whole or blob.gone:
            return
        if blob.failing(trio.current_time()) is not None:
            return
        for piece in pieces(look.foretold, blob.size):
            gap = _next_gap(blob, piece)
            if gap.length > 0 and (piece.start == 0 or self._under_way < _BUSY):
                look.begun = True
                self.begin(blob, gap)

    def joined(self, blob: Blob, offset: int) -> Job | None:
        """Give a job that is on its way to the byte at `offset`."""
        for job in blob.jobs:
            if job.will_reach(offset) and not job.progress.ended:
                return job
        return None

    def toward(self, blob: Blob, offset: int, goal: Span) -> Job:
        """Begin to bring the byte at `offset`, and as much of `goal` behind it as makes a request."""
        if blob.one_pass:
            return self._jobs.start_pass(blob)
        gap = _next_gap(blob, Span(offset, max(goal.stop, offset + 1)))
        return self.begin(blob, blob.streams.cut(gap, blob.size or gap.stop))

    def window(self, blob: Blob, goal: Span) -> None:
        """Take note of what is wise to have for a read, and begin to bring it."""
        if goal.stop != blob.goal.stop:
            blob.goal = goal
            self.ahead(blob)

    def ahead(self, blob: Blob) -> None:
        """Begin as much of the window as streams are free.

        Not so the first window: who opened the file has asked for it, or for less and knew why.
        """
        if blob.goal.stop <= FIRST:
            return
        if blob.one_pass or blob.whole or blob.gone or blob.trouble is not None or not blob.holders:
            return
        while self._free(blob):
            gap = _next_gap(blob, blob.goal)
            if gap.length <= 0:
                return
            self.begin(blob, blob.streams.cut(gap, blob.size or gap.stop), ahead=True)

    def _free(self, blob: Blob) -> bool:
        """Tell whether one more request is of use now."""
        width, lead = blob.streams.width, blob.streams.lead
        if self._under_way >= _BUSY or len(blob.jobs) >= blob.streams.most:
            return False
        return sum(not job.progress.headed or job.left > lead for job in blob.jobs) < width

    def ended(self, blob: Blob) -> None:
        """Take note that a download has ended."""
        self._under_way -= 1
        self.ahead(blob)


class _Stream:
    """One request as `streams` wants to hear of it."""

    def __init__(self, fetching: Fetching, blob: Blob, ahead: bool = False) -> None:
        self._fetching, self._blob, self.ahead = fetching, blob, ahead
        self._since = trio.current_time()
        self._begun = self._led = False

    def moved(self, amount: int, left: int) -> None:
        """Take note that bytes came and how many are still to come."""
        now, streams = trio.current_time(), self._blob.streams
        if not self._begun:
            self._begun = True
            streams.began(now - self._since)
        more = streams.came(now, amount, _flowing(self._blob))
        if more or (not self._led and left <= streams.lead):
            self._led = self._led or left <= streams.lead
            self._fetching.ahead(self._blob)

    def ended(self) -> None:
        """Take note of the end."""
        self._blob.streams.came(trio.current_time(), 0, _flowing(self._blob))
        self._fetching.ended(self._blob)


def _flowing(blob: Blob) -> int:
    return sum(job.progress.headed and job.left > 0 for job in blob.jobs)


class _Here:
    """The blocks that need not be asked for: here already, or being brought."""

    def __init__(self, blob: Blob) -> None:
        self._kept: Set[int] = blob.entry.have if blob.entry is not None else frozenset()
        self._loose = blob.loose
        self._jobs = [job for job in blob.jobs if not job.progress.ended]

    def holding(self, block: int) -> bool:
        """Tell whether a block is here, as the blob does, but without the way there for each of many."""
        return block in self._kept or self._loose(block) is not None

    def bringing(self, block: int) -> Job | None:
        """Give a job that will come by a block's first byte."""
        return next((job for job in self._jobs if job.will_reach(block * BLOCK)), None)

    def beyond(self, block: int, stop: int) -> int:
        """Give the first block from `block` on that is none of them, `stop` if all are; what a job brings is
        passed over at one go, because a window of 8 MiB is looked through for each piece that comes."""
        while block < stop:
            if self.holding(block):
                block += 1
            elif (job := self.bringing(block)) is not None:
                block = max(block + 1, -(-job.brings(stop * BLOCK) // BLOCK))
            else:
                break
        return block

    def next(self, block: int, stop: int) -> int:
        """Give the first block from `block` on that is one of them, `stop` if none is."""
        while block < stop and not self.holding(block) and self.bringing(block) is None:
            block += 1
        return block


def _next_gap(blob: Blob, span: Span) -> Span:
    """Give the first run of missing blocks in `span` that no job is bringing."""
    here, size = _Here(blob), blob.size or 0
    blocks = blocks_of(clip(span, size))
    first = here.beyond(blocks.start, blocks.stop)
    if first >= blocks.stop:
        return Span(span.stop, span.stop)
    return Span(first * BLOCK, min(here.next(first + 1, blocks.stop) * BLOCK, size))
