"""Files that a copying program will open next, fetched ahead of it.

How it thinks: to fetch a sibling is to open it as the program will, so the two share one check, one link
and one download, and to go on reading to a bound. What comes in one pass is only begun here: it runs to
its end by itself, as any pass does; so it is not begun before the service could make it at once, and by
then its reader may have come, or be gone. At most two are under way in the whole house, so that a copy
leaves connections to those who wait. Who stops copying has his siblings let go of.

What must always be true: what is fetched ahead fits into the cache beside what is being read, and is
neither pinned nor held once it is here; a failure is nobody's but the next reader's, who meets it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import trio

from musicfs.content.archive import Archives, Stored
from musicfs.content.asset import Asset
from musicfs.content.content import Content
from musicfs.content.ports import Opened
from musicfs.content.reader import BlobReader
from musicfs.core.copying import AHEAD
from musicfs.core.spans import BLOCK
from musicfs.core.zipdir import Method
from musicfs.errors import MusicfsError, NoSuchEntry
from musicfs.model import Key, Span

_BOUND = 8 * 1024 * 1024  # bytes of a ranged sibling: as far as the read-ahead of an open file reaches
_PIECE = 4 * BLOCK  # bytes asked for at a time
_SPARE = 30.0  # seconds to wait for a turn; where none comes for so long, they are all wanted by readers


@dataclass(slots=True, eq=False)
class _Coming:
    """One sibling on its way."""

    who: int
    one_pass: bool
    begun: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Siblings:
    """What is fetched ahead of whom.

    `room` says how many bytes the cache could take, all in all; `spare` waits until one pass more can begin.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        content: Content,
        archives: Archives,
        room: Callable[[], int],
        spare: Callable[[], Awaitable[None]],
    ) -> None:
        self._nursery, self._content, self._archives = nursery, content, archives
        self._room, self._spare = room, spare
        self._coming: dict[Key, _Coming] = {}

    @property
    def coming(self) -> list[Key]:
        """What is being fetched ahead."""
        return list(self._coming)

    def want(self, who: int, reading: Asset, siblings: Sequence[Asset], beside: bool = False) -> None:
        """Fetch these ahead of a program that opens `reading`, `beside` others that it has open.

        What it was thought to want before goes on: it copies still, and will come to it. Beside others only
        what the service makes is begun: the read-ahead of open files has a use for all connections elsewhere.
        """
        if (taken_up := self._coming.pop(reading.key, None)) is not None:
            taken_up.scope.cancel()  # the program holds it itself now
        size = self._size(reading)
        for asset in siblings:
            size += self._size(asset)
            if len(self._coming) >= AHEAD or size > self._room() // 2:
                return
            if asset.key in self._coming or self._here(asset) or (beside and not self._made(asset)):
                continue
            coming = self._coming[asset.key] = _Coming(who, self._one_pass(asset))
            self._nursery.start_soon(self._fetch, asset, coming)

    def drop(self, who: int) -> None:
        """Let go of what is fetched ahead of a program that copies no more."""
        for coming in self._coming.values():
            # A pass runs to its end: letting go of it would only lose count of it.
            if coming.who == who and not (coming.one_pass and coming.begun):
                coming.scope.cancel()

    async def _fetch(self, asset: Asset, coming: _Coming) -> None:
        try:
            with coming.scope:
                coming.begun = not self._made(asset) or await self._turn()
                if coming.begun:
                    await self._bring(asset, coming.one_pass)
        except MusicfsError:
            pass  # the job has said why, and who opens it next is told
        finally:
            if self._coming.get(asset.key) is coming:
                del self._coming[asset.key]

    async def _turn(self) -> bool:
        """Wait until a pass could begin at once; False if none could for long."""
        with trio.move_on_after(_SPARE) as waiting:
            await self._spare()
        return not waiting.cancelled_caught

    async def _bring(self, asset: Asset, one_pass: bool) -> None:
        with closing(await self._open(asset)) as opened:
            if one_pass:
                await self._passed(asset)
            else:
                await _read(opened, min(opened.size, _BOUND))

    async def _open(self, asset: Asset) -> Opened:
        if asset.member is not None:
            return await self._archives.open(asset)
        return await self._content.open(asset, foretold=True)

    async def _passed(self, asset: Asset) -> None:
        """Wait until the pass over an object has ended, however."""
        blob = self._content.blob(asset)
        while blob.jobs:
            await blob.news()

    # What is known -------------------------------------------------------------------------------------

    def _size(self, asset: Asset) -> int:
        if asset.member is None:
            return self._content.facts(asset).size
        try:
            return self._archives.member(asset)[1].size
        except NoSuchEntry:
            return 0  # it left meanwhile

    def _here(self, asset: Asset) -> bool:
        try:
            return (self._content if asset.member is None else self._archives).cached(asset)
        except NoSuchEntry:
            return True

    def _made(self, asset: Asset) -> bool:
        """Tell whether a service makes it, which it does for a few at a time only."""
        return asset.member is None and self._one_pass(asset)

    def _one_pass(self, asset: Asset) -> bool:
        if asset.member is not None:
            return self._archives.member(asset)[1].method is Method.DEFLATED
        return self._content.blob(asset).one_pass


async def _read(opened: Opened, most: int) -> None:
    """Read the beginning of a file, and have no more of it fetched."""
    if isinstance(opened, Stored):
        opened.archive.ahead = min(opened.archive.ahead, opened.stretch.start + most)
    elif isinstance(opened, BlobReader):
        opened.ahead = min(opened.ahead, most)
    for start in range(0, most, _PIECE):
        await opened.read(Span(start, min(start + _PIECE, most)))
