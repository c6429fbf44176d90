"""Waiters at a watermark: who waits for which byte of something that grows.

How it thinks: whoever moves the bytes calls `advance`; whoever needs them awaits `reach`. A job that ends
wakes everybody, and they look again: at the shelf, at the failure, at the next job. Whose deadline comes
while a failed request is being made again is told of that failure: it is the last that is known.

What must always be true: a waiter that goes away takes nothing from the others, and no waiter is
forgotten.
"""

from __future__ import annotations

import heapq
from itertools import count
from math import inf

import trio

from musicfs.errors import MusicfsError


class Progress:
    """Something that grows from one byte to another, or fails."""

    def __init__(self, at: int) -> None:
        self.at = at
        """Offset up to which (from where it began) bytes have come."""
        self.headed = False
        """Whether the service has begun to answer."""
        self.ended = False
        self.failure: MusicfsError | None = None
        self.setback: MusicfsError | None = None
        """What a request failed with that is being made again; None once bytes came that were not here."""
        self._began = at
        self._since: float | None = None
        self._waiting: list[tuple[float, int, trio.Event]] = []
        self._order = count()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def rate(self) -> float | None:
        """Bytes a second, behind the first that came; None before."""
        if self._since is None or self.at == self._began:
            return None
        return (self.at - self._began) / max(trio.current_time() - self._since, 0.001)

    async def reach(self, offset: float) -> None:
        """Wait until `at` is `offset` or more, or the job has ended (which is all that inf waits for).

        Raises:
            MusicfsError: the caller's deadline has come, and this is what the job last met with.
        """
        if self.at >= offset or self.ended:
            return
        mark = (offset, next(self._order), trio.Event())
        heapq.heappush(self._waiting, mark)
        until = trio.current_effective_deadline()
        try:
            await mark[2].wait()
        except trio.Cancelled:
            if self.setback is not None and -inf < until <= trio.current_time():
                raise self.setback from None
            raise
        finally:
            if mark in self._waiting:
                self._waiting.remove(mark)
                heapq.heapify(self._waiting)

    def advance(self, at: int) -> None:
        """Move the watermark and wake those who have what they need."""
        if self._since is None:
            self._began, self._since = at, trio.current_time()
        self.at, self.setback = at, None
        while self._waiting and self._waiting[0][0] <= at:
            heapq.heappop(self._waiting)[2].set()

    def finish(self, failure: MusicfsError | None = None) -> None:
        """End the job and wake everybody."""
        self.failure = self.failure or failure
        self.ended = True
        for _, _, event in self._waiting:
            event.set()
        self._waiting.clear()
