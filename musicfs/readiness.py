"""Whether a read of the kernel's device would find something, and a way out if it then does not.

How it thinks: pyfuse3's session loop waits with trio until its descriptor is readable and then reads it with
a blocking read that holds the interpreter's lock. If the client that asked is killed in between, its request
is taken back and the read blocks the whole process until the next request comes (research/fuse-trio-httpx.md
§1.8). So the readiness is asked again, by poll, with nothing between the question and the read. A few
microseconds are left: a client that dies within them was seen to freeze a busy machine once in a hundred
kills. Therefore an alarm is set before each read and taken back when the loop waits again. It interrupts a
read that blocks (EINTR, which pyfuse3 takes for nothing), and nothing else, because Python repeats its own
interrupted calls.

What must always be true: no read of the device blocks for longer than `ALARM`; an alarm that is set has a
handler, and is taken back before the handler goes (its default would end the process).
"""

from __future__ import annotations

import select
import signal
from typing import Any

import trio

ALARM = 0.2
"""Seconds that a read of the device may block: nobody notices it, and a healthy read takes microseconds."""


class Readiness:
    """trio.lowlevel for pyfuse3's session loop, asking again before it trusts a readiness."""

    def __init__(self) -> None:
        """Take SIGALRM over; call it in the main thread."""
        self.gone = trio.Event()
        """Set once the kernel has ended the connection: the mount was taken away, nobody waits any more."""
        signal.signal(signal.SIGALRM, _nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def wait_readable(self, fd: int) -> None:
        """Return only when a read would find something at this very moment, with the alarm set."""
        self.calm()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while True:
            await trio.lowlevel.wait_readable(fd)
            # Again and again, because the first alarm may come just before the read.
            signal.setitimer(signal.ITIMER_REAL, ALARM, ALARM)
            for _, state in poll.poll(0):
                if state & select.POLLERR:
                    self.gone.set()
                return
            self.calm()

    def calm(self) -> None:
        """Take the alarm back."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)


class Trio:
    """trio for pyfuse3, with a `Readiness` in the place of `lowlevel`."""

    def __init__(self) -> None:
        self.lowlevel = Readiness()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def _nothing(number: int, frame: object) -> None:
    """Hear the alarm; the interruption itself is all that is wanted."""
