"""Files that a copying program will open next, fetched ahead of it.

How it thinks: to fetch a sibling is to open it as the program will, so the two share one check, one link
and one download, and to go on reading to a bound. What comes in one pass is only begun here: it runs to
its end by itself, as any pass does. At most two are under way in the whole house, so that a copy leaves
connections to those who wait. Who stops copying has his siblings let go of.

What must always be true: what is fetched ahead fits into the cache beside what is being read, and is
neither pinned nor held once it is here; a failure is nobody's but the next reader's, who meets it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(slots=True, eq=False)
class _Coming:
    """One sibling on its way."""

    who: int
    stays: bool
    """It comes in one pass, which runs to its end: letting go of it would only lose count of it."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Siblings:
    """What is fetched ahead of whom. `room` says how many bytes the cache could take, all in all."""

    def __init__(
        self, nursery: trio.Nursery, content: Content, archives: Archives, room: Callable[[], int]
    ) -> None:
        self._nursery, self._content, self._archives, self._room = nursery, content, archives, room
        self._coming: dict[Key, _Coming] = {}

    @property
    def coming(self) -> list[Key]:
        """What is being fetched ahead."""
        return list(self._coming)

    def want(self, who: int, reading: Asset, siblings: Sequence[Asset]) -> None:
        """Fetch these ahead of a program that opens `reading`.

        What it was thought to want before goes on: it copies still, and will come to it.
        """
        if (taken_up := self._coming.pop(reading.key, None)) is not None:
            taken_up.scope.cancel()  # the program holds it itself now
        size = self._size(reading)
        for asset in siblings:
            size += self._size(asset)
            if len(self._coming) >= AHEAD or size > self._room() // 2:
                return
            if asset.key not in self._coming and not self._here(asset):
                coming = self._coming[asset.key] = _Coming(who, self._one_pass(asset))
                self._nursery.start_soon(self._fetch, asset, coming)

    def drop(self, who: int) -> None:
        """Let go of what is fetched ahead of a program that copies no more."""
        for coming in self._coming.values():
            if coming.who == who and not coming.stays:
                coming.scope.cancel()

    async def _fetch(self, asset: Asset, coming: _Coming) -> None:
        try:
            with coming.scope, closing(await self._open(asset)) as opened:
                if coming.stays:
                    await self._passed(asset)
                else:
                    await _read(opened, min(opened.size, _BOUND))
        except MusicfsError:
            pass  # the job has said why, and who opens it next is told
        finally:
            if self._coming.get(asset.key) is coming:
                del self._coming[asset.key]

    async def _open(self, asset: Asset) -> Opened:
        return await (self._content if asset.member is None else self._archives).open(asset)

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

    def _one_pass(self, asset: Asset) -> bool:
        if asset.member is not None:
            return self._archives.member(asset)[1].method is Method.DEFLATED
        return self._content.facts(asset).one_pass


async def _read(opened: Opened, most: int) -> None:
    """Read the beginning of a file, and have no more of it fetched."""
    if isinstance(opened, Stored):
        opened.archive.ahead = min(opened.archive.ahead, opened.stretch.start + most)
    elif isinstance(opened, BlobReader):
        opened.ahead = min(opened.ahead, most)
    for start in range(0, most, _PIECE):
        await opened.read(Span(start, min(start + _PIECE, most)))
