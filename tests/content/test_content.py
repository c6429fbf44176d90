"""Opening and reading by ranges, on virtual time, with a played network and the real store."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicfs.content.reader import BlobReader
from musicfs.core.spans import BLOCK
from musicfs.errors import (
    BytesMissing,
    Changed,
    Misbehaved,
    MusicfsError,
    NotFinished,
    TooSlow,
    Unreachable,
)
from musicfs.model import Known, Span
from tests.world import House, Thing, housed, pattern, spans, wav_asset

MIB = 2**20
DATA = pattern(3 * MIB + 12_345)
WAV = wav_asset()


async def all_of(reader: BlobReader, step: int = 131_072) -> bytes:
    """Read a file from end to end, as the kernel would."""
    return b"".join([bytes(await reader.read(span)) for span in spans(reader.size, step)])


def damage(folder: Path) -> None:
    """Change some bytes of the sixth block of the only object on the disk."""
    (path,) = folder.rglob("*.data")
    with path.open("r+b") as file:
        file.seek(5 * BLOCK + 17)
        file.write(b"damage")


async def fails(house: House, named: type[MusicfsError]) -> None:
    """See an open fail."""
    with pytest.raises(named):
        await house.content.open(WAV)


# Opening ------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_open_knows_the_exact_size(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Before an open the size is an estimate, afterwards exact, for ever."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA))
        assert not house.content.facts(WAV).exact
        reader = await house.content.open(WAV)
        assert reader.size == len(DATA)
        reader.close()
        assert house.memo.known(WAV.key) == Known(0, len(DATA), "etag one", False)
        house.build()
        assert house.content.facts(WAV).size == len(DATA)
        assert house.content.facts(WAV).exact


@pytest.mark.trio
async def test_a_storm_of_opens_is_one_check(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Sixty opens at once, and sixty more in the next seconds, ask the service once."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=1.0))

        async def visit() -> None:
            (await house.content.open(WAV)).close()

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(visit)
        for _ in range(60):
            await visit()
            await trio.sleep(0.05)
        assert house.stage.pulls == 1
        assert sum(house.stage.mints.values()) == 1


@pytest.mark.expected_log("0123abcd:wav: no$")
@pytest.mark.trio
async def test_a_failure_is_remembered_for_a_second(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Who asks within a second of a failure gets it at once; later the service is asked again, and heals."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, failures=[Unreachable("no")]))
        await fails(house, Unreachable)
        await trio.sleep(0.9)
        await fails(house, Unreachable)
        assert house.stage.pulls == 1
        await trio.sleep(0.2)
        (await house.content.open(WAV)).close()
        assert house.stage.pulls == 2
        assert house.content.explain(WAV)["failure"] is None


@pytest.mark.parametrize("failure", [Unreachable, TooSlow, NotFinished, BytesMissing, Misbehaved])
@pytest.mark.trio
async def test_open_fails_by_the_failures_own_name(
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    expected_log: Callable[[str], None],
    failure: type[MusicfsError],
) -> None:
    """All that can be foreseen fails at open, for everybody who waited, and is told by `why`."""
    if failure.level >= logging.WARNING:
        expected_log("0123abcd:wav: so it is")
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=1.0, failures=[failure("so it is")]))
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(fails, house, failure)
        assert house.stage.pulls == 1
        assert isinstance(house.content.explain(WAV)["failure"], failure)
        assert house.memo.absences[WAV.key] == (1 if failure is BytesMissing else 0)


@pytest.mark.trio
async def test_the_first_who_asks_may_go_away(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The first of many openers is cancelled; the others are served by what he began."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=2.0))
        served: list[int] = []

        async def visit() -> None:
            reader = await house.content.open(WAV)
            served.append(len(await all_of(reader)))
            reader.close()

        async def first() -> None:
            with trio.move_on_after(0.5):
                await visit()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(19):
                nursery.start_soon(visit)
        assert served == [len(DATA)] * 19
        assert house.stage.moved <= len(DATA) + BLOCK


@pytest.mark.trio
async def test_measuring_moves_next_to_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """`stat` learns a size with one byte's range."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA))
        facts = await house.content.measure(WAV)
        assert (facts.size, facts.exact) == (len(DATA), True)
        assert [(one.start, one.stop) for one in house.stage.answers] == [(0, 1)]


# Reading ------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_twenty_readers_are_one_download(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Twenty who read the same file at once get exact bytes, and each byte is fetched once."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=0.2, pace=5 * MIB))
        got: list[bool] = []

        async def read() -> None:
            reader = await house.content.open(WAV)
            got.append(await all_of(reader) == DATA)
            reader.close()

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(read)
        assert got == [True] * 20
        assert house.stage.moved == len(DATA)


@pytest.mark.trio
async def test_the_first_reader_cancelled_others_served(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A reader killed in the middle of a read takes nothing from those who wait for the same bytes."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, slow=1.0))
        reader = await house.content.open(WAV)
        far = Span(2 * MIB, 2 * MIB + 4096)
        got: list[bytes] = []

        async def read(limit: float) -> None:
            with trio.move_on_after(limit):
                got.append(bytes(await reader.read(far)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, 0.5)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(5):
                nursery.start_soon(read, 100.0)
        assert got == [DATA[far.start : far.stop]] * 5
        assert house.stage.pulls == 2
        reader.close()


@pytest.mark.trio
async def test_a_sequential_readers_window_grows(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Requests double while reading goes on, so a long file takes few of them."""
    data = pattern(24 * MIB)
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(data, slow=0.05))
        house.stage.line = 20 * MIB
        reader = await house.content.open(WAV)
        assert await all_of(reader) == data
        reader.close()
        sizes = [(one.stop or 0) - one.start for one in house.stage.answers]
        assert sizes[0] == 256 * 1024
        assert max(sizes) >= 4 * MIB
        assert len(sizes) <= 14
        assert house.stage.moved == len(data)


@pytest.mark.trio
async def test_little_read_is_little_fetched(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The first 4 KiB of a 20 MiB wav move at most 1 MiB, however long the file stays open."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(pattern(20 * MIB), pace=50 * MIB))
        reader = await house.content.open(WAV)
        await reader.read(Span(0, 4096))
        await trio.sleep(60)
        assert house.stage.moved <= MIB
        reader.close()


@pytest.mark.trio
async def test_a_tail_read_disturbs_no_head(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A look at the tags at the end fetches the end only, and the head stream goes on where it was."""
    data = pattern(20 * MIB)
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(data, slow=0.05))
        reader = await house.content.open(WAV)
        await reader.read(Span(0, 131_072))
        before = house.stage.moved
        tail = Span(len(data) - 128, len(data))
        assert bytes(await reader.read(tail)) == data[tail.start :]
        assert house.stage.moved - before <= 2 * BLOCK + 2**18
        await reader.read(Span(131_072, 262_144))
        starts = [one.start for one in house.stage.answers if one.start < 10 * MIB]
        assert starts == sorted(starts)
        reader.close()


@pytest.mark.trio
async def test_a_seek_starts_small(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Random reads of 64 KiB fetch 64 KiB each."""
    data = pattern(20 * MIB)
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(data))
        reader = await house.content.open(WAV)
        await trio.testing.wait_all_tasks_blocked()
        before = house.stage.moved
        for block in (200, 50, 150, 100, 250):
            span = Span(block * BLOCK, (block + 1) * BLOCK)
            assert bytes(await reader.read(span)) == data[span.start : span.stop]
        assert house.stage.moved - before == 5 * BLOCK
        reader.close()


@pytest.mark.trio
async def test_several_cursors_stream_side_by_side(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Three who play one file from different places get exact bytes, fetched once, in few requests."""
    data = pattern(18 * MIB)
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(data, slow=0.02, pace=30 * MIB))
        right: list[bool] = []

        async def play(start: int) -> None:
            reader = await house.content.open(WAV)
            for at in range(start, start + 5 * MIB, 131_072):
                got = bytes(await reader.read(Span(at, at + 131_072)))
                right.append(got == data[at : at + 131_072])
                await trio.sleep(0.005)
            reader.close()

        async with trio.open_nursery() as nursery:
            for start in (0, 6 * MIB, 12 * MIB):
                nursery.start_soon(play, start)
        assert all(right)
        assert house.stage.moved <= 18 * MIB
        assert len(house.stage.answers) <= 40


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    reads=st.lists(st.tuples(st.integers(0, len(DATA) + 10_000), st.integers(0, 300_000)), max_size=12),
    breaks=st.lists(st.integers(0, 400_000), max_size=4),
    ranges=st.booleans(),
    together=st.booleans(),
)
def test_every_read_is_exact(
    tmp_path_factory: pytest.TempPathFactory,
    reads: list[tuple[int, int]],
    breaks: list[int],
    ranges: bool,
    together: bool,
) -> None:
    """Any reads, in any order, over any breaks, by a server with or without ranges, are the file's bytes."""

    async def main() -> None:
        async with housed(tmp_path_factory.mktemp("cache")) as house:
            house.put(WAV, Thing(DATA, breaks=list(breaks), ranges=ranges, pace=20 * MIB))
            reader = await house.content.open(WAV)

            async def read(at: int, length: int) -> None:
                assert bytes(await reader.read(Span(at, at + length))) == DATA[at : at + length]

            async with trio.open_nursery() as nursery:
                for at, length in reads:
                    if together:
                        nursery.start_soon(read, at, length)
                    else:
                        await read(at, length)
            reader.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.trio
async def test_reads_at_and_beyond_the_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A read over the end is clipped, one beyond it is empty; both only at the true end."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA))
        reader = await house.content.open(WAV)
        size = len(DATA)
        assert bytes(await reader.read(Span(size - 10, size + 100))) == DATA[-10:]
        assert bytes(await reader.read(Span(size, size + 100))) == b""
        assert bytes(await reader.read(Span(size + 5, size + 100))) == b""
        reader.close()


@pytest.mark.trio
async def test_a_reads_deadline_while_a_failure_is_tried_again_is_that_failure(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A read that meets a broken request late has no time for its last try: it is told of the failure, not
    that nothing answered; where nothing answers, it is that."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(DATA, pace=100_000.0))
        reader = await house.content.open(WAV)
        thing.breaks = [0] * 8
        with trio.fail_after(1), pytest.raises(Misbehaved):
            await reader.read(Span(2 * MIB, 2 * MIB + 1000))
        await trio.sleep(60)
        thing.slow = 40.0
        with pytest.raises(trio.TooSlowError), trio.fail_after(3):
            await reader.read(Span(3 * MIB, 3 * MIB + 1000))
        assert bytes(await reader.read(Span(2 * MIB, 2 * MIB + 1000))) == DATA[2 * MIB : 2 * MIB + 1000]
        reader.close()


@pytest.mark.expected_log("0123abcd:wav: stalled")
@pytest.mark.trio
async def test_a_failure_in_the_middle_is_raised_and_heals(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What `wire` could not mend is the read's error, never a short read; a later read goes on."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(DATA))
        reader = await house.content.open(WAV)
        await trio.testing.wait_all_tasks_blocked()
        thing.failures.append(TooSlow("stalled"))
        with pytest.raises(TooSlow) as caught:
            await reader.read(Span(2 * MIB, 2 * MIB + 100))
        assert caught.value.errno == errno.ETIMEDOUT
        assert bytes(await reader.read(Span(0, 100))) == DATA[:100]
        await trio.sleep(1.1)
        assert bytes(await reader.read(Span(2 * MIB, 2 * MIB + 100))) == DATA[2 * MIB : 2 * MIB + 100]
        reader.close()


@pytest.mark.trio
async def test_a_closed_file_is_not_fetched_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Once nobody has the file open, a download by ranges stops by itself."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(pattern(20 * MIB), pace=MIB, ranges=False))
        reader = await house.content.open(WAV)
        await reader.read(Span(0, 100))
        reader.close()
        reader.close()
        await trio.sleep(100)
        assert house.stage.moved <= MIB
        assert house.content.transfers() == []


# The shelf ----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_what_was_fetched_is_kept(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A second reading, also after a restart, asks nobody for anything."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA))
        for _ in range(2):
            reader = await house.content.open(WAV)
            assert await all_of(reader) == DATA
            reader.close()
            house.build()
        assert house.stage.moved == len(DATA)
        assert house.content.cached(WAV)
        house.stage.things.clear()
        reader = await house.content.open(WAV)
        assert await all_of(reader) == DATA
        reader.close()


@pytest.mark.expected_log("damaged and is fetched again")
@pytest.mark.trio
async def test_a_damaged_block_is_fetched_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A block that the disk changed is noticed, fetched again alone, and served right."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA))
        reader = await house.content.open(WAV)
        await all_of(reader)
        damage(tmp_path)
        before = house.stage.moved
        assert await all_of(reader) == DATA
        assert house.stage.moved - before == BLOCK
        reader.close()


@pytest.mark.expected_log("passes through memory")
@pytest.mark.trio
async def test_without_room_ranges_pass_through_memory(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A cache that has no room for the file stops no reader: its bytes come exact, through memory."""
    async with housed(tmp_path, limit=0) as house:
        house.put(WAV, Thing(DATA))
        reader = await house.content.open(WAV)
        assert await all_of(reader) == DATA
        assert house.store.used == 0
        reader.close()


@pytest.mark.trio
async def test_a_cache_smaller_than_the_file_serves_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A file larger than the cache is read exactly, while its earlier blocks give way."""
    async with housed(tmp_path, limit=MIB) as house:
        house.put(WAV, Thing(DATA))
        reader = await house.content.open(WAV)
        assert await all_of(reader) == DATA
        assert house.store.used <= MIB
        reader.close()


# Versions -----------------------------------------------------------------------------------------------

OTHER = pattern(len(DATA), "other")


@pytest.mark.parametrize(
    ("other", "validator"), [(OTHER, "etag two"), (OTHER + b"more", "etag one"), (OTHER[:-5], "etag two")]
)
@pytest.mark.trio
async def test_other_bytes_are_another_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, other: bytes, validator: str
) -> None:
    """A disagreeing size or validator is Changed for the open handle; the next open sees the new."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(DATA))
        old = await house.content.open(WAV)
        assert bytes(await old.read(Span(0, 1000))) == DATA[:1000]
        await trio.testing.wait_all_tasks_blocked()
        thing.data, thing.validator = other, validator
        with pytest.raises(Changed) as caught:
            await old.read(Span(2 * MIB, 2 * MIB + 1000))
        assert caught.value.errno == errno.ESTALE
        assert house.changes == [WAV.key]
        fresh = await house.content.open(WAV)
        assert (fresh.version, old.version) == (1, 0)
        assert await all_of(fresh) == other
        assert bytes(await old.read(Span(0, 1000))) == DATA[:1000]
        assert old.size == len(DATA)
        assert house.memo.known(WAV.key).version == 1
        old.close()
        fresh.close()


@pytest.mark.trio
async def test_a_handle_keeps_a_version_that_is_here(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A handle whose bytes are all here plays on, whatever the service has by now."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(DATA))
        old = await house.content.open(WAV)
        await all_of(old)
        thing.data, thing.validator = OTHER, "etag two"
        await trio.sleep(60)
        assert await all_of(old) == DATA
        assert house.changes == []
        old.close()


@pytest.mark.trio
async def test_readers_over_a_change_never_get_a_mixture(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Ten readers while the service changes its bytes each get one version whole, or Changed."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(DATA, slow=0.05, pace=10 * MIB))
        ends: list[str] = []

        async def read(delay: float) -> None:
            await trio.sleep(delay)
            try:
                reader = await house.content.open(WAV)
            except Changed:
                ends.append("changed")
                return
            try:
                got = await all_of(reader)
                ends.append({DATA: "old", OTHER: "new"}.get(got, "a mixture"))
            except Changed:
                ends.append("changed")
            finally:
                reader.close()

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(read, number * 0.05)
            await trio.sleep(0.2)
            thing.data, thing.validator = OTHER, "etag two"
        assert "a mixture" not in ends
        assert len(ends) == 10


@pytest.mark.trio
async def test_a_service_without_ranges_is_one_stream(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where a range is answered with the whole, it is read once from its first byte, for every reader."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, ranges=False, pace=10 * MIB))
        reader = await house.content.open(WAV)
        assert bytes(await reader.read(Span(2 * MIB, 2 * MIB + 50))) == DATA[2 * MIB : 2 * MIB + 50]
        assert await all_of(reader) == DATA
        assert house.stage.pulls == 1
        assert house.stage.moved == len(DATA)
        reader.close()


@pytest.mark.trio
async def test_an_unsized_service_is_read_in_one_pass(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where no length is told, open waits for the whole, and then its size is exact."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(DATA, sized=False, ranges=False, pace=MIB))
        reader = await house.content.open(WAV)
        assert reader.size == len(DATA)
        assert await all_of(reader) == DATA
        reader.close()
        assert house.memo.known(WAV.key).one_pass


@pytest.mark.trio
async def test_a_crowd_waits_for_a_place(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Where few reads may wait, what is cached is served at once and the rest is TooSlow after 5 s."""
    async with housed(tmp_path) as house:
        house.content.crowded(2)
        house.put(WAV, Thing(pattern(20 * MIB)))
        reader = await house.content.open(WAV)
        await reader.read(Span(0, 1000))
        await trio.testing.wait_all_tasks_blocked()
        house.stage.things[str(WAV.key)].slow = 30.0
        began = trio.current_time()
        ends: list[tuple[str, float]] = []

        async def read(at: int) -> None:
            try:
                await reader.read(Span(at, at + 100))
                ends.append(("read", trio.current_time() - began))
            except TooSlow:
                ends.append(("crowded", trio.current_time() - began))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(read, (number * 3 + 5) * MIB)
            await trio.testing.wait_all_tasks_blocked()
            await read(10)
        assert ends[0] == ("read", 0.0)
        assert sorted(ends[1:]) == [("crowded", 5.0), ("crowded", 5.0), ("read", 30.0), ("read", 30.0)]
        reader.close()


@pytest.mark.expected_log("0123abcd:wav: no$")
@pytest.mark.trio
async def test_nothing_is_left_held(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """After opens that ended in every way, nobody holds the file any more."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(DATA, slow=1.0, failures=[Unreachable("no")]))
        await fails(house, Unreachable)
        await trio.sleep(1.1)
        with trio.move_on_after(0.5):
            await house.content.open(WAV)
        await trio.sleep(1)
        reader = await house.content.open(WAV)
        assert house.content.blob(WAV).holders == 1
        thing.validator = "etag two"
        with pytest.raises(Changed):
            await reader.read(Span(2 * MIB, 2 * MIB + 10))
        reader.close()
        assert house.content.blob(WAV).holders == 0
        await trio.testing.wait_all_tasks_blocked()
        assert house.content.transfers() == []
