"""Every fault that a server can make, alone, under a real mount: the truth, in time, and healed afterwards.

How it thinks: the faults of one answer each have a song of their own, and hundreds of real programs read side
by side. What became of each is looked at one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicfs.demo import Service
from tests.faults.reading import PROGRAMS, Reading, read
from tests.faults.servers import CASES, GONE, LATE, Case
from tests.faults.stage import Stage, fill, healed, listed, staged
from tests.figures import FAULTS

SIDE_BY_SIDE = 24
AGAIN = 3
"""Times that a song which was late is read again, with nobody beside it: on a machine that stands still for a
moment its turn may not come in four seconds, or its host be taken for silent. A fault's lateness stays."""
LIMIT = 30.0  # seconds on a busy machine: an `open` and a repeated read of 4 s each, and songs in between
SONGS: list[tuple[str, Path, bytes]] = []
"""The songs that were tried, for those who look again."""
NAMES = [case.name for case in CASES]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault."""

    case: Case
    reading: Reading
    calls: int
    after: str


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount once for all."""
    service = fill(Service(clock=time.time), 260)
    with staged(service, tmp_path_factory.mktemp("servers")) as stage:
        stage.mount.expect("flowmusic:", "tempolor:", "other bytes now", "built anew")
        yield stage


@pytest.fixture(scope="module")
def outcomes(stage: Stage) -> dict[str, Outcome]:
    """Try every fault, and see that nothing is left in use."""
    found = {outcome.case.name: outcome for outcome in try_all(stage)}
    stage.settle()
    return found


def try_all(stage: Stage) -> list[Outcome]:
    """Try every fault on a song of its own, heal the service, and read every song again."""
    listed(stage)
    songs = [stage.song(case.place) for case in CASES]
    SONGS[:] = songs

    def tried(number: int) -> Reading:
        CASES[number].inject(stage.service, songs[number][0])
        return reads(number)

    def reads(number: int) -> Reading:
        ident, path, wanted = songs[number]
        stage.calls[ident] = 0
        return read(PROGRAMS[number % len(PROGRAMS)], path, wanted, LIMIT)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        # What has to come through goes first: a host's retries are one budget, and the others use it up.
        order = sorted(range(len(CASES)), key=lambda number: bool(CASES[number].errors))
        found = dict(zip(order, pool.map(tried, order), strict=True))
        for number in order:
            for _ in range(AGAIN):
                if found[number].error in LATE - CASES[number].errors and not found[number].lie:
                    found[number] = reads(number)
        readings = [found[number] for number in range(len(CASES))]
        calls = [stage.calls[ident] for ident, _, _ in songs]
        stage.heal()
        after = list(pool.map(lambda song: healed(stage, song[1], song[2], 15.0), songs))
    FAULTS["faults alone"] += len(CASES)
    assert stage.mount.running
    return [Outcome(*row) for row in zip(CASES, readings, calls, after, strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_alone(name: str, outcomes: dict[str, Outcome]) -> None:
    """One fault gives exact bytes or its errno, in time, at a bounded number of requests; once it is gone the
    song is exact."""
    outcome = outcomes[name]
    case, reading = outcome.case, outcome.reading
    assert reading.lie == ""
    assert reading.error in case.errors | ({""} if case.exact else set())
    assert reading.seconds < LIMIT
    assert outcome.calls <= case.calls
    if not case.errors & GONE:  # A song without stems is believed to be one for a day.
        assert outcome.after == ""


def test_nothing_wrong_is_kept(stage: Stage, outcomes: dict[str, Outcome]) -> None:
    """After a restart with no network at all every song is exact, from what was kept while servers lied."""
    stage.mount.expect("listing", "flowmusic:", "tempolor:")
    stage.loop.stop()
    try:
        stage.mount.restart()
        for case, (_, path, wanted) in zip(CASES, SONGS, strict=True):
            if not case.errors & GONE:
                assert path.read_bytes() == wanted, case.name
    finally:
        stage.loop.start()
