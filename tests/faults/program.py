"""The real program on a quicker clock: `python -m tests.faults.program mount …`.

How it thinks: most of a fault's life is waiting, and waiting proves nothing about the kernel, the programs or
the bytes. So the daemon's own clock runs `FAULTS_RATE` times as fast: its deadline of 16 s is over in 4. The
kernel, the readers and the servers live in real time. Names are resolved as always, unless the file that
`FAULTS_NAMES` names exists: it holds what the resolver does instead, `none` (no such name) or `silent`.

What must always be true: nothing else of the program differs from what a user runs.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import trio
import trio.testing

from musicfs.__main__ import main

_resolve = socket.getaddrinfo


def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
    """Resolve, or fail as the file says; numbers need no resolver."""
    said = Path(os.environ["FAULTS_NAMES"])
    if (more.get("flags") or (rest[3:] or (0,))[0]) & socket.AI_NUMERICHOST or not said.exists():
        return _resolve(host, port, *rest, **more)
    if said.read_text() == "silent":
        time.sleep(30)  # a resolver that never answers, as far as any deadline here goes
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


if __name__ == "__main__":
    if "FAULTS_RATE" in os.environ:
        rate = float(os.environ["FAULTS_RATE"])
        run = trio.run
        trio.run = lambda *args, **more: run(*args, clock=trio.testing.MockClock(rate), **more)
    if "FAULTS_NAMES" in os.environ:
        socket.getaddrinfo = functools.wraps(_resolve)(getaddrinfo)
    sys.exit(main())
