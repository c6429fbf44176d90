"""The last failures that programs were given: when, of what, why.

How it thinks: a program that tries again and again fails again and again, so a failure like the last one
of the same thing takes its place and counts.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

import msgspec
import trio

from musicfs.errors import MusicfsError

_KEPT = 20


class _Met(msgspec.Struct):
    moment: float
    what: str
    failure: MusicfsError
    times: int = 1


class Failures:
    """The last ones, eldest first."""

    def __init__(self) -> None:
        self._met: deque[_Met] = deque(maxlen=_KEPT)

    def note(self, what: str, failure: MusicfsError) -> None:
        """Take note; what only a probing player meets (a missing name) is nobody's concern."""
        if failure.level <= logging.DEBUG:
            return
        now = trio.current_time()
        for met in self._met:
            if (met.what, str(met.failure)) == (what, str(failure)):
                self._met.remove(met)
                self._met.append(_Met(now, what, failure, met.times + 1))
                return
        self._met.append(_Met(now, what, failure))

    def told(self) -> list[dict[str, Any]]:
        """Give them as plain values; times in seconds."""
        now = trio.current_time()
        return [
            {
                "ago": round(now - met.moment, 1),
                "path": met.what,
                "error": str(met.failure),
                "remedy": met.failure.remedy,
                "times": met.times,
            }
            for met in self._met
        ]
