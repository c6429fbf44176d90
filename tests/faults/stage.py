"""A mount of many untouched songs on a quicker clock, and a count of what each song costs upstream.

How it thinks: faults are laid on songs, one song a fault, so hundreds run side by side and each leaves its
neighbours alone. Every song has its own bytes. A meter in front of the service counts the requests whose
path or query names a song.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from musicfs.demo import Clip, Job, Request, Service, content, m4a_of, wav_of_size, zip_of
from musicfs.demo.knobs import Fault
from tests.faults.gauges import settle
from tests.figures import FAULTS
from tests.loopback import Loopback, running
from tests.mounted.mounting import Mount, attached

SECONDS = 40.0  # an mp3 and an m4a of 640 kB: more than one request of the first window
WAV = 700_000  # bytes of a wav
STEM = content(wav_of_size(300_000, "stem"))
SLACK = 4.0  # seconds that a busy machine may add to a bound


class Stage:
    """One mount, its servers and its songs."""

    def __init__(self, mount: Mount, service: Service, rate: float, deadline: float) -> None:
        self.mount, self.service, self.rate = mount, service, rate
        self.deadline = deadline / rate
        """Real seconds that a kernel request may wait."""
        self.calls: Counter[str] = Counter()
        """Requests by song since it was made."""
        self._lock = threading.Lock()
        self._jobs, self._clips = iter(service.tempolor.jobs), iter(service.flow.clips)
        self._known = {thing.item for thing in service.tempolor.jobs} | {
            thing.uuid for thing in service.flow.clips
        }
        self.heal()

    @property
    def loop(self) -> Loopback:
        """The servers."""
        return self.mount.loop

    @property
    def patience(self) -> float:
        """Seconds that one program may take: an `open` and a broken read that the kernel asks for twice."""
        return 3 * self.deadline + SLACK

    def heal(self) -> None:
        """Take every fault away; the meter stays."""
        self.service.clear()
        self.service.faults.insert(0, Fault(self._count, lambda _: (_ for _ in ()).throw(AssertionError)))

    def _count(self, request: Request) -> bool:
        text = unquote(request.path) + "".join(value for _, value in request.query)
        for ident in self._known:
            if ident in text:
                self.calls[ident] += 1
        return False

    def _next_clip(self) -> Clip | Job:
        return next(self._clips)

    def _next_job(self) -> Clip | Job:
        return next(self._jobs)

    def song(self, place: str) -> tuple[str, Path, bytes]:
        """Give an untouched song for a place: what names it in requests, its file, and its bytes."""
        with self._lock:
            thing = self._next_clip() if place in ("mp3", "bucket") else self._next_job()
        return self._described(place, thing)

    def known_song(self, place: str, number: int) -> tuple[str, Path, bytes]:
        """Give the song of a place by its number, whoever touched it."""
        clips, jobs = self.service.flow.clips, self.service.tempolor.jobs
        return self._described(place, clips[number] if place in ("mp3", "bucket") else jobs[number])

    def _described(self, place: str, thing: Clip | Job) -> tuple[str, Path, bytes]:
        if isinstance(thing, Job):
            folder = self.mount.path / "tempolor" / thing.item
            if place == "stems":
                return thing.item, folder / "stems" / "bass.wav", STEM
            return thing.item, folder / "song.wav", content(thing.assets["wav"])
        if place == "bucket":
            path = self.mount.path / "library" / str(thing.title) / f"{thing.title}.m4a"
            return thing.uuid, path, content(thing.assets["m4a"])
        return thing.uuid, self.mount.path / "flowmusic" / f"{thing.uuid}.mp3", content(thing.assets["mp3"])

    def settle(self) -> None:
        """See that the mount lives and that nothing is left in use."""
        assert self.mount.running, self.mount.log[-2000:]
        settle(self.mount)
        FAULTS["gauge readings of zero"] += 1


def fill(service: Service, songs: int) -> Service:
    """Give a service songs of each kind, every one with bytes of its own."""
    for number in range(songs):
        service.add_clip("ada@example.com", f"Song {number}", SECONDS, m4a=m4a_of(SECONDS, f"m4a {number}"))
        service.add_job(
            "100",
            f"Job {number}",
            4.0,
            wav=wav_of_size(WAV, f"wav {number}"),
            stems=zip_of({"bass.wav": STEM}),
        )
    return service


@contextlib.contextmanager
def staged(
    service: Service,
    home: Path,
    *,
    rate: float = 4.0,
    deadline: float = 16.0,
    tls: bool = False,
    named: bool = False,
    **more: object,
) -> Iterator[Stage]:
    """Serve and mount, see at the end that nothing is left in use, and clean up.

    `named`: the hosts go by a name, not by a number, so that there is something to resolve.
    """
    with running(service, tls=tls, host="localhost" if named else "127.0.0.1") as loop:
        if tls:
            more["ca_file"] = loop.write_ca(home / "ca.pem")
        mount = Mount(
            loop, home, "-m", "tests.faults.program", deadline=deadline, **{"listing_ttl": 3600, **more}
        )
        mount.surroundings = {"FAULTS_RATE": str(rate), "FAULTS_NAMES": str(home / "names")}
        with attached(mount):
            stage = Stage(mount, service, rate, deadline)
            yield stage
            stage.heal()
            if mount.running:
                stage.settle()


def healed(stage: Stage, path: Path, wanted: bytes, limit: float) -> str:
    """Read until a file is exact, for at most `limit` seconds; says what stood in the way, "" if nothing."""
    end = time.monotonic() + limit
    said = ""
    while time.monotonic() < end:
        try:
            if path.read_bytes() == wanted:
                FAULTS["bytes verified"] += len(wanted)
                return ""
            return "other bytes"
        except OSError as failed:
            said = str(failed.strerror)
        time.sleep(0.1)
    return said


def listed(stage: Stage) -> None:
    """Wait until every folder is listed, though the deadline is a second or two of ours."""
    stage.mount.list_all()
