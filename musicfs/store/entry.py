"""One object of the cache: its sparse data file, its map, and the promise that no wrong byte is given out.

How it thinks: bytes are written first and recorded after, so a crash between the two costs a block and
nothing else. Every read checks each block it touches against its crc32, always: measured here, that is
15.5 µs for 64 KiB (0.24 s of CPU a GB) against 1 to 2 s a GB for the rest of a FUSE read, and it spares
all thought about who may have changed the file since. What does not agree is dropped, recorded, and
raised as `Damaged`.

A RANGED object takes whole blocks in any order (`write`). A WHOLE one takes bytes of any length from the
first to the last (`append`), serves those below its `watermark`, and is kept only once `seal`ed: until
then its map is named `.pass`, which the next start throws away.

What must always be true: `read` gives exactly the bytes that were written, or raises; `have` holds only
blocks whose record is on disk. An entry that gave way is `gone`: hold it while you need it.
It refuses to fetch, and to decide who gives way (`room`).
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import NoReturn

from musicfs.core.spans import BLOCK, block_span, blocks_of
from musicfs.errors import StoreError
from musicfs.model import Span
from musicfs.store import disk, maps
from musicfs.store.book import Book, Described
from musicfs.store.maps import Kind
from musicfs.store.room import PAGE, SLACK, Room

LOG = logging.getLogger("musicfs.store")


class Absent(StoreError):
    """A block that was asked for is not here; `block` says which. Fetch it."""

    def __init__(self, message: str, block: int) -> None:
        super().__init__(message)
        self.block = block


class Damaged(Absent):
    """A block's bytes are not those that were written; it has been dropped. Fetch it again."""


class Entry(Described):
    """One object. Made by `Store.find` and `Store.create` alone."""

    def __init__(
        self, room: Room[Entry], stem: Path, allocated: int, stamped: float, *, pinned: bool
    ) -> None:
        super().__init__(Book(stem))
        self._room = room
        self._stem = stem
        self._data = stem.with_suffix(".data")
        self._flushed = 0
        self._tail = bytearray()
        # These are the room's (see `room.Tenant`).
        self.digest = stem.name
        self.allocated = allocated
        self.promised = 0
        self.stamped = stamped
        self.ill = -inf
        self.pinned = pinned
        self.holds = 0
        self.gone = False
        """It gave way or was dropped: nothing of it is here any more."""

    def __repr__(self) -> str:
        if not self._book.read:
            return f"<Entry {self.digest[:8]}… not read yet>"
        done = "gone" if self.gone else "whole" if self.whole else f"{len(self.have)} blocks"
        return f"<Entry {self.key} v{self.version} {self.kind.value} {done}>"

    # What it is ------------------------------------------------------------------------------------------

    @property
    def watermark(self) -> int:
        """How many bytes a running pass has taken; all below may be read."""
        return self._flushed * BLOCK + len(self._tail)

    @property
    def whole(self) -> bool:
        """Whether every byte is here."""
        return self._book.known.complete and not self.gone

    @property
    def sheds(self) -> bool:
        """Whether blocks of it may go while it is held."""
        return self._room.holes and not self.gone and self._book.read and self.kind is Kind.RANGED

    # Reading ---------------------------------------------------------------------------------------------

    def read(self, span: Span) -> memoryview:
        """Give the span's bytes, checked. Raises Absent for a missing block, Damaged for a bad one."""
        if span.length <= 0:
            return memoryview(b"")
        blocks = blocks_of(span)
        first, last = blocks.start, blocks.stop - 1
        in_tail = self._book.passing and last == self._flushed and span.stop <= self.watermark
        body = self._checked(blocks[:-1] if in_tail else blocks)
        if in_tail:
            body = memoryview(bytes(body) + bytes(self._tail))
        if len(body) < span.stop - first * BLOCK:
            raise Absent(f"{self.key} ends before the bytes asked for", last)
        if self._room.touch(self):
            self._stamp()
        return body[span.start - first * BLOCK : span.stop - first * BLOCK]

    def _checked(self, blocks: range) -> memoryview:
        known = self._book.known.blocks
        for block in blocks:
            if block not in known:
                raise Absent(f"block {block} of {self.key} is not here", block)
        if not blocks:
            return memoryview(b"")
        start = blocks.start * BLOCK
        length = (len(blocks) - 1) * BLOCK + self._length(blocks.stop - 1)  # Only the last may be shorter.
        raw = self._fetch(start, length, blocks)
        bad, sheds = [], self.sheds
        for place, block in enumerate(blocks):
            piece = raw[place * BLOCK : (place + 1) * BLOCK]
            if zlib.crc32(piece) != known[block]:
                bad.append(block)
            elif sheds:  # What was read last is shed last.
                known[block] = known.pop(block)
        if bad:
            self._damaged(bad)
        return raw

    def _fetch(self, start: int, length: int, blocks: range) -> memoryview:
        try:
            raw = disk.read(self._data, start, length)
        except StoreError as failure:  # The disk cannot give them; the network can.
            LOG.warning("cannot read %s from the cache: %s", self.key, failure)
            self.ill = self._room.clock()
            self._damaged(blocks)
        if raw is None:
            self._damaged(list(self._book.known.blocks))
        elif len(raw) < length:
            end = disk.length_of(self._data)
            self._damaged(
                [each for each in self._book.known.blocks if each * BLOCK + self._length(each) > end]
            )
        return memoryview(raw)

    def check(self, block: int) -> int:
        """Read one block that is here; give how many were found bad by it and dropped (a lost file: all)."""
        before = self._room.damaged
        try:
            self._checked(range(block, block + 1))
        except Absent:
            pass
        return self._room.damaged - before

    def mend_map(self) -> bool:
        """Write the map on disk anew if it does not say what is known; True if it had to be."""
        if self.gone or not self._book.mend():
            return False
        self._room.resize(self, disk.size_of(self._data) + self._book.taken)
        return True

    # Writing, in ranges ----------------------------------------------------------------------------------

    def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        """Keep whole blocks, from `block` on; the object's last is shorter. Raises StoreFull, StoreError."""
        blocks = range(block, block + -(-len(data) // BLOCK))
        if self.kind is not Kind.RANGED or not blocks or len(data) != sum(map(self._length, blocks)):
            raise ValueError(f"{len(data)} bytes are not blocks from {block} on of {self!r}")
        self._put(block, data)

    def _put(self, block: int, data: bytes | bytearray | memoryview) -> None:
        self._check_here()
        self._room.reserve(self, -(-len(data) // PAGE) * PAGE + SLACK)
        taken = disk.write(self._data, data, block * BLOCK)
        self._room.resize(self, taken + self._book.taken)
        crcs = [zlib.crc32(memoryview(data)[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
        self._note(*map(maps.Block, range(block, block + len(crcs)), crcs))

    # Writing, in one pass --------------------------------------------------------------------------------

    def expect(self, size: int) -> None:
        """Keep room for a pass of `size` bytes, less what it has by now. Raises StoreFull."""
        self._check_passing()
        self._room.promise(self, max(0, -(-size // PAGE) * PAGE + SLACK - self.allocated))

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Take a pass's next bytes. After StoreFull or StoreError, `watermark` says how many it took."""
        self._check_passing()
        view = memoryview(data)
        self._flush()
        while view:
            taken = view[: BLOCK - len(self._tail)]
            self._tail += taken
            view = view[len(taken) :]
            self._flush()

    def _flush(self) -> None:
        if len(self._tail) == BLOCK:
            self._put(self._flushed, self._tail)
            self._flushed += 1
            self._tail = bytearray()

    def truncate(self, size: int) -> None:
        """Go back to the first `size` bytes of a running pass. Raises Damaged if they cannot be kept."""
        self._check_passing()
        if size > self.watermark:
            raise ValueError(f"{self!r} cannot go back to {size} bytes")
        keep, rest = divmod(size, BLOCK)
        tail = bytearray(self.read(Span(keep * BLOCK, size))) if rest else bytearray()
        self._note(*(maps.Dropped(block) for block in list(self.have) if block >= keep))
        self._flushed, self._tail = keep, tail
        self._room.resize(self, disk.cut(self._data, keep * BLOCK) + self._book.taken)

    def seal(self, sha256: str) -> None:
        """End the pass: what was taken is the object. Raises Damaged if a block was lost, StoreError."""
        self._check_passing()
        lost = set(range(self._flushed)).difference(self.have)
        if lost:
            raise Damaged(f"block {min(lost)} of {self.key} was lost in its pass", min(lost))
        size = self.watermark
        if self._tail:
            self._put(self._flushed, bytes(self._tail))
        self._book.seal(maps.Sealed(size, bytes.fromhex(sha256)))
        self._tail = bytearray()
        self._room.promise(self, 0)

    def discard(self) -> None:
        """Forget the object, and remove its files if the disk lets us; nobody gets its bytes from here on."""
        try:
            self.evict()
        except StoreError as failure:
            # What is left is found again at a restart, and believed no further than its map can prove.
            LOG.warning("cannot remove the files of %s: %s", self._name(), failure)
            self._leave()

    # Holding and pinning ---------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep it while in use: a WHOLE object stays, a RANGED one may lose blocks but not its place."""
        self._room.hold(self)

    def release(self) -> None:
        """Take one `hold` back."""
        self._room.release(self)

    def pin(self) -> None:
        """Keep it whatever happens, also over restarts. Raises StoreFull if it would pass half the limit."""
        self._check_here()
        self._room.may_pin(self, max(self.allocated, self.size or 0))
        disk.save(self._stem.with_suffix(".pin"), b"")
        self._room.pin(self, True)

    def unpin(self) -> None:
        """Let it give way again like any other."""
        self._check_here()
        disk.remove(self._stem.with_suffix(".pin"))
        self._room.pin(self, False)

    # For the store and the room --------------------------------------------------------------------------

    def begin(self, header: maps.Header) -> None:
        """Start an empty object on disk."""
        self._book.begin(header)
        self._room.resize(self, self._book.taken)

    def load(self) -> bool:
        """Read the map if it was not read yet; False if there is nothing in it to believe."""
        return self._book.load()

    def evict(self) -> None:
        """Give way whole. The map goes first: data without a map is thrown away at the next start."""
        if self.gone:  # The files of that name may be another life's by now.
            return
        name = self._name()
        for suffix in (".map", ".pass", ".pin", ".data"):
            disk.remove(self._stem.with_suffix(suffix))
        self._leave()
        LOG.info("let go of %s", name)

    def _leave(self) -> None:
        self._room.leave(self)
        self.gone, self._book.passing = True, False
        if self._book.read:
            self._book.known.blocks.clear()

    def shed(self) -> bool:
        """Give the longest unused block's room back; False when that cannot be done."""
        block = next(iter(self._book.known.blocks), None)
        if block is None:
            return False
        taken = disk.punch(self._data, block * BLOCK, BLOCK)
        if taken is None:
            self._room.holes = False
            return False
        self._room.resize(self, taken + self._book.taken)
        self._drop([block])
        return True

    # Inside ----------------------------------------------------------------------------------------------

    def _name(self) -> str:
        try:
            return self.key if self.load() else "an object that cannot be read"
        except StoreError:
            return "an object whose map the disk does not give"

    def _check_here(self) -> None:
        if self.gone:
            raise StoreError(f"{self.key} was let go")

    def _check_passing(self) -> None:
        self._check_here()
        if not self._book.passing:
            raise ValueError(f"{self!r} takes no pass")

    def _length(self, block: int) -> int:
        size = None if self._book.passing else self.size
        return BLOCK if size is None else block_span(block, size).length

    def _damaged(self, blocks: Iterable[int]) -> NoReturn:
        lost = sorted(blocks)
        self._room.damaged += len(lost)
        LOG.info("dropped %d damaged blocks of %s", len(lost), self.key)
        self._drop(lost)
        raise Damaged(f"block {lost[0]} of {self.key} is damaged in the cache", lost[0])

    def _drop(self, blocks: Iterable[int]) -> None:
        gone = [maps.Dropped(block) for block in blocks]
        try:
            self._note(*gone)
        except StoreError as failure:  # Unrecorded, they are found bad again after a restart: no harm.
            LOG.warning("cannot record dropped blocks of %s: %s", self.key, failure)
            for record in gone:
                self._book.known.apply(record)

    def _note(self, *records: maps.Record) -> None:
        before = self._book.taken
        self._book.note(*records)
        self._room.resize(self, self.allocated + self._book.taken - before)

    def _stamp(self) -> None:
        try:
            disk.stamp(self._book.path, self.stamped)
        except StoreError as failure:  # The order of use is only a little older after a restart.
            LOG.warning("cannot note the use of %s: %s", self.key, failure)
