"""One fixed day of a mount, lived again for every n, with the n-th call to one of its doors failing.

How it thinks: four doors lead out of the house, and each is trapped where the foreign world begins: the
system calls of the store (data and maps), the statements of the state database, the requests and body
pieces of the network, the readings of the clock. A first life counts the calls; then there is one life for
each of them, in which just that call fails. Whatever fails, the questions asked meanwhile give the right
bytes or an error with a name, and once the trap is gone everything is right, also after a restart.

What must always be true: a life with no call failing gives no error; a trap springs exactly once.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx

from musicfs.demo import Member, Service, archive_of, content, mp3_of, wav_of_size
from musicfs.demo.assets import asset_of
from musicfs.errors import ConfigError, Misbehaved, MusicfsError, TooSlow, Unreachable
from tests.faults.house import DAY, House, Loop
from tests.faults.model_kernelless import SHM
from tests.figures import FAULTS
from tests.world import NOW

LIMIT = 64 * 2**20  # bytes of cache: more than everything


class Trap:
    """Counts calls, and springs at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.calls = at, 0
        self.armed = True

    def springs(self) -> bool:
        """Count a call; tell whether it is the one that fails."""
        if not self.armed:
            return False
        self.calls += 1
        return self.calls - 1 == self.at


class Door(Protocol):
    """A way out of the house that can be trapped."""

    def __call__(self, trap: Trap, house: House) -> Any:
        """Trap it for as long as the context lasts."""
        ...


# The disk: data files and maps --------------------------------------------------------------------

_CALLS = (
    *("open", "pread", "pwrite", "ftruncate", "truncate", "fstat", "stat", "statvfs", "utime"),
    *("unlink", "replace", "mkdir", "scandir"),
)


def _of_the_store() -> bool:
    """Tell whether the store made the call that is being looked at, itself or through pathlib."""
    frame: Any = sys._getframe(2)
    for _ in range(4):
        if frame is None:
            return False
        name = frame.f_globals.get("__name__", "")
        if name.startswith("musicfs."):
            return bool(name.startswith("musicfs.store"))
        frame = frame.f_back
    return False


def disk(number: int) -> Door:
    """Fail system calls of the store with an errno."""

    @contextmanager
    def trapped(trap: Trap, house: House) -> Iterator[None]:
        real: dict[Any, Callable[..., Any]] = {(os, name): getattr(os, name) for name in _CALLS}
        real[io, "open"] = io.open

        def failing(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any, **more: Any) -> Any:
                if _of_the_store() and trap.springs():
                    raise OSError(number, os.strerror(number))
                return call(*args, **more)

            return called

        for (module, name), call in real.items():
            setattr(module, name, failing(call))
        try:
            yield
        finally:
            for (module, name), call in real.items():
                setattr(module, name, call)

    return trapped


# The state database -------------------------------------------------------------------------------


class _Base:
    """A connection whose statements and commits can fail."""

    def __init__(self, base: sqlite3.Connection, trap: Trap) -> None:
        self._base, self._trap = base, trap

    def _look(self) -> None:
        if self._trap.springs():
            raise sqlite3.OperationalError("disk I/O error")

    def execute(self, *args: Any) -> Any:
        self._look()
        return self._base.execute(*args)

    def executemany(self, *args: Any) -> Any:
        self._look()
        return self._base.executemany(*args)

    def close(self) -> None:
        self._base.close()

    def __enter__(self) -> _Base:
        self._base.__enter__()
        return self

    def __exit__(self, kind: Any, failure: Any, trace: Any) -> Any:
        if kind is None and self._trap.springs():  # the commit
            failure = sqlite3.OperationalError("disk I/O error")
            self._base.__exit__(type(failure), failure, None)
            raise failure
        return self._base.__exit__(kind, failure, trace)


@contextmanager
def index(trap: Trap, house: House) -> Iterator[None]:
    """Fail statements and commits of the state database."""

    def opened() -> None:
        base: Any = house.state._base
        house.state._base = _Base(base, trap)  # type: ignore[assignment]

    house.opened = opened
    opened()
    yield
    house.opened = lambda: None


# The network --------------------------------------------------------------------------------------


class _Network(httpx.AsyncBaseTransport):
    """A network of which one request, or one piece of a body, fails."""

    def __init__(self, inner: httpx.AsyncBaseTransport, trap: Trap, failure: type[MusicfsError]) -> None:
        self._inner, self._trap, self._failure = inner, trap, failure

    def look(self) -> None:
        """Fail if the trap springs."""
        if self._trap.springs():
            raise self._failure("the connection failed")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask."""
        self.look()
        answer = await self._inner.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Body(self, answer))


class _Body(httpx.AsyncByteStream):
    def __init__(self, network: _Network, answer: httpx.Response) -> None:
        self._network, self._answer = network, answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._answer.stream:  # type: ignore[union-attr]
            self._network.look()
            yield data

    async def aclose(self) -> None:
        await self._answer.stream.aclose()  # type: ignore[union-attr]


def wire(failure: type[MusicfsError]) -> Door:
    """Fail requests and pieces of bodies."""

    @contextmanager
    def trapped(trap: Trap, house: House) -> Iterator[None]:
        house.network = lambda inner: _Network(inner, trap, failure)
        yield
        house.network = lambda inner: inner

    return trapped


def clock(seconds: float) -> Door:
    """Have one reading of the wall clock be wrong, and all that follow."""

    @contextmanager
    def trapped(trap: Trap, house: House) -> Iterator[None]:
        def read(now: float) -> float:
            if trap.springs():
                house.skew = seconds
                return now + seconds
            return now

        house.clock = read
        yield
        house.clock = lambda now: now

    return trapped


DOORS: dict[str, Door] = {
    "disk EIO": disk(errno.EIO),
    "disk ENOSPC": disk(errno.ENOSPC),
    "index": index,
    "wire refused": wire(Unreachable),
    "wire silent": wire(TooSlow),
    "wire broken": wire(Misbehaved),
    "clock a day on": clock(DAY),
    "clock a day back": clock(-DAY),
}


# The day ------------------------------------------------------------------------------------------


class Day:
    """The service of the day, the house, and what the bytes have to be."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.loop = loop
        began = loop.clock.current_time()
        self.service = Service(clock=lambda: NOW + loop.clock.current_time() - began)
        clip = self.service.add_clip("ada@example.com", "Clip", 5.0, mp3=mp3_of(5.0, 1))
        self.job = self.service.add_job("100", "Job", 10.0, mp3=mp3_of(2.0, 2), wav=wav_of_size(150_044, 3))
        stems = {"bass.wav": content(wav_of_size(70_000, 4)), "notes.txt": b"la la la " * 9_000}
        self.job.assets["stems"] = archive_of(
            [Member(name, data, deflated=name == "notes.txt") for name, data in stems.items()]
        )
        self.wav = f"tempolor/{self.job.item}/song.wav"
        self.files = {
            f"flowmusic/{clip.uuid}.mp3": content(clip.assets["mp3"]),
            f"tempolor/{self.job.item}/song.mp3": content(self.job.assets["mp3"]),
            self.wav: content(self.job.assets["wav"]),
            **{f"tempolor/{self.job.item}/stems/{name}": data for name, data in stems.items()},
        }
        self.old = self.files[self.wav]
        self.house = House(loop, self.service, folder, LIMIT)
        self.errors: list[str] = []

    def live(self) -> None:
        """Go through the day; what fails by name is noted."""
        for folder in ("flowmusic", "tempolor"):
            self._try(partial(self.loop.run, self.house.names, folder))
        for path in self.files:
            self._try(partial(self._read, path))
        self.house.evict()
        self._try(lambda: self._read(self.wav))
        self.job.assets["wav"] = asset_of(wav_of_size(150_044, 5))
        self.job.modified = 1_790_000_001.0
        self.files[self.wav] = content(self.job.assets["wav"])
        self.house.evict()
        self.house.wait(61.0)
        self._try(lambda: self.loop.run(self.house.names, "tempolor"))
        for path in self.files:
            self._try(partial(self._read, path, or_old=True))

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except MusicfsError as failed:
            self.errors.append(f"{type(failed).__name__}: {failed}")

    def _read(self, path: str, or_old: bool = False) -> None:
        found = self.loop.run(self.house.whole, path)
        right = [self.files[path], *([self.old] if or_old and path == self.wav else [])]
        assert found in right, f"{path}: {len(found)} bytes, and not the right ones"
        FAULTS["bytes verified"] += len(found)

    def check(self, or_old: bool = False) -> None:
        """See that all is right, and nothing under way."""
        for path in self.files:
            for _ in range(3):  # ESTALE once where a version is new, of an archive and of a member
                try:
                    self._read(path, or_old)
                    break
                except MusicfsError as failed:
                    last = failed
            else:
                raise AssertionError(f"{path} does not heal: {last!r}")
        self.house.rest()
        left = {name: count for name, count in self.house.gauges().items() if count}
        assert not left, f"still under way: {left}"


def live(door: Door, at: int | None) -> int:
    """Live the day with call number `at` failing; give how many calls there were."""
    loop, folder = Loop(), Path(tempfile.mkdtemp(prefix="musicfs-nth-", dir=SHM))
    trap, started = Trap(at), False
    try:
        day = Day(loop, folder)
        if door is index:
            started = bool(day.house.start())
        with door(trap, day.house):
            try:
                if not started:
                    started = bool(day.house.start())
            except ConfigError:
                assert at is not None, "the day did not begin"
                return trap.calls  # said at the start in a sentence: nothing was mounted
            day.live()
            assert at is not None or not day.errors, day.errors
            trap.armed = False
            # What could not be let go of was whole, so it would be served as it was for ever, as promised.
            day.house.evict()
            day.house.wait(300.0)
            # What the disk refused was kept in memory, whole, and is served from there until a restart.
            day.check(or_old=True)
            day.house.stop()
        day.house.start()
        day.check()
        FAULTS["calls failed"] += at is not None
        return trap.calls
    finally:
        if started:
            day.house.discard()
        loop.close()
        shutil.rmtree(folder)


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Fail every call of every door once, `amount` times over."""
    total = 0
    for _ in range(amount):
        for name, door in DOORS.items():
            calls = live(door, None)
            for at in range(calls):
                live(door, at)
            total += calls
            tell(f"{name}: {calls} calls failed, one a life")
    return f"{total} calls failed, one a life; {FAULTS['bytes verified']:,} bytes verified"
