"""What a reader gets is one whole body that was served, or an error; never parts of two."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import mmap
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musicfs.demo import (
    Asset,
    Delivery,
    Framing,
    Job,
    Member,
    Ranges,
    Service,
    Tag,
    archive_of,
    content,
    wav_of,
    wav_of_size,
)
from musicfs.demo.assets import Altered
from tests.figures import TRUST
from tests.mounted.mounting import Mount, mounted, until
from tests.trust.witness import Wrong, attempt, forget_pages, kept, read_at, read_whole, verify

SIZE = 1_500_000
KINDS = {
    "etag": (Delivery(), SIZE),
    "etag, other size": (Delivery(), SIZE + 70_000),
    "date": (Delivery(etag=Tag.NONE), SIZE),
    "weak etag, date": (Delivery(etag=Tag.WEAK), SIZE),
    "nothing but the size": (Delivery(etag=Tag.NONE, last_modified=False), SIZE + 70_000),
    "nothing, shorter": (Delivery(etag=Tag.NONE, last_modified=False), SIZE - 70_000),
    "no ranges": (Delivery(ranges=Ranges.IGNORE), SIZE),
}
"""How the byte server tells its bytes apart, and how long the next version is."""


class Song:
    """One file, all the bodies it ever had, and how to give it another."""

    def __init__(self, service: Service, mount: Mount, name: str) -> None:
        self.job: Job = service.add_job("100", name, wav=wav_of_size(SIZE, f"{name} 0"))
        self.path = mount.path / "tempolor" / self.job.item / "song.wav"
        self.bodies = [content(self.job.assets["wav"])]
        until(lambda: self.job.item in mount.listed("tempolor"))

    def change(self, size: int = SIZE) -> bytes:
        """Have other bytes from now on."""
        asset: Asset = wav_of_size(size, f"{self.job.title} {len(self.bodies)}")
        self.bodies.append(content(asset))
        self.job.modified = (self.job.modified or self.job.updated) + 60
        self.job.assets["wav"] = asset
        return self.bodies[-1]

    def judge(self, found: bytes | str) -> bytes | str:
        """Fail if what was read is a mixture; else give it back."""
        if isinstance(found, str):
            assert found in ("ESTALE", "EIO", "ETIMEDOUT"), found
        elif found not in self.bodies:
            raise Wrong(f"{self.path}: {len(found)} bytes that were never served together")
        else:
            TRUST["bytes verified"] += len(found)
        return found


@pytest.fixture(scope="module")
def service() -> Service:
    """Give an almost empty service."""
    service = Service(clock=time.time)
    service.add_job("100", "First", 3.0)
    return service


@pytest.fixture(scope="module")
def _mount(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """Mount it once for all."""
    with mounted(service, tmp_path_factory.mktemp("versions"), listing_ttl=0.3, deadline=15) as mount:
        yield mount.list_all()


@pytest.fixture
def mount(_mount: Mount, service: Service) -> Mount:
    """Give the mount with a healthy service."""
    service.clear()
    _mount.expect("other bytes now", "built anew")
    return _mount


@pytest.fixture
def song(request: pytest.FixtureRequest, mount: Mount, service: Service) -> Song:
    """Make a new song."""
    return Song(service, mount, request.node.name)


def test_the_test_can_fail(song: Song) -> None:
    """A mixture of two bodies is noticed."""
    old, new = song.bodies[0], song.change()
    assert song.judge(old) == old
    assert song.judge(new) == new
    assert song.judge("ESTALE") == "ESTALE"
    with pytest.raises(Wrong):
        song.judge(old[:700_000] + new[700_000:])


@pytest.mark.parametrize("kind", KINDS)
def test_change_between_opens(kind: str, song: Song, service: Service) -> None:
    """A file of which nothing but its length is here, and that changed since, opens by path without an
    error, has the new bytes whole, and another inode."""
    service.knobs.cdn, size = KINDS[kind]
    os.close(os.open(song.path, os.O_RDONLY))
    head = read_whole(song.path) if KINDS[kind][0].ranges is Ranges.IGNORE else b""
    before = song.path.stat().st_ino
    if head:  # Without ranges it has come whole by now, and what is whole is never asked about again.
        assert song.judge(head) == song.bodies[0]
        return
    new = song.change(size)
    found = song.judge(attempt(song.path))
    if isinstance(found, str):  # Its first part was here, so that the change was met in the middle.
        found = song.judge(read_whole(song.path))
    assert found == new
    forget_pages(song.path)
    assert song.path.stat().st_ino != before
    assert song.path.stat().st_size == size


def test_change_noticed_at_open(song: Song, mount: Mount) -> None:
    """When `open` itself asks and hears of other bytes, the program sees nothing of it: no error, the new
    bytes, at once."""
    size = song.path.stat().st_size
    with song.path.open("rb", buffering=0) as file:
        assert read_at(file.fileno(), 1_000_000, 1000) == song.bodies[0][1_000_000:1_001_000]
    for data in (mount.home / "cache" / "objects").rglob("*.data"):
        data.unlink()  # so that the first block is not here
    mount.expect("damaged")
    assert mount.stop() == 0
    new = song.change(size + 5)
    mount.start()
    assert song.judge(read_whole(song.path)) == new


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no ranges"])
def test_change_in_the_middle(kind: str, song: Song, service: Service) -> None:
    """A reader whose file changes while it reads gets ESTALE where the old bytes end, and keeps what it
    got; the next open has the new version whole."""
    service.knobs.cdn, size = KINDS[kind]
    file = os.open(song.path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        head = read_at(file, 0, 65_536)
        assert head == song.bodies[0][:65_536]
        new = song.change(size)
        with pytest.raises(OSError) as caught:
            read_at(file, 1_000_000, 65_536)
        assert caught.value.errno == errno.ESTALE
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        assert read_at(file, 0, 65_536) == head
        assert song.judge(read_whole(song.path)) == new
        assert read_at(file, 0, 4096) == head[:4096]
    finally:
        os.close(file)


def test_handle_keeps_a_whole_version(song: Song, mount: Mount, service: Service) -> None:
    """A handle over a file that is whole here goes on reading it after the change, from the cache; so does
    every later open, because what is whole is not asked about again."""
    old = read_whole(song.path)
    with song.path.open("rb", buffering=0) as file:
        song.change()
        forget_pages(song.path)
        assert read_at(file.fileno(), 0, SIZE) == old == song.bodies[0]
        assert read_whole(song.path) == old


def test_parallel_readers_over_a_change(mount: Mount, service: Service) -> None:
    """Six readers at random places while the object changes three times and more: everything one handle
    gives is of one version."""
    end = time.monotonic() + 60.0
    for number in range(8):
        song = Song(service, mount, f"Parallel {number}")
        service.knobs.cdn = Delivery(drip=2_000_000.0)  # or a song has come whole before it changes
        if len(_read_over_changes(song, mount, service, end)) > 1:
            began = len(service.log)
            found = song.judge(read_whole(song.path))
            # What came whole before the last change is not asked about again.
            assert found == song.bodies[-1] or len(service.log) == began
            return
        # No change met a version that was not whole yet; it may with another song.
    raise AssertionError("the change was never met")


def _came_whole(song: Song, mount: Mount) -> bool:
    return any(song.job.item in one.key and one.found.complete for one in kept(mount.home))


def _read_over_changes(song: Song, mount: Mount, service: Service, end: float) -> set[int]:
    """Have six readers at a song that changes until it came whole; give the versions that they saw."""
    ended, failures, seen = threading.Event(), list[BaseException](), set[int]()

    def reads(seed: int) -> None:
        rng = random.Random(seed)
        while not ended.is_set():
            try:
                seen.add(_one_handle(song, rng))
            except OSError as failed:
                if failed.errno not in (errno.ESTALE, errno.EIO):
                    failures.append(failed)
            except AssertionError as wrong:
                failures.append(wrong)

    readers = [threading.Thread(target=reads, args=(seed,), daemon=True) for seed in range(6)]
    for reader in readers:
        reader.start()
    rng = random.Random(7)
    for turn in range(40):
        began = len(service.log)
        song.change(SIZE + rng.choice([0, 0, 4096, -4096]))
        with contextlib.suppress(AssertionError):
            # More and more of it: in what time a handle comes to its end is up to the machine.
            until(lambda more=began + 3 + turn: len(service.log) > more or _came_whole(song, mount), 2.0)  # type: ignore[misc]
        if turn >= 3 and (len(seen) > 1 or _came_whole(song, mount) or time.monotonic() > end):
            break
    ended.set()
    for reader in readers:
        reader.join(30)
        assert not reader.is_alive()
    assert not failures, failures[:3]
    return seen


def _one_handle(song: Song, rng: random.Random) -> int:
    """Read a few places through one handle, and find the version that has all of them."""
    file = os.open(song.path, os.O_RDONLY)
    pieces: list[tuple[int, bytes]] = []
    try:
        os.posix_fadvise(file, 0, 0, rng.choice([os.POSIX_FADV_RANDOM, os.POSIX_FADV_NORMAL]))
        size = os.fstat(file).st_size
        for _ in range(8):
            at = rng.randrange(size - 5000)
            pieces.append((at, read_at(file, at, 5000)))
            TRUST["bytes verified"] += 5000
    finally:
        os.close(file)
        fits = [
            number
            for number, body in enumerate(song.bodies)
            if all(body[at : at + len(data)] == data for at, data in pieces)
        ]
        if not fits:
            raise Wrong(f"{len(pieces)} reads of one handle fit no version")
    return fits[0]


MAPPED = """
import mmap, random, sys, hashlib
path, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
with open(path, "rb", buffering=0) as file:
    memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    print(len(memory), flush=True)
    sys.stdin.readline()
    pages = list(range(0, len(memory), mmap.PAGESIZE))
    rng.shuffle(pages)
    for page in pages:
        print(page, hashlib.md5(memory[page:page + mmap.PAGESIZE]).hexdigest())
"""


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in part"])
def test_mapped_readers(whole: bool, song: Song) -> None:
    """A program that maps the file and touches its pages in any order, over a change, sees pages of one
    version, or gets SIGBUS."""
    if whole:
        read_whole(song.path)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", MAPPED, str(song.path), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    for program in programs:
        assert program.stdout is not None
        assert int(program.stdout.readline()) == SIZE
    song.change()
    ends = []
    for program in programs:
        printed, _ = program.communicate("\n", timeout=40)
        ends.append(program.returncode)
        assert program.returncode in (0, -7), "neither an end nor SIGBUS"
        pages = {int(line.split()[0]): line.split()[1] for line in printed.splitlines() if len(line) > 33}
        assert any(all(_page(body, at) == seen for at, seen in pages.items()) for body in song.bodies)
        TRUST["bytes verified"] += len(pages) * mmap.PAGESIZE
    if whole:
        assert ends == [0, 0, 0]


def _page(body: bytes, at: int) -> str:
    return hashlib.md5(body[at : at + mmap.PAGESIZE]).hexdigest()


def test_restless_mp3s(tmp_path: Path) -> None:
    """Mp3s that are other bytes at each download, in a cache too small for them, read by several programs:
    each whole read is one body that was served; one inode is one body."""
    service = Service(clock=time.time)
    clips = [service.add_clip("ada@example.com", f"Song {number}", 30.0) for number in range(5)]
    service.knobs.mp3 = Delivery(
        ranges=Ranges.IGNORE, etag=Tag.NONE, last_modified=False, restless=True, framing=Framing.CHUNKED
    )
    found: dict[str, dict[int, set[bytes]]] = {clip.uuid: {} for clip in clips}
    failures: list[BaseException] = []
    with mounted(service, tmp_path, cache_size="1600K") as mount:
        mount.list_all().expect("other bytes now", "no room", "flowmusic")

        def read(uuid: str) -> bool:
            try:
                inode, body = _with_inode(mount.path / "flowmusic" / f"{uuid}.mp3")
            except OSError as failed:
                if failed.errno not in (errno.ESTALE, errno.EIO, errno.ENOSPC):
                    failures.append(failed)
                return False
            found[uuid].setdefault(inode, set()).add(body)
            TRUST["bytes verified"] += len(body)
            return True

        def reads(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(12):
                read(rng.choice(clips).uuid)

        _at_once([lambda seed=seed: reads(seed) for seed in range(4)])  # type: ignore[misc]
        turns = itertools.cycle(clips)

        def made() -> bool:
            read(next(turns).uuid)
            return service.counts["mp3"] > 8

        # Where servers are slow, many readers share what little comes. And two that found no room are refused
        # from memory for a second, while the other three are all here: a hundred reads fit into that second.
        until(made, 20)
        for clip in clips:  # One that was always in another's way is read alone.
            if not found[clip.uuid]:
                until(lambda uuid=clip.uuid: read(uuid), 20)  # type: ignore[misc]
    assert not failures, failures[:3]
    assert service.counts["mp3"] > 8
    for clip in clips:
        served = {
            content(Altered(clip.assets["mp3"], call, Delivery().differs_from))
            for call in range(1, len(service.log) + 1)
        }
        assert found[clip.uuid]
        for bodies in found[clip.uuid].values():
            assert len(bodies) == 1, "one inode, two bodies"
            assert bodies <= served, "a mixture"


def _with_inode(path: Path) -> tuple[int, bytes]:
    """Read a file whole through one handle, asking the daemon; give its inode too."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        size = os.fstat(file).st_size
        body = read_at(file, 0, size)
        assert len(body) == size
        return os.fstat(file).st_ino, body
    finally:
        os.close(file)


def _at_once(work: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=one, daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_restless_mp3_under_an_open_handle(mount: Mount, service: Service) -> None:
    """A program that keeps an mp3 open has its bytes to the end, though the cache lost them and the service
    has others by now; or an error."""
    clip = service.add_clip("ada@example.com", "Restless", 20.0)
    path = mount.path / "flowmusic" / f"{clip.uuid}.mp3"
    service.twist(kind="mp3", restless=True)
    until(lambda: path.name in mount.listed("flowmusic"))
    mount.expect("damaged", "cannot read")
    with path.open("rb", buffering=0) as file:
        first = read_at(file.fileno(), 0, clip.assets["mp3"].size)
        # Its last byte may be read a moment before the pass ends, and what is lost in a pass is an error.
        until(lambda: any(clip.uuid in one.key and one.found.complete for one in kept(mount.home)))
        for data in (mount.home / "cache" / "objects").rglob("*.data"):
            data.unlink()
        forget_pages(path)
        try:
            again: bytes | int = read_at(file.fileno(), 0, len(first))
        except OSError as failed:
            again = failed.errno or 0
        assert again in (first, errno.ESTALE, errno.EIO)
    fresh = read_whole(path)
    assert len(fresh) == len(first)
    assert fresh in [
        content(Altered(clip.assets["mp3"], call, Delivery().differs_from))
        for call in range(1, len(service.log) + 1)
    ]


PACKED = {name: f"{name} in F minor\n".encode() * 30_000 for name in ("old", "new", "odd")}


def _archive(seed: str) -> Asset:
    return archive_of(
        [
            Member(f"{seed}-first.wav", wav_of(0.5, seed)),
            Member("bass.wav", wav_of(2, f"{seed} bass")),
            Member("words.txt", PACKED[seed], deflated=True),
        ]
    )


def test_rebuilt_archive(mount: Mount, service: Service) -> None:
    """When an archive was built anew under a directory that is known, an open of a stem by its path gives
    the new stem or one error, never bytes from the old place; then the new one, stored or deflated."""
    job = service.add_job("100", "Stems", 3.0, stems=_archive("old"))
    until(lambda: job.item in mount.listed("tempolor"))
    folder = mount.path / "tempolor" / job.item / "stems"
    assert mount.listed("tempolor", job.item, "stems") == {"old-first.wav", "bass.wav", "words.txt"}
    assert read_whole(folder / "bass.wav")[:4] == b"RIFF"
    verify(folder / "words.txt", PACKED["old"])
    for seed in ("new", "odd"):
        job.assets["stems"], job.modified = _archive(seed), (job.modified or job.updated) + 60
        for name in ("bass.wav", "words.txt"):
            forget_pages(folder / name)
        for data in (mount.home / "cache" / "objects").rglob("*.data"):
            data.unlink()
        mount.expect("damaged", "cannot read", "other bytes now", "built anew")
        for name, wanted in (
            ("bass.wav", content(wav_of(2, f"{seed} bass"))),
            ("words.txt", PACKED[seed]),
        ):
            errors = []
            while (found := attempt(folder / name)) != wanted:
                assert isinstance(found, str), "other bytes than the new ones"
                errors.append(found)
                assert len(errors) < 2, f"the opens of {name} still fail: {errors}"
        _settled(folder / "bass.wav")


def _settled(path: Path) -> None:
    """Read it twice more, from the daemon, and find it the same."""
    body = read_whole(path)
    forget_pages(path)
    verify(path, body)
