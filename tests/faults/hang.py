"""What hunts for hangs: crowds of readers that wait, programs with a stop-watch, clients that are killed.

How it thinks: a hang is a program that does not come back, or a loop that does not answer. So every program
here has a limit, each reader's state is read from /proc, and the daemon's loop is asked over the control
socket, which needs no kernel and no network."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from musicfs.demo import Role, Service, wav_of_size
from musicfs.demo.faults import black_hole
from tests.faults.gauges import gauges
from tests.figures import FAULTS, WORST
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, done, sha256, until

CROWD = 200  # readers (issue 5)
MIB = 1024 * 1024
DEADLINE = 5  # seconds, the setting under which all this is promised
PROMISE = DEADLINE + 1.0
"""Seconds within which everything ends (issue 5)."""


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
        FAULTS["readers killed"] += len(self.readers)
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
    for name in (what, "seconds"):
        WORST[name] = max(WORST.get(name, 0.0), took)
    assert took <= limit, f"{what} took {took:.1f} s"


def in_flight(mount: Mount, least: int) -> None:
    """Wait until the daemon holds up at least so many requests."""
    until(lambda: gauges(mount)["waiters"] + gauges(mount)["jobs"] >= least, PROMISE)


def stock() -> Service:
    """Give a service many songs, the wavs longer than what an `open` asks for."""
    service = Service(clock=time.time)
    for number in range(110):
        service.add_clip("ada@example.com", f"Song {number}", 10.0)
    for number in range(20):
        service.add_job("100", f"Job {number}", 10.0, wav=wav_of_size(2 * MIB, f"wav {number}"))
    return service


class Scene:
    """A mount whose every folder was listed, with a song in the cache and songs whose heads are."""

    def __init__(self, mount: Mount, service: Service) -> None:
        self.mount, self.service = mount, service
        mount.list_all()
        self.songs = [mount.path / "flowmusic" / f"{clip.uuid}.mp3" for clip in service.flow.clips]
        self.wavs = [mount.path / "tempolor" / job.item / "song.wav" for job in service.tempolor.jobs]
        self.cached = self.songs.pop()
        self.wanted = sha256(self.cached)
        self.whole = self.wavs.pop()
        self.whole_wanted = sha256(self.whole)

    def behead(self) -> None:
        """Bring the head of each wav, so that its `open` needs nobody and its reading does."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda path: done(["head", "-c", "1", path]), self.wavs))

    def darken(self) -> None:
        """Let no byte come from anywhere."""
        for role in Role:
            self.service.fail(black_hole(), role=role)

    def readers(self) -> list[Path]:
        """Give two hundred readings that wait: half in `open`, half in `read`."""
        reading = self.wavs * (CROWD // 2 // len(self.wavs) + 1)
        return self.songs[: CROWD // 2] + reading[: CROWD - CROWD // 2]


@contextlib.contextmanager
def scene(home: Path, *program: str) -> Iterator[Scene]:
    """Serve and mount, and clean up."""
    service = stock()
    with running(service) as loop:
        mount = Mount(loop, home, *program, deadline=DEADLINE, listing_ttl=1)
        with attached(mount):
            mount.expect(".")
            yield Scene(mount, service)
            mount.expect(".")
            service.clear()
