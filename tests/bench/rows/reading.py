"""Small reads: the first bytes of a file, bytes here and there, and the same bytes again.

How it thinks: over the long wire what counts is round trips, so times are told in RTTs. A file counts as
left when its reader has held it open for a moment and closed it: what a prefetch fetched by then is on the
bill.

What must always be true: what is read "again" was read whole and cold before, in the same round.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.bench import Bench, Place
from tests.bench.book import US, Page, Row, plainly, versus
from tests.bench.library import WAV, WAVS, bucket_file, clip_id, fill_jobs, fill_wavs, title
from tests.bench.link import RTT
from tests.bench.mounts import Mounted, Musicfs
from tests.bench.person import forget_file
from tests.bench.plain import curl, read_at, read_kept, read_whole

_FIRST = 4096  # bytes: what `file`, a tag reader's first look or a player's probe asks for
_HELD = 0.05  # seconds a file stays open after its first bytes
_PIECE = 64 * 1024
_PIECES = 100
_AGAIN = 5  # warm reads a round: each takes milliseconds


def _folder(reader: Mounted) -> Path:
    return reader.path / "flowmusic" if isinstance(reader, Musicfs) else reader.path


def _wav(number: int = 0) -> str:
    return f"{clip_id('wav', number)}.wav"


# The first 4 KiB ----------------------------------------------------------------------------------------


def _first_bytes(path: Path) -> float:
    """Give the seconds until a file was open and its first bytes were there."""
    return read_at(path, 0, _FIRST, hold=_HELD)


def _first(bench: Bench, page: Page) -> None:
    place = bench.stage("music", fill_wavs).at("apart")
    for _ in bench.rounds():
        curled = curl([f"{place.bucket}/{_wav()}"], words=_HEAD)
        page.note("curl", "first in the mount, RTTs", curled.seconds / RTT)
        for reader in (
            bench.musicfs(place),
            bench.rclone(place, "rclone off"),
            bench.rclone(place, "rclone full"),
        ):
            with reader:
                paths = _looked_at(reader)
                time.sleep(_HELD)
                page.note(reader.name, "first in the mount, RTTs", _first_bytes(paths[0]) / RTT)
                for path in paths[1:]:
                    with place.counted() as count:
                        seconds = _first_bytes(path)
                    page.note(reader.name, "connection kept, RTTs", seconds / RTT)
                    page.note(reader.name, "KiB moved", count.bytes / 1024)
                    page.note(reader.name, "requests", len(count.requests))
        with bench.musicfs(place) as reader:
            os.listdir(_folder(reader))
            who, first = f"{US}, never looked at", _first_bytes(_folder(reader) / _wav())
            page.note(who, "first in the mount, RTTs", first / RTT)
            for number in range(1, WAVS):
                seconds = _first_bytes(_folder(reader) / _wav(number))
                page.note(who, "connection kept, RTTs", seconds / RTT)


def _looked_at(reader: Mounted) -> list[Path]:
    """Give the wavs after an `ls -l`: everybody then knows their sizes, and nobody a byte of them."""
    if isinstance(reader, Musicfs):
        paths = [reader.path / "library" / title(number) / f"{title(number)}.wav" for number in range(WAVS)]
        os.listdir(reader.path / "library")
    else:
        paths = [reader.path / _wav(number) for number in range(WAVS)]
    for path in paths:
        os.listdir(path.parent)
        path.stat()
    return paths


_HEAD = ("-r", f"0-{_FIRST - 1}")


def _mint(bench: Bench, page: Page) -> None:
    place = bench.stage("jobs", fill_jobs).at("apart")
    for _ in bench.rounds():
        with bench.musicfs(place) as reader, place.counted() as before:
            top = reader.path / "tempolor"
            jobs = sorted(os.listdir(top))
            for job in jobs:
                os.listdir(top / job)
        page.note(US, "mints before the open", len(before.to("/music/download/")))
        with bench.musicfs(place) as reader:
            top = reader.path / "tempolor"
            jobs = sorted(os.listdir(top))
            _first_bytes(top / jobs[0] / "song.wav")  # Its connections are what the others keep.
            for job in jobs[1:9]:
                with place.counted() as count:
                    seconds = _first_bytes(top / job / "song.wav")
                page.note(US, "RTTs", seconds / RTT)
                page.note(US, "requests", len(count.requests))


# Here and there -----------------------------------------------------------------------------------------


def _places(number: int) -> list[int]:
    """Give other places each round, the same for everybody in it."""
    return [_PIECE * block for block in random.Random(number).sample(range(WAV // _PIECE), _PIECES)]


def _here_and_there(page: Page, place: Place, name: str, read: Callable[[int], bytes], number: int) -> None:
    with place.counted() as count:
        began = time.perf_counter()
        total = sum(len(read(offset)) for offset in _places(number))
        page.note(name, "seconds", time.perf_counter() - began)
    page.note(name, "bytes fetched / read", count.bytes / total)
    page.note(name, "requests", len(count.requests))
    page.note(name, "connections", count.connections)


def _random(bench: Bench, page: Page) -> None:
    place = bench.stage("music", fill_wavs).at("apart")
    for number in bench.rounds():
        _ranged_gets(page, place, number)
        slow = () if bench.alone or number > 1 else ("rclone off",)  # 13 s a round
        peers = ("rclone full", *slow)
        for reader in (bench.musicfs(place), *(bench.rclone(place, mode) for mode in peers)):
            with reader:
                os.listdir(_folder(reader))
                with (_folder(reader) / _wav()).open("rb", buffering=0) as file:
                    read = partial(os.pread, file.fileno(), _PIECE)
                    _here_and_there(page, place, reader.name, read, number)


def _ranged_gets(page: Page, place: Place, number: int) -> None:
    """Do it as the limit does: one GET after the other on one connection."""
    host = urlsplit(place.bucket)
    connection = http.client.HTTPConnection(str(host.hostname), host.port)

    def read(offset: int) -> bytes:
        connection.request(
            "GET", f"{host.path}/{_wav()}", headers={"Range": f"bytes={offset}-{offset + _PIECE - 1}"}
        )
        return connection.getresponse().read()

    read(0)  # It too has its connection before the clock starts, as a mount has that opened the file.
    _here_and_there(page, place, "keep-alive GETs", read, number)
    connection.close()


# Again --------------------------------------------------------------------------------------------------


def _again(bench: Bench, page: Page) -> None:
    place = bench.stage("music", fill_wavs).at("none")
    local = bucket_file(place.origin.files, clip_id("wav"), "wav")
    kept = memoryview(bytearray(b"\1") * WAV)  # Written to, so that its pages are there.
    for _ in bench.rounds():
        read_whole(local, WAV)
        for _ in range(_AGAIN):
            page.note("ext4", "page cache, MB/s", WAV / 1e6 / read_kept(local, kept))
        for kind in (US, "rclone full"):
            home = bench.home()
            reader = bench.musicfs(place, home) if kind == US else bench.rclone(place, kind, home)
            with reader:
                os.listdir(_folder(reader))
                path = _folder(reader) / _wav()
                read_whole(path, WAV)
                for _ in range(_AGAIN):
                    page.note(kind, "page cache, MB/s", WAV / 1e6 / read_kept(path, kept))
                _drop(bench, reader, path)
                page.note(kind, "after drop_caches, MB/s", WAV / 1e6 / read_whole(path, WAV))
            remounted = bench.musicfs(place, home) if kind == US else bench.rclone(place, kind, home)
            with remounted:
                os.listdir(_folder(remounted))
                _drop(bench, remounted, path)
                with place.counted() as count:
                    page.note(kind, "after remount, MB/s", WAV / 1e6 / read_whole(path, WAV))
                page.note(kind, "requests after remount", len(count.to("/clips/")))
            shutil.rmtree(home, ignore_errors=True)


def _drop(bench: Bench, reader: Mounted, path: Path) -> None:
    """Have the kernel forget the file, in the mount and in the reader's own cache."""
    if bench.steward.drop_caches():
        return
    forget_file(path)
    for folder, _, names in os.walk(reader.home / "cache"):
        for name in names:
            forget_file(Path(folder) / name)


ROWS = (
    Row(
        "first-bytes",
        "first 4 KiB of a file, 40 ms",
        (
            plainly("connection kept, in RTTs", "connection kept, RTTs", 1.10),
            plainly("first in the mount, in RTTs", "first in the mount, RTTs", 2.1),
            plainly("KiB moved", "KiB moved", 257, unit="KiB", digits=0),  # 256 KiB and the heads
        ),
        _first,
    ),
    Row(
        "mint",
        "a TemPolor file's first 4 KiB from nothing known but the listing, connections kept",
        (
            plainly("in RTTs", "RTTs", 2.3),
            plainly("links asked for before the open", "mints before the open", 0, digits=0),
        ),
        _mint,
    ),
    Row(
        "random",
        "100 random 64 KiB reads in 50 MB, 40 ms",
        (
            versus("time (keep-alive GETs)", "seconds", "keep-alive GETs", 1.05),
            plainly("bytes fetched / read (rclone full: 11)", "bytes fetched / read", 1.05),
        ),
        _random,
    ),
    Row(
        "again",
        "the same 50 MB again",
        (
            versus(
                "from the page cache, MB/s (ext4)",
                "page cache, MB/s",
                "ext4",
                0.65,
                at_least=True,
                unit="MB/s",
                digits=0,
            ),
            versus(
                "after drop_caches, MB/s (rclone full)",
                "after drop_caches, MB/s",
                "rclone full",
                2.0,
                at_least=True,
                unit="MB/s",
                digits=0,
            ),
            versus(
                "after remount, MB/s (rclone full)",
                "after remount, MB/s",
                "rclone full",
                1.7,
                at_least=True,
                unit="MB/s",
                digits=0,
            ),
            plainly("requests for it after remount", "requests after remount", 0, digits=0),
        ),
        _again,
    ),
)
