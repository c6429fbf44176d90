"""Connections that are kept from one request to the next.

How it thinks: httpcore makes a connection, through a proxy or not, and speaks HTTP over it; which one carries
a request is said here. httpcore's own pool compares all its connections with one another before each
request, and again behind it: with eight of them idle that was a quarter of the Python between a read and its
request. Here the one that was used last is taken, if it is alive; whether the others are is asked when an
answer is over and nobody waits.

What must always be true: a connection carries one request at a time; it comes back when the answer is closed
or did not come, and is kept only if nothing of that is left on it; at most `KEPT` are idle.

It refuses to limit how many there are: that is `gate`'s, whose waiters may be cancelled.
"""

from __future__ import annotations

import httpcore
import trio

KEPT = 32
"""Idle connections: six for each of a few hosts."""


class Kept:
    """The connections that `maker` made."""

    def __init__(self, maker: httpcore.AsyncConnectionPool) -> None:
        self._maker = maker
        self._idle: list[httpcore.AsyncConnectionInterface] = []
        """Least recently used first."""
        self._busy: set[httpcore.AsyncConnectionInterface] = set()

    @property
    def busy(self) -> int:
        """How many connections carry a request, or are being made for one."""
        return len(self._busy)

    async def ask(
        self, request: httpcore.Request
    ) -> tuple[httpcore.Response, httpcore.AsyncConnectionInterface]:
        """Carry one request out; gives the answer's head, and the connection that is to be given back."""
        origin = request.url.origin
        connection = self._alive(origin) or self._maker.create_connection(origin)
        self._busy.add(connection)
        try:
            return await connection.handle_async_request(request), connection
        except BaseException:
            await self.back(connection)
            raise

    def _alive(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface | None:
        """Take the idle connection to an origin that was used last and that the server has not left."""
        for place in range(len(self._idle) - 1, -1, -1):
            connection = self._idle[place]
            if connection.can_handle_request(origin) and not connection.has_expired():
                return self._idle.pop(place)
        return None

    async def back(self, connection: httpcore.AsyncConnectionInterface) -> None:
        """Take a connection back, and close those that are of no more use."""
        self._busy.discard(connection)
        over = [one for one in self._idle if one.has_expired()]
        if connection.is_idle() and not connection.is_closed():  # one that was never made is both
            self._idle.append(connection)
            over += [one for one in self._idle if one not in over][:-KEPT]
        else:
            over.append(connection)
        self._idle = [one for one in self._idle if one not in over]
        await _close(over)

    async def aclose(self) -> None:
        """Close every connection."""
        every, self._idle = [*self._idle, *self._busy], []
        self._busy.clear()
        await _close(every)


async def _close(connections: list[httpcore.AsyncConnectionInterface]) -> None:
    """Close them even when we are being cancelled; closing a socket by force needs no waiting."""
    if connections:
        with trio.CancelScope(shield=True):
            for connection in connections:
                await connection.aclose()
