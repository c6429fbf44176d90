"""What upstream was asked: requests by kind, and bytes; since the start, and today.

How it thinks: a day is the machine's own, from midnight to midnight by its local time. `resume` takes up
what was counted earlier on the same day, so that a restart does not make the services look less asked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

_MINUTE = 60
"""Seconds; a day begins where one of these does. To name the day for each piece that comes were 1 % of a
download's CPU."""


class Tally:
    """The counts. `wall` gives seconds since the epoch."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        """Since the start."""
        self._wall = wall
        self._day, self._minute = day_of(wall()), wall() // _MINUTE
        self._of_day: Counter[str] = Counter()

    def note(self, kind: str, amount: int) -> None:
        """Count `amount` of `kind` (requests of a kind, or "bytes")."""
        self.counts[kind] += amount
        self._turn()
        self._of_day[kind] += amount

    @property
    def today(self) -> tuple[str, Mapping[str, int]]:
        """The day, as `2026-11-21`, and what was counted on it."""
        self._turn()
        return self._day, self._of_day

    def resume(self, day: str, counts: Mapping[str, int]) -> None:
        """Add what was counted before the start, if it was today."""
        self._turn()
        if day == self._day:
            self._of_day.update(counts)

    def _turn(self) -> None:
        now = self._wall()
        if now // _MINUTE == self._minute:
            return
        day, self._minute = day_of(now), now // _MINUTE
        if day != self._day:
            self._day, self._of_day = day, Counter()


def day_of(moment: float) -> str:
    """Name the day, by local time, that a moment (seconds since the epoch) lies in."""
    return time.strftime("%Y-%m-%d", time.localtime(moment))
