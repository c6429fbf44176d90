"""Turns for what the service makes while we wait: a Flow Music mp3.

How it thinks: it may make nothing for a minute, so that all connections together would leave none for a
link or a listing. Four at a time is what readers get. A fifth is for one that is fetched ahead of its
reader, so that whoever keeps four busy has his next one begun. Whether it is ahead is asked each time
somebody comes or goes: it may have been opened meanwhile, and then it is a reader's like any other.

What must always be true: five at most; what is ahead neither goes before a reader's nor, if it is the only
one, takes the turn of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio

MAKERS = 4  # of six connections: a link and a listing want a turn as well
AHEAD = 1  # more, for what nobody has opened yet: then the two share one


@dataclass(slots=True, eq=False)
class _Made:
    """One thing that is made, or waits for it."""

    foretold: Callable[[], bool]
    admitted: trio.Event = field(default_factory=trio.Event)


class Makers:
    """All that one host makes, and those that wait."""

    def __init__(self) -> None:
        self._making: list[_Made] = []
        self._waiting: list[_Made] = []
        self._moved = trio.Event()

    async def enter(self, foretold: Callable[[], bool]) -> Callable[[], None]:
        """Wait for a turn; gives what ends it."""
        made = _Made(foretold)
        self._waiting.append(made)
        self._admit()
        try:
            await made.admitted.wait()
        except BaseException:
            self._leave(made)
            raise
        return partial(self._leave, made)

    async def spare(self) -> None:
        """Wait until something could be made that nobody has opened yet."""
        while not (self._fits(True) and all(made.foretold() for made in self._waiting)):
            await self._moved.wait()

    def _leave(self, made: _Made) -> None:
        (self._making if made in self._making else self._waiting).remove(made)
        self._admit()
        self._moved.set()
        self._moved = trio.Event()

    def _admit(self) -> None:
        """Let in all that fit: readers' first, each kind in the order it came."""
        for made in sorted(self._waiting, key=lambda made: made.foretold()):
            if not self._fits(made.foretold()):
                return
            self._waiting.remove(made)
            self._making.append(made)
            made.admitted.set()

    def _fits(self, foretold: bool) -> bool:
        busy, ahead = len(self._making), sum(made.foretold() for made in self._making)
        if foretold:
            return busy < MAKERS or (busy < MAKERS + AHEAD and ahead < AHEAD)
        return busy - ahead < MAKERS and busy < MAKERS + AHEAD
