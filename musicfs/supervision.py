"""What whoever started the daemon is told about it, and whether a hang-up means the end.

How it thinks: systemd listens on a socket (sd_notify(3)): READY once the mount answers, a STATUS that
`systemctl status` shows, RELOADING around a reload, STOPPING at the end. `--daemon` waits for the same READY.
The watchdog is fed by a task of the loop, so a frozen loop starves it; and only while the kernel's requests
are taken, which is seen from our side of the device: to ask the mount itself could be to wait for ever.

What must always be true: where nobody listens every word is dropped; no word holds a song's name, an
account or a secret, because every user of the machine can read a unit's status.
It refuses to judge the services: a mount whose network is down works, and a restart would not mend it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import trio

from musicfs import host

TELL = 5.0
"""Seconds between two looks at what STATUS says; one takes a millisecond where there are 10,000 songs."""
LOOKS = 4
"""Looks in one watchdog period: one that meets a busy moment is made up for by the next."""


class Supervisor:
    """systemd or whoever waits for READY; perhaps nobody."""

    def __init__(
        self,
        environ: Mapping[str, str],
        status: Callable[[], str],
        first: Callable[[], None] = lambda: None,
    ) -> None:
        """`status` gives the line to show; `first` is called at the first READY."""
        self._environ, self._status, self._first = environ, status, first
        self._told = ""
        self._terminal = has_terminal()

    def ready(self) -> None:
        """Say that the mount answers: at the start, and after a reload."""
        self._told = self._status()
        host.sd_notify(self._environ, f"READY=1\nSTATUS={self._told}")
        first, self._first = self._first, lambda: None
        first()

    def reloading(self) -> None:
        """Say that the settings are read again; `ready` ends it."""
        host.sd_notify(self._environ, f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        host.sd_notify(self._environ, "STOPPING=1")

    async def tell(self) -> None:
        """Keep STATUS true; end at once if nobody listens."""
        while "NOTIFY_SOCKET" in self._environ:
            await trio.sleep(TELL)
            if self._status() != self._told:
                self._told = self._status()
                host.sd_notify(self._environ, f"STATUS={self._told}")

    async def feed(self, takes: Callable[[], bool]) -> None:
        """Feed the watchdog while the loop ticks and requests are taken; end at once if there is none."""
        period = watchdog(self._environ)
        while period:
            if takes():
                host.sd_notify(self._environ, "WATCHDOG=1")
            await trio.sleep(period / LOOKS)

    async def hung_up(self) -> bool:
        """Tell whether a SIGHUP came because the terminal was closed; else it asks for a reload."""
        if not self._terminal:
            return False
        await trio.sleep(0.1)  # a shell that ends sends the signal just before the terminal goes
        return not has_terminal()


def watchdog(environ: Mapping[str, str]) -> float:
    """Say within how many seconds the watchdog wants to be fed; 0 if there is none, or not for us."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(os.getpid()))
    if not (usec.isascii() and usec.isdigit()) or pid != str(os.getpid()):
        return 0.0
    return int(usec) / 1e6


def has_terminal() -> bool:
    """Say whether this process has a controlling terminal now."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
