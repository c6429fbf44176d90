"""Wires between the readers and the origin: how long, how wide, and what went over them.

How it thinks: `forwarder.c` is compiled once a run, and one process of it is one wire. Its ports stand for
the origin's ports, in the same order, so each host keeps an address of its own. It counts in a file that is
mapped here too, so a look costs nobody anything.

What must always be true: a wire ends with its `with` block, or with this process (its input ends then).
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RTT = 0.040  # seconds; a European home to a Google or Alibaba edge
RATE = 12_500_000  # bytes a second: 100 Mbit/s
_PATIENCE = 10.0  # seconds for a program that says its ports at once
_COUNTS = struct.Struct("=QQQ")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over a wire, in both directions."""

    connections: int = 0
    up: int = 0
    """Bytes towards the origin."""
    down: int = 0
    """Bytes delivered to the readers, HTTP heads included."""

    def __sub__(self, before: Traffic) -> Traffic:
        return Traffic(self.connections - before.connections, self.up - before.up, self.down - before.down)


class Link:
    """One running wire; `ports` are in the order of the targets."""

    def __init__(self, ports: Sequence[int], counts: Path, pid: int) -> None:
        self.ports = tuple(ports)
        self.pid = pid
        """The process that is the wire; stopped, it is a network that has gone silent."""
        self._counts = counts

    def traffic(self) -> Traffic:
        """Sum what all ports have carried so far."""
        found = list(_COUNTS.iter_unpack(self._counts.read_bytes()))
        return Traffic(*(sum(column) for column in zip(*found, strict=True)))


def compiled(folder: Path) -> Path:
    """Compile the forwarder into a folder, once.

    Raises:
        subprocess.CalledProcessError: the compiler refused.
    """
    program = folder / "forwarder"
    if not program.exists():
        source = Path(__file__).with_name("forwarder.c")
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True, capture_output=True)
    return program


@contextmanager
def link(
    folder: Path, targets: Sequence[int], rtt: float = RTT, rate: int = RATE, shared: bool = False
) -> Iterator[Link]:
    """Lay a wire to ports of 127.0.0.1: `rtt` in seconds, `rate` in bytes a second (a connection, or all)."""
    kind = "shared" if shared else "apart"
    counts = folder / f"wire-{kind}-{targets[0]}-{round(rtt * 1e6)}"
    counts.unlink(missing_ok=True)
    words = [compiled(folder), counts, round(rtt * 1e6), rate, kind, *targets]
    with subprocess.Popen(
        list(map(str, words)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Link([int(process.stdout.readline()) for _ in targets], counts, process.pid)
        finally:
            process.stdin.close()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
