"""What hunts for hangs: crowds of readers that wait, programs with a stop-watch, clients that are killed.

How it thinks: a hang is a program that does not come back, or a loop that does not answer. So every program
here has a limit, each reader's state is read from /proc, and the daemon's loop is asked over the control
socket, which needs no kernel and no network."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.reading import FIGURES, WORST
from tests.mounted.mounting import STEP, Mount, until

DEADLINE = 5  # seconds, the setting under which all this is promised
PROMISE = DEADLINE + 1.0
"""Seconds within which everything ends (issue 5)."""

KILLER = """
import os, random, signal, sys, time
folder, kills, pause, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
dice = random.Random(seed)
for number in range(kills):
    child = os.fork()
    if not child:
        try:
            for probe in range(10**9):
                os.path.exists(f"{folder}/{seed}-{number}-{probe}")
        finally:
            os._exit(0)
    time.sleep(dice.uniform(0, pause))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
"""Makes clients that look up names that do not exist, one request after the other, and kills each in the
middle of one."""


def state(pid: int) -> str:
    """Give a process's state letter (proc(5)); "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Crowd:
    """Readers that wait."""

    def __init__(self, readers: list[subprocess.Popen[bytes]]) -> None:
        self.readers = readers

    @property
    def waiting(self) -> int:
        """How many have not come back yet."""
        return sum(reader.poll() is None for reader in self.readers)

    def kill(self) -> float:
        """Kill every reader (SIGKILL), wait until all are gone, and give the seconds it took."""
        began = time.monotonic()
        for reader in self.readers:
            reader.kill()
        for reader in self.readers:
            reader.wait(4 * PROMISE)
        FIGURES["readers killed"] += len(self.readers)
        return time.monotonic() - began

    def stuck(self) -> list[int]:
        """Give those that nothing can end: gone from our sight, or in state D."""
        return [reader.pid for reader in self.readers if reader.poll() is None or state(reader.pid) == "D"]


@contextlib.contextmanager
def crowd(paths: Sequence[Path]) -> Iterator[Crowd]:
    """Have each file read by a `cat` of its own for as long as the block lasts."""
    readers = [
        subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in paths
    ]
    made = Crowd(readers)
    try:
        yield made
    finally:
        made.kill()


@contextlib.contextmanager
def watched(what: str, limit: float = PROMISE) -> Iterator[None]:
    """Fail if the block takes longer than `limit` seconds."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    WORST["seconds"] = max(WORST["seconds"], took)
    assert took <= limit, f"{what} took {took:.1f} s"


def slowest_answer(mount: Mount, seconds: float) -> float:
    """Ask the daemon's loop for `seconds`, touching the mount with nothing; give its slowest answer."""
    from musicfs import config, control

    daemon = control.find(config.runtime_dirs(mount.environ), mount.path)
    worst, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        control.ask(daemon.socket, "status")
        worst = max(worst, time.monotonic() - began)
    return worst


def race(mount: Mount, kills: int, seed: str) -> float:
    """Kill clients in the middle of their requests, and give the loop's slowest answer, in seconds.

    A loop that blocks in the read of a request whose client is gone answers nobody until the next request
    comes; between two bursts none comes.
    """
    worst = 0.0
    for burst in range(0, kills, _BURST):
        count = min(_BURST, kills - burst)
        words = [
            sys.executable,
            "-c",
            KILLER,
            mount.path / "flowmusic",
            str(count),
            "0.006",
            f"{seed}-{burst}",
        ]
        with subprocess.Popen([str(word) for word in words]) as killer:
            while killer.poll() is None:
                worst = max(worst, slowest_answer(mount, STEP))
        worst = max(worst, slowest_answer(mount, 0.1))
        FIGURES["clients killed in a request"] += count
    return worst


_BURST = 5  # kills until the mount is left alone for a moment: who hides a freeze is the next request


def in_flight(mount: Mount, least: int) -> None:
    """Wait until the daemon holds up at least so many requests."""
    from tests.faults.gauges import gauges

    until(lambda: gauges(mount)["waiters"] + gauges(mount)["jobs"] >= least, PROMISE)
