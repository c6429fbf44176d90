"""Reading as programs do, and curl as the limit.

How it thinks: a reader is a loop of reads into one buffer, so that what is timed is the mount and not
Python. curl says itself how long a transfer took, without the start of its process.

What must always be true: nothing here writes what it reads; a short file is an error, not a fast one.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
_LIMIT = 300.0  # seconds for one transfer


@dataclass(frozen=True, slots=True)
class Curled:
    """What curl needed."""

    seconds: float
    cpu: float
    """Seconds, user and system, start of the process included."""


def read_whole(path: Path, size: int, piece: int = MIB) -> float:
    """Read a file from its start to its end and give the seconds, opening included."""
    buffer, total = memoryview(bytearray(piece)), 0
    began = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    try:
        while count := os.readv(fd, [buffer]):
            total += count
        seconds = time.perf_counter() - began
    finally:
        os.close(fd)
    if total != size:
        raise RuntimeError(f"{path.name} gave {total} bytes of {size}")
    return seconds


def read_kept(path: Path, kept: memoryview) -> float:
    """Read a file into memory as large as itself, and give the seconds without opening.

    A loop into one small buffer would measure the processor's caches, which a program that keeps what it
    reads does not live in.
    """
    place = 0
    fd = os.open(path, os.O_RDONLY)
    try:
        began = time.perf_counter()
        while place < len(kept) and (count := os.preadv(fd, [kept[place : place + MIB]], place)):
            place += count
        seconds = time.perf_counter() - began
    finally:
        os.close(fd)
    if place != len(kept):
        raise RuntimeError(f"{path.name} gave {place} bytes of {len(kept)}")
    return seconds


def read_at(path: Path, place: int, size: int, hold: float = 0.0) -> float:
    """Open, read some bytes, give the seconds until they were there; the file stays open for `hold` more."""
    began = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    try:
        found = len(os.pread(fd, size, place))
        seconds = time.perf_counter() - began
        time.sleep(hold)
    finally:
        os.close(fd)
    if found != size:
        raise RuntimeError(f"{path.name} gave {found} bytes of {size} at {place}")
    return seconds


def curl(urls: Sequence[str], *, ca_file: Path | None = None, words: Sequence[str] = ()) -> Curled:
    """Fetch URLs one after the other over one connection, to nowhere.

    Raises:
        subprocess.CalledProcessError: a transfer failed.
    """
    trust = ["--cacert", str(ca_file)] if ca_file else []
    targets = [word for url in urls for word in ("-o", "/dev/null", url)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        ["curl", "-sS", "--fail", "--http1.1", "-w", "%{time_total}\n", *trust, *words, *targets],
        capture_output=True,
        text=True,
        check=True,
        timeout=_LIMIT,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Curled(sum(map(float, ended.stdout.split())), cpu)
