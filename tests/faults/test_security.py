"""What a hostile service may try: fill disk or memory, leave the tree, point into the user's network."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Request, Response, Service
from musicfs.demo.faults import JSON, Answer, body
from musicfs.errors import MusicfsError
from tests.faults.house import House, Loop
from tests.world import LOOSE_ENDS, NOW

pytestmark = [LOOSE_ENDS, pytest.mark.timeout(120)]
MEGABYTE = 2**20
KEPT = 512 * MEGABYTE  # bytes that a hostile listing may make the house keep in memory
ON_DISK = 16 * MEGABYTE  # bytes that it may make the house write


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Give a house whose service has one song of each kind."""
    loop = Loop()
    service = Service(clock=lambda: NOW + loop.clock.current_time())
    service.add_clip("ada@example.com", "Song", 3.0)
    service.add_job("100", "Job", 3.0)
    house = House(loop, service, tmp_path / "house")
    yield house.start()
    house.stop()
    loop.close()


def listed(house: House, folder: str) -> set[str] | str:
    """List a folder, or give the name of the failure."""
    try:
        return house.loop.run(house.names, folder)
    except MusicfsError as failed:
        return type(failed).__name__


def written(folder: Path) -> int:
    """Sum the bytes that files take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def memory() -> int:
    """Say how many bytes of memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def endless(size: int, title: str = "x") -> Answer:
    """List other songs on every page, and say that there are more."""
    number = itertools.count()

    def answer(request: Request) -> Response:
        offset, marks = int(request.first("offset") or 0), [next(number) for _ in range(size)]
        records = [f'{{"job_id":"user:1-tempolor:100-job:{mark:x}","titleEn":"{title}"}}' for mark in marks]
        clip = f'{{"clip":"user:1-a@b.c-clip:%08x-0000-4000-8000-000000000000","title":"{title}"}}'
        named = f'"clips":[{",".join(clip % (offset + n) for n in range(size))}]'
        if "tempolor" in request.path:
            named = f'"records":[{",".join(records)}]'
        more = f'"next":{offset + size},"hasNext":true,"cursor":"c{next(number)}"'
        return Response.of(200, f"{{{named},{more}}}".encode(), JSON)

    return answer


@pytest.mark.expected_log("^WARNING")
@pytest.mark.parametrize("folder", ["flowmusic", "tempolor"])
def test_a_listing_without_end(house: House, folder: str) -> None:
    """A list that goes on for ever is refused before it fills anything, and the other service is served."""
    house.service.fail(endless(60_000), kind="list", path=folder)
    before = memory()
    assert listed(house, folder) == "Misbehaved"
    assert memory() - before < KEPT
    other = "tempolor" if folder == "flowmusic" else "flowmusic"
    assert len(listed(house, other)) == 1
    assert house.service.counts["list"] <= 30
    assert written(house.folder) < ON_DISK


def test_titles_of_megabytes(house: House) -> None:
    """Songs with titles of a megabyte are listed, by names of a name's length, and cost a name's room."""
    huge = endless(5, "la " * (MEGABYTE // 3))

    def once(request: Request) -> Response:
        page = json.loads(b"".join(step for step in huge(request).steps if isinstance(step, bytes)))
        last = {"next": None, "hasNext": False, "cursor": None}
        return Response.of(200, json.dumps({**page, **last}).encode(), JSON)

    house.service.fail(once, kind="list")
    for folder in ("flowmusic", "tempolor"):
        assert len(listed(house, folder)) == (5 if folder == "flowmusic" else 10)
    assert all(len(name.encode()) <= 255 for name in listed(house, "library"))
    assert written(house.folder / "state") < MEGABYTE


@pytest.mark.expected_log("^WARNING")
@pytest.mark.parametrize(
    "hostile",
    [
        b'{"clips":[' + b"[" * 5_000_000,
        b'{"clips":["' + b"x" * (20 * MEGABYTE),
        b"[" * 100_000,
        json.dumps({f"{number}@example.com": {} for number in range(50_000)}).encode(),
    ],
    ids=["nested", "long", "deep", "crowd"],
)
def test_hostile_json(house: House, hostile: bytes) -> None:
    """JSON that is too deep, too long or about too many accounts is refused, in a few requests."""
    kind = "accounts" if b"example" in hostile else "list"
    house.service.fail(body(hostile), kind=kind)
    assert listed(house, "flowmusic") in ("Misbehaved", "Rejected")
    assert sum(house.service.counts.values()) <= 30
    assert written(house.folder) < ON_DISK
