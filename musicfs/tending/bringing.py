"""One file, brought whole, checked and pinned.

How it thinks: a file is a stretch of one object of the cache: all of it, or for a stored stem its part of
the archive. What comes in one pass is waited for until it is sealed. Then the stretch is gone through
piece by piece: what is missing is read, as any program would read it, and each block is compared with its
checksum. So what is here already is checked and not fetched again.

What must always be true: it ends well only when every byte is on the disk, agrees with its checksum, and
is pinned. Retrying is the wire's business; only a version that changed meanwhile, or bytes found bad, are
gone for again.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import trio

from musicfs.content import Asset, Opened
from musicfs.content.archive import Stored
from musicfs.content.blob import Blob
from musicfs.content.download import Download
from musicfs.core.spans import BLOCK, align, block_span, blocks_of
from musicfs.core.zipdir import Method
from musicfs.errors import Changed
from musicfs.filesystem import Filesystem
from musicfs.model import Span
from musicfs.store import Entry, Kind
from musicfs.tending.pins import Claim, NotKept, Pins

_TRIES = 3  # times a version that changed, or bytes found bad, are gone for
_PIECE = 4 * BLOCK  # bytes read at a time: a quarter of a megabyte of memory a file


@dataclass(slots=True, eq=False)
class Item:
    """One file to be brought; sizes in bytes."""

    path: str
    asset: Asset
    size: int
    """Exact once the file was opened."""
    done: int = 0
    fetched: int = 0
    coming: Blob | None = None
    """Where its bytes are coming in one pass."""

    @property
    def here(self) -> int:
        """How many of its bytes are here, as far as is known."""
        jobs = self.coming.jobs if self.coming is not None else []
        return min(max([self.done, *(job.progress.at for job in jobs)]), self.size)


class Bringer:
    """Brings files."""

    def __init__(self, files: Filesystem, pins: Pins) -> None:
        self._files, self._pins = files, pins

    async def bring(self, item: Item) -> None:
        """Bring, check and pin a file.

        Raises:
            PinsFull: there is no room for it among the pinned.
            NotKept: the cache could not keep it.
            MusicfsError: it cannot be had.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                await self._try(item)
                return
            except Changed:
                if attempt == _TRIES:
                    raise
            finally:
                item.coming = None

    async def _try(self, item: Item) -> None:
        """Bring the version that a file has now."""
        asset, content, archives = item.asset, self._files.content, self._files.archives
        version, key, room = self._files.finding.version(asset), asset.key, item.size
        if asset.member is None:
            blob = content.blob(asset)
            item.coming = blob if blob.one_pass and not blob.whole else None
        elif archives.member(asset)[1].method is Method.STORED:
            key, room = asset.archive.key, content.facts(asset.archive).size
        with self._pins.claimed(key, version, room) as claim, closing(await self._open(asset)) as opened:
            if opened.version != version:
                raise Changed("the service has other bytes now")
            item.size = opened.size
            if isinstance(opened, Stored):
                await self._go_through(
                    item, claim, opened.archive, opened.stretch, content.blob(asset.archive)
                )
            elif opened.size:
                await self._keep(item, opened, claim)

    async def _open(self, asset: Asset) -> Opened:
        if asset.member is not None:
            return await self._files.archives.open(asset)
        return await self._files.content.open(asset)

    async def _keep(self, item: Item, opened: Opened, claim: Claim) -> None:
        blob = self._files.content.blob(item.asset)
        if blob.one_pass and not blob.whole:
            item.coming = blob
            await _sealed(blob, opened.version)
        if item.coming is not None:
            item.done = item.size
        await self._go_through(item, claim, opened, Span(0, opened.size), blob)

    async def _go_through(self, item: Item, claim: Claim, source: Opened, stretch: Span, blob: Blob) -> None:
        """Read what is missing of a stretch, in whole blocks, and check every one of them."""
        entry, blocks, item.fetched = claim.pin(), align(stretch, source.size), 0
        for start in range(blocks.start, blocks.stop, _PIECE):
            piece = Span(start, min(start + _PIECE, blocks.stop))
            lost = await _whole_piece(entry, source, piece, blob)
            came = [block for block in blocks_of(piece) if block in lost or block not in claim.had]
            item.fetched += sum(_overlap(block_span(block, source.size), stretch) for block in came)
            item.done = max(item.done, min(piece.stop - stretch.start, item.size))


def _overlap(one: Span, other: Span) -> int:
    """Say how many bytes two spans share."""
    return max(0, min(one.stop, other.stop) - max(one.start, other.start))


async def _sealed(blob: Blob, version: int) -> None:
    """Wait until a pass is whole."""
    while not blob.whole:
        failure = blob.failing(trio.current_time())
        if failure is not None:
            raise failure
        if blob.gone or blob.version != version:
            raise Changed("the service has other bytes now")
        if not blob.jobs:
            raise NotKept("it came, but did not stay in the cache")
        await blob.news()


async def _whole_piece(entry: Entry, source: Opened, piece: Span, blob: Blob) -> set[int]:
    """See to it that a piece is here and right; gives the blocks that were found bad and came anew."""
    lost: set[int] = set()
    blocks = blocks_of(piece)
    for _ in range(_TRIES):
        if any(block not in entry.have for block in blocks):
            await source.read(piece)
            for job in blob.jobs:
                if isinstance(job, Download):
                    job.flush()  # A reader is served from memory before the shelf has it.
        if await _right(entry, blocks):
            return lost
        lost.update(block for block in blocks if block not in entry.have)
        if entry.kind is Kind.WHOLE:
            # It cannot be mended in part.
            entry.evict()
        if entry.gone:
            raise Changed("it was damaged in the cache and is brought again")
    raise NotKept("it came, but the cache could not keep it")


async def _right(entry: Entry, blocks: range) -> bool:
    """Compare blocks with their checksums, giving the loop back at each; False if any is bad or missing."""
    for block in blocks:
        await trio.lowlevel.checkpoint()
        if block in entry.have:
            entry.check(block)
    return all(block in entry.have for block in blocks)
