"""The append-only map beside each data file: which blocks are here, and what their bytes must be.

How it thinks: a map is one header and then records, each appended *after* the bytes it speaks of were
written. A header is `magic, length, crc32, msgpack`; a record is `kind, fields, crc32`, its length fixed
by its kind:

    BLOCK    block, crc32 of its bytes      the block is here
    DROPPED  block                          the block is not here any more
    SEALED   size, sha256                   a whole-pass object reached its end

A record's crc32 starts from the header's own crc32 (which a random salt makes the object's alone, this
life's alone) plus the record's place in the row, so neither another map's records nor old ones left
behind by a cut are believed.

What must always be true: `decode` of any bytes at all gives the longest good prefix or `BadMap`, never
another exception and never a record that was not written; a block is never outside its object.
It refuses to touch a file: bytes in, bytes out.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from enum import Enum

import msgspec

from musicfs.core.spans import BLOCK

MAGIC = b"musicfs1"
SALT = 8
"""Bytes of salt: enough that no two lives of an object share one."""

_PREFIX = struct.Struct("<8sII")  # magic, length of the body, crc32 of the body
_BLOCK = struct.Struct("<cII")
_DROPPED = struct.Struct("<cI")
_SEALED = struct.Struct("<cQ32s")
_CHECK = struct.Struct("<I")
_SHAPES = {b"B": _BLOCK, b"D": _DROPPED, b"S": _SEALED}


class Kind(Enum):
    """How an object's bytes come: by ranges in any order, or in one pass from the first to the last."""

    RANGED = "ranged"
    WHOLE = "whole"


class Header(msgspec.Struct, frozen=True):
    """What an object is."""

    key: str
    version: int
    kind: Kind
    size: int | None
    """Bytes; None = not known until the pass is sealed."""
    validator: str
    salt: bytes
    """Random: makes this life of the object unlike any other."""


class Block(msgspec.Struct, frozen=True):
    """The block is here and its bytes have this crc32."""

    block: int
    crc: int


class Dropped(msgspec.Struct, frozen=True):
    """The block is not here any more."""

    block: int


class Sealed(msgspec.Struct, frozen=True):
    """The pass came to its end: the object's size in bytes and the SHA-256 of all of them, 32 bytes."""

    size: int
    sha256: bytes


Record = Block | Dropped | Sealed


class BadMap(Exception):
    """The header cannot be read, so nothing of the object can be believed."""


class Map(msgspec.Struct):
    """All that a map says, folded: the good prefix of it."""

    header: Header
    seed: int
    """Where each record's crc32 starts from."""
    good: int
    """Bytes of the map that are believed; the next record belongs there."""
    records: int = 0
    blocks: dict[int, int] = msgspec.field(default_factory=dict)
    """Block → crc32, longest unused first."""
    sealed: Sealed | None = None

    @property
    def size(self) -> int | None:
        """The object's size in bytes, None = not known yet."""
        return self.sealed.size if self.sealed else self.header.size

    @property
    def complete(self) -> bool:
        """Whether every byte is here, and for a pass, that it came to its end."""
        sealed = self.sealed
        size = self.header.size if sealed is None else sealed.size
        if size is None or (sealed is None and self.header.kind is Kind.WHOLE):
            return False
        return len(self.blocks) == -(-size // BLOCK)

    def apply(self, record: Record) -> bool:
        """Take one record in; False, and nothing changed, if it speaks of what the object cannot have."""
        match record:
            case Block(block, crc):
                if not self._fits(block):
                    return False
                self.blocks.pop(block, None)
                self.blocks[block] = crc
            case Dropped(block):
                self.blocks.pop(block, None)
            case Sealed():
                self.sealed = record
        return True

    def _fits(self, block: int) -> bool:
        if self.header.kind is Kind.WHOLE:  # A pass goes forward: it may redo a block or add the next one.
            return block <= len(self.blocks)
        return self.size is not None and block * BLOCK < self.size


def digest_of(key: str, version: int) -> str:
    """Name an object's files: 40 hexadecimal digits of its key and version."""
    return hashlib.blake2b(f"{key}\0{version}".encode(), digest_size=20).hexdigest()


def begin(header: Header) -> tuple[bytes, Map]:
    """Give the bytes a new map starts with, and the map that they make."""
    body = msgspec.msgpack.encode(header)
    raw = _PREFIX.pack(MAGIC, len(body), zlib.crc32(body)) + body
    return raw, Map(header, zlib.crc32(body), len(raw))


def encode(record: Record, seed: int, place: int) -> bytes:
    """Give a record's bytes for the map that starts with `seed`, as the record number `place` of it."""
    match record:
        case Block(block, crc):
            body = _BLOCK.pack(b"B", block, crc)
        case Dropped(block):
            body = _DROPPED.pack(b"D", block)
        case Sealed(size, sha256):
            body = _SEALED.pack(b"S", size, sha256)
    return body + _CHECK.pack(_check(body, seed, place))


def decode(raw: bytes) -> Map:
    """Read a map's good prefix. Raises BadMap when not even its header can be read."""
    found = _decode_header(raw)
    while record := _decode_record(raw, found):
        if not found.apply(record):
            break
        found.good += _SHAPES[raw[found.good : found.good + 1]].size + _CHECK.size
        found.records += 1
    return found


def _decode_header(raw: bytes) -> Map:
    try:
        magic, length, crc = _PREFIX.unpack_from(raw)
        body = raw[_PREFIX.size : _PREFIX.size + length]
        if magic != MAGIC or len(body) != length or zlib.crc32(body) != crc:
            raise BadMap("the header does not agree with itself")
        return Map(msgspec.msgpack.decode(body, type=Header), crc, _PREFIX.size + length)
    except (struct.error, msgspec.MsgspecError) as failure:
        raise BadMap("the header cannot be read") from failure


def _decode_record(raw: bytes, found: Map) -> Record | None:
    shape = _SHAPES.get(raw[found.good : found.good + 1])
    if shape is None or len(raw) < found.good + shape.size + _CHECK.size:
        return None
    body = raw[found.good : found.good + shape.size]
    (check,) = _CHECK.unpack_from(raw, found.good + shape.size)
    if check != _check(body, found.seed, found.records):
        return None
    kind, *fields = shape.unpack(body)
    makers: dict[bytes, type[Block] | type[Dropped] | type[Sealed]] = {
        b"B": Block,
        b"D": Dropped,
        b"S": Sealed,
    }
    return makers[kind](*fields)


def _check(body: bytes, seed: int, place: int) -> int:
    return zlib.crc32(body, (seed + place) & 0xFFFFFFFF)
