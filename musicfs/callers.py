"""Who is asking: the program behind a request's thread id.

How it thinks: FUSE gives the id of the thread that called. `/proc/<tid>/exe` of any thread is its
program's file; `comm` is only what the thread calls itself (`pool-tumblerd`, `ThreadPoolForeg`). A
program is asked for once and remembered by id, start time and comm: ids are used again, and an exec keeps
id and start time but changes comm. So a known caller costs one small read of `/proc/<tid>/stat`.

What must always be true: nothing here raises; a caller that is gone, in another PID namespace, or not
ours to look at is `?` and not a scanner, because refusing a person's player is worse than feeding an
indexer.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from cachetools import LRUCache

REMEMBERED = 1024
"""Callers; a busy desktop has a few dozen threads that read music at a time."""

UNKNOWN = "?"


class Callers:
    """The programs that have asked lately."""

    def __init__(self, scanners: Collection[str], proc: Path = Path("/proc")) -> None:
        """Take the basenames of the executables that count as scanners."""
        self._scanners = frozenset(scanners)
        self._proc = os.fspath(proc)
        self._names: LRUCache[tuple[int, bytes, bytes], str] = LRUCache(REMEMBERED)

    def name(self, tid: int) -> str:
        """Say the basename of the executable behind a process or thread id, or `?`."""
        try:
            key = (tid, *self._stat(tid))
            name = self._names.get(key)
            if name is None:
                target = os.readlink(f"{self._proc}/{tid}/exe")
                # An upgraded program that still runs shows its old file with this mark.
                name = self._names[key] = os.path.basename(target.removesuffix(" (deleted)"))
        except (OSError, ValueError):
            return UNKNOWN
        return name

    def is_scanner(self, tid: int) -> bool:
        """Say whether an indexer or thumbnailer is asking."""
        return self.name(tid) in self._scanners

    def _stat(self, tid: int) -> tuple[bytes, bytes]:
        """Read start time (clock ticks since boot) and comm; ValueError where the line has another shape."""
        descriptor = os.open(f"{self._proc}/{tid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            line = os.read(descriptor, 1024)
        finally:
            os.close(descriptor)
        # The comm stands in brackets and may hold brackets and spaces itself.
        before, bracket, after = line.rpartition(b")")
        fields = after.split()
        if not bracket or len(fields) < 20:
            raise ValueError("not a stat line")
        return fields[19], before.partition(b"(")[2]
