"""Whether a read of the kernel's device would find something, and a way out if it then does not.

How it thinks: pyfuse3's session loop waits with trio until its descriptor is readable and then reads it with
a blocking read that holds the interpreter's lock. If the client that asked is killed in between, its request
is taken back and the read blocks the whole process until the next request comes (research/fuse-trio-httpx.md
§1.8). So the readiness is asked again, by poll, with nothing between the question and the read. A few
microseconds are left: a client that dies within them was seen to freeze a busy machine once in a hundred
kills. Therefore an alarm rings again and again while requests are read. It interrupts a read that blocks
(EINTR, which pyfuse3 takes for nothing), and nothing else, because Python repeats its own interrupted calls.
One that rings while the loop waits takes itself back: to set it before each read and take it back after it
were two system calls a request, and so they are a few a second.

The way to the scheduler and back costs more than most answers, so a request that is there already is taken
straight away, and the lock that pyfuse3 puts around the question is one that asks nobody while it is free,
and that whoever has just answered takes again before those who were told that it is free.

What must always be true: no read of the device blocks for longer than `ALARM`; an alarm that is set has a
handler, and is taken back before the handler goes (its default would end the process); after `STRAIGHT`
requests in a row the other tasks have their turn.
"""

from __future__ import annotations

import select
import signal
from typing import Any

import trio

ALARM = 0.2
"""Seconds that a read of the device may block: nobody notices it, and a healthy read takes microseconds."""
STRAIGHT = 16
"""Requests taken in a row, half a millisecond of opens: a download's next bytes can wait for that."""


class Readiness:
    """trio.lowlevel for pyfuse3's session loop, asking again before it trusts a readiness."""

    def __init__(self) -> None:
        """Take SIGALRM over; call it in the main thread."""
        self.gone = trio.Event()
        """Set once the kernel has ended the connection: the mount was taken away, nobody waits any more."""
        signal.signal(signal.SIGALRM, self._rings)
        self._set, self._reads = False, False
        """Whether the alarm is set, and whether a read may be near."""
        self._poll, self._polled = select.poll(), -1
        self._straight = 0
        self._taken, self._seen = 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def wait_readable(self, fd: int) -> None:
        """Return only when a read would find something at this very moment, with the alarm set."""
        if self._polled != fd:
            self._poll, self._polled = select.poll(), fd
            self._poll.register(fd, select.POLLIN)
        self._straight += 1
        if self._straight < STRAIGHT and self._sure():
            return
        self._straight, self._reads = 0, False
        while True:
            await trio.lowlevel.wait_readable(fd)
            if self._sure():
                return

    def _sure(self) -> bool:
        """Tell whether a read would find something now, and then have the alarm set."""
        self._reads = True  # before the look whether it is set: it may ring in between
        if not self._set:
            self._set = True
            # Again and again, because the first alarm may come just before the read.
            signal.setitimer(signal.ITIMER_REAL, ALARM, ALARM)
        for _, state in self._poll.poll(0):
            if state & select.POLLERR:
                self.gone.set()
            self._taken += 1
            return True
        self._reads = False
        return False

    def _rings(self, number: int, frame: object) -> None:
        """Hear the alarm, which is no more wanted while the loop waits; else the interruption is enough."""
        if not self._reads:
            self.calm()

    def takes(self) -> bool:
        """Tell whether requests are taken: some were since this was last asked, or none is waiting."""
        before, self._seen = self._seen, self._taken
        return self._taken != before or not self._poll.poll(0)

    def calm(self) -> None:
        """Take the alarm back."""
        self._set = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)


class Turn:
    """A lock that is taken without a checkpoint while it is free, also by whoever has just let go of it.

    Handed on to who waited longest, it would cost a way to the scheduler for each request. pyfuse3's tasks do
    all the same work, so it is no matter which of them does it, as long as one that is free will.
    """

    def __init__(self) -> None:
        self._taken = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._taken:
            await self._waiting.park()
        self._taken = True

    async def __aexit__(self, *failure: object) -> None:
        self._taken = False
        if self._waiting:
            self._waiting.unpark()


class Trio:
    """trio for pyfuse3, with a `Readiness` in the place of `lowlevel`."""

    Lock = Turn

    def __init__(self) -> None:
        self.lowlevel = Readiness()

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)
