"""Where reads wait for the network: as many as come, or so many as the kernel leaves room for.

How it thinks: the kernel takes 12 reads in the background and then stops every file's. Where fusectl cannot
raise that, some have to be kept free for what is cached (DESIGN §3), so others wait for a place, briefly.

What must always be true: a place that is free is had at once, because the request that brings the bytes is
sent behind it; who goes away gives his place back.
"""

from __future__ import annotations

import trio

from musicfs.content.progress import Progress
from musicfs.errors import TooSlow

_CROWDED = 5.0  # seconds a read may wait for a place to wait in (DESIGN §3)


class WaitingRoom:
    """The places to wait in; without end until they are limited."""

    def __init__(self) -> None:
        self._places: trio.CapacityLimiter | None = None

    def limit(self, most: int) -> None:
        """Have at most `most` reads wait at a time."""
        self._places = trio.CapacityLimiter(most)

    async def reach(self, progress: Progress, offset: float) -> None:
        """Wait until a job has come by `offset`, or has ended.

        Raises:
            TooSlow: no place became free.
            MusicfsError: the caller's deadline has come, and this is what the job last met with.
        """
        if self._places is None:
            return await progress.reach(offset)
        place = object()  # not the task: it may be waiting elsewhere already
        try:
            self._places.acquire_on_behalf_of_nowait(place)
        except trio.WouldBlock:
            await self._queue(self._places, place)
        try:
            await progress.reach(offset)
        finally:
            self._places.release_on_behalf_of(place)

    async def _queue(self, places: trio.CapacityLimiter, place: object) -> None:
        with trio.move_on_after(_CROWDED) as queue:
            await places.acquire_on_behalf_of(place)
        if queue.cancelled_caught:
            raise TooSlow("too many reads wait for the network at a time; see `musicfs doctor`")
