"""What a row is given: a folder, the origin, the wires to it, everybody who is measured, and the rounds.

How it thinks: a `Stage` is one origin with its wires; a `Place` is how a reader reaches it over one of
them. The embedded service tells links to the place that was taken last, so one place is in use at a time.
`counted` looks at the books before and after a piece of work.

What must always be true: a stage lasts as long as the bench and is made when first asked for; homes are
numbered, so nothing cold has ever been warm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from musicfs.demo import Origins, Service
from tests.bench.link import RATE, RTT, Link, link
from tests.bench.mounts import TUNED, Httpdirfs, Musicfs, Rclone, emptied
from tests.bench.origin import BUCKET, Asked, Origin, origin
from tests.bench.person import Steward

Wire = Literal["none", "apart", "shared"]
_SETTLE = 0.15  # seconds until a request that was left early has its line in the log


@dataclass(slots=True)
class Count:
    """What a piece of work cost the origin."""

    requests: list[Asked] = field(default_factory=list)
    bytes: int = 0
    """Delivered to the readers over a long wire (heads included); without one, sent by the origin."""
    connections: int = 0

    def to(self, part: str) -> list[Asked]:
        """Give the requests whose path has this part."""
        return [asked for asked in self.requests if part in asked.path]


@dataclass(frozen=True, slots=True)
class Place:
    """The origin, as a reader reaches it."""

    origin: Origin
    api: str
    cdn: str
    bucket: str
    """Holds the clips' files, as MUSICFS_MEDIA_URL does."""
    ca_file: Path | None
    wire: Link | None

    @contextmanager
    def counted(self) -> Iterator[Count]:
        """Count requests, bytes and connections over the block; the figures are there when it ends."""
        count, mark = Count(), self.origin.mark()
        before = self.wire.traffic() if self.wire else None
        yield count
        time.sleep(_SETTLE)
        count.requests = self.origin.asked(mark)
        count.bytes = sum(asked.sent for asked in count.requests)
        if self.wire is not None and before is not None:
            went = self.wire.traffic() - before
            count.bytes, count.connections = went.down, went.connections


class Stage:
    """One origin and its wires."""

    def __init__(self, source: Origin, wires: dict[Wire, Link]) -> None:
        self.origin, self._wires = source, wires

    def at(self, wire: Wire, tls: bool = False) -> Place:
        """Reach the origin over a wire, and have the service hand out links that lead over it."""
        way = self._wires.get(wire)
        ports = way.ports if way else self.origin.tls_ports if tls else self.origin.ports
        scheme = "https" if tls else "http"
        api, cdn, bucket = (f"{scheme}://127.0.0.1:{port}" for port in ports)
        self.origin.service.origins = Origins(api, cdn, bucket + BUCKET)
        return Place(self.origin, api, cdn, bucket + BUCKET, self.origin.ca_file if tls else None, way)


class Bench:
    """The run."""

    def __init__(
        self,
        folder: Path,
        rounds: int,
        quick: bool,
        steward: Steward,
        stack: ExitStack,
        alone: bool = False,
        serve: Callable[[Path, Service], AbstractContextManager[Origin]] = origin,
    ) -> None:
        self.folder, self.quick, self.steward, self.alone = folder, quick, steward, alone
        self._serve = serve
        self._count, self._stack = rounds, stack
        self._stages: dict[str, Stage] = {}
        self._homes = 0

    def rounds(self, most: int | None = None) -> range:
        """Give the rounds; `most` caps them where one takes long."""
        return range(self._count if most is None else min(self._count, most))

    def stage(self, name: str, fill: Callable[[Service, Path], None]) -> Stage:
        """Give the stage of that name; the first call makes it, filled by `fill(service, files)`."""
        if name not in self._stages:
            folder = emptied(self.folder / name)
            for place in ("mp3", BUCKET[1:]):
                (folder / "files" / place).mkdir(parents=True)
            service = Service(clock=time.time)
            fill(service, folder / "files")
            source = self._stack.enter_context(self._serve(folder, service))
            wires: dict[Wire, Link] = {
                "apart": self._stack.enter_context(link(folder, source.ports, RTT, RATE)),
                "shared": self._stack.enter_context(link(folder, source.ports, RTT, RATE, shared=True)),
            }
            self._stages[name] = Stage(source, wires)
        return self._stages[name]

    def home(self) -> Path:
        """Give an empty folder that nobody had before."""
        self._homes += 1
        return emptied(self.folder / f"home-{self._homes}")

    def musicfs(self, place: Place, home: Path | None = None, **settings: str) -> Musicfs:
        """Give musicfs: in a home of the caller's, or cold in one that ends with it."""
        made = Musicfs(home or self.home(), place.api, place.bucket, place.ca_file, **settings)
        made.fleeting = home is None
        return made

    def rclone(self, place: Place, mode: str, home: Path | None = None, url: str | None = None) -> Rclone:
        """Give rclone in one of its modes, on the clips' files or on another folder of the origin."""
        made = Rclone(home or self.home(), url or place.bucket, mode, *RCLONE[mode], ca_file=place.ca_file)
        made.fleeting = home is None
        return made

    def httpdirfs(self, place: Place, cache: bool = True) -> Httpdirfs:
        """Give httpdirfs, with its cache or without."""
        name, words = ("httpdirfs cached", ("--cache",)) if cache else ("httpdirfs", ())
        made = Httpdirfs(self.home(), place.bucket, name, *words)
        made.fleeting = True
        return made


RCLONE = {
    "rclone off": ("--vfs-cache-mode", "off"),
    "rclone full": ("--vfs-cache-mode", "full"),
    "rclone tuned": TUNED,
}
