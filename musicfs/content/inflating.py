"""A deflated stem, inflated onto its own shelf.

How it thinks: the packed bytes are read from the archive piece by piece, in order, and what they inflate to
goes behind what is there; readers follow at the watermark.

What must always be true: the shelf is sealed only if length and CRC-32 are the directory's, and the last
bytes are not shown before; of a bomb no more than a piece is in memory.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

import trio

from musicfs.content.blob import Blob
from musicfs.content.reader import BlobReader
from musicfs.core.zipdir import Member
from musicfs.errors import BadArchive
from musicfs.model import Span

_PIECE = 262_144  # bytes of packed data inflated at a time: a few milliseconds of the loop


async def unpack(reader: BlobReader, member: Member, offset: int, blob: Blob) -> None:
    """Move a deflated member to the blob's entry, checking length and CRC."""
    entry, progress = blob.entry, blob.jobs[0].progress
    assert entry is not None
    progress.headed = True
    blob.ring()
    inflater, crc, size, digest = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0, hashlib.sha256()
    for start in range(offset, offset + member.packed, _PIECE):
        packed = bytes(await reader.read(Span(start, min(start + _PIECE, offset + member.packed))))
        for data in _inflated(inflater, packed):
            size += len(data)
            if size > member.size:
                raise BadArchive("a member is longer than its directory says")
            crc = zlib.crc32(data, crc)
            if size == member.size and crc != member.crc:
                # Said before the last bytes are shown: whoever read them all would take them for whole.
                raise BadArchive("a member's checksum is not the one its directory promises")
            digest.update(data)
            entry.append(data)
            progress.advance(size)
            await trio.lowlevel.checkpoint()
        if inflater.eof:
            break  # What lies behind the end is nobody's, and zlib would heap it up.
    if size != member.size or crc != member.crc:
        raise BadArchive("a member's bytes are not those its directory promises")
    entry.seal(digest.hexdigest())


def _inflated(inflater: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """Give what a stretch of packed data inflates to, in pieces of at most `_PIECE` bytes."""
    try:
        # To the first empty piece: after a full one, zlib may hold back a thousand bytes of a silence though
        # nothing is left to feed it with.
        while piece := inflater.decompress(packed, _PIECE):
            yield piece
            packed = inflater.unconsumed_tail
    except zlib.error as broken:
        raise BadArchive("a member cannot be inflated") from broken
