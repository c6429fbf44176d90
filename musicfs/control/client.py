"""The asking side of the control socket, plain and blocking.

How it thinks: one connection, one request, one reply. What must always be true: it ends within its time-
outs, and every way of not getting an answer is a `NotRunning` of one sentence.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musicfs.errors import MusicfsError

PATIENCE = 12.0
"""Seconds for each step; more than the 10 s after which the server itself says that it has no answer."""
REPLY = 16 * 1024 * 1024
"""Bytes a client accepts: far above any status, and an end to nonsense."""


class NotRunning(MusicfsError):
    """No daemon answers; exit 69."""

    remedy = "Start it with: musicfs mount MOUNTPOINT"


class Declined(MusicfsError):
    """The daemon answered with an error of its own, in its words."""


def ask(path: Path, verb: str, /, **args: Any) -> dict[str, Any]:
    """Ask a daemon and wait for its answer; NotRunning if none comes, Declined if it is an error."""
    request = json.dumps({"verb": verb, "args": args}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            with address(path) as place:
                client.connect(place)
            client.sendall(request)
            with client.makefile("rb") as stream:
                line = stream.readline(REPLY)
        answer = json.loads(line)
    except TimeoutError as error:
        raise NotRunning(f"the musicfs daemon does not answer within {PATIENCE:.0f} s") from error
    except OSError as error:
        raise NotRunning(f"no musicfs daemon answers at {path}: {error.strerror}") from error
    except ValueError as error:
        raise NotRunning("the musicfs daemon closed the connection without an answer") from error
    reply = answer.get("reply") if isinstance(answer, dict) else None
    if isinstance(reply, dict):
        return reply
    if isinstance(answer, dict) and "error" in answer:
        raise Declined(str(answer["error"]))
    raise NotRunning("what answers at the control socket is no musicfs daemon")


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """Give a socket's address; a path too long for the kernel's 108 bytes goes by its folder's descriptor."""
    if len(os.fsencode(path)) < 108:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
