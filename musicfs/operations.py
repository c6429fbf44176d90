"""What is being done, and for whose question: a number that goes along with the work.

How it thinks: an operation begins where somebody asks, a kernel request or a word on the control socket,
and gets the next number. A ContextVar holds it; trio hands that to every task and thread which the work
starts, so a job, the request it sends upstream and each line that is logged on the way know it, with no
parameter passed. A job that serves several readers bears the number of the first. The last ones are kept
for whoever wants to know what the process is doing (`dump`).

What must always be true: an operation costs a request about a microsecond (0.9 µs measured, the line at
debug apart; the request itself costs some fifty); numbers are not used again; nothing here raises.
It refuses to keep names, paths and URLs: an operation knows an inode or a handle, a request its origin.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

log = logging.getLogger("musicfs.operations")

KEPT = 200
"""Operations, and requests upstream, that are remembered: 30 KB each."""

_numbers = itertools.count(1)
_now, _says = time.monotonic, log.isEnabledFor


class Timed:
    """Something with a beginning, an end and an outcome; times in seconds."""

    __slots__ = ("began", "outcome", "took")

    def __init__(self) -> None:
        self.began = _now()
        self.took: float | None = None
        """None while it is under way."""
        self.outcome = ""
        """What came of it; empty where nothing is to be said."""

    def ended(self, failure: BaseException | None) -> None:
        """Take note of the end, and of what broke."""
        self.took = _now() - self.began
        if failure is not None:
            self.outcome = (isinstance(failure, Exception) and str(failure)) or type(failure).__name__

    def told(self) -> str:
        """Say how it stands."""
        if self.took is None:
            return f"under way for {_now() - self.began:.3f} s"
        return f"{self.outcome or 'done'} after {self.took:.3f} s"


class Operation(Timed):
    """One question to the house, as a block; `target` is the inode or handle it is about."""

    __slots__ = ("_token", "asked", "number", "target", "verb")

    def __init__(self, verb: str, target: object = None) -> None:
        # All here, in place of a call to Timed: this is on the way of every request.
        self.number, self.verb, self.target = next(_numbers), verb, target
        self.took, self.outcome = None, ""
        self.asked = 0
        """Requests that went upstream for it."""
        self._token: Token[Operation | None] | None = None
        self.began = _now()

    def __str__(self) -> str:
        return f"{self.verb} {self.number}"

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        LAST.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        if failure is None:
            self.took = _now() - self.began
        else:
            self.ended(failure)
        if _says(logging.DEBUG):
            log.debug("%s", self.told())
        if self._token is not None:
            try:
                _current.reset(self._token)
            except ValueError:
                pass  # A coroutine that was given up is closed elsewhere; its context has gone with its task.
            self._token = None  # It refers to the task's context, which need not outlive the task.


class Asking(Timed):
    """One request upstream, as a block: its kind, the origin it goes to, and what part of the object."""

    __slots__ = ("kind", "operation", "origin", "part")

    def __init__(self, kind: str, origin: str, part: str = "") -> None:
        super().__init__()
        self.kind, self.origin, self.part = kind, origin, part
        self.operation = current()

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.origin, self.part)))

    def __enter__(self) -> Self:
        ASKED.append(self)
        if self.operation is not None:
            self.operation.asked += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended(failure)
        log.debug("asked %s: %s", self, self.told())


_current: ContextVar[Operation | None] = ContextVar("operation", default=None)
LAST: deque[Operation] = deque(maxlen=KEPT)
"""The operations that began last, eldest first."""
ASKED: deque[Asking] = deque(maxlen=KEPT)
"""The requests that went upstream last, eldest first."""


def current() -> Operation | None:
    """Give the operation that this task or thread works for, if it works for any."""
    return _current.get()


def under_way() -> bool:
    """Tell whether somebody waits for an answer, as far as the last operations tell."""
    return any(operation.took is None for operation in list(LAST))


def of(context: object) -> Operation | None:
    """Give the operation that a task's context (`contextvars.Context`) belongs to."""
    found = context.get(_current) if hasattr(context, "get") else None
    return found if isinstance(found, Operation) else None
