"""What a music mount may say, as a naive model, and a machine that asks at random and compares.

How it thinks: the model holds, for every path there ever was, every content the service ever had for it,
and nothing else. What is asked (listing, lookup, open, read, seek, close, many readers at once) is drawn
by Hypothesis, and so is what happens meanwhile: time passes, links expire, the cache is emptied, songs are
added, changed and deleted, servers break in fifteen ways, the clock is set wrong, the house is restarted
and killed. Then answers are held against the model:

    a handle gives bytes of one content the service has had, at its exact length, or an error
    a healthy service whose file did not change gives no error
    what is in the cache whole is served whatever the network does
    a folder shows every song that was listed and not deleted, and nothing that never was
    an inode stands for one content, an mtime is its path's for ever

What must always be true: the machine knows nothing of how the house works; `World` is all it sees, and
the kernel-less house and a real mount both play it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from musicfs.demo import (
    Clip,
    ContentRange,
    Cut,
    Delivery,
    Job,
    Member,
    Ranges,
    Service,
    archive_of,
    content,
    mp3_of,
    wav_of_size,
)
from musicfs.demo.assets import asset_of
from musicfs.demo.faults import Answer, black_hole, denied_link, dropped, garbage, html, json_error, throttled
from tests.figures import FAULTS

ROOMY, TINY = 64 * 2**20, 900_000  # bytes of cache: more than everything, and about three wavs
FOLDERS = ("flowmusic", "tempolor")
BYTE_KINDS = ("range", "whole", "mp3")

SICK = {errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EBUSY, errno.EACCES, errno.ESTALE}
"""What a fault of a service may be told as; never ENOENT: "couldn't ask" is not "deleted"."""
UNSEEN = {errno.EBUSY, errno.ETIMEDOUT}
"""What a `stems/` never seen may be told as: a lookup waits 2 s for it, and four at most wait (DESIGN §3)."""
DELETED = {errno.EIO, errno.ENOENT, errno.ESTALE}
FULL = {errno.ENOSPC}


class World(Protocol):
    """A mount, with or without a kernel; failures are OSErrors."""

    service: Service
    limit: int

    def names(self, folder: str) -> set[str]:
        """List a folder."""
        ...

    def stat(self, path: str) -> tuple[int, int, int]:
        """Give inode, size and mtime (ns)."""
        ...

    def open(self, path: str) -> tuple[int, int]:
        """Open; give handle and exact size."""
        ...

    def read(self, handle: int, at: int, length: int) -> bytes:
        """Read."""
        ...

    def close(self, handle: int) -> None:
        """Close."""
        ...

    def abandon(self, handle: int) -> None:
        """Let go of a file whose house is about to be killed."""
        ...

    def burst(self, reads: list[tuple[str, int, int, float | None]]) -> list[bytes | OSError | None]:
        """Read many files at once, (path, offset, length, patience); None = the reader went away."""
        ...

    def cached(self, path: str) -> bool:
        """Tell whether all of a file is on the shelf."""
        ...

    def evict(self) -> None:
        """Let go of all that nobody holds."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def refresh(self) -> None:
        """Let time pass until the listings were read anew."""
        ...

    def recover(self) -> None:
        """Let time pass until hosts that were down are asked again."""
        ...

    def skew(self, seconds: float) -> None:
        """Set the machine's clock wrong."""
        ...

    def restart(self) -> None:
        """End and start again."""
        ...

    def kill(self) -> None:
        """Die and start again."""
        ...

    def used(self) -> int:
        """Bytes the cache takes."""
        ...

    def gauges(self) -> dict[str, int]:
        """Count what is under way."""
        ...


@dataclass
class Handle:
    """An open file, as a program has it."""

    path: str
    number: int
    size: int
    may_be: list[bytes]
    """The contents that agree with all it has given so far."""
    at: int = 0


@dataclass
class Model:
    """All that is naively known."""

    contents: dict[str, list[bytes]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    seen: dict[str, set[str]] = field(default_factory=lambda: {folder: set() for folder in FOLDERS})
    inodes: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Inode → path and size, once an open told the size."""
    mtimes: dict[str, int] = field(default_factory=dict)

    def put(self, path: str, data: bytes) -> None:
        """Take note of what the service has for a path now."""
        self.contents.setdefault(path, []).append(data)

    def top(self, folder: str, without: Iterable[str] = ()) -> set[str]:
        """Give the names of a folder that stand for songs, less those of the paths in `without`."""
        return {path.split("/")[1] for path in self.contents.keys() - set(without) if path.startswith(folder)}


picks = st.integers(0, 9999)


class Machine(RuleBasedStateMachine):
    """The machine; a subclass says how its world is made."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.handles: list[Handle] = []
        self.sick = False
        self.world: World
        self.number = 0

    def build(self, limit: int) -> World:
        """Make a world with a healthy, empty service."""
        raise NotImplementedError

    # The service ---------------------------------------------------------------------------------------

    @initialize(tiny=st.booleans(), listed=st.booleans())
    def begin(self, tiny: bool, listed: bool) -> None:
        """Begin with a few songs, and perhaps look at them before anything befalls them."""
        self.world = self.build(TINY if tiny else ROOMY)
        self.service = self.world.service
        for _ in range(2):
            self._add_clip()
            self._add_job()
        self.start()
        if listed:
            for folder in FOLDERS:
                self.list_folder(folder)

    def start(self) -> None:
        """Open the world, once it has songs."""

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _add_clip(self) -> Clip:
        number = self._next()
        seconds = 6.0 + number % 20
        clip = self.service.add_clip(
            "ada@example.com", f"Song {number}", seconds, mp3=mp3_of(seconds, number)
        )
        self.model.put(f"flowmusic/{clip.uuid}.mp3", content(clip.assets["mp3"]))
        return clip

    def _add_job(self) -> Job:
        number = self._next()
        job = self.service.add_job("100", f"Job {number}", 10.0, created=1_790_000_000.0 + number)
        for form in ("mp3", "wav", "stems"):
            self._give(job, form)
        return job

    def _give(self, job: Job, form: str, size: int | None = None) -> None:
        """Have a job's form be other bytes."""
        number = self._next()
        if form == "stems":
            members = {
                "bass.wav": content(wav_of_size(90_000 + number, number)),
                "sub/notes.txt": b"".join(b"%d\n" % (n * number % 10_007) for n in range(9_000)),
            }
            job.assets["stems"] = archive_of(
                [Member(name, data, deflated=name.endswith("txt")) for name, data in members.items()]
            )
            for name, data in members.items():
                self.model.put(f"tempolor/{job.item}/stems/{name}", data)
            return
        made = wav_of_size(size or 150_000 + 7919 * number % 200_000, number)
        if form == "mp3":
            made = asset_of(mp3_of(5.0 + number % 5, number))
        job.assets[form] = made
        job.modified = 1_790_000_000.0 + number
        self.model.put(f"tempolor/{job.item}/song.{form}", content(made))

    @rule(clip=st.booleans())
    def add_upstream(self, clip: bool) -> None:
        """A song is made."""
        if len(self.model.contents) < 60:
            self._add_clip() if clip else self._add_job()

    @rule(pick=picks, form=st.sampled_from(["mp3", "wav", "stems"]), same_size=st.booleans())
    def change_upstream(self, pick: int, form: str, same_size: bool) -> None:
        """A file becomes other bytes, perhaps as many as before."""
        jobs = self.service.tempolor.jobs
        if jobs:
            job = jobs[pick % len(jobs)]
            self._give(job, form, job.assets[form].size if same_size else None)
            FAULTS["changes"] += 1

    @rule(pick=picks)
    def change_clip_upstream(self, pick: int) -> None:
        """A clip's mp3 is made anew, with other bytes."""
        clips = self.service.flow.clips
        if clips:
            clip, number = clips[pick % len(clips)], self._next()
            clip.assets["mp3"] = asset_of(mp3_of(clip.duration or 6.0, number))
            self.model.put(f"flowmusic/{clip.uuid}.mp3", content(clip.assets["mp3"]))
            FAULTS["changes"] += 1

    @rule(pick=picks, clip=st.booleans())
    def delete_upstream(self, pick: int, clip: bool) -> None:
        """A song is deleted at its service."""
        songs: list[Clip] | list[Job] = self.service.flow.clips if clip else self.service.tempolor.jobs
        if len(songs) > 1:
            gone = songs.pop(pick % len(songs))
            stem = f"flowmusic/{gone.uuid}." if isinstance(gone, Clip) else f"tempolor/{gone.item}/"
            self.model.deleted |= {path for path in self.model.contents if path.startswith(stem)}
            FAULTS["deletions"] += 1

    # Faults --------------------------------------------------------------------------------------------

    def refusals(self, kind: str) -> list[Answer]:
        """Give the answers that a server may refuse with."""
        answers: list[Answer] = [
            json_error(500),
            html(502),
            json_error(401),
            garbage(),
            throttled(1),
            throttled(120),
            black_hole(),
            dropped(),
            dropped(clean=True),
            html(200),
        ]
        if kind == "range":
            answers.append(denied_link())
        return answers

    @rule(kind=st.sampled_from([*BYTE_KINDS, "mint", "list", "record", "accounts"]), which=picks)
    def fail(self, kind: str, which: int) -> None:
        """A server refuses."""
        answers = self.refusals(kind)
        answer = answers[which % len(answers)]
        self.service.fail(answer, kind=kind, times=None if which % 3 else 1 + which % 2)
        self.sick = True
        FAULTS["faults"] += 1

    def bends(self, kind: str, at: int) -> list[dict[str, Any]]:
        """Give the ways in which bytes may leave a server badly."""
        return [
            {"cut": Cut(at)},
            {"cut": Cut(at, clean=kind == "range")},
            {"content_range": ContentRange.STAR},
            {"content_range": ContentRange.SHIFTED},
            {"content_range": ContentRange.MISSING},
            {"gzip": True},
            {"redirect": "loop"},
            {"redirect": "http://10.0.0.1/song"},
            {"stall_at": at},
        ]

    @rule(kind=st.sampled_from(["range", "mp3"]), which=picks, at=st.integers(0, 250_000))
    def twist(self, kind: str, which: int, at: int) -> None:
        """Bytes leave a server badly."""
        ways = self.bends(kind, at)
        self.service.twist(kind=kind, times=1 + which % 5, **ways[which % len(ways)])
        self.sick = True
        FAULTS["faults"] += 1

    @rule(ranges=st.sampled_from(list(Ranges)), drip=st.sampled_from([None, 300_000.0]))
    def moods(self, ranges: Ranges, drip: float | None) -> None:
        """The byte servers behave otherwise, but well."""
        self.service.knobs.cdn = Delivery(ranges=ranges, drip=drip)

    @precondition(lambda self: self.sick)
    @rule()
    def heal(self) -> None:
        """All servers are well again, and have been for so long that hosts are asked again."""
        self.service.clear()
        self.world.recover()
        self.sick = False

    # Time and the house --------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 2.0, 61.0, 700.0, 1900.0, 3700.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: listings grow old, links die."""
        self.world.wait(seconds)

    @rule(days=st.sampled_from([-1.0, 1.0]))
    def skew(self, days: float) -> None:
        """The machine's clock jumps by a day."""
        self.world.skew(days * 86_400)

    @rule()
    def evict(self) -> None:
        """The cache is emptied of all that nobody holds."""
        self.world.evict()

    @rule(kill=st.booleans())
    def live_again(self, kill: bool) -> None:
        """The house is restarted, or killed and started."""
        for handle in self.handles:
            if kill:
                self.world.abandon(handle.number)
            else:
                self.world.close(handle.number)
        if kill:
            self.world.kill()
        else:
            self.world.restart()
        self.handles.clear()
        FAULTS["kills" if kill else "restarts"] += 1

    # Questions -----------------------------------------------------------------------------------------

    @rule(folder=st.sampled_from(FOLDERS))
    def list_folder(self, folder: str) -> None:
        """A listing shows what was there and not what never was."""
        FAULTS["listings"] += 1
        try:
            names = self.world.names(folder)
        except OSError as failed:
            see(self.sick and failed.errno in SICK, f"{folder} cannot be listed: {failed}")
            see(not self.model.seen[folder], f"{folder} was listed before and now fails: {failed}")
            return
        kept = self.model.seen[folder] & self.model.top(folder, self.model.deleted)
        assert kept <= names, f"lost from {folder}: {kept - names}"
        assert names <= self.model.top(folder), f"never was in {folder}: {names - self.model.top(folder)}"
        self.model.seen[folder] |= names

    @precondition(lambda self: not self.sick)
    @rule()
    def refresh(self) -> None:
        """Once listings were read anew, every song of a healthy service is shown."""
        # A pass that broke goes on where it broke, so it is the one after it that sees what is new.
        self.world.refresh()
        self.world.refresh()
        for folder in FOLDERS:
            self.list_folder(folder)
            there = self.model.top(folder, self.model.deleted)
            assert there <= self.model.seen[folder], f"not shown in {folder}"

    def _path(self, pick: int) -> str | None:
        paths = [path for path in self.model.contents if path.split("/")[1] in self.model.seen[_top(path)]]
        return paths[pick % len(paths)] if paths else None

    @rule(pick=picks)
    def look_up(self, pick: int) -> None:
        """A path's time is its own for ever; one that was listed exists."""
        if (path := self._path(pick)) is None:
            return
        try:
            _, size, mtime = self.world.stat(path)
        except OSError as failed:
            self._excused(path, failed)
            return
        assert size > 0, f"{path} is shown empty"
        if "/stems/" not in path:
            assert self.model.mtimes.setdefault(path, mtime) == mtime, f"{path} has another time"

    @rule(name=st.sampled_from([".hidden", "Folder.jpg", "0" * 36 + ".mp3", "a:b", "..mp3", "\udcff"]))
    def look_up_nothing(self, name: str) -> None:
        """What never was is not there, and nobody has to be asked."""
        for folder in FOLDERS:
            try:
                self.world.stat(f"{folder}/{name}")
            except OSError as failed:
                unsure = self.sick or not self.model.seen[folder]
                see(failed.errno == errno.ENOENT or unsure, f"{folder}/{name}: {failed}")
            else:
                raise AssertionError(f"{folder}/{name} exists")

    @rule(pick=picks, length=st.sampled_from([0, 1, 4096, 200_000]))
    def open_and_read(self, pick: int, length: int) -> None:
        """A program opens a file and reads its beginning."""
        before = len(self.handles)
        self.open(pick)
        if length and len(self.handles) > before:
            self.handles[-1].at += self._read(self.handles[-1], 0, length)

    @rule(pick=picks)
    def open(self, pick: int) -> None:
        """An open tells an exact length, of a content that the service has had."""
        if (path := self._path(pick)) is None or len(self.handles) > 20:
            return
        here = self.world.cached(path)
        try:
            number, size = self.world.open(path)
        except OSError as failed:
            see(not here or path in self.model.deleted, f"{path} is cached and cannot be opened: {failed}")
            self._excused(path, failed)
            return
        FAULTS["opens"] += 1
        contents = self.model.contents[path]
        may_be = [data for data in contents if len(data) == size]
        assert may_be, f"{path} has {size} bytes, and never had: {[len(data) for data in contents]}"
        self.handles.append(Handle(path, number, size, may_be))

    @precondition(lambda self: self.handles)
    @rule(pick=picks, length=st.sampled_from([1, 4096, 65_536, 131_072, 1_000_000]))
    def read_on(self, pick: int, length: int) -> None:
        """A program reads on from where it is."""
        handle = self.handles[pick % len(self.handles)]
        handle.at += self._read(handle, handle.at, length)

    @precondition(lambda self: self.handles)
    @rule(pick=picks, where=st.floats(0, 1.02), length=st.integers(1, 200_000))
    def seek_and_read(self, pick: int, where: float, length: int) -> None:
        """A program seeks anywhere, beyond the end too, and reads."""
        handle = self.handles[pick % len(self.handles)]
        handle.at = int(where * handle.size)
        handle.at += self._read(handle, handle.at, length)

    def _read(self, handle: Handle, at: int, length: int) -> int:
        try:
            found = self.world.read(handle.number, at, length)
        except OSError as failed:
            self._excused(handle.path, failed)
            return 0
        wanted = max(0, min(length, handle.size - at))
        assert len(found) == wanted, f"{handle.path}: {len(found)} bytes at {at}, not {wanted}"
        handle.may_be = [data for data in handle.may_be if data[at : at + length] == found]
        assert handle.may_be, f"{handle.path}: bytes at {at} that no one content has"
        FAULTS["bytes verified"] += len(found)
        FAULTS["reads"] += 1
        return len(found)

    @precondition(lambda self: self.handles)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        """A program closes a file."""
        self.world.close(self.handles.pop(pick % len(self.handles)).number)

    @rule(
        many=st.lists(
            st.tuples(picks, st.floats(0, 1), st.sampled_from([None, None, 0.0, 0.01, 0.3])),
            min_size=2,
            max_size=8,
        )
    )
    def burst(self, many: list[tuple[int, float, float | None]]) -> None:
        """Many programs open, read and close at once, and some of them are killed meanwhile."""
        reads = []
        for pick, where, patience in many:
            if (path := self._path(pick)) is not None:
                reads.append((path, int(where * len(self.model.contents[path][-1])), 100_000, patience))
        for (path, at, length, _), found in zip(reads, self.world.burst(reads), strict=True):
            if isinstance(found, OSError):
                self._excused(path, found)
            elif found is not None:
                pieces = {data[at : at + length] for data in self.model.contents[path]}
                assert found in pieces, f"{path}: bytes at {at} that no content has"
                FAULTS["bytes verified"] += len(found)
                FAULTS["reads"] += 1

    @precondition(lambda self: not self.sick)
    @rule(pick=picks)
    def read_afresh(self, pick: int) -> None:
        """With nothing of it in the cache and nobody reading, a file is what its service has now."""
        path = self._path(pick)
        if path is None or path in self.model.deleted or any(_near(path, one.path) for one in self.handles):
            return
        self._empty()
        self._compare(path)

    def _empty(self) -> None:
        """Leave nothing in the cache, and no answer that is still believed: that takes five seconds."""
        self.world.evict()
        self.world.wait(6.0)

    def _compare(self, path: str) -> None:
        for attempt in range(3):
            try:
                number, size = self.world.open(path)
                try:
                    found = self.world.read(number, 0, size)
                finally:
                    self.world.close(number)
                break
            except OSError as failed:
                if failed.errno == errno.ENOSPC and self.world.limit == TINY and self.handles:
                    return
                # One reader may be the first to hear of another version, of an archive and of its member;
                # in a tiny cache there may be no room for both versions of one mp3.
                again = {errno.ESTALE} | (FULL if self.world.limit == TINY else set())
                see(failed.errno in again, f"{path}: {failed}")
                see(attempt < 2, f"{path} is stale for ever")
                self.world.wait(2.0)
        assert found == self.model.contents[path][-1], f"{path} is not what its service has"
        FAULTS["bytes verified"] += len(found)

    # Excuses -------------------------------------------------------------------------------------------

    def _excused(self, path: str, failed: OSError) -> None:
        """See that a failure has a reason and the right name."""
        allowed: set[int] = set()
        if self.sick:
            allowed |= SICK
        if path in self.model.deleted:
            allowed |= DELETED
        if len(self.model.contents[path]) > 1:
            allowed |= {errno.ESTALE}
        if self.world.limit == TINY:
            allowed |= FULL
        if "/stems/" in path:
            allowed |= UNSEEN
        assert failed.errno in allowed, f"{path}: {failed}, and there is no reason for it"
        FAULTS["errors excused"] += 1

    @invariant()
    def within_the_limit(self) -> None:
        """The cache takes no more than it may."""
        if hasattr(self, "service"):
            assert self.world.used() <= self.world.limit

    def teardown(self) -> None:
        """At the end, with everything closed and healed, nothing is under way and every file is right."""
        if not hasattr(self, "service"):
            return
        for handle in self.handles:
            self.world.close(handle.number)
        self.handles.clear()
        self.service.clear()
        self.world.recover()
        self.sick = False
        self.refresh()
        self._empty()
        for path in self.model.contents.keys() - self.model.deleted:
            self._compare(path)
        left = {name: count for name, count in self.world.gauges().items() if count}
        assert not left, f"still under way: {left}"
        FAULTS["lives"] += 1


def see(true: bool, what: str) -> None:
    """Fail with `what` unless it is true."""
    if not true:
        raise AssertionError(what)


def _top(path: str) -> str:
    return path.split("/")[0]


def _near(one: str, other: str) -> bool:
    """Tell whether two paths share bytes: an archive is held by whoever reads one of its members."""
    return one.rsplit("/stems/", 1)[0] == other.rsplit("/stems/", 1)[0]


def run_long(machine: type[RuleBasedStateMachine], lives: int, steps: int, chance: int) -> None:
    """Run a machine over and over; a failure is raised as it was met, without looking for a smaller one."""
    run_state_machine_as_test(
        seed(chance)(machine),
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            # Hypothesis would spend hours on making a failing life smaller.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
