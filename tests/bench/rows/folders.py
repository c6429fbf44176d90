"""Folders of ten thousand: listed, listed again, refreshed, listed for the first time, and asked about.

How it thinks: a library of ten thousand clips is listed once, through a mount, and its lengths are written
down as ten thousand opens would have left them; each round begins with a copy of that state and an empty
cache. So what is timed is what a user has every day: a library that is known, and a mount that has just
been started.

What must always be true: `ls` is the real one; a listing that lacks a name is an error.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import trio

from musicfs.demo import Service
from musicfs.demo.assets import Mp3Noise
from musicfs.model import Key, Known
from musicfs.state import State
from tests.bench.bench import Bench, Place
from tests.bench.book import US, Page, Row, plainly, versus
from tests.bench.library import ACCOUNT, clip_id, write
from tests.bench.link import RTT
from tests.bench.mounts import Musicfs

MANY = 10_000
_AGAIN = 3  # looks a round at what was just looked at
_OPENED = 200  # files for open+close: enough that no memory of the last few carries it
_PATIENCE = 120.0  # seconds for a first listing, which may outlast a request's deadline
_TTL = 1.0  # seconds a listing is fresh in the measure of its refreshes
_SECONDS = 0.25  # length of a clip whose bytes nobody is interested in


def fill(service: Service, files: Path) -> None:
    """Put ten thousand clips into the catalogue, of which some can be opened."""
    first = write(Mp3Noise(_SECONDS), files / "mp3" / f"{_clip(0)}.mp3")
    for number in range(MANY):
        service.add_clip(ACCOUNT, f"Song {number}", _SECONDS, _clip(number), without=("m4a", "wav"))
        if 0 < number < _OPENED:
            os.link(first, first.with_name(f"{_clip(number)}.mp3"))


def _clip(number: int) -> str:
    return clip_id("many", number)


def known(bench: Bench) -> Path:
    """Give a state folder that knows all clips and their lengths; made at the first call."""
    folder = bench.folder / "known"
    if not folder.exists():
        place = bench.stage("many", fill).at("none")
        with bench.musicfs(place, bench.home()) as mount:
            _list_all(mount.path / "flowmusic")
            os.listdir(
                mount.path / "tempolor"
            )  # Names in `library/` are given once every service was listed.
            os.listdir(mount.path / "library")
            shutil.rmtree(folder, ignore_errors=True)
        size = Mp3Noise(_SECONDS).size
        lengths = {
            str(Key("flowmusic", _clip(number), "mp3")): Known(1, size, f"size:{size}", True)
            for number in range(MANY)
        }
        with State(mount.home / "state") as state:
            trio.run(state.save_files, lengths)
        shutil.copytree(mount.home / "state", folder)
    return folder


def knowing(bench: Bench, place: Place, **settings: str) -> Musicfs:
    """Give musicfs with that state and an empty cache."""
    home = bench.home()
    shutil.copytree(known(bench), home / "state")
    return bench.musicfs(place, home, **settings)


def _list_all(folder: Path) -> float:
    """List until the listing is whole, and give the seconds; a request's deadline may end it in between."""
    began = time.monotonic()
    while True:
        try:
            names = os.listdir(folder)
        except OSError as late:
            if late.errno != errno.ETIMEDOUT or time.monotonic() > began + _PATIENCE:
                raise
        else:
            if len(names) != MANY:
                raise RuntimeError(f"{len(names)} names of {MANY}")
            return time.monotonic() - began


def _ls(folder: Path) -> float:
    """Run `ls -l` to nowhere and give the seconds."""
    began = time.perf_counter()
    with subprocess.Popen(
        ["ls", "-l", folder], stdout=subprocess.DEVNULL, env={"LC_ALL": "C", "TZ": "UTC"}
    ) as listing:
        # Not by `wait` with a limit: it looks every 50 ms, which is half of what is measured.
        ended = os.pidfd_open(listing.pid)
        try:
            if not select.select([ended], [], [], _PATIENCE)[0]:
                listing.kill()
        finally:
            os.close(ended)
        seconds = time.perf_counter() - began
    if listing.returncode != 0:
        raise RuntimeError(f"ls ended with {listing.returncode}")
    return seconds


def _local(bench: Bench) -> Path:
    """Give a folder of the local disk with the same names and lengths."""
    folder = bench.folder / "local-many"
    if not folder.exists():
        folder.mkdir()
        for number in range(MANY):
            with (folder / f"{_clip(number)}.mp3").open("wb") as file:
                file.truncate(Mp3Noise(_SECONDS).size)
    return folder


def _known(bench: Bench, page: Page) -> None:
    place, local = bench.stage("many", fill).at("apart"), _local(bench)
    for _ in bench.rounds():
        with knowing(bench, place) as mount:
            page.note(US, "first, s", _ls(mount.path / "flowmusic"))
            for _ in range(_AGAIN):
                page.note(US, "again, s", _ls(mount.path / "flowmusic"))
        _ls(local)
        for _ in range(_AGAIN):
            page.note("ext4", "again, s", _ls(local))
    for _ in bench.rounds(2):  # Requests do not vary.
        _refresh(bench, page, place)


def _refresh(bench: Bench, page: Page, place: Place) -> None:
    """Look once after the start and once when the listing is old, which a low listing_ttl makes it soon."""
    with knowing(bench, place, listing_ttl=str(_TTL)) as mount:
        for what in ("first refresh", "refresh"):
            with place.counted() as count:
                os.listdir(mount.path / "flowmusic")
                _until_quiet(place)
            pages = [asked for asked in count.to("/v1/flowmusic/music") if "/download" not in asked.path]
            page.note(US, f"{what}, pages", len(pages))
            page.note(US, f"{what}, other requests", len(count.requests) - len(pages))
            time.sleep(_TTL)


def _until_quiet(place: Place) -> None:
    """Wait until nobody has asked anything for a while."""
    end = time.monotonic() + _PATIENCE
    before = -1
    while (now := place.origin.mark()) != before and time.monotonic() < end:
        before = now
        time.sleep(_TTL)


def _first(bench: Bench, page: Page) -> None:
    place = bench.stage("many", fill).at("apart")
    for _ in bench.rounds(2):  # Its requests are the same each time, and its time is theirs.
        with bench.musicfs(place) as mount, place.counted() as count:
            page.note(US, "RTTs", _list_all(mount.path / "flowmusic") / RTT)
        page.note(US, "requests", len(count.to("/v1/flowmusic/")))


def _asked_about(bench: Bench, page: Page) -> None:
    place, local = bench.stage("many", fill).at("none"), _local(bench)
    opened = [f"{_clip(number)}.mp3" for number in range(_OPENED)]
    for _ in bench.rounds():
        for who, reader in ((US, knowing(bench, place)), ("ext4", None)):
            if reader is None:
                _note_rates(page, who, local, opened)
                continue
            with reader:
                folder = reader.path / "flowmusic"
                for name in opened:
                    (folder / name).read_bytes()
                _note_rates(page, who, folder, opened)


def _note_rates(page: Page, who: str, folder: Path, opened: list[str]) -> None:
    names = os.listdir(folder)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _rate(lambda name: os.stat(name, dir_fd=fd), names)  # Once before, as somebody who has looked.
        page.note(who, "stat/s", _rate(lambda name: os.stat(name, dir_fd=fd), names))
        page.note(
            who, "open+close/s", _rate(lambda name: os.close(os.open(name, os.O_RDONLY, dir_fd=fd)), opened)
        )
    finally:
        os.close(fd)


def _rate(act: Callable[[str], object], names: Iterable[str], times: int = 3) -> float:
    """Give how many a second, in the best of some passes over all names: what is wanted is what it can do."""
    every = list(names)
    best = 0.0
    for _ in range(times):
        began = time.perf_counter()
        for name in every:
            act(name)
        best = max(best, len(every) / (time.perf_counter() - began))
    return best


ROWS = (
    Row(
        "ls",
        "`ls -l` of 10,000 known clips",
        (
            plainly("time, s", "first, s", 0.25, unit="s", digits=3),
            versus("again (ext4)", "again, s", "ext4", 1.45, digits=3),
            plainly("listing requests to refresh Flow Music, one account", "refresh, pages", 1, digits=0),
        ),
        _known,
    ),
    Row(
        "first-listing",
        "first listing of 10,000 Flow Music clips, 40 ms",
        (plainly("requests", "requests", 120, digits=0), plainly("RTTs", "RTTs", 40, digits=1)),
        _first,
    ),
)

ASKED = Row(
    "stat",
    "stat and open of known files",
    (
        plainly("stat a second, sizes known", "stat/s", 300_000, at_least=True, unit="/s", digits=0),
        plainly("open+close a second", "open+close/s", 8_000, at_least=True, unit="/s", digits=0),
    ),
    _asked_about,
)
