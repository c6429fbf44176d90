"""Stems: the members of a ZIP that is not here, as files.

How it thinks: the ZIP's directory is read from its tail by range and kept for ever; it belongs to the
archive's version. A stored member is a stretch of the archive: its reads are reads of the archive,
shifted. A deflated one is inflated once, from its first byte to its last, onto a shelf of its own
(`inflating`), and read at the watermark.

What must always be true: a member's local header is checked before its first byte of a run; an inflated
member is sealed only if its CRC-32 and its length are the directory's; what is wrong with an archive is one
line in the log until something changes, however many look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio
from cachetools import LRUCache

from musicfs.content.asset import Asset
from musicfs.content.blob import Blob
from musicfs.content.content import Content
from musicfs.content.inflating import unpack
from musicfs.content.ports import Opened
from musicfs.content.reader import BlobReader
from musicfs.core.absence import stemless
from musicfs.core.spans import align
from musicfs.core.zipdir import LOCAL_HEADER, TAIL, Directory, Member, Method, ZipDirectory, local_header
from musicfs.errors import BadArchive, BytesMissing, Changed, MusicfsError, NoSuchEntry, StoreError, Withdrawn
from musicfs.flights import Flights
from musicfs.model import Key, Known, Song, Span

log = logging.getLogger("musicfs.content")

_LOOK = 8192  # bytes: a member's header, and what a program looks at before it decides
_SAID = 1024  # archives and members whose fault was said are kept in mind: 100 KB


class Directories(Protocol):
    """The memory of directories once seen, kept for ever, and of archives that were not there."""

    def directory(self, key: Key) -> tuple[int, Directory] | None:
        """Give the directory of an archive and the version it belongs to."""
        ...

    def keep_directory(self, key: Key, version: int, directory: Directory) -> None:
        """Keep it; written behind."""
        ...

    def missed(self, key: Key) -> None:
        """Take note that there is no archive now; written behind."""
        ...

    def refused(self, key: Key) -> float | None:
        """Say when there last was none, in seconds since the epoch."""
        ...


class Archives:
    """Every stems archive."""

    def __init__(
        self,
        nursery: trio.Nursery,
        content: Content,
        memory: Directories,
        wall: Callable[[], float],
        rebuilt: Callable[[Key], None] = lambda key: None,
    ) -> None:
        self._nursery, self._content, self._memory, self._wall = nursery, content, memory, wall
        self._told = rebuilt
        self._flights: Flights[Directory] = Flights(nursery, most=4, remember=1.0)
        self._offsets: dict[tuple[Key, int, str], int] = {}
        self._said: LRUCache[Key, tuple[int, str]] = LRUCache(_SAID)
        """What was said to be wrong, and in which version of the archive."""

    @property
    def questions(self) -> int:
        """How many directories are being asked for."""
        return self._flights.under_way

    def seen(self, archive: Asset) -> Directory | None:
        """Give an archive's directory if it was ever seen."""
        kept = self._memory.directory(archive.key)
        if kept is not None:
            return kept[1]
        refused = self._memory.refused(archive.key)
        return None if refused is None or not self._stemless(archive.song, refused) else Directory((), ())

    async def directory(self, archive: Asset, limit: float) -> Directory:
        """Give an archive's directory, asking for it at most `limit` seconds if it was never seen.

        Raises:
            MusicfsError: it cannot be had now.
        """
        directory = self.seen(archive)
        if directory is None:
            directory = await self._flights.ask(archive.key, lambda: self._learn(archive), limit)
        return directory

    async def _learn(self, archive: Asset) -> Directory:
        try:
            return await self._look_into(archive)
        except Changed:
            # What is here is of another archive by now. A folder has no version that could be stale.
            return await self._look_into(archive)

    async def _look_into(self, archive: Asset) -> Directory:
        try:
            reader, tail = await self._content.open_at_end(archive, TAIL)
        except (BytesMissing, Withdrawn):
            if not self._stemless(archive.song, self._wall()):
                raise
            self._memory.missed(archive.key)
            return Directory((), ())
        try:
            with self._telling(archive.key, reader.version):
                directory = await _parsed(reader, tail)
            before = self._memory.directory(archive.key)
            self._memory.keep_directory(archive.key, reader.version, directory)
            if before is not None and before[0] != reader.version:
                self._told(archive.key)
        finally:
            reader.close()
        for name, why in directory.left_out:
            log.warning("%s: left out %r: %s", archive.key, name, why)
        return directory

    @contextmanager
    def _telling(self, key: Key, version: int) -> Iterator[None]:
        """Say what the block finds wrong, unless it was said already."""
        try:
            yield
        except BadArchive as bad:
            if self._said.get(key) != (version, str(bad)):
                self._said[key] = version, str(bad)
                log.warning("%s: %s", key, bad)
            raise

    def _stemless(self, song: Song, refused: float) -> bool:
        return stemless(song.updated or song.created, refused, self._wall())

    def member(self, asset: Asset) -> tuple[int, Member]:
        """Find a member in the directory that was seen, with the archive's version.

        Raises:
            NoSuchEntry: it is not in there.
        """
        kept, name = self._memory.directory(asset.archive.key), asset.member
        if kept is not None:
            for member in kept[1].members:
                if member.name == name:
                    return kept[0], member
        raise NoSuchEntry("the archive has no such member")

    def cached(self, asset: Asset) -> bool:
        """Tell whether every byte of a member is on the shelf."""
        version, member = self.member(asset)
        if member.method is Method.DEFLATED:
            return self._content.cached(asset, _known(version, member))
        blob = self._content.blob(asset.archive)
        if blob.version != version:
            return False
        offset = self._here(asset, version, member, blob)
        if offset is None:
            return False
        span = Span(offset, offset + member.packed)
        return blob.lacks(span) == span.stop

    def _here(self, asset: Asset, version: int, member: Member, blob: Blob) -> int | None:
        """Say where a member's data begin, if its local header is here: only that knows how long it is."""
        mark = (asset.key, version, member.name)
        if mark not in self._offsets:
            try:
                header = blob.collect(Span(member.header, member.header + LOCAL_HEADER))
                if header is None:
                    return None
                self._offsets[mark] = local_header(bytes(header), member, blob.size or 0)
            except (StoreError, BadArchive):
                return None
        return self._offsets[mark]

    def explain(self, asset: Asset) -> dict[str, Any]:
        """Say where a member's bytes are now, as words for a person, and the last failure."""
        version, member = self.member(asset)
        if member.method is Method.DEFLATED:
            self._content.cached(asset, _known(version, member))  # the blob is of this archive from here on
            return self._content.explain(asset)
        told = self._content.explain(asset.archive, _stretch(member))
        return {**told, "size": member.size, "exact": True}

    async def open(self, asset: Asset) -> Opened:
        """Open a member.

        Raises:
            Changed: the archive is another one by now.
            MusicfsError: it cannot be had.
        """
        version, member = self.member(asset)
        if member.method is Method.DEFLATED:
            return await self._content.open_inflated(
                asset, _known(version, member), lambda blob: self._inflate(blob, member)
            )
        try:
            return await self._open_stored(asset, version, member)
        except Changed as changed:
            raise await self._rebuilt(asset.archive) from changed

    async def _open_stored(self, asset: Asset, version: int, member: Member) -> Stored:
        reader = await self._content.open(asset.archive, self._look(asset.archive, member), _stretch(member))
        try:
            if reader.version != version:
                raise Changed("the archive was built anew")
            reader.ahead = _stretch(member).stop
            offset = await self._data_offset(asset, version, member, reader)
            reader.ahead = offset + member.packed
        except BaseException:
            reader.close()
            raise
        return Stored(reader, member, offset)

    def _look(self, archive: Asset, member: Member) -> Span:
        """Say what to ask for first: a member's header and its first bytes, in whole blocks."""
        return align(Span(member.header, member.header + _LOOK), self._content.facts(archive).size)

    async def _rebuilt(self, archive: Asset) -> MusicfsError:
        """Read the directory of an archive that was built anew.

        At once, because who opens the member is told Changed once and then has to find the new one.
        """
        await self._flights.ask((archive.key, "again"), lambda: self._learn(archive), limit=5.0)
        return Changed("the archive was built anew")

    async def _data_offset(self, asset: Asset, version: int, member: Member, reader: BlobReader) -> int:
        mark = (asset.key, version, member.name)
        if mark not in self._offsets:
            header = bytes(await reader.read(Span(member.header, member.header + LOCAL_HEADER)))
            with self._telling(asset.key, version):
                self._offsets[mark] = local_header(header, member, reader.size)
        return self._offsets[mark]

    async def _inflate(self, blob: Blob, member: Member) -> None:
        """Inflate a member onto its own shelf; runs as the blob's only job."""
        try:
            await self._inflate_from(blob.asset.archive, blob, member)
        except Changed as changed:
            raise await self._rebuilt(blob.asset.archive) from changed

    async def _inflate_from(self, archive: Asset, blob: Blob, member: Member) -> None:
        reader = await self._content.open(archive, self._look(archive, member))
        try:
            if reader.version != blob.version:
                raise Changed("the archive was built anew")
            reader.ahead = _stretch(member).stop
            offset = await self._data_offset(blob.asset, blob.version, member, reader)
            reader.ahead = offset + member.packed
            with self._telling(blob.asset.key, blob.version):
                await unpack(reader, member, offset, blob)
        finally:
            reader.close()


def _known(version: int, member: Member) -> Known:
    """Say what is known of a deflated member: its checksum tells it from that of another archive."""
    return Known(version, member.size, f"crc32 {member.crc:08x}", one_pass=True)


def _stretch(member: Member) -> Span:
    """Say where a member lies in its archive, as far as the directory tells.

    Its local header may be longer by a name and extra fields, which only the header itself says.
    """
    return Span(member.header, member.header + LOCAL_HEADER + member.packed)


async def _parsed(reader: BlobReader, tail: bytes) -> Directory:
    parser = ZipDirectory(reader.size)
    if tail:
        parser.feed(Span(reader.size - len(tail), reader.size), tail)
    while (need := parser.need()) is not None:
        parser.feed(need, bytes(await reader.read(need)))
    return parser.result


class Stored:
    """An open stored member: a stretch of the archive."""

    def __init__(self, archive: BlobReader, member: Member, offset: int) -> None:
        self._archive, self._member, self._offset = archive, member, offset

    @property
    def size(self) -> int:
        """Exact length in bytes."""
        return self._member.size

    @property
    def version(self) -> int:
        """The archive's version."""
        return self._archive.version

    @property
    def archive(self) -> BlobReader:
        """The archive, open."""
        return self._archive

    @property
    def stretch(self) -> Span:
        """Which part of the archive is read for it, its local header included."""
        return Span(self._member.header, self._offset + self._member.packed)

    async def read(self, span: Span) -> bytes | memoryview:
        """Give exactly the bytes of `span`, clipped to the member."""
        stop = min(span.stop, self._member.size)
        if span.start >= stop:
            return b""
        return await self._archive.read(Span(self._offset + span.start, self._offset + stop))

    def here(self, span: Span) -> bytes | memoryview | None:
        """Give the same if it is here."""
        stop = min(span.stop, self._member.size)
        if span.start >= stop:
            return b""
        return self._archive.here(Span(self._offset + span.start, self._offset + stop))

    def close(self) -> None:
        """End this use."""
        self._archive.close()
