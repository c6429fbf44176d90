"""Mixed readers for a long time, over a network that is slow and keeps breaking.

How it thinks: the cache is smaller than the songs, so bytes always come from the network; the network is
shaped to a few MB a second and broken in another way every moment, with quiet between. Processes of several
threads read in every way there is (`soak_reader`); listings, `df` and stats go on beside them. The daemon's
memory, descriptors and threads are looked at all the time, at rest before and at rest after.

What must always be true: every byte given is right; after a first while memory does not grow; at the end
every gauge is zero and there are no more descriptors than at the beginning.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from musicfs.demo import Cut, Delivery, Ranges, Role, Service, mp3_of, wav_of_size
from musicfs.demo.faults import dropped, html, json_error, throttled
from tests.faults.gauges import settle
from tests.figures import FAULTS
from tests.loopback import Loopback
from tests.mounted.mounting import Mount, mounted
from tests.trust.witness import catalogue, errors

READERS = 4
CACHE = 6_000_000  # bytes: about half of the songs
LISTED = 5.0  # seconds that a listing may take whatever the byte servers do
GROWTH = 24 * 2**20  # bytes of memory that a long run may add to a short one


@dataclass
class Health:
    """What the daemon takes, looked at all the time."""

    pid: int
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds of the slowest listing."""

    def look(self) -> None:
        """Take note of memory and descriptors."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE"))
        self.descriptors.append(len(os.listdir(f"/proc/{self.pid}/fd")))


def stock(service: Service) -> None:
    """Fill a service with a few songs of each kind, 12 MB in all."""
    for number in range(5):
        seconds = 15.0 + 9 * number
        service.add_clip("ada@example.com", f"Song {number}", seconds, mp3=mp3_of(seconds, number))
        wav = wav_of_size(1_000_000 + 300_007 * number, number)
        service.add_job("100", f"Job {number}", 10.0, wav=wav, mp3=mp3_of(10.0, 100 + number))


def worsen(service: Service, rng: random.Random) -> None:
    """Break the network in another way, for the next few requests."""
    at = rng.randrange(600_000)
    ways: list[Callable[[], object]] = [
        lambda: service.twist(kind="range", times=2, cut=Cut(at, clean=rng.random() < 0.5)),
        lambda: service.twist(kind="mp3", times=1, cut=Cut(at)),
        lambda: service.twist(kind="range", times=1, stall_at=at),
        lambda: service.fail(json_error(503), kind=rng.choice(["range", "mp3", "mint", "list"]), times=2),
        lambda: service.fail(dropped(), kind=rng.choice(["range", "mp3", "mint"]), times=2),
        lambda: service.fail(throttled(1), kind=rng.choice(["range", "mint"]), times=1),
        lambda: service.fail(html(200), kind="range", times=1),
        lambda: setattr(service.knobs, "cdn", _shape(rng)),
        lambda: setattr(service.knobs, "validity", rng.choice([3.0, 1800.0])),
    ]
    rng.choice(ways)()
    FAULTS["faults laid"] += 1


def _shape(rng: random.Random) -> Delivery:
    drip = rng.choice([None, 3_000_000.0, 800_000.0])
    return Delivery(ranges=rng.choice(list(Ranges)), drip=drip, first_byte=rng.choice([0.0, 0.05, 0.2]))


def _keep_reading(command: list[str], end: float, words: list[str], sick: bool, wrong: list[str]) -> None:
    """Run a reading process until the end; again, if a map's page could not be had."""
    while (left := end - time.monotonic()) > 0.5:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.faults.soak_reader", *command, str(left), *words],
            capture_output=True,
            text=True,
            timeout=left + 90,
            check=False,
        )
        if ended.returncode == -signal.SIGBUS and sick:
            FAULTS["errors told to readers"] += 1
            continue
        if ended.returncode:
            wrong.append(ended.stderr)
            return
        done, reads, failed = map(int, ended.stdout.split())
        if failed and not sick:
            wrong.append(f"{failed} errors of a healthy service")
        FAULTS["bytes verified"] += done
        FAULTS["reads verified"] += reads
        FAULTS["errors told to readers"] += failed


@contextmanager
def readers(mount: Mount, files: dict[str, bytes], home: Path, seconds: float, sick: bool) -> Iterator[None]:
    """Run reading processes for so long, the first of them with maps; then see that none met a wrong byte."""
    words: list[str] = []
    for number, (name, data) in enumerate(files.items()):
        copy = home / f"copy-{number}"
        copy.write_bytes(data)
        words += [str(mount.path / name), str(copy)]
    wrong: list[str] = []
    end = time.monotonic() + seconds
    supervisors = [
        threading.Thread(
            target=_keep_reading,
            args=([f"{'pm'[number == 0]}{number}"], end, words, sick, wrong),
            daemon=True,
        )
        for number in range(READERS)
    ]
    for one in supervisors:
        one.start()
    yield
    for one in supervisors:
        one.join(seconds + 100)
        assert not one.is_alive(), "a reader does not end"
    assert not wrong, wrong[0]


def soak(home: Path, seconds: float, seed: int, tell: Callable[[str], None] = lambda line: None) -> Health:
    """Read, break, look; for so long."""
    service, rng = Service(clock=time.time), random.Random(seed)
    stock(service)
    files = catalogue(service)
    with mounted(service, home, deadline=6, listing_ttl=1, cache_size=CACHE) as mount:
        mount.expect("WARNING")
        mount.list_all()
        health = Health(mount.pid)
        health.look()
        rest = health.descriptors[0]
        end = time.monotonic() + seconds
        with readers(mount, files, home, seconds, sick=True):
            while (left := end - time.monotonic()) > 0:
                if rng.random() < 0.5:
                    worsen(service, rng)
                else:
                    service.clear()
                if rng.random() < 0.01:
                    _outage(mount.loop)
                _look_round(mount, health)
                if len(health.memory) % 240 == 0:
                    tell(f"{left:.0f} s left, {health.memory[-1] >> 20} MiB")
                time.sleep(min(0.25, left))
        service.clear()
        settle(mount, 60.0)
        health.look()
        assert not errors(mount), errors(mount)[:3]
        # Six idle connections a host are kept for the next who asks.
        assert health.descriptors[-1] <= rest + 3 * 6, (
            f"{health.descriptors[-1]} descriptors, {rest} at first"
        )
        settled = health.memory[len(health.memory) // 3]
        assert health.memory[-1] - settled < GROWTH, f"memory grew from {settled} to {health.memory[-1]}"
    return health


def _outage(loop: Loopback) -> None:
    loop.stop(Role.CDN)
    time.sleep(1.0)
    loop.start(Role.CDN)
    FAULTS["outages"] += 1


def _look_round(mount: Mount, health: Health) -> None:
    """List, stat and ask for room, as desktops do all the time."""
    health.look()
    began = time.monotonic()
    for folder in ("flowmusic", "tempolor", "library"):
        assert mount.listed(folder), folder
    os.statvfs(mount.path)
    health.slowest = max(health.slowest, time.monotonic() - began)
    assert health.slowest < LISTED, f"a listing took {health.slowest:.1f} s"


def main(amount: int, seed: int, tell: Callable[[str], None]) -> str:
    """Soak for `amount` seconds."""
    with tempfile.TemporaryDirectory(prefix="musicfs-soak-") as home:
        health = soak(Path(home), amount, seed, tell)
    third = health.memory[len(health.memory) // 3]
    told = ", ".join(f"{count:,} {what}" for what, count in sorted(FAULTS.items()))
    return (
        f"{told}; memory {third >> 20} MiB after a third, {health.memory[-1] >> 20} MiB at the end, at most "
        f"{max(health.memory) >> 20}; descriptors {health.descriptors[0]} at first, {health.descriptors[-1]} "
        f"at the end, at most {max(health.descriptors)}; slowest listing {health.slowest:.2f} s"
    )
