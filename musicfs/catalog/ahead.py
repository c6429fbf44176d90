"""Pages of a listing, asked for ahead of their turn.

How it thinks: one page after the other costs a round trip each, a hundred for 10,000 clips. A provider
that can foretell where the next pages lie says so (`Page.ahead`), and they are asked for side by side: half
as many at a time as have come already, so that a short listing costs hardly more requests than pages.

What must always be true: whether a page fits is judged by who takes it, not here; what is asked ahead is
asked once, without retries. Where that fails the page is asked for again in its turn, by itself and with
all the patience there is, and nothing is asked ahead any more: a service that throttles is not hammered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from musicfs.model import Page

WIDE = 4  # of a host's six connections; two are left for those who open files meanwhile
WIDEST = 5  # in a first listing: there is no file yet that anybody could open, so one left over is enough


@dataclass(slots=True)
class _Flight:
    landed: trio.Event = field(default_factory=trio.Event)
    page: Page | None = None


class Ahead:
    """The pages of one pass; `ask` takes a cursor, and whether it is asked ahead and so only once."""

    def __init__(
        self, nursery: trio.Nursery, ask: Callable[[str | None, bool], Awaitable[Page]], wide: int = WIDE
    ) -> None:
        self._nursery, self._ask, self._wide = nursery, ask, wide
        self._flying: dict[str | None, _Flight] = {}
        self._taken = 0
        self._alone = False
        """Whether something asked ahead failed."""

    async def take(self, cursor: str | None) -> Page:
        """Give the page at `cursor`, which may be here already.

        Raises:
            UpstreamError: it cannot be had.
        """
        flight = self._flying.pop(cursor, None)
        if flight is not None:
            await flight.landed.wait()
            if flight.page is not None:
                return flight.page
            self._alone = True
            self.drop()
        return await self._ask(cursor, False)

    def expect(self, page: Page) -> None:
        """Ask for the pages that seem to follow one, if the provider foretold them."""
        self._taken += 1
        if self._alone or not page.ahead:
            return
        wanted = (page.next, *page.ahead)[: min((self._taken + 1) // 2, self._wide)]
        # What was foretold wrongly is nobody's any more.
        self._flying = {cursor: flight for cursor, flight in self._flying.items() if cursor in wanted}
        for cursor in wanted:
            if cursor not in self._flying:
                flight = self._flying[cursor] = _Flight()
                self._nursery.start_soon(self._fly, cursor, flight)

    def drop(self) -> None:
        """Forget what was asked ahead, and begin as at the first page."""
        self._flying, self._taken = {}, 0

    async def _fly(self, cursor: str | None, flight: _Flight) -> None:
        try:
            flight.page = await self._ask(cursor, True)
        except Exception:  # noqa: S110 - it is asked for again in its turn, where a failure is told
            pass
        finally:
            flight.landed.set()
