"""The model's world without a kernel: thousands of lives a minute, on a virtual clock."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio
import trio.testing

from musicfs.demo import Service
from musicfs.errors import MusicfsError, errno_for
from tests.faults.house import House, Loop
from tests.faults.model import Machine, run_long
from tests.figures import FAULTS
from tests.world import NOW

T = TypeVar("T")
SHM = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # memory: no disk to wait for


class Kernelless:
    """A `World` that calls the filesystem's verbs."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.loop = Loop()
        self.service = Service(clock=lambda: NOW + self.loop.clock.current_time())
        self.top = Path(tempfile.mkdtemp(prefix="musicfs-model-", dir=SHM))
        self.house = House(self.loop, self.service, self.top, limit)

    def _ask(self, work: Awaitable[T]) -> T:
        async def asked() -> T:
            try:
                return await work
            except MusicfsError as failed:
                raise OSError(errno_for(failed), f"{type(failed).__name__}: {failed}") from failed

        return self.loop.run(asked)

    def names(self, folder: str) -> set[str]:
        """List a folder."""
        return self._ask(self.house.names(folder))

    def stat(self, path: str) -> tuple[int, int, int]:
        """Give inode, size and mtime (ns)."""
        found = self._ask(self.house.find(path))
        found = self._ask(self.house.files.getattr(found.inode))
        return found.inode, found.size, found.mtime_ns

    def open(self, path: str) -> tuple[int, int]:
        """Open; give handle and exact size."""
        return self._ask(self.house.open(path))

    def read(self, handle: int, at: int, length: int) -> bytes:
        """Read."""
        return self._ask(self.house.read(handle, at, length))

    def close(self, handle: int) -> None:
        """Close."""
        self.house.files.close(handle)

    def abandon(self, handle: int) -> None:
        """Leave it to the life that ends."""

    def burst(self, reads: list[tuple[str, int, int, float | None]]) -> list[bytes | OSError | None]:
        """Read many files at once."""
        return self.loop.run(self._burst, reads)

    async def _burst(self, reads: list[tuple[str, int, int, float | None]]) -> list[bytes | OSError | None]:
        found: list[bytes | OSError | None] = [None] * len(reads)

        async def one(place: int, path: str, at: int, length: int, patience: float | None) -> None:
            with trio.move_on_after(float("inf") if patience is None else patience):
                try:
                    handle, _ = await self.house.open(path)
                    try:
                        found[place] = await self.house.read(handle, at, length)
                    finally:
                        self.house.files.close(handle)
                except MusicfsError as failed:
                    found[place] = OSError(errno_for(failed), f"{type(failed).__name__}: {failed}")

        async with trio.open_nursery() as nursery:
            for place, read in enumerate(reads):
                nursery.start_soon(one, place, *read)
        return found

    def cached(self, path: str) -> bool:
        """Tell whether all of a file is on the shelf."""
        return "/stems/" not in path and self.house.cached(path)

    def evict(self) -> None:
        """Let go of all that nobody holds."""
        self.house.settle()
        self.house.evict()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.house.wait(seconds)

    def refresh(self) -> None:
        """Let time pass until the listings were read anew."""
        self.house.wait(61.0)
        for folder in ("flowmusic", "tempolor"):
            self._ask(self.house.names(folder))
        self.house.wait(5.0)

    def recover(self) -> None:
        """Let time pass until hosts that were down are asked again: at most two minutes."""
        self.house.wait(300.0)

    def skew(self, seconds: float) -> None:
        """Set the machine's clock wrong."""
        self.house.skew += seconds

    def restart(self) -> None:
        """End and start again."""
        self.house.stop()
        self.house.start()

    def kill(self) -> None:
        """Die and start again."""
        self.house.kill()
        self.house.start()

    def used(self) -> int:
        """Bytes the cache takes."""
        return self.house.store.used

    def gauges(self) -> dict[str, int]:
        """Count what is under way."""
        self.house.rest()
        return self.house.gauges()

    def end(self) -> None:
        """Take it apart."""
        try:
            self.house.discard()
        finally:
            self.loop.close()
            shutil.rmtree(self.top)


class KernellessMachine(Machine):
    """The machine over the filesystem's verbs."""

    def build(self, limit: int) -> Kernelless:
        """Make a world."""
        self.kernelless = Kernelless(limit)
        return self.kernelless

    def start(self) -> None:
        """Open it."""
        self.kernelless.house.start()

    def teardown(self) -> None:
        """Compare all, then take it apart."""
        try:
            super().teardown()
        finally:
            if hasattr(self, "kernelless"):
                self.kernelless.end()


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Live `amount` lives of forty steps."""
    run_long(KernellessMachine, amount, 40, seed)
    told = ", ".join(f"{count:,} {what}" for what, count in sorted(FAULTS.items()))
    return f"without a kernel: {told}"
