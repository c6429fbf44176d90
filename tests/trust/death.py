"""Kill the daemon at a random moment, again and again, and see that nothing wrong is served afterwards.

    python -m tests.trust.death --times 1000 --seed 7

How it thinks: one service, one mountpoint, one cache and one state over all deaths. A life begins with
READY; readers of every kind (whole copies, random places, tails, stems, other programs) work against
servers that are slow and break off, new clips are added upstream, listings are refreshed five times a
second, and the cache is now roomy, now so small that everything evicts everything. Then SIGKILL, some time
between the start of the process and a second later. What lies on the disk is looked at while nobody can
change it; the next life has to serve it.

What must always be true after each death: every byte is the service's; the objects take no more than the
limit; what the maps say is whole is served whole without one request for bytes; in a roomy life all that a
reader had read to its end is among it; names, inodes and times are what they were.

It refuses to be lucky: all choices follow from the seed (the kernel's timing does not)."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from musicfs.demo import (
    Clip,
    Cut,
    Delivery,
    Framing,
    Member,
    Ranges,
    Service,
    archive_of,
    content,
    wav_of,
    wav_of_size,
)
from tests.loopback import running
from tests.mounted.mounting import Mount, until
from tests.trust.witness import (
    Wrong,
    catalogue,
    catted,
    compare,
    errors,
    forget_pages,
    kept,
    path_of,
    read_at,
    taken,
    verify,
)

TINY, ROOMY = 1_500_000, 64_000_000  # bytes of cache: less than any two wavs, more than everything
SLACK = 16 * 1024  # bytes: the page that a map which was being begun may take beyond its promise
READERS = 5
LONGEST = 0.9  # seconds from READY to the latest death
EXCUSED = {
    *(errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ETIMEDOUT, errno.ESTALE, errno.EBUSY),
    *(errno.ENOSPC, errno.EHOSTUNREACH, errno.ENOENT),
}
"""What a reader may be told while servers break off and the daemon dies; ENOENT once the mount is gone."""

PACKED = b"".join(b"%d\n" % (number * 7919 % 10_007) for number in range(30_000))


@dataclass
class Book:
    """What is counted, and what has to stay."""

    deaths: int = 0
    checked: int = 0
    """Files read whole after a death."""
    kept_whole: int = 0
    """Objects that were whole on the disk and were served without a request."""
    worst_restart: float = 0.0
    """Seconds until READY."""
    moments: Counter[str] = field(default_factory=Counter)
    """What was under way at the deaths."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Inode and mtime of every path that was ever shown."""


class Mortal(Mount):
    """A mount whose settings change from life to life."""

    def configure(self, **settings: object) -> None:
        """Set what the next life is to have."""
        self._settings |= {name.upper(): str(value) for name, value in settings.items()}

    def forget_log(self) -> None:
        """Empty the log; the daemon only ever appends."""
        self.log_path.write_bytes(b"")


class Theatre:
    """The service and the mount, and what the bytes have to be."""

    def __init__(self, service: Service, mount: Mortal, seed: int) -> None:
        self.service, self.mount, self.rng = service, mount, random.Random(seed)
        self.book = Book()
        self.roomy = True
        self.whole: set[str] = set()
        """Paths that a reader of this life has read to their end."""
        self.files = catalogue(service)
        for job in service.tempolor.jobs:
            folder = f"tempolor/{job.item}/stems"
            self.files |= {
                f"{folder}/bass.wav": content(wav_of(1.5, job.item)),
                f"{folder}/notes.txt": PACKED,
            }
        self.failures: list[BaseException] = []

    # A life ----------------------------------------------------------------------------------------------

    def live_and_die(self) -> None:
        """Let readers work, add a clip, and kill."""
        self.sicken()
        ended = threading.Event()
        readers = [
            threading.Thread(target=self._read_on, args=(self.rng.random(), ended), daemon=True)
            for _ in range(READERS)
        ]
        for reader in readers:
            reader.start()
        copy = self._other_program() if self.rng.random() < 0.4 else None
        if self.rng.random() < 0.3:
            self.add_clip()
        time.sleep(self.rng.uniform(0.0, LONGEST))
        self.mount.crash()
        ended.set()
        self.book.deaths += 1
        self.book.moments.update(self._under_way())
        for reader in readers:
            reader.join(30)
            if reader.is_alive():
                raise Wrong("a reader did not notice the death")
        if copy is not None:
            copy.communicate(timeout=30)
        if self.failures:
            raise self.failures[0]

    def sicken(self) -> None:
        """Have the servers be slow and break off, otherwise in each life."""
        service, rng = self.service, self.rng
        service.clear()
        service.reset_counts()
        drip = rng.choice([None, None, 400_000.0, 2_000_000.0])
        service.knobs.cdn = Delivery(
            ranges=rng.choice([Ranges.HONOUR, Ranges.LAX, Ranges.STRICT, Ranges.IGNORE]),
            drip=drip,
            first_byte=rng.choice([0.0, 0.02]),
        )
        usual = Service().knobs.mp3
        service.knobs.mp3 = Delivery(
            ranges=usual.ranges,
            etag=usual.etag,
            last_modified=False,
            framing=rng.choice([Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE]),
            drip=drip,
        )
        for kind in ("mp3", "range", "whole"):
            if rng.random() < 0.5:
                cut = Cut(rng.randrange(200_000), clean=rng.random() < 0.5)
                # A pass that twice ends at one place, between two frames and without a length, is believed.
                service.twist(times=1 if kind == "mp3" else rng.randrange(1, 3), kind=kind, cut=cut)

    def add_clip(self) -> Clip:
        """Add a clip upstream; it is looked for from the next life on."""
        clip = self.service.add_clip("ada@example.com", f"Song {len(self.service.flow.clips)}", 15.0)
        self.files[f"flowmusic/{clip.uuid}.mp3"] = content(clip.assets["mp3"])
        return clip

    def _under_way(self) -> list[str]:
        """Say what the death met, as far as the disk and the servers tell."""
        met = ["a pass"] if any((self.mount.home / "cache" / "objects").rglob("*.pass")) else []
        met += ["a state log"] if (self.mount.home / "state" / "state.db-wal").stat().st_size else []
        met += ["evictions"] if not self.roomy else []
        return met or ["nothing much"]

    # Readers ---------------------------------------------------------------------------------------------

    def _read_on(self, seed: float, ended: threading.Event) -> None:
        rng = random.Random(seed)
        names = [name for name in self.files if name in self.book.seen or "/stems/" in name]
        kinds: list[Callable[[Path, bytes, random.Random], None]] = [_in_order, _at_random, _at_the_tail]
        while not ended.is_set():
            name = rng.choice(names)
            kind = rng.choice(kinds)
            try:
                kind(self.mount.path / name, self.files[name], rng)
                if kind is _in_order and name.endswith("song.wav"):
                    # A pass may have given its last byte and not be sealed yet; what is ranged is kept first.
                    self.whole.add(name)
            except OSError as failed:
                if failed.errno not in EXCUSED:
                    self.failures.append(failed)
                ended.wait(0.01)
            except Wrong as wrong:
                self.failures.append(wrong)
                return

    def _other_program(self) -> subprocess.Popen[bytes]:
        source = self.rng.choice(["flowmusic", "tempolor"])
        return subprocess.Popen(
            ["tar", "-cf", "-", "-C", str(self.mount.path), source],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    # After a death -----------------------------------------------------------------------------------------

    def look_at_the_dead(self) -> set[str]:
        """Check what a death left on the disk; give the paths of what is whole there."""
        limit = ROOMY if self.roomy else TINY
        if taken(self.mount.home) > limit + SLACK:
            raise Wrong(f"the cache takes {taken(self.mount.home)} bytes, {limit} are allowed")
        paths = {path_of(one.key) for one in kept(self.mount.home) if one.found.complete}
        whole = {path for path in paths if path in self.files}
        if self.roomy and not self.whole <= whole:
            raise Wrong(f"read whole, and not whole on the disk after the death: {self.whole - whole}")
        return whole

    def rise(self) -> None:
        """Start again, often enough to be killed while starting too, and measure how long it takes."""
        while self.rng.random() < 0.2:
            self._die_young()
        self.roomy = self.rng.random() < 0.6
        self.mount.configure(cache_size=ROOMY if self.roomy else TINY)
        began = time.monotonic()
        self.mount.start()
        self.book.worst_restart = max(self.book.worst_restart, time.monotonic() - began)

    def _die_young(self) -> None:
        """Start, and kill before or just after READY."""
        starting = threading.Thread(target=self._start_in_vain, daemon=True)
        starting.start()
        until(lambda: self.mount.running)
        time.sleep(self.rng.uniform(0.0, 0.8))
        self.mount.crash()
        starting.join(60)
        self.book.deaths += 1
        self.book.moments["a start"] += 1

    def _start_in_vain(self) -> None:
        with contextlib.suppress(AssertionError, OSError):
            self.mount.start()

    def check(self, whole: set[str]) -> None:
        """See that what was whole is, unasked; then that files are right, and every name the same."""
        self.service.clear()
        self.service.reset_counts()
        if self.roomy:
            for name in whole:
                verify(self.mount.path / name, self.files[name], catted)
            if asked := {"mp3", "range", "whole", "mint"} & set(self.service.counts):
                raise Wrong(f"{asked} asked for, though all of {sorted(whole)} was here")
            self.book.kept_whole += len(whole)
            self.book.checked += len(whole)
        self.whole = set(whole) if self.roomy else set()
        for name in self.rng.sample(list(self.files), 6):
            self._check_one(name)
        self._check_names()
        if told := errors(self.mount):
            raise Wrong("\n".join(told[:5]))
        self.mount.forget_log()

    def _check_one(self, name: str) -> None:
        path = self.mount.path / name
        if name.startswith(
            "flowmusic"
        ):  # Not by asking for it: the kernel would remember that it is not there.
            until(lambda: path.name in self.mount.listed("flowmusic"))
        forget_pages(path)
        verify(path, self.files[name])
        self.book.checked += 1
        if name.endswith("song.wav"):
            self.whole.add(name)

    def _check_names(self) -> None:
        now = dict(_shown(self.mount.path))
        lost = {path: seen for path, seen in self.book.seen.items() if now.get(path) != seen}
        if lost:
            path, seen = next(iter(lost.items()))
            raise Wrong(f"{len(lost)} names changed: {path} was {seen} and is {now.get(path)}")
        self.book.seen = now


def _shown(root: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Give every path of the mount with its inode and mtime, in nanoseconds, asking no byte server."""
    for folder in ("flowmusic", "tempolor", "library"):
        for entry in os.scandir(root / folder):
            path = f"{folder}/{entry.name}"
            if folder == "library" and not entry.is_dir():
                continue  # A playlist is another file as soon as there is another song.
            yield path, (entry.inode(), entry.stat().st_mtime_ns)
            if folder == "tempolor":
                for form in ("song.mp3", "song.wav"):
                    seen = os.stat(root / path / form)
                    yield f"{path}/{form}", (seen.st_ino, seen.st_mtime_ns)
            if folder == "library":
                for inner in os.scandir(root / path):
                    yield f"{path}/{inner.name}", (inner.inode(), 0)


def _in_order(path: Path, wanted: bytes, rng: random.Random) -> None:
    forget_pages(path)
    verify(path, wanted)


def _at_random(path: Path, wanted: bytes, rng: random.Random) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        for _ in range(rng.randrange(1, 8)):
            _piece(file, path, rng.randrange(len(wanted)), rng.randrange(1, 150_000), wanted)
    finally:
        os.close(file)


def _at_the_tail(path: Path, wanted: bytes, rng: random.Random) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        _piece(file, path, max(0, len(wanted) - rng.choice([128, 4096, 65_536])), 70_000, wanted)
    finally:
        os.close(file)


def _piece(file: int, path: Path, at: int, length: int, wanted: bytes) -> None:
    """Read and compare; fewer bytes than there are, without an error, are wrong."""
    found = read_at(file, at, length)
    if len(found) != min(length, len(wanted) - at):
        raise Wrong(f"{path}: {len(found)} bytes at {at}, where there are more")
    if found != wanted[at : at + len(found)]:
        raise Wrong(f"{path}: other bytes in [{at}, {at + len(found)})")
    compare(path, at, found, wanted)


# The loop --------------------------------------------------------------------------------------------------


def stock(service: Service) -> None:
    """Fill a service with a few songs of each kind."""
    for number in range(4):
        service.add_clip("ada@example.com", f"Song {number}", 12.0 + 4 * number)
    for number in range(3):
        job = service.add_job("100", f"Job {number}", 10.0, wav=wav_of_size(900_000 + number, number))
        stems = [Member("bass.wav", wav_of(1.5, job.item)), Member("notes.txt", PACKED, deflated=True)]
        job.assets["stems"] = archive_of(stems)


@contextlib.contextmanager
def theatre(home: Path, seed: int) -> Iterator[Theatre]:
    """Serve, mount, look at all once, and clean up, whatever happens."""
    service = Service(clock=time.time)
    stock(service)
    with running(service) as loop:
        mount = Mortal(loop, home, listing_ttl=0.2, deadline=8, cache_size=ROOMY)
        try:
            mount.start().list_all()
            stage = Theatre(service, mount, seed)
            for name, wanted in stage.files.items():
                verify(mount.path / name, wanted)
            stage.check(set())
            yield stage
        finally:
            mount.kill()


def run(home: Path, times: int, seed: int, tell: Callable[[str], None] = lambda line: None) -> Book:
    """Die `times` times; raises `Wrong` at the first thing that is."""
    with theatre(home, seed) as stage:
        while stage.book.deaths < times:
            stage.live_and_die()
            whole = stage.look_at_the_dead()
            stage.rise()
            stage.check(whole)
            if stage.book.deaths % 50 == 0:
                tell(f"{stage.book.deaths} deaths, {stage.book.checked} files checked")
        return stage.book


def main() -> int:
    """Run the long form from the command line."""
    from tests.figures import TRUST

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1000, help="deaths (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all choices (default: %(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="musicfs-death-") as folder:
        try:
            book = run(Path(folder), asked.times, asked.seed, lambda line: print(line, flush=True))
        except Wrong as wrong:
            print(f"seed {asked.seed}: {wrong}", file=sys.stderr)
            return 1
    print(
        f"{book.deaths} deaths, {book.checked} files checked after them, {book.kept_whole} objects stayed "
        f"whole, {TRUST['bytes verified']:,} bytes verified, worst restart {book.worst_restart:.2f} s"
    )
    print("met by death: " + ", ".join(f"{what} {count}" for what, count in book.moments.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
