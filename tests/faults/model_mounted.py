"""The model's world on a real mount: few lives, and the kernel's caches take part in them.

How it thinks: the same machine asks through system calls. Time is real here, so what would only make it wait
(a host that is left alone, a flood that asks for two minutes) is for the kernel-less world.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from musicfs.demo import Service
from musicfs.demo.faults import Answer, garbage, html, json_error
from tests.faults.gauges import settle
from tests.faults.model import Machine, run_long
from tests.figures import FAULTS
from tests.mounted.mounting import Mount, mounted, until
from tests.trust.witness import errors, taken

SLACK = 16 * 1024  # bytes: the page that a map which is being begun may take beyond its promise
REMEMBERED = 1.2  # seconds after which a failure is not told again
BELIEVED = 5.3  # seconds after which no answer of a byte server is believed any more


class OnKernel:
    """A `World` that makes system calls."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.service = Service(clock=time.time)
        self._stack = contextlib.ExitStack()
        self.home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="musicfs-model-")))
        self.mount: Mount

    def start(self) -> None:
        """Mount."""
        self.mount = self._stack.enter_context(
            mounted(self.service, self.home, cache_size=self.limit, listing_ttl=0.2, deadline=5)
        )
        self.mount.list_all().expect("WARNING")

    def names(self, folder: str) -> set[str]:
        """List a folder."""
        return self.mount.listed(folder)

    def stat(self, path: str) -> tuple[int, int, int]:
        """Give inode, size and mtime (ns)."""
        found = os.stat(self.mount.path / path)
        return found.st_ino, found.st_size, found.st_mtime_ns

    def open(self, path: str) -> tuple[int, int]:
        """Open; give handle and exact size."""
        file = os.open(self.mount.path / path, os.O_RDONLY)
        return file, os.fstat(file).st_size

    def read(self, handle: int, at: int, length: int) -> bytes:
        """Read."""
        found = bytearray()
        while len(found) < length and (data := os.pread(handle, length - len(found), at + len(found))):
            found += data
        return bytes(found)

    def close(self, handle: int) -> None:
        """Close."""
        os.close(handle)

    def abandon(self, handle: int) -> None:
        """Close it, or the dead mount would stay in use."""
        os.close(handle)

    def burst(self, reads: list[tuple[str, int, int, float | None]]) -> list[bytes | OSError | None]:
        """Read many files at once; who has no patience is a process, and killed."""

        def one(read: tuple[str, int, int, float | None]) -> bytes | OSError | None:
            path, at, length, patience = read
            if patience is not None:
                command = ["cat", str(self.mount.path / path)]
                quiet = subprocess.DEVNULL
                with subprocess.Popen(command, stdout=quiet, stderr=quiet) as cat:
                    time.sleep(patience)
                    cat.kill()
                return None
            try:
                handle, _ = self.open(path)
                try:
                    return self.read(handle, at, length)
                finally:
                    os.close(handle)
            except OSError as failed:
                return failed

        if not reads:
            return []
        with ThreadPoolExecutor(len(reads)) as pool:
            return list(pool.map(one, reads))

    def cached(self, path: str) -> bool:
        """Leave that to the kernel-less world."""
        return False

    def evict(self) -> None:
        """Let go of all that nobody holds."""
        assert self.mount.ask("cache", "prune", str(self.mount.path)).returncode == 0

    def wait(self, seconds: float) -> None:
        """Let time pass, as little of it as has a meaning here."""
        time.sleep({6.0: BELIEVED, 2.0: REMEMBERED}.get(seconds, min(seconds, 0.3)))

    def refresh(self) -> None:
        """Look until all that the service has is shown."""
        clips = {f"{clip.uuid}.mp3" for clip in self.service.flow.clips}
        jobs = {job.item for job in self.service.tempolor.jobs}
        until(lambda: clips <= self.names("flowmusic") and jobs <= self.names("tempolor"))

    def recover(self) -> None:
        """Let the last failures be forgotten."""
        time.sleep(2.0)

    def skew(self, seconds: float) -> None:
        """Leave that to the kernel-less world: the clock is the machine's."""

    def restart(self) -> None:
        """End and start again."""
        self.mount.restart()

    def kill(self) -> None:
        """Die and start again."""
        self.mount.crash()
        self.mount.start()

    def used(self) -> int:
        """Bytes the cache takes, less what its maps may be ahead of their promise."""
        return max(0, taken(self.home) - SLACK)

    def gauges(self) -> dict[str, int]:
        """See that nothing is under way."""
        settle(self.mount)
        assert not errors(self.mount), errors(self.mount)[:3]
        return {}

    def end(self) -> None:
        """Unmount and take it apart."""
        self._stack.close()


class MountedMachine(Machine):
    """The machine over system calls."""

    def build(self, limit: int) -> OnKernel:
        """Make a world."""
        self.kernel = OnKernel(limit)
        return self.kernel

    def start(self) -> None:
        """Mount it."""
        self.kernel.start()

    def refusals(self, kind: str) -> list[Answer]:
        """Give those answers after which nobody has to wait for minutes."""
        return [json_error(500), html(502), json_error(401), garbage(), html(200)]

    def bends(self, kind: str, at: int) -> list[dict[str, object]]:
        """Give those bends that end by themselves."""
        return [bend for bend in super().bends(kind, at) if "stall_at" not in bend]

    def teardown(self) -> None:
        """Compare all, then take it apart."""
        try:
            super().teardown()
        finally:
            if hasattr(self, "kernel"):
                self.kernel.end()


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Live `amount` lives of sixty steps."""
    run_long(MountedMachine, amount, 60, seed)
    told = ", ".join(f"{count:,} {what}" for what, count in sorted(FAULTS.items()))
    return f"on a real mount: {told}"
