"""The world's edge, played: fakes for the unit tests of the middle floors, all on trio's clock.

How it thinks: fakes stand only where the house ends. `Scripted` is a network whose answers are a list, with
pauses, faults and broken bodies; it keeps the time limits that httpx hands down, as the real network does.
`Stage` plays bytes into the content room's sinks. `Speaks` carries provider conversations straight to the
embedded service. `Notebook` remembers what a state database would.

What must always be true: nothing here waits on a real clock, and every request is on record with its moment.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec
import pytest
import trio
import trio.testing

from musicfs import providers
from musicfs.catalog import Catalog
from musicfs.content import Content
from musicfs.content.archive import Archives
from musicfs.content.asset import Asset
from musicfs.content.download import Download
from musicfs.content.links import Links, SongSource
from musicfs.content.whole import Pass
from musicfs.core.inodes import ROOT
from musicfs.core.streams import Haste
from musicfs.core.zipdir import Directory
from musicfs.demo import Role, Service
from musicfs.demo.values import Pause, Request, whole
from musicfs.errors import Misbehaved, MusicfsError, TooSlow, UpstreamError
from musicfs.filesystem import Attributes, Filesystem
from musicfs.ledger import Ledger
from musicfs.model import Conversation, Form, Key, Known, Locator, Reply, Song, SongRow, Span
from musicfs.state import State
from musicfs.store import Entry, Kind, Store
from musicfs.wire import Doors, Head, Wire
from musicfs.wire.embedded import doors_to
from musicfs.wire.headers import start_of

T = TypeVar("T")

NOW = 1_795_000_000.0  # seconds since the epoch: the embedded service's own November 2026
# httpx and httpcore hand bodies through nested async generators and close the outermost only; a body that is
# left early leaves the inner ones to the collector, which trio reports.
LOOSE_ENDS = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

TOKEN = "user:1234-secret-of-the-tests"
API = "https://api.example.org"
EDGE = "https://edge.example.net/song.wav"


def pattern(size: int, seed: str = "song") -> bytes:
    """Make bytes that look like no text and differ from place to place and from seed to seed."""
    block = b"".join(hashlib.sha256(f"{seed}{place}".encode()).digest() for place in range(257))
    # A NUL in the first bytes: no check for text may take this for a page.
    return (b"\0" + block * (size // len(block) + 1))[:size]


def wall() -> float:
    """Give the wall clock of the tests: it moves with trio's."""
    return NOW + trio.current_time()


async def stand_still(clock: trio.testing.MockClock, after: float, seconds: float) -> None:
    """Have the machine stand still for so many seconds, `after` some more: all timers are late at once."""
    await trio.sleep(after)
    clock.jump(seconds)


# The network --------------------------------------------------------------------------------------------

BodyStep = bytes | float | Exception


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a server: a body step is bytes, a pause in seconds, or what breaks the connection."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[BodyStep] = ()
    after: float = 0.0
    """Seconds before the status line."""


Move = Answer | Exception | Callable[[httpx.Request], "Answer | Exception"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came out of the house."""

    method: str
    url: str
    headers: Mapping[str, str]
    moment: float
    """On trio's clock, from the start of the test."""

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")


class Scripted(httpx.AsyncBaseTransport):
    """A network that plays its moves in order; the last one stands for all that follow."""

    def __init__(self, *moves: Move) -> None:
        self.moves = list(moves)
        self.asked: list[Asked] = []
        self.under_way = 0
        self.most_under_way = 0
        self._began = trio.current_time()

    @property
    def moments(self) -> list[float]:
        """When each request came, in seconds from the start."""
        return [one.moment for one in self.asked]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Play the next move."""
        move = self.moves.pop(0) if len(self.moves) > 1 else self.moves[0]
        headers = {name: request.headers[name] for name in request.headers}
        self.asked.append(Asked(request.method, str(request.url), headers, trio.current_time() - self._began))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await trio.lowlevel.checkpoint()
            answer = move(request) if callable(move) else move
            if isinstance(answer, Exception):
                raise answer
            await limited(answer.after, request)
        except BaseException:
            self.under_way -= 1
            raise
        body = _Body(self, answer, request)
        return httpx.Response(answer.status, headers=dict(answer.headers), stream=body)


class _Body(httpx.AsyncByteStream):
    def __init__(self, network: Scripted, answer: Answer, request: httpx.Request) -> None:
        self._network, self._answer, self._request = network, answer, request
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._answer.body:
            await trio.lowlevel.checkpoint()
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                yield step
            else:
                await limited(step, self._request)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._network.under_way -= 1


async def limited(seconds: float, request: httpx.Request) -> None:
    """Wait, but no longer than the request's own limit for reading, as a socket would."""
    limit = request.extensions["timeout"]["read"]
    if limit is not None and seconds > limit:
        await trio.sleep(limit)
        raise TooSlow("no data came in time")
    await trio.sleep(seconds)


def ok(body: bytes, **headers: str) -> Answer:
    """Answer 200 with the whole body and its length."""
    return Answer(200, {"content-length": str(len(body)), **_named(headers)}, (body,))


def part(data: bytes, start: int, stop: int, *steps: BodyStep, **headers: str) -> Answer:
    """Answer 206 with `data[start:stop]`, or with `steps` in place of that body."""
    told = {
        "content-range": f"bytes {start}-{stop - 1}/{len(data)}",
        "content-length": str(stop - start),
        **_named(headers),
    }
    return Answer(206, told, steps or (data[start:stop],))


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def ranged(data: bytes, **headers: str) -> Callable[[httpx.Request], Answer]:
    """Answer as a healthy byte server would."""

    def answer(request: httpx.Request) -> Answer:
        asked = request.headers.get("range")
        if asked is None:
            return ok(data, **headers)
        first, last = asked.removeprefix("bytes=").split("-")
        return part(data, int(first), min(int(last) + 1, len(data)), **headers)

    return answer


def wire_on(network: httpx.AsyncBaseTransport, deadline: float = 30.0, api: str = API) -> Wire:
    """Build the wire on a played network."""
    return Wire(Doors(api, TOKEN, network), deadline, wall)


class Bucket:
    """A sink for `wire.pull` that keeps all it is given."""

    foretold = False

    def __init__(self, start: int, stop: int | None) -> None:
        self.at = self._base = start
        self.stop = stop
        self.heads: list[Head] = []
        self.got = bytearray()
        self.ended = False
        self.setbacks: list[UpstreamError] = []
        self.haste = Haste.NOW

    def begin(self, head: Head) -> None:
        """Accept any head."""
        self.heads.append(head)
        if head.start != self.at:
            self.at = self._base = head.start
            self.got.clear()

    def take(self, data: bytes) -> bool:
        """Keep it."""
        self.got += data
        self.at += len(data)
        return self.stop is None or self.at < self.stop

    def faltered(self, failure: UpstreamError) -> None:
        """Keep it."""
        self.setbacks.append(failure)

    def end(self) -> None:
        """Accept the end, unless bytes are missing."""
        if self.stop is not None and self.at < self.stop:
            raise Misbehaved("the body ended early")
        self.ended = True


class Fixed:
    """A source whose links are a list; each `expire` goes on to the next."""

    def __init__(self, *locators: Locator, form: str = Form.WAV) -> None:
        self.form = form
        self._locators = list(locators)
        self.expired = 0

    async def locate(self) -> Locator:
        """Give the link that is believed to be alive."""
        await trio.lowlevel.checkpoint()
        return self._locators[min(self.expired, len(self._locators) - 1)]

    def expire(self, locator: Locator) -> None:
        """Go on to the next."""
        self.expired += 1


# The embedded service, without a network -----------------------------------------------------------------


class Speaks:
    """Drives provider conversations straight against the embedded service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def converse(self, talk: Conversation[T], background: bool = False, once: bool = False) -> T:
        """Ask and answer until the noun is there."""
        await trio.lowlevel.checkpoint()
        try:
            request = next(talk)
            while True:
                asked = Request(
                    "GET",
                    Role.API,
                    quote(request.path, safe="/:@+-._~!$&'()*,;="),
                    request.query,
                    {"authorization": f"Bearer {self.service.token}"},
                )
                answer = self.service.answer(asked)
                for event in answer.before:
                    if isinstance(event, Pause):
                        await trio.sleep(event.seconds)
                    else:
                        raise TooSlow("no data came in time")
                request = talk.send(Reply(answer.status, whole(answer), {}))
        except StopIteration as done:
            noun: T = done.value
            return noun

    @property
    def counts(self) -> Counter[str]:
        """Requests by kind."""
        return self.service.counts


# Memory --------------------------------------------------------------------------------------------------


class Notebook:
    """Songs and marks, kept as a state database would keep them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], SongRow] = {}
        self.marks: dict[str, str] = {}

    def songs(self) -> list[SongRow]:
        """Give copies, eldest first: a restart does not share objects with the life before."""
        kept = sorted(self.rows.values(), key=lambda row: row.birth)
        return [_copy(row) for row in kept]

    async def save_songs(self, rows: list[SongRow]) -> None:
        """Keep rows."""
        await trio.lowlevel.checkpoint()
        for row in rows:
            self.rows[row.song.service, row.song.ident] = _copy(row)

    def mark(self, name: str) -> str | None:
        """Read a word."""
        return self.marks.get(name)

    async def save_mark(self, name: str, value: str) -> None:
        """Keep a word."""
        await trio.lowlevel.checkpoint()
        self.marks[name] = value


def _copy(row: SongRow) -> SongRow:
    return msgspec.structs.replace(row)


class Memo:
    """Versions, lengths and directories, as the ledger keeps them."""

    def __init__(self) -> None:
        self.files: dict[Key, Known] = {}
        self.directories: dict[Key, tuple[int, Directory]] = {}
        self.absences: Counter[Key] = Counter()
        self.refusals: dict[Key, float] = {}
        self.notes = 0

    def known(self, key: tuple[str, str, str]) -> Known:
        """Say what is known."""
        return self.files.get(Key(*key), Known())

    def note(self, key: Key, known: Known) -> None:
        """Keep it."""
        self.files[key], self.notes = known, self.notes + 1

    def missed(self, key: Key) -> None:
        """Count a 404."""
        self.absences[key] += 1
        self.refusals[key] = wall()

    def refused(self, key: Key) -> float | None:
        """Say when the last one was, in seconds since the epoch."""
        return self.refusals.get(key)

    def found(self, key: Key) -> None:
        """Forget the 404s."""
        self.absences.pop(key, None)
        self.refusals.pop(key, None)

    def hidden(self, key: Key) -> bool:
        """Hide nothing."""
        return False

    def directory(self, key: Key) -> tuple[int, Directory] | None:
        """Give a directory that was seen."""
        return self.directories.get(key)

    def keep_directory(self, key: Key, version: int, directory: Directory) -> None:
        """Keep it."""
        self.directories[key] = version, directory


class Shelf:
    """The real store, as the content room asks for it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find(self, key: str, version: int) -> Entry | None:
        """Find an object."""
        return self.store.find(key, version)

    def create(self, key: str, version: int, one_pass: bool, size: int | None, validator: str) -> Entry:
        """Begin an object."""
        return self.store.create(key, version, Kind.WHOLE if one_pass else Kind.RANGED, size, validator)

    def drop(self, key: str, version: int) -> None:
        """Let go of an object."""
        self.store.drop(key, version)


# Bytes into the content room -----------------------------------------------------------------------------


@dataclass(slots=True)
class Thing:
    """What a byte server has of one file, and how it gives it; a test may change any of it at any time."""

    data: bytes
    validator: str = "etag one"
    ranges: bool = True
    sized: bool = True
    """Whether the length is told."""
    slow: float = 0.0
    """Seconds before the first byte."""
    pace: float | None = None
    """Bytes a second; None is at once."""
    breaks: list[int] = field(default_factory=list)
    """After how many bytes of the body the next answers break, one each; `wire` goes on by itself."""
    ends: list[int] = field(default_factory=list)
    """After how many bytes the next answers end as if that were all."""
    failures: list[MusicfsError] = field(default_factory=list)
    """What the next pulls end with at once, one each."""
    next_data: list[bytes] = field(default_factory=list)
    """What it has from the next answers on, one each: an mp3 is made anew each time."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """One answer that was begun: of what, from where to where, when."""

    key: str
    start: int
    stop: int | None
    moment: float


class Stage:
    """A network for the content room: plays the bytes of things into sinks, with the faults they have."""

    PIECE = 16_384

    def __init__(self) -> None:
        self.things: dict[str, Thing] = {}
        self.pulls = 0
        self.answers: list[Pulled] = []
        self.line: float | None = None
        """Bytes a second that all answers share; None: each has its thing's pace for itself."""
        self._line_free = 0.0
        self.idle = 0.0
        """Seconds for which that line had nothing to carry."""
        self.moved = 0
        """Bytes that were handed over."""
        self.mints: Counter[str] = Counter()

    async def converse(self, talk: Conversation[T], background: bool = False) -> T:
        """Mint a link."""
        await trio.lowlevel.checkpoint()
        try:
            request = next(talk)
            while True:
                self.mints[f"{request.path.rpartition(':')[2]}:{dict(request.query)['file_format']}"] += 1
                request = talk.send(Reply(200, b'{"url":"https://edge.example.net/x","remainSeconds":0}'))
        except StopIteration as done:
            noun: T = done.value
            return noun

    async def pull(self, source: SongSource, sink: Download | Pass, slow: bool = False) -> None:
        """Fill a sink as `wire` would: a broken answer is followed by another from the next byte."""
        self.pulls += 1
        thing = self.things[source_key(source)]
        await source.locate()
        await trio.sleep(thing.slow)
        if thing.failures:
            raise thing.failures.pop(0)
        for _ in range(9):
            try:
                return await self._answer(source_key(source), thing, sink)
            except Misbehaved as broken:
                if not broken.temporary:
                    raise
                last = broken
                sink.faltered(broken)
                await trio.sleep(0.25)
        raise last

    async def _answer(self, key: str, thing: Thing, sink: Download | Pass) -> None:
        if thing.next_data:
            thing.data = thing.next_data.pop(0)
        size = len(thing.data)
        stop = None if sink.stop is None else min(sink.stop, size)
        self.answers.append(Pulled(key, sink.at, sink.stop, trio.current_time()))
        whole_ = not thing.ranges or (stop is None and sink.at >= 0)
        start = 0 if whole_ else start_of(sink.at, size)
        end = size if whole_ or stop is None else stop
        total = size if thing.sized else None
        breaks = thing.breaks.pop(0) if thing.breaks else None
        if breaks == 0:
            raise Misbehaved("the connection broke")
        sink.begin(Head(start, total, not whole_, thing.validator, end - start if thing.sized else None))
        ends = thing.ends.pop(0) if thing.ends else None
        for at in range(start, end, self.PIECE):
            data = thing.data[at : min(at + self.PIECE, end)]
            if breaks is not None and at - start + len(data) > breaks:
                if breaks > at - start:
                    sink.take(data[: breaks - (at - start)])
                raise Misbehaved("the connection broke")
            if ends is not None and at - start + len(data) >= ends:
                sink.take(data[: ends - (at - start)])
                return sink.end()
            await self._travel(len(data), thing.pace)
            self.moved += len(data)
            if not sink.take(data):
                return None
        return sink.end()

    async def _travel(self, amount: int, pace: float | None) -> None:
        """Take the time that bytes take, on a connection of their own or on the line that all share."""
        if self.line is None:
            await trio.sleep(0 if pace is None else amount / pace)
        else:
            self.idle += max(0.0, trio.current_time() - self._line_free)
            self._line_free = max(self._line_free, trio.current_time()) + amount / self.line
            await trio.sleep_until(self._line_free)


def source_key(source: SongSource) -> str:
    """Say which file a source is of."""
    song = source._song
    return f"{song.service}:{song.ident}:{source.form}"


class House:
    """The content room on a stage, with a real store."""

    def __init__(
        self, nursery: trio.Nursery, folder: Path, limit: int = 64 * 2**20, memo: Memo | None = None
    ) -> None:
        self.nursery, self.stage, self.memo = nursery, Stage(), memo or Memo()
        self.store = Store(folder, limit, 0, clock=lambda: NOW)
        self.changes: list[Key] = []
        self.build()

    def build(self) -> None:
        """Build the room anew on the same memory and shelf, as a restart would."""
        services = providers.find("https://media.example.net")
        self.content = Content(
            self.nursery,
            self.stage,
            Shelf(self.store),
            self.memo,
            Links(self.stage, services, wall),
            made_anew=lambda asset: asset.form in services[asset.song.service].made_anew,
            changed=self.changes.append,
        )
        self.archives = Archives(self.nursery, self.content, self.memo, wall)

    def put(self, asset: Asset, thing: Thing) -> Thing:
        """Let the byte servers have something."""
        self.stage.things[str(asset.key)] = thing
        return thing

    def __enter__(self) -> Self:
        self.store.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()


@asynccontextmanager
async def housed(folder: Path, limit: int = 64 * 2**20) -> AsyncIterator[House]:
    """Open a content room for a test; at its end no job is left and nobody holds anything."""
    async with trio.open_nursery() as nursery:
        with House(nursery, folder, limit) as house:
            yield house
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


class Programs:
    """Who asks: the thread ids that stand for indexers."""

    def __init__(self) -> None:
        self.scanners: set[int] = set()
        self.media_servers: set[int] = set()

    def is_scanner(self, tid: int) -> bool:
        """Tell whether a thread is one of them."""
        return tid in self.scanners

    def is_media_server(self, tid: int) -> bool:
        """Tell whether a thread is a media server's."""
        return tid in self.media_servers

    def name(self, tid: int) -> str:
        """Name the program of a thread."""
        return f"indexer{tid}" if tid in self.scanners else f"player{tid}"

    def process(self, tid: int) -> int:
        """Give the process of a thread: a hundred threads each."""
        return tid // 100


class Mounted:
    """The whole house but the kernel, over the embedded service in this process."""

    def __init__(
        self, nursery: trio.Nursery, service: Service, folder: Path, memory: Notebook, minted: bool = False
    ) -> None:
        self.service, self.memory, self.programs = service, memory, Programs()
        self.store = Store(folder / "cache", 64 * 2**20, 0, clock=wall)
        self.state = State(folder / "state")
        self.state.open()
        self.store.open()
        self.wire = Wire(doors_to(service, service.token), 30.0, wall)
        services = providers.find(service.origins.bucket)
        self.ledger = Ledger(self.state, wall)
        content = Content(
            nursery,
            self.wire,
            Shelf(self.store),
            self.ledger,
            Links(self.wire, services, wall),
            made_anew=lambda asset: asset.form in services[asset.song.service].made_anew,
        )
        archives = Archives(nursery, content, self.ledger, wall)
        catalog = Catalog(nursery, self.wire, services, memory, wall, 60.0, 600.0)
        self.resized: list[int] = []
        self.takes = self.store.snapshot().limit
        """Bytes that the cache says it can take."""
        self.files = Filesystem(
            *(nursery, catalog, content, archives, self.programs, 30.0, minted, self.resized.append),
            room=lambda: self.takes,
            spare=self.wire.spare,
        )

    async def find(self, path: str) -> Attributes:
        """Look a path up, a name at a time, as the kernel does."""
        found = self.files.relative(ROOT, up=False)
        for name in path.split("/"):
            found = await self.files.lookup(found.inode, name)
        return found

    async def names(self, path: str = "") -> list[str]:
        """List a folder."""
        inode = (await self.find(path)).inode if path else ROOT
        return [entry.name for entry in await self.files.entries(inode)]

    async def read(self, path: str) -> bytes:
        """Read a file whole."""
        handle = await self.files.open((await self.find(path)).inode)
        try:
            data = bytearray()
            read = self.files.read_here, self.files.read
            while piece := read[0](handle, len(data), 131_072) or await read[1](handle, len(data), 131_072):
                data += piece
            return bytes(data)
        finally:
            self.files.close(handle)

    def close(self) -> None:
        """Close what is on the disk."""
        self.files.shut()
        self.state.close()
        self.store.close()


@asynccontextmanager
async def living(
    service: Service, folder: Path, memory: Notebook | None = None, minted: bool = False
) -> AsyncIterator[Mounted]:
    """Open the house without a kernel for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        mounted = Mounted(nursery, service, folder, memory or Notebook(), minted)
        try:
            yield mounted
            await trio.testing.wait_all_tasks_blocked()
        finally:
            nursery.cancel_scope.cancel()
            mounted.close()


def wav_asset(ident: str = "0123abcd", listed: bool = True, duration: float | None = 12.0) -> Asset:
    """Name a TemPolor wav: read by ranges."""
    return Asset(tempolor_song(ident, duration), Form.WAV, listed)


def mp3_asset(ident: str = "0f0e0d0c-0b0a-4908-8706-050403020100", duration: float | None = 12.0) -> Asset:
    """Name a Flow Music mp3: read in one pass."""
    handle = f"user:1234-ada@example.com-clip:{ident}"
    return Asset(Song("flowmusic", ident, handle, "ada@example.com", "Song", duration), Form.MP3)


def tempolor_song(ident: str = "0123abcd", duration: float | None = 12.0) -> Song:
    """Make a TemPolor song that was finished long ago."""
    handle = f"user:1234-tempolor:100200300-job:{ident}"
    return Song("tempolor", ident, handle, "100200300", "Song", duration, NOW - 90_000, NOW - 90_000)


def spans(size: int, step: int) -> Iterator[Span]:
    """Walk through a file."""
    return (Span(at, min(at + step, size)) for at in range(0, size, step))
