"""When each service's list was last read to its end, over restarts.

How it thinks: a complete pass is due every hour, not at every start: of 10,000 clips it is a hundred
requests, and who starts the mount at each login would pay for them each time. So the hour goes on while
musicfs is not running, by the wall clock.

What must always be true: a pass counts for the next life only if all that it found was written down and
believed; a clock that was set back makes the pass due, never late by more than its hour, and so does a time
that cannot be read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from musicfs.catalog.dates import Marks
from musicfs.errors import StoreError

log = logging.getLogger("musicfs.catalog")


class Passes:
    """The last complete pass of each service, by a clock that gives seconds since the epoch."""

    def __init__(self, marks: Marks, wall: Callable[[], float]) -> None:
        self._marks, self._wall = marks, wall

    def age(self, service: str) -> float:
        """Give the seconds since the last one began; inf if none counts."""
        try:
            age = self._wall() - float(self._marks.mark(_mark(service)) or "inf")
        except ValueError:
            return float("inf")
        return age if age >= 0 else float("inf")

    async def keep(self, service: str, ago: float) -> None:
        """Write down that one began `ago` seconds ago; inf: none counts."""
        began = "" if ago == float("inf") else repr(self._wall() - ago)
        if self._marks.mark(_mark(service)) == began:
            return
        try:
            await self._marks.save_mark(_mark(service), began)
        except StoreError as failed:
            log.error("that %s was read to its end could not be written down: %s", service, failed)


def _mark(service: str) -> str:
    return f"passed:{service}"
