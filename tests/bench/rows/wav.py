"""One cold 50 MB wav: over long wires, over none, over TLS, with the kernel reading further ahead.

How it thinks: everybody gets an empty cache and has seen the folder before the clock starts, as somebody
has who is about to press play. curl is the limit: it opens one connection and takes one stream.

What must always be true: time, CPU, requests and bytes are of the same read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tests.bench.bench import Bench, Place, Wire
from tests.bench.book import Goal, Page, Row, plainly, versus
from tests.bench.library import WAV, clip_id, fill_wavs
from tests.bench.mounts import Mounted, Musicfs
from tests.bench.plain import curl, read_whole

_NAME = f"{clip_id('wav')}.wav"
_HEADS = 64 * 1024  # bytes for HTTP heads and one listing, beside 50 MB
GB = 1e9
_COMPARED = ("rclone off", "rclone full")
_FURTHER = 1024  # KiB of kernel read-ahead: the most one FUSE request carries (performance.md §2)


def _read_cold(page: Page, place: Place, reader: Mounted, further: Bench | None = None) -> None:
    """Have one of them read the file, and note what it took."""
    with reader:
        folder = reader.path / "flowmusic" if isinstance(reader, Musicfs) else reader.path
        os.listdir(folder)
        if further is not None and not further.steward.read_ahead(reader.minor(), _FURTHER):
            raise RuntimeError("raising the kernel's read-ahead needs root")
        before = reader.cpu()
        with place.counted() as count:
            seconds = read_whole(folder / _NAME, WAV)
        page.note(reader.name, "seconds", seconds)
        page.note(reader.name, "MB/s", WAV / 1e6 / seconds)
        page.note(reader.name, "CPU s/GB", (reader.cpu() - before) / (WAV / GB))
        page.note(reader.name, "requests", len(count.requests))
        page.note(reader.name, "extra bytes", count.bytes - WAV)


def _curl(page: Page, place: Place) -> None:
    with place.counted() as count:
        curled = curl([f"{place.bucket}/{_NAME}"], ca_file=place.ca_file)
    page.note("curl", "seconds", curled.seconds)
    page.note("curl", "MB/s", WAV / 1e6 / curled.seconds)
    page.note("curl", "CPU s/GB", curled.cpu / (WAV / GB))
    page.note("curl", "requests", len(count.requests))
    page.note("curl", "extra bytes", count.bytes - WAV)


def _side_by_side(bench: Bench, page: Page, wire: Wire, rclones: Iterable[str], *, tls: bool = False) -> None:
    place = bench.stage("music", fill_wavs).at(wire, tls)
    for number in bench.rounds():
        _curl(page, place)
        _read_cold(page, place, bench.musicfs(place))
        for mode in rclones if not bench.alone else _COMPARED:
            _read_cold(page, place, bench.rclone(place, mode))
        if wire != "shared" and not tls and not bench.alone:
            _read_cold(page, place, bench.httpdirfs(place))
            if number == 0 and not bench.quick:
                _read_cold(page, place, bench.httpdirfs(place, cache=False))


def _apart(bench: Bench, page: Page) -> None:
    _side_by_side(bench, page, "apart", ("rclone off", "rclone full", "rclone tuned"))


def _shared(bench: Bench, page: Page) -> None:
    _side_by_side(bench, page, "shared", ("rclone off",))


def _loopback(bench: Bench, page: Page) -> None:
    _side_by_side(bench, page, "none", ("rclone off", "rclone full", "rclone tuned"))


def _https(bench: Bench, page: Page) -> None:
    _side_by_side(bench, page, "none", ("rclone off",), tls=True)


def _further(bench: Bench, page: Page) -> None:
    place = bench.stage("music", fill_wavs).at("none")
    for _ in bench.rounds():
        _read_cold(page, place, bench.musicfs(place), bench)
        for mode in _COMPARED:
            _read_cold(page, place, bench.rclone(place, mode))


def _no_extra(text: str) -> Goal:
    return plainly(text, "extra bytes", _HEADS, unit="B", digits=0)


def _cpu(limit: float) -> Iterator[Goal]:
    """Make the goals against the rclone that keeps nothing and the one that, like musicfs, keeps it all."""
    for mode, does in zip(_COMPARED, ("keeps nothing", "keeps what it read"), strict=True):
        yield versus(f"CPU s per GB ({mode}, {does})", "CPU s/GB", mode, limit, unit="s/GB", digits=1)


ROWS = (
    Row(
        "cold-apart",
        "one cold 50 MB wav, 40 ms, 100 Mbit/s a connection",
        (
            versus("time (curl)", "seconds", "curl", 0.55),
            _no_extra("bytes beyond the file, heads included"),
            *_cpu(1.0),
        ),
        _apart,
    ),
    Row(
        "cold-shared",
        "one cold 50 MB wav, 40 ms, 100 Mbit/s for all connections",
        (versus("time (curl)", "seconds", "curl", 1.02), _no_extra("bytes beyond the file, heads included")),
        _shared,
    ),
    Row(
        "loopback",
        "one cold 50 MB wav, loopback http",
        (
            versus("MB/s (rclone off)", "MB/s", "rclone off", 1.0, at_least=True, unit="MB/s", digits=0),
            *_cpu(1.0),
        ),
        _loopback,
    ),
    Row(
        "read-ahead",
        "the same with the kernel's read-ahead raised by root to 1 MiB",
        (
            versus("MB/s (rclone off)", "MB/s", "rclone off", 1.3, at_least=True, unit="MB/s", digits=0),
            *_cpu(0.8),
        ),
        _further,
        needs_root=True,
    ),
    Row(
        "https",
        "one cold 50 MB wav, loopback https",
        (versus("MB/s (curl https)", "MB/s", "curl", 0.6, at_least=True, unit="MB/s", digits=0),),
        _https,
    ),
)
