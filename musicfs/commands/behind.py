"""`--daemon`: the mount goes on behind, and the command ends when it is ready, or has failed.

How it thinks: one fork, before the first thread, socket or database is there. The child serves and says on a
pipe that the mount answers, at the same place where systemd is told; the parent waits for that, or for the
child's end, and ends with 0 or with the child's own code. The log goes to syslog, which is the journal where
there is one. Until the mount is ready a warning and a failure's sentence go to the terminal too, for whoever
typed the command; afterwards stderr is closed, because `ssh host musicfs mount …` would wait for it.

What must always be true: the parent ends with 0 only if the mount is there; a child that is not ready in time
is ended, mount and all. The child stays in the folder where it was started, by which `host.server_of` reads
its command line.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from musicfs import host
from musicfs.commands import exits, logs

LIMIT = 30.0
"""Seconds until a start that says nothing is taken for stuck: READY waits for no service, so one would do."""
END = 5.0
"""Seconds that a child has for its end, as everywhere."""
STEP = 0.02
"""Seconds between two looks at a child that should end."""
SYSLOG = "/dev/log"


class _Syslog(logging.handlers.SysLogHandler):
    """syslog, if there is one by the time of a line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line: nobody is left who could be told."""


def run(mountpoint: Path, serve: Callable[[Callable[[], None]], int]) -> int:
    """Have a child `serve`, and wait until it calls what it is given; the exit code, in parent and child."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child != 0:
        os.close(writer)
        return _await(child, reader, mountpoint)
    os.close(reader)
    os.setsid()
    _redirect(0)
    log_to_syslog(aloud=True)

    def ready() -> None:
        del logging.getLogger().handlers[1:]
        os.write(writer, b"1")
        os.close(writer)
        _redirect(1, 2)

    return serve(ready)


def log_to_syslog(path: str = SYSLOG, *, aloud: bool = False) -> None:
    """Send the log on to syslog, scrubbed and shaped as before; nowhere, where there is none.

    What is wrong is said where it was said before, too, if it is to be `aloud`.
    """
    root = logging.getLogger()
    (before,) = root.handlers
    handler = _Syslog(path)
    handler.ident = f"musicfs[{os.getpid()}]: "
    handler.filters[:] = before.filters
    shape = before.formatter
    handler.setFormatter(
        shape if isinstance(shape, logs.JsonFormatter) else logs.TextFormatter("%(name)s: %(message)s")
    )
    before.setLevel(logging.WARNING)
    root.handlers[:] = [handler, before] if aloud else [handler]


def _redirect(*descriptors: int) -> None:
    """Lead descriptors nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _await(child: int, reader: int, mountpoint: Path) -> int:
    """Wait until the child is ready or ends; the exit code."""
    try:
        if not select.select([reader], [], [], LIMIT)[0]:
            _end(child, mountpoint)
            print(f"musicfs: {mountpoint} was not ready within {LIMIT:.0f} s", file=sys.stderr)
            return exits.UNAVAILABLE
        if os.read(reader, 1):
            return exits.DONE
    except KeyboardInterrupt:
        _end(child, mountpoint)
        return exits.INTERRUPTED
    finally:
        os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # A child that ended well without a word was unmounted before it was ready: there is no mount.
    return code if code > 0 else exits.UNEXPECTED


def _end(child: int, mountpoint: Path) -> None:
    """End a child, by force if it must be, and take its mount away."""
    until = time.monotonic() + END
    os.kill(child, signal.SIGTERM)
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(STEP)
    if host.is_stale(mountpoint):
        host.detach(mountpoint, lazy=True)
