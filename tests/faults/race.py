"""Clients that are killed in the middle of a request, thousands of them: does the daemon's loop stand still?

How it thinks: pyfuse3 reads the kernel's device with a read that blocks, and a client that is killed between
the question whether it is readable and the read takes its request back (fuse-trio-httpx.md §1.8). A loop
that blocks there answers nobody until the next request comes; so after each few kills the mount is left
alone, and the loop is asked over the control socket, which needs no kernel."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from musicfs import config, control
from tests.faults.gauges import settle
from tests.faults.hang import scene
from tests.figures import FAULTS
from tests.mounted.mounting import STEP, Mount

FROZEN = 5.0
"""Seconds without an answer after which the loop stood still. One that blocks does so until the next request,
which never comes (`control.ask` gives up after 12); a busy machine starves a healthy one for one or two."""

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


def slowest_answer(mount: Mount, seconds: float) -> float:
    """Ask the daemon's loop for `seconds`, touching the mount with nothing; give its slowest answer."""
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
        FAULTS["clients killed in a request"] += count
    return worst


_BURST = 5  # kills until the mount is left alone for a moment: who hides a freeze is the next request


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Kill `amount` clients, and give the loop's slowest answer.

    Raises:
        AssertionError: the loop stood still.
    """
    with tempfile.TemporaryDirectory(prefix="race-") as folder, scene(Path(folder)) as now:
        worst = race(now.mount, amount, str(seed))
        settle(now.mount)
    assert worst < FROZEN, f"the loop stood still for {worst:.1f} s"
    return f"{amount:,} clients killed in a request; the loop's slowest answer took {worst:.2f} s"
