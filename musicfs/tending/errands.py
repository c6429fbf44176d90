"""Long work, by its number: begun, looked at, called off.

How it thinks: an errand is one or more tasks of the house's nursery under one number. Whoever asked for it
comes back to see how far it is; nobody has to. What it tells of itself is plain values of bounded size:
failures are given some at a time, from the place where the asker left off.

What must always be true: no task raises into the nursery; an errand that was called off has undone what
it holds before it says that it ended; of the ended ones only the last few are remembered.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from typing import Any

import trio

from musicfs.errors import Crowded, MusicfsError, NoSuchEntry

log = logging.getLogger("musicfs.tending")

_KEPT = 16  # errands remembered; more at a time are nobody's wish
_TOLD = 50  # failures told in one answer: 50 paths of 4 KiB stay far below what a client accepts


class Stage(StrEnum):
    """How an errand stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class Errand:
    """One piece of long work; its children say what the work is."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: set[trio.CancelScope] = set()
        self.cancelled = False
        self.open = False
        """More is to be added to it: it has not ended although nothing is under way."""
        self.failures: list[dict[str, str]] = []

    @property
    def stage(self) -> Stage:
        """How it stands."""
        if self._scopes or (self.open and not self.cancelled):
            return Stage.RUNNING
        return Stage.CANCELLED if self.cancelled else Stage.DONE

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin a task of it."""
        scope = trio.CancelScope()
        self._scopes.add(scope)
        self._nursery.start_soon(self._run, scope, work)

    async def _run(self, scope: trio.CancelScope, work: Callable[[], Awaitable[None]]) -> None:
        try:
            with scope:
                await work()
        except MusicfsError as failed:
            self.fail("", failed)
        except Exception:
            log.exception("an errand broke")
            self.failures.append({"path": "", "error": "an unexpected failure, see the daemon's log"})
        finally:
            self._scopes.discard(scope)

    def fail(self, path: str, failure: MusicfsError) -> None:
        """Take note of what could not be done, as a sentence and its remedy."""
        sentence = str(failure) or type(failure).__name__
        self.failures.append({"path": path, "error": sentence, "remedy": failure.remedy})

    def cancel(self) -> None:
        """Call it off."""
        self.cancelled = True
        for scope in list(self._scopes):
            scope.cancel()

    def tell(self) -> dict[str, Any]:
        """Say how far it is, in plain values of its own."""
        return {}

    def told(self, since: int) -> dict[str, Any]:
        """Say how far it is, with the failures from number `since` on, at most fifty."""
        return {
            "stage": self.stage.value,
            "failed": len(self.failures),
            "failures": self.failures[max(since, 0) :][:_TOLD],
            **self.tell(),
        }


class Sweep(Errand):
    """Work that goes step by step over the cache."""

    def __init__(
        self, nursery: trio.Nursery, steps: Iterator[None], tell: Callable[[], dict[str, Any]]
    ) -> None:
        super().__init__(nursery)
        self._steps, self._tell = steps, tell
        self.spawn(lambda: driven(self._steps))

    def tell(self) -> dict[str, Any]:
        """Say what was found so far."""
        return self._tell()


async def driven(steps: Iterator[None]) -> None:
    """Go through steps, giving the loop back after each."""
    for _ in steps:
        await trio.lowlevel.checkpoint()


class Errands:
    """Every errand, by number."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Errand] = OrderedDict()
        self._last = 0

    def check(self) -> None:
        """Make a place for one more.

        Raises:
            Crowded: too many are under way.
        """
        while len(self._kept) >= _KEPT:
            ended = next((one for one, each in self._kept.items() if each.stage is not Stage.RUNNING), None)
            if ended is None:
                raise Crowded("too many errands are under way; wait for one of them or stop it")
            del self._kept[ended]

    def keep(self, errand: Errand) -> int:
        """Remember an errand and give its number."""
        self._last += 1
        self._kept[self._last] = errand
        return self._last

    def find(self, number: object) -> Errand:
        """Find an errand by its number.

        Raises:
            NoSuchEntry: there is none.
        """
        found = self._kept.get(number) if isinstance(number, int) else None
        if found is None:
            raise NoSuchEntry("the daemon knows no such errand; it may have been started anew")
        return found
