"""The open files, by the numbers that the kernel knows them by.

What must always be true: a number is given out once and is good until it is let go of, once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from musicfs.content import Opened
from musicfs.core.tree import File, Node, Written
from musicfs.errors import UnknownHandle


@dataclass(slots=True)
class Handle:
    """An open file."""

    file: File | Written
    opened: Opened
    program: str
    """The basename of who opened it, or `?`."""
    took: float
    """Seconds that `open` took; then, until the first byte, those that were waited for."""
    here: bool
    """Whether all of it was in the cache when it was opened."""
    untouched: bool = True


class Handles:
    """All of them."""

    def __init__(self) -> None:
        self._held: dict[int, Handle] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, handle: Handle) -> int:
        """Give an open file its number."""
        number, self._next = self._next, self._next + 1
        self._held[number] = handle
        return number

    def find(self, number: int) -> Handle:
        """Give the open file of that number.

        Raises:
            UnknownHandle: there is none.
        """
        found = self._held.get(number)
        if found is None:
            raise UnknownHandle("no such handle")
        return found

    def close(self, number: int) -> None:
        """Close it.

        Raises:
            UnknownHandle: there is none.
        """
        self.find(number).opened.close()
        del self._held[number]

    def of(self, node: Node) -> Opened | None:
        """Give an open file of this very version."""
        return next((one.opened for one in self._held.values() if one.file == node), None)

    @property
    def numbers(self) -> list[int]:
        """The numbers given out and not let go of."""
        return list(self._held)

    @property
    def all(self) -> Collection[Handle]:
        """Every open file."""
        return self._held.values()
