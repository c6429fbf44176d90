"""A service with songs that nobody has touched, 40 ms away, mounted, with a local copy of each beside it.

How it thinks: the three hosts are reached over one long wire (tests/bench/link.py), which counts what came
over it. A song is taken once, by one program, so it is cold however many programs came before. A `Twin` is a
file or folder of the mount and a local copy of it: same bytes, names and times. `pulled()` is the cable
pulled out: the wire's process is stopped, so what was sent is never answered and nobody is told.

    with stage(folder) as scene:
        twin = scene.wav()                    # tempolor/<job>/song.wav, cold
        with scene.counted() as cost: ...     # cost.bytes and cost.requests of the block, when it ends
        with scene.pulled(): ...              # no network in the block

What must always be true: the stage ends with its block, also with the cable pulled; a twin's song is given
to nobody else. It refuses to run programs; that is `work.py`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from musicfs.demo import Clip, Origins, Service
from tests.bench.link import RATE, RTT, Link, link
from tests.clients.sound import SECONDS, Sound
from tests.loopback import running
from tests.mounted.mounting import PATIENCE, Mount, attached, until

CLIPS, JOBS = 60, 60  # songs that can be taken
FOLDERS = 20  # jobs that can be taken as folders
_APART = 4  # a copier has the next two files fetched, which may be the next folder's: that one is nobody's
COVER = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 400
"""100 KB that begin as a picture does."""
ACCOUNT, OTHER = "ada@example.com", "100"
_QUIET = 0.25  # seconds without a byte until a download counts as ended: six round trips
_LOOK = 0.02  # seconds between two looks at the wire


@dataclass(frozen=True, slots=True)
class Twin:
    """A file or folder of the mount, and the same on the local disk."""

    there: Path
    """On the mount."""
    here: Path
    """The copy."""
    ident: str
    """What the service calls the song: part of every path it is asked for."""

    @property
    def size(self) -> int:
        """The bytes of the local copy."""
        files = [self.here] if self.here.is_file() else list(self.here.rglob("*"))
        return sum(each.stat().st_size for each in files if each.is_file())


@dataclass(slots=True)
class Cost:
    """What a block of work cost upstream; known when the block has ended."""

    bytes: int = 0
    """Delivered over the wire, heads of answers included."""
    requests: list[str] = field(default_factory=list)
    """The kind of each request."""


class Stage:
    """The running stage; see the module."""

    def __init__(self, sound: Sound, service: Service, mount: Mount, wire: Link | None, local: Path) -> None:
        self.sound, self.service, self.mount = sound, service, mount
        self._wire, self._local = wire, local
        jobs = list(service.tempolor.jobs)
        self._clips, self._jobs = iter(list(service.flow.clips)), iter(jobs[:JOBS])
        self._covered = (clip for clip in reversed(list(service.flow.clips)) if "cover" in clip.assets)
        self._folders = iter(jobs[JOBS + _APART :: _APART])

    # Songs -----------------------------------------------------------------------------------------------

    def mp3(self) -> Twin:
        """Take `flowmusic/<clip>.mp3`, which comes in one pass."""
        clip = next(self._clips)
        return self._twin(
            f"flowmusic/{clip.uuid}.mp3", self.sound.mp3, clip.uuid, f"flowmusic/{clip.uuid}.mp3"
        )

    def m4a(self, apart: bool = False) -> Twin:
        """Take `library/<Title>/<Title>.m4a`, whose `moov` is at its end; `apart`: of a song with a cover,
        whose length nobody has asked for on a walk through the songs before it."""
        return self._titled("m4a", self.sound.m4a, next(self._covered) if apart else None)

    def titled_wav(self) -> Twin:
        """Take `library/<Title>/<Title>.wav`, which is public."""
        return self._titled("wav", self.sound.wav)

    def _titled(self, form: str, data: bytes, clip: Clip | None = None) -> Twin:
        clip = clip or next(self._clips)
        name = f"library/{clip.title}/{clip.title}.{form}"
        return self._twin(name, data, clip.uuid, f"flowmusic/{clip.uuid}.mp3")

    def cover(self) -> Twin:
        """Take `library/<Title>/cover.jpg`, which is public; there are `covers` of them."""
        clip = next(self._covered)
        name = f"library/{clip.title}/cover.jpg"
        return self._twin(name, COVER, clip.uuid, f"flowmusic/{clip.uuid}.mp3")

    def wav(self) -> Twin:
        """Take `tempolor/<job>/song.wav`, which needs a link."""
        item = next(self._jobs).item
        return self._twin(f"tempolor/{item}/song.wav", self.sound.wav, item, f"tempolor/{item}")

    def stem(self, name: str = "drums.wav") -> Twin:
        """Take a member of a job's archive; `more/voice.wav` is in a folder."""
        item = next(self._jobs).item
        # People come to a stem by its folder; a name in one that nobody has listed is waited for two seconds.
        until(lambda: _listed(self.mount.path / "tempolor" / item / "stems"))
        return self._twin(f"tempolor/{item}/stems/{name}", self.sound.stems[name], item, f"tempolor/{item}")

    def inflated(self) -> Twin:
        """Take the member of a job's archive that is deflated there."""
        return self.stem("bass.wav")

    def folder(self) -> Twin:
        """Take `tempolor/<job>` with an mp3, a wav and the stems."""
        item = next(self._folders).item
        name = f"tempolor/{item}"
        files = {"song.mp3": self.sound.mp3, "song.wav": self.sound.wav}
        files |= {f"stems/{stem}": data for stem, data in self.sound.stems.items()}
        for inner, data in files.items():
            self._twin(f"{name}/{inner}", data, item, name)
        twin = Twin(self.mount.path / name, self._local / name, item)
        for inside in sorted(twin.here.rglob("*"), reverse=True):
            self._date(inside, name)
        self._date(twin.here, name)
        return twin

    def _twin(self, name: str, data: bytes, ident: str, dated: str) -> Twin:
        twin = Twin(self.mount.path / name, self._local / name, ident)
        twin.here.parent.mkdir(parents=True, exist_ok=True)
        twin.here.write_bytes(data)
        self._date(twin.here, dated)
        return twin

    def _date(self, here: Path, dated: str) -> None:
        """Give a copy its time: that of `dated`, whose look costs no request and which has the same."""
        moment = (self.mount.path / dated).stat().st_mtime_ns
        os.utime(here, ns=(moment, moment))

    # The wire --------------------------------------------------------------------------------------------

    @contextmanager
    def counted(self) -> Iterator[Cost]:
        """Count what the block costs upstream, until nothing comes any more."""
        self.settle()
        cost, before, asked = Cost(), self._delivered, len(self.service.log)
        yield cost
        self.settle()
        cost.bytes = self._delivered - before
        cost.requests = [record.kind for record in self.service.log[asked:]]

    def settle(self) -> None:
        """Wait until nothing has come over the wire for a while."""
        end, seen, since = time.monotonic() + PATIENCE, -1, 0.0
        while time.monotonic() < end:
            now, delivered = time.monotonic(), self._delivered
            if delivered != seen:
                seen, since = delivered, now
            elif now - since > _QUIET:
                return
            time.sleep(_LOOK)
        raise AssertionError("something is fetched without end")

    @property
    def _delivered(self) -> int:
        return self._wire.traffic().down if self._wire else self.service.bytes_sent()

    @contextmanager
    def pulled(self, after: float = 0.0) -> Iterator[None]:
        """Have no network in the block, from `after` seconds on: whatever is sent is never answered."""
        assert self._wire is not None, "a stage without a wire has no cable"
        pull = threading.Timer(after, os.kill, (self._wire.pid, signal.SIGSTOP))
        pull.start()
        try:
            if not after:
                pull.join()
            yield
        finally:
            pull.cancel()
            pull.join()
            os.kill(self._wire.pid, signal.SIGCONT)


def filled(sound: Sound, covers: int = 0) -> Service:
    """Make a service whose songs all sound the same, each an object of its own; so many more have a cover."""
    service = Service(clock=time.time)
    mp3, m4a, wav = sound.mp3, sound.m4a, sound.wav
    for number in range(CLIPS):
        service.add_clip(ACCOUNT, f"Song {number:02}", SECONDS, mp3=mp3, m4a=m4a, wav=wav)
    for number in range(covers):
        service.add_clip(ACCOUNT, f"Covered-{number:02}", SECONDS, mp3=mp3, m4a=m4a, wav=wav, cover=COVER)
    for number in range(JOBS + FOLDERS * _APART):
        # Listed, by name and by number they follow each other in one order.
        item = f"{number:012x}"
        service.add_job(OTHER, f"Job {number:03}", SECONDS, item, mp3=mp3, wav=wav, stems=sound.archive)
    return service


def _listed(folder: Path) -> bool:
    try:
        return bool(os.listdir(folder))
    except TimeoutError:
        return False


@contextmanager
def stage(
    folder: Path,
    sound: Sound,
    *,
    rtt: float = RTT,
    rate: int = RATE,
    covers: int = 0,
    **settings: object,
) -> Iterator[Stage]:
    """Set the stage in a folder; `rtt` in seconds, `rate` in bytes a second, `covers` how many songs have
    one, `settings` the mount's.

    Without an `rtt` (0) there is no wire, and hosts that are stopped refuse as they do in the world.
    """
    service = filled(sound, covers)
    with running(service) as loop:
        urls = (loop.api_url, loop.cdn_url, loop.bucket_url)
        if not rtt:
            yield from _mounted(sound, service, Mount(loop, folder, **settings), None)
            return
        ports = [urlsplit(url).port or 0 for url in urls]
        with link(folder, ports, rtt, rate) as wire:
            ways = zip(urls, ports, wire.ports, strict=True)
            far = [url.replace(f":{port}", f":{near}") for url, port, near in ways]
            loop.api_url, loop.cdn_url, loop.bucket_url = far
            service.origins = Origins(*far)
            yield from _mounted(sound, service, Mount(loop, folder, **settings), wire)


def _mounted(sound: Sound, service: Service, mount: Mount, wire: Link | None) -> Iterator[Stage]:
    with attached(mount):
        for name in ("flowmusic", "tempolor", "library"):
            until(partial(_listed, mount.path / name))  # a busy machine may need longer than a short deadline
        yield Stage(sound, service, mount, wire, mount.home / "local")
