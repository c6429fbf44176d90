"""One gate per host: how many requests may be under way, whether the host is down, how much patience is left.

How it thinks: six connections a host by our own limiter, because httpcore's pool, were it to limit them,
leaks slots when its waiters are cancelled (fuse-trio-httpx.md §4.2); a turn that is free is had at once.
After two timeouts or failures to connect in a row (an answer that is cut or dropped is not one) a host is
down: everybody is refused at once with the last failure's own name, and one probe at a time is let through
when the time is up: after 15 s, doubling to 2 minutes. A 429 quiets that host's requests of the same kind
until the moment it named. Retries are drawn from one budget a host, so that a sick service is not multiplied
by all who wait for it.

What must always be true: no wait in here is longer than the patience it was given.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from musicfs.errors import Throttled, TooSlow, Unreachable, UpstreamError
from musicfs.wire.makers import Makers

CONNECTIONS = 6  # a host (DESIGN §3): enough to fill a link, few enough to be a polite guest
_MADE = "mp3"  # what the service makes while we wait: not all of them at a time (`makers`)
_DOWN_FIRST, _DOWN_MOST = 15.0, 120.0  # seconds a host is left alone (DESIGN §3)
_QUIET_MOST = 900.0  # seconds; who names a year means something else, and is asked four times an hour
_BUDGET, _REFILL = 24.0, 0.5  # retries in hand and gained per second: about 50 in a first minute, then 30


class NoTurn(TooSlow):
    """No connection became free in time; whose try before this failed is told of that failure instead."""


@dataclass(slots=True)
class Patience:
    """How long and how often one piece of work may go on asking."""

    seconds: float
    """How long it may go without useful bytes."""
    until: float
    """Moment on trio's clock after which it has no use."""
    attempts: int = 7
    """0.25 + 0.5 + 1 + 2 + 4 + 8 s of waiting reach the default deadline's end at the seventh."""
    tried: int = 0

    def pause(self, now: float, failure: UpstreamError) -> float | None:
        """Count a failure and say how long to wait before the next try, in seconds; None = give up.

        It stops short of its end, so that the last failure's own errno is the answer.
        """
        self.tried += 1
        if not failure.temporary or self.tried >= self.attempts:
            return None
        wait = 0.25 * 2 ** (self.tried - 1) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
        if isinstance(failure, Throttled) and failure.retry_after is not None:
            wait = max(wait, failure.retry_after)
        return wait if now + wait < self.until else None

    def progressed(self, now: float) -> None:
        """Begin counting anew: useful bytes arrived."""
        self.tried = 0
        self.until = now + self.seconds


class Gate:
    """The gate of one host."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.limiter = trio.CapacityLimiter(CONNECTIONS)
        self.makers = Makers()
        self._strikes = 0
        self._down_for = 0.0
        self._down_until = 0.0
        self._probing = False
        self._last: type[UpstreamError] = Unreachable
        self._quiet: dict[str, float] = {}
        self._tokens = _BUDGET
        self._counted = 0.0

    @property
    def down(self) -> bool:
        """Whether the host is believed to be down."""
        return self._down_for > 0

    @property
    def shut(self) -> bool:
        """Whether nobody is let through: the host is down, and no probe is due or one is out."""
        return self.down and (self._clock() < self._down_until or self._probing)

    @property
    def mute(self) -> bool:
        """Whether it answered nothing when it was last asked."""
        return self._strikes > 0

    def admit(self, kind: str, until: float) -> None:
        """Refuse at once what cannot succeed now.

        Raises:
            Unreachable, TooSlow: the host is down and somebody else is (or will be) probing it.
            Throttled: it asked for quiet for longer than `until`.
        """
        now = self._clock()
        if self.shut:
            raise self._last("the host does not answer; it is left alone for a while")
        quiet = self._quiet.get(kind, 0.0)
        if quiet > until:
            raise Throttled("the service asked for quiet", quiet - now)

    async def again(self, failed: UpstreamError, patience: Patience) -> bool:
        """Wait for the next try after a failure; False if there is to be none."""
        pause = patience.pause(trio.current_time(), failed)
        if pause is None or self.down or not self.spend():
            return False
        await trio.sleep(pause)
        # A machine that stood still has slept too long: the failure is the answer, not a wait for nothing.
        return trio.current_time() < patience.until

    @asynccontextmanager
    async def turn(
        self, kind: str, until: float, foretold: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[None]:
        """Wait for a free connection (and the end of a quiet time), at most until `until`; else NoTurn.

        `foretold` tells whether it is for something that nobody has opened yet.
        """
        borrower = object()  # not the task: one task may hold several connections
        probe = False
        with ExitStack() as held:
            if not self._free(kind, until, borrower):
                with trio.move_on_at(until) as waiting:
                    await trio.sleep_until(self._quiet.get(kind, 0.0))
                    if kind == _MADE:
                        held.callback(await self.makers.enter(foretold))
                    await self.limiter.acquire_on_behalf_of(borrower)
                if waiting.cancelled_caught:
                    raise NoTurn("no connection became free in time")
            held.callback(self.limiter.release_on_behalf_of, borrower)
            try:
                # While this one waited, others may have found the host down, or have begun to probe it.
                self.admit(kind, until)
                probe = self._probing = self.down
                yield
            finally:
                if probe:
                    self._probing = False

    def _free(self, kind: str, until: float, borrower: object) -> bool:
        """Take a connection that nobody has to wait for, which is 60 µs sooner; False if there is none."""
        now = self._clock()
        if kind == _MADE or self._quiet.get(kind, 0.0) > now or now >= until:
            return False
        try:
            self.limiter.acquire_on_behalf_of_nowait(borrower)
        except trio.WouldBlock:
            return False
        return True

    def heard(self) -> None:
        """Note that the host answered something."""
        self._strikes, self._down_for, self._down_until = 0, 0.0, 0.0

    def silent(self, failure: UpstreamError) -> None:
        """Note a timeout or a failure to connect."""
        self._last = type(failure)
        self._strikes += 1
        # What fails while the host is left alone set out before: one outage, however many found it.
        if self._strikes >= 2 and self._clock() >= self._down_until:
            self._down_for = min(max(self._down_for * 2, _DOWN_FIRST), _DOWN_MOST)
            self._down_until = self._clock() + self._down_for

    def quiet(self, kind: str, seconds: float) -> None:
        """Note that the host wants no request of this kind for so long, as far as that can be believed."""
        until = self._clock() + min(seconds, _QUIET_MOST)
        self._quiet[kind] = max(self._quiet.get(kind, 0.0), until)

    def told(self) -> dict[str, Any]:
        """Say how the host stands, for `status` and `why`; times in seconds from now."""
        now = self._clock()
        return {
            "requests": self.limiter.borrowed_tokens,
            "waiting": self.limiter.statistics().tasks_waiting,
            "down_for": round(max(self._down_until - now, 0.0), 1) if self.down else None,
            "quiet_for": {kind: round(end - now, 1) for kind, end in self._quiet.items() if end > now},
        }

    def spend(self) -> bool:
        """Take one retry out of the host's budget; False = it is used up."""
        now = self._clock()
        self._tokens = min(_BUDGET, self._tokens + (now - self._counted) * _REFILL)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Gates:
    """Every host's gate, by origin."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._gates: dict[str, Gate] = {}

    def of(self, origin: str) -> Gate:
        """Find or build the gate of `scheme://host:port`."""
        gate = self._gates.get(origin)
        if gate is None:
            gate = self._gates[origin] = Gate(self._clock)
        return gate

    def told(self) -> dict[str, dict[str, Any]]:
        """Say how every host stands, by its name."""
        return {origin.partition("://")[2]: gate.told() for origin, gate in self._gates.items()}

    def busy(self) -> int:
        """Count the requests under way, for `status` and for tests that want it to be zero."""
        return sum(gate.limiter.borrowed_tokens for gate in self._gates.values())
