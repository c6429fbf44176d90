"""What upstream was asked today, kept over restarts.

How it thinks: the tally counts; now and then, and at the end, the day's counts are written down under one
name, and a start on the same day takes them up. What a crash loses is a minute of counting.
"""

from __future__ import annotations

import json
import logging
from typing import Protocol

import trio

from musicfs.errors import StoreError
from musicfs.wire import Tally

log = logging.getLogger("musicfs.daybook")

_MARK = "asked"
_PAUSE = 60.0  # seconds between two writings: a row of a database, not worth one a request


class Memory(Protocol):
    """What is needed of the state database."""

    def mark(self, name: str) -> str | None:
        """Read a word."""
        ...

    async def save_mark(self, name: str, value: str) -> None:
        """Keep a word."""
        ...


class Daybook:
    """The day's counts, written down."""

    def __init__(self, tally: Tally, memory: Memory) -> None:
        self._tally, self._memory = tally, memory
        self._written = memory.mark(_MARK) or ""
        try:
            day, counts = json.loads(self._written)
            tally.resume(str(day), {str(kind): int(count) for kind, count in counts.items()})
        except (ValueError, TypeError, AttributeError):
            pass  # Nothing yet, or nothing that can be read: the count begins anew.

    async def write_behind(self) -> None:
        """Write now and then; runs in the house's nursery until it is cancelled."""
        while True:
            await trio.sleep(_PAUSE)
            await self.flush()

    async def flush(self) -> None:
        """Write what has changed."""
        day, counts = self._tally.today
        said = json.dumps([day, dict(counts)])
        if said == self._written:
            return
        try:
            await self._memory.save_mark(_MARK, said)
            self._written = said
        except StoreError as failed:
            log.warning("what was asked today could not be written down: %s", failed)
