"""How much room the cache may take, and who gives way when there is none.

How it thinks: every object is a `Tenant`, ordered by last use. Before bytes are written their room is
*reserved*: if the limit or the space to be kept free on the disk would be broken, the least recently used
give way. First whole objects that nobody holds; then, one block at a time, ranged objects that are held.
What the object really takes on disk is told afterwards (`resize`), so the count follows st_blocks and not
a guess.

What must always be true: pinned objects and held whole-pass objects never give way; what takes part in
`pinned` is never more than half the limit; nobody is made to give way if that could not make room enough.
It refuses to open a file: tenants do that themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from musicfs.errors import StoreError, StoreFull
from musicfs.store import disk

SLACK = 16 * 1024
"""Bytes a write may take beyond its data: a page of the map and the file system's own extent pages."""
PAGE = 4096
"""Bytes; what a file system allocates at a time, or a multiple of what it does."""
FILES = 4
"""Files that must be left on the disk before an object is begun: its data, map and pin, and their folder."""
ASK_AFTER = 64 * 1024 * 1024
"""Bytes written until the disk is asked again how much it has left."""
ASK_EVERY = 1.0
"""Seconds until it is asked again, because others write too. The question takes 1.4 µs here, but a network
file system may answer slowly."""
STAMP_EVERY = 60.0
"""Seconds between two stamps of an object's last use on disk."""
ILL = 5.0
"""Seconds for which an object that the disk did not give back is not written to: what it took would not come
back either, and be fetched for ever. Then one block tries whether it is well again."""


class Tenant(Protocol):
    """An object, as far as room goes. `Room` alone changes these fields."""

    digest: str
    """What its files are called."""
    allocated: int
    """Bytes on disk, data and map."""
    promised: int
    """Bytes kept for it beyond those."""
    stamped: float
    """When its use was last written down, seconds since the epoch."""
    ill: float
    """When the disk last failed to give its bytes back, seconds since the epoch."""
    pinned: bool
    holds: int

    @property
    def sheds(self) -> bool:
        """Whether it can give way in part."""
        ...

    def evict(self) -> None:
        """Give way whole: remove the files, then `leave`."""
        ...

    def shed(self) -> bool:
        """Give one block's room back; False when there is none to give."""
        ...


T = TypeVar("T", bound=Tenant)


class Room(Generic[T]):
    """The ledger of all tenants. `clock` gives seconds since the epoch."""

    def __init__(self, folder: Path, limit: int, keep_free: int, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.used = 0
        self.pinned = 0
        self.promised = 0
        self.evicted = 0
        """Bytes that gave way since the start."""
        self.damaged = 0
        """Blocks found bad since the start."""
        self.holes = True
        """Whether the file system can give back a part of a file; learnt when it cannot."""
        self.clock = clock
        self._folder = folder
        self.keep_free = keep_free
        self._order: OrderedDict[str, T] = OrderedDict()
        self._held: dict[str, T] = {}
        self._free = 0
        self._written = ASK_AFTER
        self._asked = 0.0

    def __len__(self) -> int:
        return len(self._order)

    @property
    def held(self) -> int:
        """How many tenants are in use."""
        return len(self._held)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._order.values()))

    def find(self, digest: str) -> T | None:
        """Give the tenant of that name."""
        return self._order.get(digest)

    def admit(self, tenant: T) -> None:
        """Count a tenant in, as the most recently used."""
        self._order[tenant.digest] = tenant
        self.used += tenant.allocated
        self.pinned += tenant.allocated if tenant.pinned else 0

    def leave(self, tenant: T) -> None:
        """Count a tenant out; its files are gone."""
        self.resize(tenant, 0)
        self.promise(tenant, 0)
        self._order.pop(tenant.digest, None)
        self._held.pop(tenant.digest, None)

    def touch(self, tenant: T) -> bool:
        """Note a use; True when it is time to stamp it on disk as well."""
        self._order.move_to_end(tenant.digest)
        now = self.clock()
        if abs(now - tenant.stamped) < STAMP_EVERY:  # A clock that was set back stamps anew.
            return False
        tenant.stamped = now
        return True

    def hold(self, tenant: T) -> None:
        """Note that it is in use."""
        tenant.holds += 1
        if self.find(tenant.digest) is tenant:  # Else it is gone, and another may have its name by now.
            self._held[tenant.digest] = tenant

    def release(self, tenant: T) -> None:
        """Take one `hold` back."""
        assert tenant.holds > 0, "released more often than held"
        tenant.holds -= 1
        if not tenant.holds and self._held.get(tenant.digest) is tenant:
            del self._held[tenant.digest]

    def may_pin(self, tenant: T, size: int) -> None:
        """Raise StoreFull if an object of `size` bytes on disk may not be pinned as well."""
        others = self.pinned - (tenant.allocated if tenant.pinned else 0)
        if others + size > self.limit // 2:
            raise StoreFull("pinned songs may take up half of the cache; raise its size or unpin some")

    def pin(self, tenant: T, pinned: bool) -> None:
        """Count it among the pinned, or no longer."""
        if tenant.pinned is not pinned:
            self.pinned += tenant.allocated if pinned else -tenant.allocated
            tenant.pinned = pinned

    def resize(self, tenant: T, allocated: int) -> None:
        """Note what a tenant takes on disk now, in bytes."""
        growth = allocated - tenant.allocated
        tenant.allocated = allocated
        self.used += growth
        self.pinned += growth if tenant.pinned else 0
        self._free -= growth
        if growth > 0:
            self._written += growth
            self._set_promise(tenant, max(0, tenant.promised - growth))

    def promise(self, tenant: T, size: int) -> None:
        """Keep `size` bytes for a tenant's coming writes; 0 takes the promise back. Raises StoreFull."""
        self._set_promise(tenant, 0)
        if size:
            self.reserve(tenant, size)
            self._set_promise(tenant, size)

    def reserve(self, tenant: T, size: int) -> None:
        """See to it that `size` more bytes fit, others giving way. Raises StoreFull, StoreError."""
        if abs(self.clock() - tenant.ill) < ILL:
            raise StoreError("the disk under the cache did not give back what it took")
        if tenant.pinned:
            self.may_pin(tenant, tenant.allocated + size)
        self.make_room(max(0, size - tenant.promised), tenant)

    def make_room(self, size: int, writer: T | None = None) -> None:
        """Make the least recently used give way until `size` bytes more fit. Raises StoreFull."""
        if not self._short(size):
            return
        self._written = ASK_AFTER  # Ask the disk before anybody has to go.
        if not self._short(size):
            return
        if not self._possible(size, writer):
            raise StoreFull("no room: the disk is full, or open and pinned files fill the cache")
        for tenant in [each for each in self if each is not writer and not each.holds and not each.pinned]:
            self._evict(tenant)
            if not self._short(size):
                return
        for tenant in [each for each in self if each is writer or each.holds]:
            while tenant.sheds and not tenant.pinned and self._shed(tenant):
                if not self._short(size):
                    return
        raise StoreFull("no room: open and pinned files fill the cache")

    def make_files(self) -> None:
        """Make the least recently used give way until an object's files can be made, if that helps."""
        while disk.files_left(self._folder) < FILES:
            idle = [each for each in self if not each.holds and not each.pinned]
            if disk.files_left(self._folder) + len(idle) * 2 < FILES:  # each has its data and its map
                return
            self._evict(idle[0])

    def _evict(self, tenant: T) -> None:
        size = tenant.allocated
        tenant.evict()
        self.evicted += size

    def _shed(self, tenant: T) -> bool:
        size = tenant.allocated
        done = tenant.shed()
        self.evicted += max(0, size - tenant.allocated)
        return done

    def _short(self, size: int) -> bool:
        wanted = self.promised + size
        return self.used + wanted > self.limit or self._left() - wanted < self.keep_free

    def _possible(self, size: int, writer: T | None) -> bool:
        stuck = self.pinned
        staying = {**self._held, **({writer.digest: writer} if writer else {})}
        for tenant in staying.values():
            stuck += 0 if tenant.pinned or tenant.sheds else tenant.allocated
        wanted = self.promised + size
        gain = self.used - stuck
        return stuck + wanted <= self.limit and self._left() + gain - wanted >= self.keep_free

    def _left(self) -> int:
        now = self.clock()
        if self._written >= ASK_AFTER or abs(now - self._asked) >= ASK_EVERY:
            self._free, self._written, self._asked = disk.free(self._folder), 0, now
        return self._free

    def _set_promise(self, tenant: T, size: int) -> None:
        self.promised += size - tenant.promised
        tenant.promised = size
