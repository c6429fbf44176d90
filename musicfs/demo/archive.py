"""ZIP archives written by hand, so that they can be huge, odd or wrong.

How it thinks: an archive is an asset joined from local headers, members, a central directory and its end.
Sizes follow from the members' names and sizes; only the checksums need the bytes, so headers are made
late and a 160 MB archive of noise costs nothing until someone reads a header.

What must always be true: with nothing overridden, `zipfile` reads it back whole.
It refuses ZIP64 and compression other than deflate; a member may *claim* any method, flag or checksum.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from musicfs.demo.assets import Asset, Joined, Late, Noise, Source, asset_of, content, wav_header

_UTF8_NAMES = 0x800
_CHUNK = 1 << 20  # bytes at a time through the checksum


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; a name in bytes is written raw, without the UTF-8 flag."""

    name: str | bytes
    data: Source
    deflated: bool = False
    flags: int = 0
    """Extra general purpose bits: 1 = claims to be encrypted."""
    method: int | None = None
    """Claim this compression method."""
    crc: int | None = None
    """Claim this checksum."""
    claimed: int | None = None
    """Claim this uncompressed size, in bytes."""
    local_name: bytes | None = None
    """Another name in the local header, which must then disagree with the directory."""


class _Entry:
    """A member with its place in the archive."""

    def __init__(self, member: Member, offset: int) -> None:
        self.member = member
        self.offset = offset
        plain = asset_of(member.data)
        self._plain = plain
        self.stored: Asset = asset_of(_deflate(content(plain))) if member.deflated else plain
        self.name = member.name if isinstance(member.name, bytes) else member.name.encode()
        self.local_name = self.name if member.local_name is None else member.local_name
        self._crc: int | None = member.crc

    @property
    def length(self) -> int:
        """Bytes of local header and data."""
        return 30 + len(self.local_name) + self.stored.size

    def _shared(self) -> bytes:
        """Make the fields that both headers share, from flags to uncompressed size."""
        if self._crc is None:
            self._crc = _checksum(self._plain)
        member = self.member
        utf8 = isinstance(member.name, str) and not member.name.isascii()
        flags = member.flags | (_UTF8_NAMES if utf8 else 0)
        method = member.method if member.method is not None else (8 if member.deflated else 0)
        size = member.claimed if member.claimed is not None else self._plain.size
        # The date is 1 January 2026, midnight, in DOS form.
        return struct.pack("<HHHHIII", flags, method, 0, 0x5C21, self._crc, self.stored.size, size)

    def local(self) -> bytes:
        """Make the local header."""
        return struct.pack("<IH", 0x04034B50, 20) + self._shared() + self._lengths(self.local_name)

    def central(self) -> bytes:
        """Make the directory's entry."""
        tail = struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, self.offset)
        names = struct.pack("<HH", len(self.name), 0)
        # "Made by" Unix, version 2.0, so that the mode above counts.
        return struct.pack("<IHH", 0x02014B50, 0x0314, 20) + self._shared() + names + tail + self.name

    @staticmethod
    def _lengths(name: bytes) -> bytes:
        return struct.pack("<HH", len(name), 0) + name


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _checksum(asset: Asset) -> int:
    crc = 0
    for start in range(0, asset.size, _CHUNK):
        crc = zlib.crc32(asset.read(start, start + _CHUNK), crc)
    return crc


def _place(members: Iterable[Member]) -> Iterator[_Entry]:
    offset = 0
    for member in members:
        entry = _Entry(member, offset)
        offset += entry.length
        yield entry


def archive_of(members: Iterable[Member] | Mapping[str, Source], comment: bytes = b"") -> Asset:
    """Lay out an archive as an asset; nothing but deflated members is held in memory."""
    if isinstance(members, Mapping):
        members = [Member(name, data) for name, data in members.items()]
    entries = list(_place(members))
    parts: list[Source] = []
    for entry in entries:
        parts += (Late(30 + len(entry.local_name), entry.local), entry.stored)
    start = sum(entry.length for entry in entries)
    length = sum(46 + len(entry.name) for entry in entries)
    directory = Late(length, partial(_directory, entries))
    count = len(entries)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, length, start, len(comment)) + comment
    return Joined(*parts, directory, end)


def _directory(entries: list[_Entry]) -> bytes:
    return b"".join(entry.central() for entry in entries)


def zip_of(members: Iterable[Member] | Mapping[str, Source], comment: bytes = b"") -> bytes:
    """Make an archive as bytes."""
    return content(archive_of(members, comment))


def big_zip(size: int = 160_000_000, count: int = 4, seed: int | str = 0) -> Asset:
    """Lay out an archive of `count` stored WAV members of noise, about `size` bytes in all."""
    share = size // count // 4 * 4
    names = ("vocals", "drums", "bass", "other")
    return archive_of(
        Member(
            f"{names[index] if index < 4 else f'part-{index + 1}'}.wav",
            Joined(wav_header(share), Noise(share, f"{seed}/{index}")),
        )
        for index in range(count)
    )
