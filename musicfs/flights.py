"""One question, many who wait for its answer.

How it thinks: the question runs in the house's nursery, so whoever asked first may go away. Who comes while
it is out waits for the same answer, up to a number; a failure is remembered for a moment, so a storm of the
same question costs one call. After two in a row that were not answered in time nobody waits for a moment, or
`find` would wait in folder after folder. Used for the two questions that a `lookup` may ask (DESIGN §3).

What must always be true: a failed question reaches those who wait and never the nursery.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import msgspec
import trio
from cachetools import TTLCache

from musicfs.errors import Crowded, Misbehaved, MusicfsError, TooSlow, Unreachable

log = logging.getLogger("musicfs.flights")
T = TypeVar("T")

_REST = 5.0  # seconds: in them `find` passes thousands of folders, and a person has hardly opened the next
_LONG = 1.0  # seconds; a failure that comes sooner holds up nobody


class _Flight(msgspec.Struct):
    landed: trio.Event = msgspec.field(default_factory=trio.Event)
    waiting: int = 0
    late: bool = False
    value: Any = None
    failure: MusicfsError | None = None


class Flights(Generic[T]):
    """Questions under way, by key."""

    def __init__(self, nursery: trio.Nursery, most: int, remember: float) -> None:
        """Let `most` wait for one answer; remember a failure for `remember` seconds."""
        self._nursery, self._most = nursery, most
        self._flying: dict[Hashable, _Flight] = {}
        self._failed: TTLCache[Hashable, MusicfsError] = TTLCache(1024, remember, timer=trio.current_time)
        self._late = 0
        """Questions in a row that were not answered in time."""
        self._resting = -1.0
        """Until when nobody waits for a question, on trio's clock."""

    @property
    def under_way(self) -> int:
        """How many questions are out."""
        return len(self._flying)

    async def ask(self, key: Hashable, question: Callable[[], Awaitable[T]], limit: float) -> T:
        """Ask, or wait for who asked already, at most `limit` seconds.

        Raises:
            Crowded: too many wait for this already.
            TooSlow: no answer in time, and the question goes on behind; or another had none a moment ago.
            MusicfsError: what the question ended with, now or a moment ago.
        """
        if (failed := self._failed.get(key)) is not None:
            raise failed
        if trio.current_time() < self._resting:
            raise TooSlow("others were not answered a moment ago")
        flight = self._flying.get(key)
        if flight is None:
            flight = self._flying[key] = _Flight()
            self._nursery.start_soon(self._fly, key, flight, question)
        if flight.waiting >= self._most:
            raise Crowded("too many wait for the same answer")
        flight.waiting += 1
        try:
            with trio.move_on_after(limit) as waited:
                await flight.landed.wait()
        finally:
            flight.waiting -= 1
        if waited.cancelled_caught:
            self._unanswered(flight)
            raise TooSlow("no answer yet; the question goes on")
        if flight.failure is not None:
            raise flight.failure
        value: T = flight.value
        return value

    def _unanswered(self, flight: _Flight) -> None:
        """Count a question that was not answered in time; after the second in a row nobody waits."""
        self._late += not flight.late
        flight.late = True
        if self._late >= 2:
            self._resting = trio.current_time() + _REST

    async def _fly(self, key: Hashable, flight: _Flight, question: Callable[[], Awaitable[T]]) -> None:
        began = trio.current_time()
        try:
            flight.value = await question()
            self._late, self._resting = 0, -1.0
        except MusicfsError as failed:
            flight.failure = self._failed[key] = failed
            if isinstance(failed, (TooSlow, Unreachable)) and trio.current_time() - began >= _LONG:
                self._unanswered(flight)
        except Exception:
            log.exception("a question broke")
            flight.failure = Misbehaved("an unexpected failure, see the log")
        finally:
            if flight.failure is None and flight.value is None:
                flight.failure = Misbehaved("the question was given up")
            del self._flying[key]
            flight.landed.set()
