"""What is in the cache, what of it is damaged, what may go.

How it thinks: over the store alone, so the same code serves the daemon and a command that has taken the
store's lock itself. Each verb is a generator that stops after every block or object: the daemon gives its
loop back there, a command goes straight on; both may look at the findings at any moment.

What must always be true: nothing is fetched and nothing is touched in the order of use; what is found bad
is dropped, a whole-pass object whole, because it cannot be mended in part; open and pinned objects are
never pruned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from musicfs.core.spans import BLOCK, block_span
from musicfs.errors import StoreError
from musicfs.model import Form
from musicfs.store import Entry, Kind, Store

_KINDS = (Form.STEMS, Form.COVER)
"""Forms of which each song has its own: the members of its archive, its picture's address."""
_NAMED = 100  # damaged objects told by name; more of them are a sick disk, and the count says so


class Held(msgspec.Struct):
    """What the cache holds of one form of one service; sizes in bytes on disk."""

    service: str
    form: str
    objects: int = 0
    whole: int = 0
    used: int = 0
    pinned: int = 0


class Inventory(msgspec.Struct):
    """What is in the cache, by service and form."""

    held: dict[tuple[str, str], Held] = msgspec.field(default_factory=dict)
    unreadable: int = 0
    """Objects whose map cannot be believed; they go when they are asked for or verified."""

    def steps(self, store: Store) -> Iterator[None]:
        """Look at every object; it stops after each."""
        for entry in store.objects():
            if not _believed(entry):
                self.unreadable += 1
                continue
            service, _, form = entry.key.split(":", 2)
            form = next((kind for kind in _KINDS if form.startswith(kind)), form)
            held = self.held.setdefault((service, form), Held(service, form))
            held.objects += 1
            held.whole += entry.whole
            held.used += entry.allocated
            held.pinned += entry.allocated if entry.pinned else 0
            yield

    def told(self, store: Store) -> dict[str, Any]:
        """Say it as plain values."""
        return {
            **msgspec.structs.asdict(store.snapshot()),
            "unreadable": self.unreadable,
            "forms": [msgspec.structs.asdict(self.held[place]) for place in sorted(self.held)],
        }


class Check(msgspec.Struct):
    """Every block, read and compared with its checksum; counts so far."""

    objects: int = 0
    blocks: int = 0
    size: int = 0
    """Bytes read."""
    of: int = 0
    """Bytes there are, about."""
    bad_objects: int = 0
    bad_blocks: int = 0
    bad_maps: int = 0
    """Maps that said something else than what is known, and were written anew."""
    bad_pinned: int = 0
    damaged: list[str] = msgspec.field(default_factory=list)
    """The first hundred of the bad, by key."""

    @property
    def good(self) -> bool:
        """Whether nothing was found."""
        return not (self.bad_objects or self.bad_maps)

    def steps(self, store: Store) -> Iterator[None]:
        """Check every object; it stops after each block."""
        self.of = store.used
        for entry in store.objects():
            self.objects += 1
            if not _believed(entry):
                self._found("an object whose map cannot be read", entry.pinned)
                entry.evict()
                yield
                continue
            yield from self._blocks(entry)

    def _blocks(self, entry: Entry) -> Iterator[None]:
        bad = 0
        for block in sorted(entry.have):
            if block not in entry.have:  # It gave way meanwhile.
                continue
            self.blocks += 1
            self.size += BLOCK if entry.size is None else block_span(block, entry.size).length
            bad += entry.check(block)
            yield
        if bad:
            self.bad_blocks += bad
            self._found(entry.key, entry.pinned)
            # What came in one pass is whole or nothing; one that is running finds out by itself.
            if entry.kind is Kind.WHOLE and entry.sealed:
                entry.evict()
        self.bad_maps += entry.mend_map()

    def _found(self, what: str, pinned: bool) -> None:
        self.bad_objects += 1
        self.bad_pinned += pinned
        if len(self.damaged) < _NAMED:
            self.damaged.append(what)

    def told(self) -> dict[str, Any]:
        """Say it as plain values."""
        return {**msgspec.structs.asdict(self), "damaged": [*self.damaged], "good": self.good}


class Pruning(msgspec.Struct):
    """What was let go of; bytes on disk."""

    objects: int = 0
    freed: int = 0
    kept: int = 0
    """Objects that stayed: pinned, open or too young."""

    def steps(self, store: Store, before: float) -> Iterator[None]:
        """Let go of what is not pinned, not open and was last used before `before` (epoch seconds)."""
        for size in store.prune(before):
            self.objects += 1
            self.freed += size
            yield
        self.kept = store.snapshot().objects

    def told(self) -> dict[str, Any]:
        """Say it as plain values."""
        return msgspec.structs.asdict(self)


def _believed(entry: Entry) -> bool:
    """Read an object's map, if it can be."""
    try:
        return entry.load()
    except StoreError:
        return False
