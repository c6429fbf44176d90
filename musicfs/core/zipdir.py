"""Where the members lie inside an archive that is not downloaded.

How it thinks: a ZIP is read from its end. `ZipDirectory` says which bytes it needs, is fed with them, and
after at most four such rounds has the central directory: names, sizes and checksums of all members (the
local headers may leave those to a data descriptor, so they are not asked). It reads the format and no
more; which of the entries may be shown is for `members` to choose.

What must always be true: garbage is `BadArchive` and nothing else; no need lies outside the file; the
directory is at most 16 MiB and 4096 entries of it are looked at.

What it refuses: to fetch, to inflate, and archives split over several disks.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator

import msgspec

from musicfs.core.members import LOCAL_HEADER, Choice, Directory, Entry, Member, Method
from musicfs.errors import BadArchive
from musicfs.model import Span

__all__ = ["LOCAL_HEADER", "Directory", "Member", "Method", "ZipDirectory", "local_header"]

TAIL = 64 * 1024
"""Bytes of the first need: nearly every directory fits, and it is one block of the cache."""

_REACH = 4096
"""Bytes more when the end record is not in the tail, or begins it: a 65535-byte comment and zip64 records."""

_DIRECTORY = 16 * 1024 * 1024
"""Bytes of the largest directory that is read; one of 256 members is about 30 KB."""

_LOOKED_AT = 4096
"""Entries that are looked at: far beyond any stems archive, and some 20 ms of work."""

# PKWARE APPNOTE 6.3: 4.3.16 end record, 4.3.15 zip64 locator, 4.3.14 zip64 end record, 4.3.12 directory
# entry, 4.3.7 local header.
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_END_MARK, _LOCATOR_MARK, _END64_MARK = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_ENTRY_MARK, _LOCAL_MARK = b"PK\x01\x02", b"PK\x03\x04"
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


class _End(msgspec.Struct, frozen=True):
    """What the end records say: where the directory lies, and how far the offsets in it are shifted."""

    start: int
    length: int
    shift: int
    count: int


class ZipDirectory:
    """A reading of one archive of `size` bytes: `feed` what it `need`s, then take its `result`."""

    __slots__ = ("_got", "_parser", "_result", "_want")

    def __init__(self, size: int) -> None:
        self._parser = _parse(size)
        self._got = bytearray()
        self._result: Directory | None = None
        self._want: Span | None = None
        self._advance(None)

    def need(self) -> Span | None:
        """Say which bytes come next; None when the directory is complete (or cannot be)."""
        if self._want is None:
            return None
        return Span(self._want.start + len(self._got), self._want.stop)

    def feed(self, span: Span, data: bytes) -> None:
        """Take the bytes of `span`, which must hold the first byte needed; raise BadArchive if they lie."""
        need = self.need()
        if need is None:
            return
        if not span.start <= need.start < span.start + len(data):
            # Passing over it would let a caller whose source has run dry ask for ever.
            raise BadArchive("not the bytes that were needed")
        skip = need.start - span.start
        self._got += data[skip : skip + need.length]
        if self._want is not None and len(self._got) == self._want.length:
            got = bytes(self._got)
            self._got.clear()
            self._advance(got)

    @property
    def result(self) -> Directory:
        """The directory; BadArchive if the archive has none, or not all that was needed was fed."""
        if self._result is None:
            raise BadArchive("the archive's directory is not complete")
        return self._result

    def _advance(self, data: bytes | None) -> None:
        """Let the parser run to its next need or its end."""
        self._want = None
        try:
            self._want = next(self._parser) if data is None else self._parser.send(data)
        except StopIteration as done:
            self._result = done.value


def local_header(head: bytes, member: Member, size: int) -> int:
    """Give the offset in the archive (of `size` bytes) where a member's packed data begins.

    `head` is the beginning of its local header, `LOCAL_HEADER` bytes or more. Raise BadArchive if that is no
    header, is packed in another way than the directory says, or lets the data pass the archive's end.
    """
    if len(head) < LOCAL_HEADER:
        raise BadArchive("a member's header is cut")
    mark, _, _, method, _, _, _, _, _, name, extra = _LOCAL.unpack_from(head)
    if mark != _LOCAL_MARK:
        raise BadArchive("no member where the directory says one is")
    if method != member.method:
        raise BadArchive("a member's header and the directory disagree")
    start: int = member.header + LOCAL_HEADER + name + extra
    if start + member.packed > size:
        raise BadArchive("a member passes the archive's end")
    return start


def _parse(size: int) -> Generator[Span, bytes, Directory]:
    """Read an archive from its end: yield what is needed, be sent it, return the directory."""
    if size < _END.size:
        raise BadArchive("too short for an archive")
    start = max(0, size - TAIL)
    tail = yield Span(start, size)
    place = _find_end(tail)
    if start and place < _LOCATOR.size + _END64.size:
        before = max(0, start - _REACH)
        tail = (yield Span(before, start)) + tail
        start, place = before, _find_end(tail)
    if place < 0:
        raise BadArchive("no end record: not a ZIP, or cut")
    end = yield from _read_end(tail, start, place)
    if end.start >= start:
        raw = tail[end.start - start :][: end.length]
    elif end.length:
        raw = yield Span(end.start, end.start + end.length)
    else:
        raw = b""
    return _choose(raw, end)


def _find_end(tail: bytes) -> int:
    """Find the end record, -1 if there is none: the last mark whose comment fits what follows it."""
    place = tail.rfind(_END_MARK)
    while place >= 0:
        if place + _END.size <= len(tail):
            comment = int.from_bytes(tail[place + 20 : place + 22], "little")
            if place + _END.size + comment == len(tail):
                return place
        place = tail.rfind(_END_MARK, 0, place)
    return -1


def _read_end(tail: bytes, start: int, place: int) -> Generator[Span, bytes, _End]:
    """Read the end records; `tail` begins at offset `start` of the archive, the record at `place` in it."""
    _, disk, first, here, count, length, offset, _ = _END.unpack_from(tail, place)
    stop = start + place
    full = _FULL16 in (disk, first, here, count) or _FULL32 in (length, offset)
    locator = place - _LOCATOR.size
    if full and locator >= 0 and tail.startswith(_LOCATOR_MARK, locator):
        stop, record = yield from _read_end64(tail, start, locator)
        disk, first, here, count, length, offset = _END64.unpack(record)[4:]
    if disk or first or here != count:
        raise BadArchive("the archive is spread over several disks")
    if length > _DIRECTORY:
        raise BadArchive("the directory is too large")
    # The directory ends where the end record begins. If it was meant to begin earlier in the file than it
    # does, something was put before the archive, and every offset in it is shifted by as much.
    begin = stop - length
    if offset > begin:
        raise BadArchive("the directory lies outside the archive")
    return _End(begin, length, begin - offset, count)


def _read_end64(tail: bytes, start: int, locator: int) -> Generator[Span, bytes, tuple[int, bytes]]:
    """Read the zip64 end record and say where it lies: right before its locator, else where that points."""
    near = locator - _END64.size
    if near >= 0 and tail.startswith(_END64_MARK, near):
        return start + near, tail[near:locator]
    where: int = _LOCATOR.unpack_from(tail, locator)[2]
    if where + _END64.size > start + locator:
        raise BadArchive("the zip64 end record lies outside the archive")
    if where >= start:
        record = tail[where - start :][: _END64.size]
    else:
        record = yield Span(where, where + _END64.size)
    if not record.startswith(_END64_MARK):
        raise BadArchive("no zip64 end record where one should be")
    return where, record


def _entries(raw: bytes, end: _End) -> Iterator[Entry]:
    """Walk through the directory's entries, at most as many as are looked at."""
    place = seen = 0
    while place < len(raw) and seen < _LOOKED_AT:
        if not raw.startswith(_ENTRY_MARK, place) or place + _ENTRY.size > len(raw):
            raise BadArchive("the directory is damaged")
        fields = _ENTRY.unpack_from(raw, place)
        _, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, _, _, _, header = fields
        name = place + _ENTRY.size
        place = name + named + extra + comment
        if place > len(raw):
            raise BadArchive("the directory is cut")
        wide = _widened([size, packed, header], raw[place - comment - extra : place - comment])
        size, packed, header = wide or (size, packed, header)
        raw_name = raw[name : name + named]
        yield Entry(raw_name, flags, method, crc, packed, size, header + end.shift, wide is None)
        seen += 1
    # Some writers let the 16-bit count wrap, so only its low half is a check.
    if place >= len(raw) and (seen ^ end.count) & _FULL16:
        raise BadArchive("the directory and its count disagree")


def _widened(values: list[int], extra: bytes) -> list[int] | None:
    """Put the zip64 values in place of those that are all ones; None if they are not there."""
    if _FULL32 not in values:
        return values
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            body = extra[place + 4 : place + 4 + length]
            narrow = [index for index, value in enumerate(values) if value == _FULL32]
            if len(body) < 8 * len(narrow):
                return None
            for index, wide in zip(narrow, struct.iter_unpack("<Q", body[: 8 * len(narrow)]), strict=True):
                values[index] = wide[0]
            return values
        place += 4 + length
    return None


def _choose(raw: bytes, end: _End) -> Directory:
    """Sort the entries into members and what is left out."""
    choice = Choice(end.start)
    seen = 0
    for entry in _entries(raw, end):
        seen += 1
        if not entry.name.endswith(b"/"):  # a folder's own entry; folders follow from the names in them
            choice.weigh(entry)
    return choice.made(max(0, end.count - seen) if seen == _LOOKED_AT else 0)
