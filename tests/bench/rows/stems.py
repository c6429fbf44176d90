"""The stems of a 160 MB archive: listed, a stored one begun, a deflated one read in its middle.

How it thinks: requests and bytes at the CDN decide here, not seconds; asking for the link is the API's
affair and not counted. Reading the middle of a deflated member needs all of it that lies before, once: a
second inflation would show as bytes fetched again, or as seconds where there should be none.

What must always be true: each round begins with nothing known of the archive.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from musicfs.demo import Member, Role, Service, archive_of
from musicfs.demo.assets import Joined, Noise, wav_header
from musicfs.demo.byteservers import object_path
from tests.bench.bench import Bench, Count, Place
from tests.bench.book import US, Page, Row, plainly
from tests.bench.library import job_id, write
from tests.bench.origin import HOSTS
from tests.bench.plain import read_at, read_whole

_MEMBER = 40_000_000  # bytes of each of the four
_FIRST = 4096
_HELD = 0.05  # seconds a file stays open after its first bytes
_PARTS = ("vocals", "drums", "bass", "other")
_DEFLATED = "other"


def _fill(service: Service, files: Path) -> None:
    """Put one job into the catalogue whose archive has three stored members and a deflated one."""
    job = service.add_job("100", "Four stems", 226.0, job_id(0))
    archive = archive_of(
        Member(
            f"{part}.wav",
            Joined(wav_header(_MEMBER - 44), Noise(_MEMBER - 44, part)),
            deflated=part == _DEFLATED,
        )
        for part in _PARTS
    )
    job.assets["stems"] = archive
    write(archive, files / object_path(job, "stems")[1:])


def _note(page: Page, place: Place, count: Count, what: str) -> None:
    """Note what was asked of the byte server."""
    port = place.origin.ports[HOSTS.index(Role.CDN)]
    asked = [each for each in count.requests if each.port == port]
    page.note(US, f"{what}, requests", len(asked))
    page.note(US, f"{what}, KiB", sum(each.sent for each in asked) / 1024)


def _stems(bench: Bench, page: Page) -> None:
    place = bench.stage("stems", _fill).at("apart")
    packed = _packed(place)
    for _ in bench.rounds():
        home = bench.home()
        with bench.musicfs(place, home) as mount:
            job = mount.path / "tempolor" / job_id(0)
            os.listdir(job.parent)
            with place.counted() as count:
                names = os.listdir(job / "stems")
            if len(names) != len(_PARTS):
                raise RuntimeError(f"{len(names)} stems of {len(_PARTS)}")
            _note(page, place, count, "list")
            with place.counted() as count:
                read_at(job / "stems" / "vocals.wav", 0, _FIRST, hold=_HELD)
            _note(page, place, count, "stored")
            _middles(page, place, job / "stems" / f"{_DEFLATED}.wav", packed)
        with bench.musicfs(place, home) as mount, place.counted() as count:
            os.listdir(mount.path / "tempolor" / job_id(0) / "stems")
            read_at(job / "stems" / f"{_DEFLATED}.wav", _MEMBER // 2, _FIRST)
        _note(page, place, count, "deflated after remount")
        shutil.rmtree(home, ignore_errors=True)


def _middles(page: Page, place: Place, path: Path, packed: int) -> None:
    """Read a deflated member in its middle, beside it, before it, and whole."""
    with place.counted() as count:
        page.note(US, "first middle, s", read_at(path, _MEMBER // 2, _FIRST))
        page.note(US, "second middle, s", read_at(path, _MEMBER // 2 - _MEMBER // 16, _FIRST))
        page.note(US, "before it, s", read_at(path, _MEMBER // 4, _FIRST))
        read_whole(path, _MEMBER)
    _note(page, place, count, "deflated")
    page.note(US, "deflated, fetched / packed", count.bytes / packed)


def _packed(place: Place) -> int:
    """Give the bytes that the deflated member has in the archive."""
    (archive,) = place.origin.files.rglob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        return opened.getinfo(f"{_DEFLATED}.wav").compress_size


ROWS = (
    Row(
        "stems",
        "stems of a 160 MB ZIP, 40 ms",
        (
            plainly("list: requests at the CDN", "list, requests", 1, digits=0),
            plainly("list: KiB", "list, KiB", 64, unit="KiB", digits=0),
            plainly("first 4 KiB of a stored member: requests at the CDN", "stored, requests", 1, digits=0),
            plainly(
                "middle of a deflated one, again, before it, whole: bytes fetched / its packed bytes",
                "deflated, fetched / packed",
                1.02,
            ),
            plainly(
                "the same after a remount: requests at the CDN",
                "deflated after remount, requests",
                0,
                digits=0,
            ),
        ),
        _stems,
    ),
)
