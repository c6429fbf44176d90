"""What is asked for, when and by how many streams, on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from musicfs.content import fetching
from musicfs.content.blob import Blob
from musicfs.content.download import Download
from musicfs.content.reader import BlobReader
from musicfs.content.window import Windows
from musicfs.core.readahead import LARGEST
from musicfs.core.spans import BLOCK, block_span, blocks_of, clip, joined
from musicfs.core.streams import Haste
from musicfs.errors import TooSlow
from musicfs.model import Span
from musicfs.store.entry import Entry as StoredEntry
from tests.world import House, Thing, housed, pattern, spans, wav_asset

MIB = 2**20
SIZE = 40 * MIB + 4321
DATA = pattern(SIZE)
WAV = wav_asset()
RATE = 10 * MIB  # bytes a second
AWAY = 0.04  # seconds until an answer begins


async def read_all(reader: BlobReader, step: int = 131_072) -> float:
    """Read a file from end to end and give the seconds it took."""
    began = trio.current_time()
    for span in spans(reader.size, step):
        assert bytes(await reader.read(span)) == DATA[span.start : span.stop]
    return trio.current_time() - began


def asked(house: House) -> list[Span]:
    """Say what was asked for, in order of place."""
    return sorted(Span(one.start, one.stop or SIZE) for one in house.stage.answers)


@pytest.mark.trio
async def test_a_limit_of_each_connection_is_shared_by_streams(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where each connection has its own limit, a long file comes in half the time or less, and no byte
    twice."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY, pace=RATE))
        reader = await house.content.open(WAV)
        assert await read_all(reader) <= 0.5 * SIZE / RATE
        reader.close()
        assert house.stage.moved == SIZE
        row = asked(house)
        assert all(one.stop == two.start for one, two in pairwise(row))


@pytest.mark.trio
async def test_a_limit_of_the_line_costs_no_time_and_no_bytes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where the line is the limit it is never idle: all comes within 2 % and two round trips of one
    stream."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY))
        house.stage.line = RATE
        reader = await house.content.open(WAV)
        assert await read_all(reader) <= 1.02 * SIZE / RATE + 2 * AWAY
        reader.close()
        assert house.stage.moved == SIZE


@pytest.mark.parametrize(
    ("away", "rate", "piece"), [(0.04, 3 * MIB, 16_384), (0.08, 12 * MIB + MIB // 2, 262_144)]
)
@pytest.mark.trio
async def test_a_stream_that_is_let_go_of_leaves_no_gap(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, away: float, rate: float, piece: int
) -> None:
    """Once the windows are large the line that all share is never idle, also where a second stream was tried
    and both end at the same time."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=away))
        house.stage.line, house.stage.PIECE = rate, piece
        reader = await house.content.open(WAV)
        for span in spans(SIZE, 131_072):
            await reader.read(span)
            if span.stop == 4 * MIB:
                house.stage.idle = 0.0
        reader.close()
        assert house.stage.pulls > 3
        assert house.stage.idle < 0.001


@pytest.mark.trio
async def test_a_large_first_read_leaves_the_line_little_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A program whose first read the kernel makes 128 KiB of has 512 KiB asked for: they come for as long as
    the next request travels."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY))
        house.stage.line = RATE
        reader = await house.content.open(WAV, Span(0, 1))
        house.stage.idle = 0.0
        await read_all(reader)
        reader.close()
        assert house.stage.idle < 1.6 * AWAY


@pytest.mark.trio
async def test_a_player_has_one_stream(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Who reads more slowly than the bytes come is served by one request after the other."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY, pace=RATE))
        reader = await house.content.open(WAV)
        most = 0
        for span in spans(SIZE, 131_072):
            await reader.read(span)
            await trio.sleep(0.1)
            most = max(most, len(house.content.transfers()))
        reader.close()
        assert most <= 2
        assert house.stage.moved == SIZE


@pytest.mark.trio
async def test_who_leaves_wastes_a_window_at_most(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """However many streams run, what was fetched and not read is less than the window, and all end."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY, pace=RATE))
        reader = await house.content.open(WAV)
        for span in spans(30 * MIB, 131_072):
            await reader.read(span)
        assert len(house.content.transfers()) >= 3
        reader.close()
        await trio.sleep(5)
        assert house.content.transfers() == []
        assert house.stage.moved <= 30 * MIB + LARGEST + BLOCK


@pytest.mark.trio
async def test_random_reads_fetch_what_they_read(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Reads here and there, of whole blocks, are one request each and nothing else."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY))
        reader = await house.content.open(WAV, Span(0, 1))
        for number in range(40):
            place = (number * 17 % 40) * MIB + BLOCK
            await reader.read(Span(place, place + BLOCK))
        reader.close()
        assert house.stage.pulls == 41
        assert house.stage.moved <= 41 * BLOCK


@pytest.mark.trio
async def test_two_readers_leave_a_connection_free(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """However much two long files would like to have, a host's sixth connection is for who comes next."""
    other = wav_asset("89abcdef")
    async with housed(tmp_path, 128 * MIB) as house, trio.open_nursery() as nursery:
        for asset in (WAV, other):
            house.put(asset, Thing(DATA, slow=AWAY, pace=RATE))
            nursery.start_soon(read_all, await house.content.open(asset))
        most = 0
        while trio.current_time() < 1.5:
            most = max(most, len(house.content.transfers()))
            await trio.sleep(0.01)
        assert 4 <= most <= 5


@pytest.mark.expected_log("0123abcd:wav: silent")
@pytest.mark.trio
async def test_a_stream_that_fails_takes_nothing_from_the_others(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, expected_log: Callable[[str], None]
) -> None:
    """A request ahead of the reader fails: what the others bring is read meanwhile, and the rest follows."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(DATA, slow=AWAY, pace=RATE))
        reader = await house.content.open(WAV)
        for span in spans(20 * MIB, 131_072):
            await reader.read(span)
        here = min(job.at for job in house.content.blob(WAV).jobs)  # type: ignore[attr-defined]
        thing.failures.append(TooSlow("silent"))
        await reader.read(Span(20 * MIB, 20 * MIB + 131_072))
        assert here >= 20 * MIB
        await trio.sleep(2 * AWAY)
        assert not thing.failures
        # The failure has just come; the bytes that healthy streams bring are waited for all the same.
        await reader.read(Span(here, here + 131_072))
        await trio.sleep(1.1)
        assert bytes(await reader.read(Span(0, SIZE))) == DATA
        reader.close()


@given(
    size=st.integers(1, 40 * BLOCK),
    here=st.sets(st.integers(0, 40), max_size=40),
    jobs=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.booleans()), max_size=4),
    start=st.integers(0, 41 * BLOCK),
    length=st.integers(0, 41 * BLOCK),
)
def test_the_next_gap_is_the_first_of_all(
    size: int, here: set[int], jobs: list[tuple[int, int, bool]], start: int, length: int
) -> None:
    """What is asked for next is the first run of blocks that are neither here nor being brought, cut off at
    the file's end, or nothing; a download that has ended brings nothing."""
    blob = Blob(WAV, 0)
    blob.size = size
    blob.loose = lambda block: b"" if block in here else None
    brought: set[int] = set()
    for first, count, ended in jobs:
        job = Download(blob, Span(first * BLOCK, (first + count) * BLOCK), Nobody(), Nobody(), Windows())
        job.progress.ended = ended
        brought |= set() if ended else set(range(first, first + count))
        blob.jobs.append(job)
    span = Span(start, start + length)
    missing = [block for block in blocks_of(clip(span, size)) if block not in here | brought]
    runs = joined(block_span(block, size) for block in missing)
    expected = runs[0] if runs else Span(span.stop, span.stop)
    assert fetching._next_gap(blob, span) == expected


class Nobody:
    """Nobody who is told."""

    ahead = False

    def learned(self, blob: Blob, size: int, validator: str) -> None:
        """Take no note."""

    def disagreed(self, blob: Blob, size: int, validator: str) -> None:
        """Take no note."""

    def keep(self, blob: Blob, block: int, data: memoryview) -> None:
        """Keep nothing."""

    def moved(self, amount: int, left: int) -> None:
        """Take no note."""

    def ended(self) -> None:
        """Take no note."""


@pytest.mark.trio
async def test_a_read_that_has_to_wait_leaves_the_disk_alone(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a read that is here in part nothing is read from the disk before the rest has come; then once."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY, pace=RATE))
        reader = await house.content.open(WAV)
        await reader.read(Span(MIB, MIB + BLOCK))
        await trio.testing.wait_all_tasks_blocked()
        read: list[Span] = []
        entry = house.content.blob(WAV).entry
        assert isinstance(entry, StoredEntry)
        real = entry.read

        def noted(span: Span) -> memoryview:
            read.append(span)
            return real(span)

        monkeypatch.setattr(entry, "read", noted)
        wanted = Span(MIB, MIB + 2 * BLOCK)
        assert reader.here(wanted) is None
        assert read == []
        assert bytes(await reader.read(wanted)) == DATA[wanted.start : wanted.stop]
        assert len(read) == 1
        reader.close()


@pytest.mark.trio
async def test_what_is_asked_for_ahead_is_awaited_by_nobody(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A request that a reader waits for is told from one that is made ahead of him, until he comes there."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY, pace=RATE))
        reader = await house.content.open(WAV)
        for span in list(spans(reader.size, 131_072))[:16]:
            await reader.read(span)
        jobs = [job for job in house.content.blob(WAV).jobs if isinstance(job, Download)]
        ahead = [job for job in jobs if job.watch.ahead]
        assert ahead
        assert {job.haste for job in ahead} == {Haste.AHEAD}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read, Span(ahead[-1].at, ahead[-1].at + BLOCK))
            await trio.testing.wait_all_tasks_blocked()
            assert ahead[-1].haste is Haste.NOW
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read, Span(30 * MIB, 30 * MIB + BLOCK))
            await trio.testing.wait_all_tasks_blocked()
            for job in house.content.blob(WAV).jobs:
                assert isinstance(job, Download)
                assert job.watch.ahead is not job.will_reach(30 * MIB)
        reader.close()


@pytest.mark.trio
@pytest.mark.parametrize("shaped", [True, False])
async def test_streams_that_proved_are_abreast(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, shaped: bool
) -> None:
    """Where each connection has a limit of its own, what is asked for ahead is abreast from some point on,
    even if its reader has come there; where the line has the limit, never. Who jumps is in haste."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=AWAY, pace=RATE if shaped else None))
        house.stage.line = None if shaped else RATE
        reader = await house.content.open(WAV)
        met: list[Haste] = []
        for span in list(spans(reader.size, 131_072))[: SIZE // 2 // 131_072]:
            await reader.read(span)
            jobs = [job for job in house.content.blob(WAV).jobs if isinstance(job, Download)]
            met += [job.haste for job in jobs if job.watch.ahead]
        assert (Haste.ABREAST in met) is shaped
        assert Haste.NOW not in met[met.index(Haste.ABREAST) :] if shaped else True
        async with trio.open_nursery() as nursery:
            far = SIZE - 2 * MIB
            nursery.start_soon(reader.read, Span(far, far + BLOCK))
            await trio.testing.wait_all_tasks_blocked()
            jobs = [job for job in house.content.blob(WAV).jobs if isinstance(job, Download)]
            assert [job.haste for job in jobs if job.will_reach(far)] == [Haste.NOW]
        reader.close()
