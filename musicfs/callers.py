"""Who is asking: the program behind a request's thread id.

How it thinks: FUSE gives the id of the thread that called. `/proc/<tid>/exe` of any thread is its
program's file; `comm` is only what the thread calls itself (`pool-tumblerd`, `ThreadPoolForeg`). The link
is read each time, 3 microseconds, and nothing is remembered: ids are used again, an exec changes the
program but neither id nor start time, and reading `stat` to notice either costs three times as much. The
link of another user's program (root's nightly `updatedb` on a user's mount) cannot be read; there the name
it was started by stands in, which it could lie about to its own loss only.

What must always be true: nothing here raises; a caller that is gone or in a PID namespace outside ours is
`?` and not a scanner, because refusing a person's player is worse than feeding an indexer.
It refuses to look through an interpreter: a script is `python3.11` or `dash`, as any player written so is.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

UNKNOWN = "?"

_DELETED = " (deleted)"  # behind the name of an upgraded program that still runs its old file
_ARGV0 = 4096  # bytes; no path is longer
_STATUS = 512  # bytes; `Tgid:` is the fourth line, behind the name's 64 at most


class Callers:
    """The programs that ask."""

    def __init__(
        self, scanners: Collection[str], proc: Path = Path("/proc"), media_servers: Collection[str] = ()
    ) -> None:
        """Take the basenames of the executables that count as scanners, and as media servers."""
        self.know(scanners, media_servers)
        self._proc = os.fspath(proc)

    def know(self, scanners: Collection[str], media_servers: Collection[str]) -> None:
        """Take other names than before."""
        self._scanners = frozenset(scanners) - {UNKNOWN}
        self._media_servers = frozenset(media_servers) - {UNKNOWN}

    def name(self, tid: int) -> str:
        """Say the basename of the executable behind a process or thread id, or `?`."""
        try:
            program = os.readlink(f"{self._proc}/{tid}/exe").removesuffix(_DELETED)
        except PermissionError:
            program = self._started_as(tid)
        except OSError:
            return UNKNOWN
        return os.path.basename(program) or UNKNOWN

    def is_scanner(self, tid: int) -> bool:
        """Say whether an indexer or thumbnailer is asking."""
        return self.name(tid) in self._scanners

    def is_media_server(self, tid: int) -> bool:
        """Say whether a program asks that may scan, by heads and tails."""
        return bool(self._media_servers) and self.name(tid) in self._media_servers

    def process(self, tid: int) -> int:
        """Say which process a thread belongs to; the thread itself where that cannot be seen."""
        try:
            descriptor = os.open(f"{self._proc}/{tid}/status", os.O_RDONLY | os.O_CLOEXEC)
            try:
                words = os.read(descriptor, _STATUS).partition(b"\nTgid:")[2].split(None, 1)
            finally:
                os.close(descriptor)
        except OSError:
            return tid
        return int(words[0]) if words and words[0].isdigit() else tid

    def _started_as(self, tid: int) -> str:
        """Give the first word of a command line; empty if it has none or is not to be seen either."""
        try:
            descriptor = os.open(f"{self._proc}/{tid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
            try:
                words = os.read(descriptor, _ARGV0)
            finally:
                os.close(descriptor)
        except OSError:
            return ""
        return os.fsdecode(words.partition(b"\0")[0])
