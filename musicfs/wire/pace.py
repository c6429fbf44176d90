"""Whether a body comes fast enough to be of use to anybody; pure.

How it thinks: silence is noticed by itself, but a hundred bytes a second are not silence: each comes in
time, and the song would take an hour while its reader, and one of the host's connections, are held. So the
bytes are counted over windows, and a window that brought next to nothing is a stall.

What must always be true: a body that fills one window's floor is left alone until the next one ends.
"""

from __future__ import annotations

from musicfs.errors import TooSlow

FLOOR = 1024
"""Bytes a second: a sixteenth of what a 128 kbit/s song needs, and less than any line of today gives."""


class Pace:
    """The bytes of one body in their windows of `window` seconds."""

    def __init__(self, now: float, window: float) -> None:
        self._window = window
        self._began = now
        self._came = 0

    def came(self, amount: int, now: float) -> None:
        """Count bytes that came at `now`, in seconds.

        Raises:
            TooSlow: the window that is over brought less than its floor.
        """
        if now - self._began >= self._window:
            if self._came < FLOOR * (now - self._began):
                raise TooSlow("the bytes come too slowly to be of use")
            self._began, self._came = now, 0
        self._came += amount
