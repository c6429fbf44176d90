"""Pages of a listing, asked for ahead of their turn.

How it thinks: one page after the other costs a round trip each, a hundred for 10,000 clips. A provider
that can foretell where the next pages lie says so (`Page.ahead`), and they are asked for side by side. As
soon as one is here the next is asked for, whether or not it was that one's turn: a page that comes late,
or over a connection that has still to be made, holds up nobody but who reads. A pass begins with few at a
time, so that a short listing costs hardly more requests than pages; a first one, for which somebody waits,
with twice as many as there are already.

What must always be true: whether a page fits is judged by who takes it, not here; what is asked ahead is
asked once, without retries. Where that fails nothing is asked ahead any more (a service that throttles is
not hammered), and the page is asked for again in its turn, with all the patience there is.
Behind a page that calls itself the last nothing is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio

from musicfs.model import Page

WIDE = 4  # of a host's six connections; two are left for those who open files meanwhile
WIDEST = 6
"""In a first listing, of which there is no file yet that anybody could open. A link or a list of the other
service has its turn (`wire.gate`) as soon as the first of six answers is here."""


class _Flight(msgspec.Struct):
    landed: trio.Event = msgspec.field(default_factory=trio.Event)
    page: Page | None = None


class Ahead:
    """The pages of one pass; `ask` takes a cursor, and whether it is asked ahead and so only once.

    `first` says that nothing is known yet.
    """

    def __init__(
        self, nursery: trio.Nursery, ask: Callable[[str | None, bool], Awaitable[Page]], first: bool = False
    ) -> None:
        self._nursery, self._ask, self._first = nursery, ask, first
        self._flying: dict[str | None, _Flight] = {}
        self._wanted: tuple[str | None, ...] = ()
        """The pages behind the last one taken, as far as it foretold them."""
        self._taken = 0
        self._alone = False
        """Whether something asked ahead failed."""

    async def take(self, cursor: str | None) -> Page:
        """Give the page at `cursor`, which may be here already.

        Raises:
            UpstreamError: it cannot be had.
        """
        flight = self._flying.get(cursor)
        if flight is not None:
            await flight.landed.wait()
            if flight.page is not None:
                return flight.page
        return await self._ask(cursor, False)

    def expect(self, page: Page) -> None:
        """Ask for the pages that seem to follow one, if the provider foretold them."""
        self._taken += 1
        self._wanted = (page.next, *page.ahead) if page.ahead else ()
        # What was foretold wrongly is nobody's any more.
        self._flying = {cursor: flight for cursor, flight in self._flying.items() if cursor in self._wanted}
        self._go_on()

    def drop(self) -> None:
        """Forget what was asked ahead, and begin as at the first page."""
        self._flying, self._wanted, self._taken = {}, (), 0

    def _go_on(self) -> None:
        """Ask for more of the pages that are wanted, as long as one more may be under way."""
        if self._alone:
            return
        most = min(2 * self._taken, WIDEST) if self._first else min((self._taken + 1) // 2, WIDE)
        under_way = sum(not flight.landed.is_set() for flight in self._flying.values())
        for cursor in self._wanted:
            flight = self._flying.get(cursor)
            if flight is None and under_way < most:
                under_way += 1
                flight = self._flying[cursor] = _Flight()
                self._nursery.start_soon(self._fly, cursor, flight)
            elif flight is not None and flight.page is not None and flight.page.next is None:
                return

    async def _fly(self, cursor: str | None, flight: _Flight) -> None:
        try:
            flight.page = await self._ask(cursor, True)
        except Exception:  # it is asked for again in its turn, where a failure is told
            self._alone = True
        finally:
            flight.landed.set()
        if self._flying.get(cursor) is flight:
            self._go_on()
