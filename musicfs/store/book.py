"""A map as a file: begun, read once, appended to, and made anew if somebody removes it.

How it thinks: `maps` knows what the bytes mean and `disk` how to move them; a `Book` is the one map of
one object, in memory and on disk. A record is first appended and then believed, so memory never claims
more than the disk holds. Whatever lies behind the good prefix (a record that a crash cut off) is cut away
by the next append.

What must always be true: the file is named `.pass` until the pass is sealed, then `.map`.
It refuses to look at the data file.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from musicfs.store import disk, maps
from musicfs.store.maps import Header, Kind, Map, Record


class Book:
    """The map of the object whose files are named `stem`."""

    def __init__(self, stem: Path) -> None:
        self._stem = stem
        self._known: Map | None = None
        self.passing = False
        """Whether a pass is running: nothing of it would outlive a restart."""
        self.taken = 0
        """Bytes on disk."""

    @property
    def path(self) -> Path:
        """Where it is now."""
        return self._stem.with_suffix(".pass" if self.passing else ".map")

    @property
    def known(self) -> Map:
        """What it says."""
        assert self._known is not None, "the store gives out no entry before its map is read"
        return self._known

    @property
    def read(self) -> bool:
        """Whether it was begun or loaded."""
        return self._known is not None

    def begin(self, header: Header) -> None:
        """Start an empty map. Raises StoreFull, StoreError."""
        raw, self._known = maps.begin(header)
        self.passing = header.kind is Kind.WHOLE
        self.taken = disk.save(self.path, raw)

    def load(self) -> bool:
        """Read the file if it was not read yet; False if there is nothing in it to believe."""
        if self._known is None:
            try:
                found = maps.decode(disk.load(self.path) or b"")
            except maps.BadMap:
                return False
            if maps.digest_of(found.header.key, found.header.version) != self._stem.name:
                return False
            if found.header.kind is Kind.WHOLE and not found.complete:  # It cannot be mended in part.
                return False
            self._known, self.taken = found, disk.size_of(self.path)
        return True

    def note(self, *records: Record) -> None:
        """Append records, then believe them. Raises StoreFull, StoreError, and then believes none."""
        known = self.known
        raw = b"".join(maps.encode(each, known.seed, known.records + at) for at, each in enumerate(records))
        taken = disk.append(self.path, raw, known.good)
        for record in records:
            known.apply(record)
        known.good += len(raw)
        known.records += len(records)
        self.taken = self._rewrite() if taken is None else taken

    def seal(self, sealed: maps.Sealed) -> None:
        """Record the end of the pass; from here on a restart keeps it."""
        self.note(sealed)
        disk.rename(self.path, self._stem.with_suffix(".map"))
        self.passing = False

    def mend(self) -> bool:
        """Write the file anew if it does not say what memory knows; True if it had to be."""
        try:
            found: Map | None = maps.decode(disk.load(self.path) or b"")
        except maps.BadMap:
            found = None
        known = self.known
        if found is not None and (found.header, found.blocks, found.sealed) == (
            known.header,
            known.blocks,
            known.sealed,
        ):
            return False
        self.taken = self._rewrite()
        return True

    def _rewrite(self) -> int:
        """Write the file anew from memory, because somebody removed it under us."""
        known = self.known
        raw, fresh = maps.begin(known.header)
        records: list[Record] = [maps.Block(block, crc) for block, crc in known.blocks.items()]
        for record in [*records, *([known.sealed] if known.sealed else [])]:
            raw += maps.encode(record, fresh.seed, fresh.records)
            fresh.apply(record)
            fresh.records += 1
        fresh.good = len(raw)
        self._known = fresh
        return disk.save(self.path, raw)


class Described:
    """What an object says of itself, out of its book."""

    def __init__(self, book: Book) -> None:
        self._book = book

    @property
    def key(self) -> str:
        """The object's key, printable."""
        return self._book.known.header.key

    @property
    def version(self) -> int:
        """The version of the object whose bytes these are."""
        return self._book.known.header.version

    @property
    def kind(self) -> Kind:
        """How its bytes come."""
        return self._book.known.header.kind

    @property
    def size(self) -> int | None:
        """Bytes of the object; None = not known until the pass is sealed."""
        return self._book.known.size

    @property
    def validator(self) -> str:
        """What the service identified these bytes by; of a sealed pass, their SHA-256 in hex."""
        sealed = self._book.known.sealed
        return sealed.sha256.hex() if sealed else self._book.known.header.validator

    @property
    def origin(self) -> str:
        """What identified the bytes when they were begun, also after a seal; empty if nothing did."""
        return self._book.known.header.validator

    @property
    def sealed(self) -> bool:
        """Whether a pass came to its end."""
        return self._book.known.sealed is not None

    @property
    def have(self) -> Set[int]:
        """The blocks that are here: a live view; copy it to walk through it."""
        return self._book.known.blocks.keys()
