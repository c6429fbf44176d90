"""Forty songs: copied by one program, by four readers, and looked at by ffprobe.

How it thinks: the songs are real ones (ffmpeg made them: an mp3 with a cover, an m4a whose `moov` comes
last), forty names of one file each. curl fetches the same files: over one connection, or four curls side by
side. ffprobe's cost is told beyond what it takes on the local disk, in round trips a file.

What must always be true: every copy is compared in length; what lands on the local disk is removed at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

from tests.bench.bench import Bench, Place
from tests.bench.book import US, Page, Row, plainly, versus
from tests.bench.library import SONGS, bucket_file, clip_id, fill_songs, handle, job_id
from tests.bench.link import RTT
from tests.bench.mounts import Mounted
from tests.bench.person import forget_file
from tests.bench.plain import curl, read_whole

T = TypeVar("T")
_LIMIT = 120.0  # seconds for any program here
_READERS = 4
_HEADS = 64 * 1024  # bytes of HTTP heads for forty files, and one refresh of the listing
_PEERS = ("rclone off", "rclone full")
_TRIES = 20  # times that the kernel is asked to let go of files: two seconds


def _mp3s(place: Place) -> list[str]:
    ids = [handle(place.origin.service, clip_id("song", number)) for number in range(SONGS)]
    return [f"{place.api}/v1/flowmusic/music/download?id={ident}&format=mp3" for ident in ids]


def _songs(bench: Bench, place: Place, name: str) -> tuple[Mounted, str]:
    """Give a mount of the forty mp3s by who is named, and the folder in it."""
    if name == US:
        return bench.musicfs(place), "flowmusic"
    return bench.rclone(place, name, url=f"{place.api}/mp3"), "."


# Copying ------------------------------------------------------------------------------------------------


def _one_cp(bench: Bench, page: Page) -> None:
    place = bench.stage("songs", fill_songs).at("apart")
    size = _size(place)
    for number in bench.rounds():
        page.note("curl", "seconds", curl(_mp3s(place)).seconds)
        for name in (US, *(() if bench.alone or number > 1 else _PEERS[:1])):  # 15 s a round
            reader, folder = _songs(bench, place, name)
            target = bench.folder / "copy"
            with reader:
                os.listdir(reader.path / folder)
                with place.counted() as count:
                    began = time.monotonic()
                    _program("cp", "-r", reader.path / folder, target)
                    page.note(name, "seconds", time.monotonic() - began)
            copied = sum(path.stat().st_size for path in target.rglob("*.mp3"))
            shutil.rmtree(target)
            if copied != SONGS * size:
                raise RuntimeError(f"cp gave {copied} bytes of {SONGS * size}")
            page.note(name, "extra bytes", count.bytes - copied)
            page.note(name, "requests", len(count.to("/mp3/")))


def _four_readers(bench: Bench, page: Page) -> None:
    place = bench.stage("songs", fill_songs).at("apart")
    for number in bench.rounds():
        page.note("curl", "seconds", _side_by_side(_mp3s(place), curl))
        for name in (US, *(() if bench.alone or number > 1 else _PEERS)):
            reader, folder = _songs(bench, place, name)
            with reader:
                names = sorted(os.listdir(reader.path / folder))
                paths = [reader.path / folder / each for each in names]
                with place.counted() as count:
                    page.note(name, "seconds", _side_by_side(paths, partial(_read_all, size=_size(place))))
            page.note(name, "extra bytes", count.bytes - SONGS * _size(place))


def _side_by_side(things: Sequence[T], act: Callable[[Sequence[T]], object]) -> float:
    """Deal things out to four readers and give the seconds until the last has ended."""
    began = time.monotonic()
    with ThreadPoolExecutor(_READERS) as readers:
        for _ in readers.map(act, [things[number::_READERS] for number in range(_READERS)]):
            pass  # A reader's failure is raised here.
    return time.monotonic() - began


def _read_all(paths: Sequence[Path], size: int) -> None:
    for path in paths:
        read_whole(path, size)


def _size(place: Place) -> int:
    return (place.origin.files / "mp3" / f"{clip_id('song')}.mp3").stat().st_size


# ffprobe ------------------------------------------------------------------------------------------------


def _probe(path: Path) -> float:
    """Have ffprobe look at a file and give the seconds."""
    began = time.monotonic()
    _program("ffprobe", "-v", "error", "-show_format", "-show_streams", path)
    return time.monotonic() - began


def _program(*words: str | Path) -> str:
    """Run a program that has to succeed and give what it printed."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=_LIMIT).stdout


def _asked_for(paths: Sequence[Path]) -> int:
    """Give the bytes of files that the kernel has: what it asked for, its own read-ahead included."""
    return sum(map(int, _program("fincore", "-b", "-n", "-o", "RES", *paths).split()))


def _forget(paths: Sequence[Path]) -> None:
    """Have the kernel let go of files' pages, and see to it that it has: it may, and need not at once."""
    for _ in range(_TRIES):
        for path in paths:
            forget_file(path)
        if not _asked_for(paths):
            return
        time.sleep(0.1)
    raise RuntimeError("the kernel keeps pages of files that nobody reads")


def _probed(bench: Bench, page: Page) -> None:
    place = bench.stage("songs", fill_songs).at("apart")
    m4a = bucket_file(place.origin.files, clip_id("song"), "m4a")
    mp3 = place.origin.files / "mp3" / f"{clip_id('song')}.mp3"
    clips = [clip_id("song", number) for number in range(SONGS)]
    for _ in bench.rounds(3):  # Forty files a round, each beside its like: that is interleaving enough.
        with bench.musicfs(place) as reader:
            flow, jobs = reader.path / "flowmusic", reader.path / "tempolor"
            os.listdir(flow), os.listdir(jobs)
            linked = [jobs / job_id(number) / "song.mp3" for number in range(SONGS)]
            _probe_cold(page, place, [flow / f"{clip}.m4a" for clip in clips], "m4a, moov last", m4a)
            _probe_cold(page, place, linked, "TemPolor mp3, link to be asked for", mp3)
            _forget(linked)  # Before the cache does: to open a file that is nowhere fetches its beginning.
            reader.ask("cache", "prune", str(reader.path))
            _probe_cold(page, place, linked, "TemPolor mp3, link known", mp3)
            _probe_cold(page, place, [flow / f"{clip}.mp3" for clip in clips], "Flow Music mp3", mp3)


def _probe_cold(page: Page, place: Place, paths: Sequence[Path], name: str, local: Path) -> None:
    """Look at files in the mount and, in turns, at the same bytes on the disk: ffprobe itself takes long."""
    there, here = [], []
    with place.counted() as count:
        for path in paths:
            here.append(_probe(local))
            there.append(_probe(path))
    page.note(name, "RTTs a file beyond local", (median(there) - median(here)) / RTT)
    page.note(name, "requests a file", len(count.requests) / len(paths))
    page.note(name, "KiB a file", count.bytes / len(paths) / 1024)
    page.note(name, "KiB a file beyond asked", (count.bytes - _asked_for(paths)) / len(paths) / 1024)


ROWS = (
    Row(
        "readers",
        "copying 40 mp3 with 4 readers, 40 ms",
        (
            versus("time (curl × 4)", "seconds", "curl", 0.95),
            plainly("bytes over-fetched, heads included", "extra bytes", _HEADS, unit="B", digits=0),
        ),
        _four_readers,
    ),
    Row(
        "cp",
        "copying 40 mp3 with one `cp -r`, 40 ms",
        (
            versus("time (curl)", "seconds", "curl", 0.7),
            plainly("bytes over-fetched, heads included", "extra bytes", _HEADS, unit="B", digits=0),
        ),
        _one_cp,
    ),
    Row(
        "ffprobe",
        "`ffprobe` of 40 cold files, 40 ms",
        (
            plainly(
                "Flow Music mp3: RTTs a file beyond local",
                "RTTs a file beyond local",
                1.5,
                who="Flow Music mp3",
            ),
            plainly(
                "mp3, link known: RTTs a file beyond local",
                "RTTs a file beyond local",
                1.5,
                who="TemPolor mp3, link known",
            ),
            plainly(
                "m4a, moov last: RTTs a file beyond local",
                "RTTs a file beyond local",
                2.5,
                who="m4a, moov last",
            ),
            plainly(
                "mp3, link known: KiB beyond what the kernel asked for",
                "KiB a file beyond asked",
                256,
                who="TemPolor mp3, link known",
            ),
            plainly(
                "m4a: KiB beyond what the kernel asked for",
                "KiB a file beyond asked",
                256,
                who="m4a, moov last",
            ),
        ),
        _probed,
    ),
)
