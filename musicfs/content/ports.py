"""What the content room needs of the others, and gives them: plain values and Protocols.

How it thinks: the side that needs something declares it (rclone's `downloaders.Item`), and `mount` plugs
in who has it: the wire, the shelf, the ledger. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

import msgspec

from musicfs.model import Key, Known, Span


class Facts(msgspec.Struct, frozen=True, gc=False):
    """A file as `getattr` shows it."""

    size: int
    exact: bool
    version: int
    one_pass: bool = False
    """True: nothing short of fetching it whole tells its length."""


class Entry(Protocol):
    """What is needed of an object on the shelf."""

    @property
    def size(self) -> int | None:
        """Length in bytes of the object, None = a pass that has not ended."""
        ...

    @property
    def origin(self) -> str:
        """The validator of the bytes when they were begun; empty if there was none."""
        ...

    @property
    def validator(self) -> str:
        """The same, but of a sealed pass the SHA-256 of its bytes, in hex."""
        ...

    @property
    def sealed(self) -> bool:
        """Whether it is a pass that came to its end."""
        ...

    @property
    def have(self) -> Set[int]:
        """Which blocks are here."""
        ...

    @property
    def pinned(self) -> bool:
        """Whether a person wants it kept."""
        ...

    @property
    def gone(self) -> bool:
        """Whether it gave way: nothing of it is here any more."""
        ...

    @property
    def whole(self) -> bool:
        """Whether every byte is here."""
        ...

    @property
    def watermark(self) -> int:
        """Bytes from the start that are readable (of a pass)."""
        ...

    def read(self, span: Span) -> memoryview:
        """Read bytes that are here, checked."""
        ...

    def write(self, block: int, data: memoryview) -> None:
        """Keep whole blocks, from `block` on."""
        ...

    def pin(self) -> None:
        """Keep it whatever happens."""
        ...

    def expect(self, size: int) -> None:
        """Keep room for a pass of `size` bytes."""
        ...

    def append(self, data: bytes) -> None:
        """Keep the next bytes of a pass."""
        ...

    def shed(self) -> bool:
        """Give the first block's room back; False where the disk cannot."""
        ...

    def seal(self, sha256: str) -> None:
        """End a pass: it is whole."""
        ...

    def hold(self) -> None:
        """Keep it from being evicted whole."""
        ...

    def release(self) -> None:
        """End a hold."""
        ...


class Ledger(Protocol):
    """Versions, sizes and validators, kept for ever."""

    notes: int
    """How many notes were taken: while this stays, so does what `known` says."""

    def known(self, key: tuple[str, str, str]) -> Known:
        """Say what is known of a file; `key` is its `Key`, or the like."""
        ...

    def note(self, key: Key, known: Known) -> None:
        """Keep it; written behind."""
        ...

    def missed(self, key: Key) -> None:
        """Take note that a file's bytes answered 404."""
        ...

    def found(self, key: Key) -> None:
        """Take note that it has bytes after all."""
        ...

    def hidden(self, key: Key) -> bool:
        """Say whether it answered 404 so often that it is not listed."""
        ...


class Shelf(Protocol):
    """What is needed of the cache."""

    def find(self, key: str, version: int) -> Entry | None:
        """Find an object."""
        ...

    def create(self, key: str, version: int, one_pass: bool, size: int | None, validator: str) -> Entry:
        """Begin an object."""
        ...

    def drop(self, key: str, version: int) -> None:
        """Let go of an object."""
        ...


class Opened(Protocol):
    """An open file."""

    @property
    def size(self) -> int:
        """Exact length in bytes."""
        ...

    @property
    def version(self) -> int:
        """Which version its bytes are of."""
        ...

    async def read(self, span: Span) -> bytes | memoryview:
        """Give exactly the bytes of `span`, clipped to the file."""
        ...

    def here(self, span: Span) -> bytes | memoryview | None:
        """Give the same if nobody has to be waited for."""
        ...

    def close(self) -> None:
        """End this use."""
        ...
