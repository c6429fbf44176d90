"""What a whole host can do to a mount: be refused, swallow, show a false certificate, have no name, be
silent.

How it thinks: all hosts fail at once, in each way in turn. Four readers meet them where they hurt: a song
whose mp3 the API makes, one whose link has to be minted, one whose link is alive and whose bytes are
missing, and one in the bucket. A song that is cached plays all the while, and once the hosts are back,
everything is exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicfs.demo import Role, Service
from musicfs.demo.faults import black_hole, throttled
from tests.faults.reading import Reading, read
from tests.faults.servers import AWAY, LATE, ONCE
from tests.faults.stage import Stage, fill, healed, listed, staged
from tests.figures import FAULTS
from tests.mounted.mounting import done, run, until

RATE = 8.0  # a host that was down is left alone for 15 s of the daemon's time, so for two of ours
HEAL = 25.0  # seconds until everything is exact again on a busy machine; the longest rest is 15 of them


@dataclass(frozen=True, slots=True)
class Outage:
    """One way for every host to fail."""

    errors: frozenset[str]
    begin: Callable[[Stage], None]
    end: Callable[[Stage], None]


def _names(stage: Stage, what: str | None) -> None:
    """Have the resolver fail (`none`, `silent`) or work; open connections are cut."""
    said = stage.mount.home / "names"
    said.unlink(missing_ok=True)
    if what is not None:
        said.write_text(what)
    stage.loop.stop()
    stage.loop.start()


def _silent(stage: Stage) -> None:
    for role in Role:
        stage.service.fail(black_hole(), role=role)


OUTAGES = {
    "refused": Outage(AWAY, lambda stage: stage.loop.stop(), lambda stage: stage.loop.start()),
    "swallowed": Outage(LATE, lambda stage: stage.loop.deafen(), lambda stage: stage.loop.start()),
    "a false certificate": Outage(
        AWAY, lambda stage: stage.loop.mistrust(), lambda stage: stage.loop.trust()
    ),
    "no name": Outage(AWAY, lambda stage: _names(stage, "none"), lambda stage: _names(stage, None)),
    "a silent resolver": Outage(
        LATE, lambda stage: _names(stage, "silent"), lambda stage: _names(stage, None)
    ),
    "a black hole": Outage(LATE, _silent, lambda stage: stage.heal()),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount over TLS, with hosts that have names."""
    service = fill(Service(clock=time.time), 40)
    home = tmp_path_factory.mktemp("hosts")
    with staged(service, home, rate=RATE, tls=True, named=True) as stage:
        listed(stage)
        yield stage


@pytest.mark.parametrize("how", OUTAGES)
def test_outage(how: str, stage: Stage) -> None:
    """When every host fails in one way, each cold song is its errno in time and at a bounded price, what is
    cached plays and is listed, and all is exact once the hosts are back."""
    stage.mount.expect(".")
    outage = OUTAGES[how]
    songs = {place: stage.song(place) for place in ("mp3", "link", "cdn", "bucket")}
    _, cached, wanted = stage.song("cdn")
    # Healthy, but in two seconds of ours, over TLS: a machine that stands still that long has to ask again.
    assert healed(stage, cached, wanted, HEAL) == ""
    until(lambda: run(["head", "-c", "1", songs["cdn"][1]]).stdout, HEAL)
    stage.calls.clear()
    outage.begin(stage)
    try:
        with ThreadPoolExecutor(4) as pool:
            began = time.monotonic()
            readings = dict(
                zip(songs, pool.map(lambda song: _read(stage, song), songs.values()), strict=True)
            )
            again = dict(zip(songs, pool.map(lambda song: _read(stage, song), songs.values()), strict=True))
            assert cached.read_bytes() == wanted
            done(["ls", "-l", stage.mount.path / "flowmusic"])
            assert time.monotonic() - began < 2 * stage.patience + 5
    finally:
        outage.end(stage)
    FAULTS["outages"] += 1
    for place, reading in (*readings.items(), *again.items()):
        assert (place, reading.lie) == (place, "")
        assert (place, reading.error in outage.errors) == (place, True), reading
    assert max(stage.calls.values(), default=0) <= 2 * ONCE
    for _, path, data in songs.values():
        assert healed(stage, path, data, HEAL) == ""
    stage.settle()


def _read(stage: Stage, song: tuple[str, Path, bytes]) -> Reading:
    return read("cat", song[1], song[2], stage.patience + 20)


def test_quiet_for_a_year(stage: Stage) -> None:
    """429 with a Retry-After of a year is EBUSY at once and asked once, though five programs try."""
    stage.mount.expect(".")
    ident, path, data = stage.song("bucket")
    stage.service.fail(throttled(31_536_000), role=Role.BUCKET)
    for _ in range(5):
        assert read("cat", path, data, stage.patience).error == "EBUSY"
    assert stage.calls[ident] <= 3  # once; and its other form may have been asked for beside it
