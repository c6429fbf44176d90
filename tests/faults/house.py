"""The whole house but the kernel, run by a caller who is not a coroutine, on a clock that waits for nobody.

How it thinks: a Hypothesis machine, or a loop over n, calls plain functions. So trio runs as a guest: its
loop turns only inside `Loop.run`, until that one piece of work is done, and stands still between two calls
with whatever was under way. Time is virtual: it jumps when everybody waits. Under it lie real files, the
real store and a real SQLite database; above them the embedded service is the network. A `kill` is what
SIGKILL leaves: the folders as they are at that moment, copied away before any task can tidy up.

What must always be true: the same calls do the same, because no thread and no real clock takes part.
"""

from __future__ import annotations

import queue
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import trio
import trio.testing

from musicfs import providers
from musicfs.catalog import Catalog
from musicfs.content import Content
from musicfs.content.archive import Archives
from musicfs.content.links import Links
from musicfs.core.inodes import ROOT
from musicfs.demo import Service
from musicfs.errors import Changed, StoreError, TooSlow
from musicfs.filesystem import Attributes, Filesystem
from musicfs.ledger import Ledger
from musicfs.model import Key
from musicfs.state import State
from musicfs.store import Store
from musicfs.wire import Doors, Wire
from musicfs.wire.embedded import Embedded
from tests.world import NOW, Programs, Shelf

T = TypeVar("T")
DAY = 86_400.0  # seconds
DEADLINE = 30.0  # seconds a kernel request may take, as in a real mount
_HUNG = 60.0  # real seconds without one turn of the loop: something waits for a thread that never answers

RESTS = 60.0  # seconds after which nothing that nobody reads is held any more
_TURNS = 100_000  # turns of the loop that no question needs; the longest takes some thousands


@contextmanager
def walled() -> Iterator[None]:
    """Bound a question in time, as the wall does."""
    try:
        with trio.fail_after(DEADLINE):
            yield
    except trio.TooSlowError as late:
        raise TooSlow("no answer within the deadline") from late


class Loop:
    """A trio loop that turns only while somebody waits for it."""

    def __init__(self) -> None:
        self._turns: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._send, receive = trio.open_memory_channel[Callable[[], Awaitable[None]]](100)
        self._over = False
        self.clock = trio.testing.MockClock(autojump_threshold=0)
        self.nursery: trio.Nursery
        trio.lowlevel.start_guest_run(
            self._main,
            receive,
            run_sync_soon_threadsafe=self._turns.put,
            done_callback=self._ended,
            clock=self.clock,
            host_uses_signal_set_wakeup_fd=True,
        )

    async def _main(self, work: trio.MemoryReceiveChannel[Callable[[], Awaitable[None]]]) -> None:
        async with work:
            async for one in work:
                await one()

    def _ended(self, outcome: Any) -> None:
        self._over = True
        outcome.unwrap()

    def run(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Turn until `work` is done and give what it gave; what it raised is raised here."""
        given: list[T] = []
        raised: list[BaseException] = []
        done = False

        async def one() -> None:
            nonlocal done
            try:
                given.append(await work(*args))
            except Exception as failure:
                raised.append(failure)
            done = True

        self._send.send_nowait(one)
        for _ in range(_TURNS):
            if done or self._over:
                break
            self._turns.get(timeout=_HUNG)()
        else:
            raise AssertionError("the house goes round in circles")
        if raised:
            raise raised[0]
        return given[0]

    def close(self) -> None:
        """End the loop."""
        self._send.close()
        while not self._over:
            self._turns.get(timeout=_HUNG)()


class InlineState(State):
    """The state database without its thread: the virtual clock would not wait for one."""

    async def _write(self, work: Callable[[Any], T]) -> T:
        await trio.lowlevel.checkpoint()
        return self._transact(work)


class House:
    """The rooms of one life after the other, on the same folders."""

    def __init__(self, loop: Loop, service: Service, folder: Path, limit: int = 64 * 2**20) -> None:
        self.loop, self.service, self.limit = loop, service, limit
        self.skew = 0.0
        """Seconds that the machine's clock is off."""
        self.network: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] = lambda network: network
        """What lies between the house and the service, if anything."""
        self.clock: Callable[[float], float] = lambda now: now
        """What the machine makes of the time, if anything."""
        self.opened: Callable[[], None] = lambda: None
        """Called once the state is open."""
        self.programs = Programs()
        self._top, self._lives = folder, 0
        self.folder = folder / "0"
        self.folder.mkdir(parents=True)
        self._ending: trio.Event

    def wall(self) -> float:
        """Give the machine's idea of the time, in seconds since the epoch."""
        return self.clock(NOW + self.loop.clock.current_time() + self.skew)

    # Lives ---------------------------------------------------------------------------------------------

    def start(self) -> House:
        """Open the house."""
        random.seed(0)  # the jitter of retries
        self.store = Store(self.folder / "cache", self.limit, 0, clock=self.wall)
        self.state = InlineState(self.folder / "state")
        self.store.open()
        self.state.open()
        self.opened()
        self.loop.run(self._begin)
        return self

    async def _begin(self) -> None:
        ready, self._ended = trio.Event(), trio.Event()
        trio.lowlevel.spawn_system_task(self._live, ready)
        await ready.wait()

    async def _live(self, ready: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self._furnish(nursery)
            nursery.start_soon(self.ledger.write_behind)
            ready.set()
        self._ended.set()

    def _furnish(self, nursery: trio.Nursery) -> None:
        network = self.network(Embedded(self.service))
        self.wire = Wire(Doors(self.service.origins.api, self.service.token, network), DEADLINE, self.wall)
        services = providers.find(self.service.origins.bucket)
        self.ledger = Ledger(self.state, self.wall)
        self.content = Content(
            nursery,
            self.wire,
            Shelf(self.store),
            self.ledger,
            Links(self.wire, services, self.wall),
            made_anew=lambda asset: asset.form in services[asset.song.service].made_anew,
        )
        archives = Archives(nursery, self.content, self.ledger, self.wall)
        self.catalog = Catalog(nursery, self.wire, services, self.state, self.wall, 60.0, 600.0)
        self.files = Filesystem(nursery, self.catalog, self.content, archives, self.programs, DEADLINE, False)

    def stop(self) -> None:
        """End in good order, as `mount` does."""
        self.loop.run(self._finish, True)
        self.state.close()
        self.store.close()

    def kill(self) -> None:
        """Die on the spot: what the next life finds is what lay on the disk at this moment."""
        self._lives += 1
        found = self._top / str(self._lives)
        shutil.copytree(self.folder, found)
        self.discard()
        self.folder = found

    def discard(self) -> None:
        """Take a life apart whose folders nobody looks at any more."""
        self.loop.run(self._finish, False)
        self.state.close()
        self.store.close()
        shutil.rmtree(self.folder)

    async def _finish(self, flush: bool) -> None:
        self.nursery.cancel_scope.cancel()
        self.files.shut()
        await self._ended.wait()
        if flush:
            await self.ledger.flush()

    # Questions -----------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.run(trio.sleep, seconds)

    def rest(self) -> None:
        """Let time pass until what was kept for a reader who might come back is let go of."""
        self.wait(RESTS)

    def settle(self) -> None:
        """Let whatever is under way come to its end."""
        self.loop.run(trio.testing.wait_all_tasks_blocked)

    async def find(self, path: str) -> Attributes:
        """Look a path up, a name at a time, as the kernel does, and as briefly as it would be allowed."""
        with walled():
            found = self.files.relative(ROOT, up=False)
            for name in path.split("/"):
                found = await self.files.lookup(found.inode, name)
            return found

    async def names(self, path: str) -> set[str]:
        """List a folder."""
        inode = (await self.find(path)).inode if path else ROOT
        with walled():
            return {entry.name for entry in await self.files.entries(inode)}

    async def open(self, path: str) -> tuple[int, int]:
        """Open a file as the kernel does, looking up again after ESTALE; give handle and size."""
        with walled():
            for attempt in range(2):
                inode = (await self.find(path)).inode
                try:
                    handle = await self.files.open(inode)
                    break
                except Changed:
                    if attempt:
                        raise
            try:
                return handle, (await self.files.getattr(inode)).size
            except BaseException:
                self.files.close(handle)
                raise

    async def read(self, handle: int, offset: int, length: int) -> bytes:
        """Read."""
        with walled():
            return bytes(await self.files.read(handle, offset, length))

    async def whole(self, path: str) -> bytes:
        """Open, read to the end in the kernel's pieces, close."""
        handle, size = await self.open(path)
        try:
            found = b""
            while len(found) < size and (data := await self.read(handle, len(found), 131_072)):
                found += data
            return found
        finally:
            self.files.close(handle)

    # Gauges --------------------------------------------------------------------------------------------

    def gauges(self) -> dict[str, int]:
        """Count what has to be nothing once nobody reads and nothing is under way."""
        blobs = list(self.content._shelving.blobs.values())
        entries = list(self.store.objects())
        return {
            "open files": self.files.open_files,
            "requests": self.wire.gates.busy(),
            "jobs": sum(len(blob.jobs) for blob in blobs),
            "holders": sum(blob.holders for blob in blobs),
            "holds": sum(entry.holds for entry in entries),
            "promises": sum(entry.promised for entry in entries),
        }

    def cached(self, path: str) -> bool:
        """Tell whether a file of the pure folders is here whole."""
        service, _, rest = path.partition("/")
        key = _key(service, rest)
        found = self.store.find(str(key), self.ledger.known(key).version)
        return found is not None and found.whole

    def evict(self) -> None:
        """Let go of all that nobody holds."""
        try:
            for _ in self.store.prune(float("inf")):
                pass
        except StoreError:
            pass


def _key(service: str, rest: str) -> Key:
    if service == "flowmusic":
        ident, _, form = rest.rpartition(".")
        return Key(service, ident, form)
    ident, _, name = rest.partition("/")
    return Key(service, ident, name.removeprefix("song."))
