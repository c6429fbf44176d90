"""A number for every thing, and the numbers that the kernel still holds.

How it thinks: a number is a digest of what a thing *is* (its key and version, or a folder's path), so it
is the same after a restart, and rsync, backup programs and open file managers agree with themselves. 63
bits, because some readers keep inode numbers in signed integers; with a million files the chance of a
clash is about one in twenty million, and a clash is a loud error, never a wrong song.

The register counts the kernel's lookups as the kernel does: each answered lookup adds one, and FORGET
takes some away. A thing stays while the count is above zero.

What must always be true: a number is never 0 (no inode) or 1 (the root); a count is never negative; one
number means one thing at a time.

What it refuses: to know what a key means.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Generic, TypeVar

T = TypeVar("T")

ROOT = 1
"""The number of the mount's top folder, set by the FUSE protocol (FUSE_ROOT_ID)."""

_MASK = (1 << 63) - 1


def inode_of(*parts: str) -> int:
    """Give the number of the thing that `parts` name; ValueError if a part holds a NUL, the separator."""
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    # Names that came from the kernel may hold lone surrogates (undecodable bytes); they still get a number.
    if joined.count(0) != len(parts) - 1:
        raise ValueError("a part of an identity holds a NUL")
    number = int.from_bytes(blake2b(joined, digest_size=8).digest(), "big") & _MASK
    return number if number > ROOT else number + ROOT + 1


class Register(Generic[T]):
    """The numbers that the kernel holds, what each one means, and how often it was given out."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[int, tuple[T, int]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"<Register {len(self._held)} held>"

    def remember(self, inode: int, thing: T, times: int = 1) -> None:
        """Note that the kernel was given `inode` for `thing`; RuntimeError if it means another thing."""
        known = self._held.get(inode)
        if known is None:
            self._held[inode] = (thing, times)
            return
        if known[0] is not thing and known[0] != thing:
            raise RuntimeError(f"inode {inode} stands for two things")
        self._held[inode] = (known[0], times + known[1])

    def forget(self, inode: int, times: int = 1) -> bool:
        """Take back what the kernel forgot; True if the number went with it."""
        known = self._held.get(inode)
        if known is None:
            return False
        thing, count = known
        if count > times:
            self._held[inode] = (thing, count - times)
            return False
        del self._held[inode]
        return True

    def get(self, inode: int) -> T | None:
        """Say what a number stands for; None if the kernel does not hold it."""
        known = self._held.get(inode)
        return known[0] if known is not None else None
