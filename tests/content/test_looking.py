"""Programs that look at one file after the other: what is fetched of the next, on virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content import Asset
from musicfs.core.spans import BLOCK
from musicfs.errors import TooSlow
from musicfs.model import Known, Span
from tests.world import House, Thing, housed, pattern, wav_asset

KIB, MIB = 2**10, 2**20
SIZE = 4 * MIB + 4321
DATA = pattern(SIZE)
RATE = 10 * MIB  # bytes a second and connection
AWAY = 0.04  # seconds until an answer begins
PROBE = (Span(0, 64 * KIB), Span(64 * KIB, 192 * KIB), Span(192 * KIB, 320 * KIB), Span(320 * KIB, 448 * KIB))
TABLE = (Span(0, 64 * KIB), Span(SIZE - 100 * KIB, SIZE))
PIECES = [Span(0, 192 * KIB), Span(192 * KIB, 448 * KIB)]


def songs(house: House, count: int = 8, thing: Thing | None = None) -> list[Asset]:
    """Give songs whose lengths are known and of whose bytes none are here."""
    assets = [wav_asset(f"0000000{number}") for number in range(count)]
    for asset in assets:
        house.put(asset, thing or Thing(DATA, slow=AWAY, pace=RATE))
        house.memo.note(asset.key, Known(0, SIZE, "etag one"))
    return assets


async def look(house: House, asset: Asset, reads: Sequence[Span] = PROBE, who: str = "ffprobe") -> list[Span]:
    """Look at a file as a program does, one read after the other, and say what was asked for."""
    before = len(house.stage.answers)
    reader = await house.content.open(asset, who=who)
    for read in reads:
        assert bytes(await reader.read(read)) == DATA[read.start : read.stop]
    reader.close()
    await trio.sleep(1)
    return sorted(Span(one.start, one.stop or SIZE) for one in house.stage.answers[before:])


@pytest.mark.trio
async def test_the_third_file_is_fetched_as_the_first_were_looked_at(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """From the third file on a prober gets what it will ask for at once, over two connections, and no byte
    beyond it: a round trip and half the bytes, where the first two cost two."""
    async with housed(tmp_path) as house:
        first, second, third, fourth, *_ = songs(house)
        for asset in (first, second):
            assert await look(house, asset) not in (PIECES, [Span(0, 448 * KIB)])
        for asset in (third, fourth):
            moved, began = house.stage.moved, trio.current_time()
            assert await look(house, asset) == PIECES
            assert house.stage.moved - moved == 448 * KIB
            assert trio.current_time() - began - 1 <= AWAY + 256 * KIB / RATE + 0.001


@pytest.mark.trio
async def test_an_end_is_fetched_beside_the_beginning(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A prober that reads a table at the end gets it with the beginning from the third file on."""
    async with housed(tmp_path) as house:
        *firsts, third = songs(house, 3)
        for asset in firsts:
            await look(house, asset, TABLE)
        began = trio.current_time()
        last = SIZE - 100 * KIB
        wanted = [Span(0, 64 * KIB), Span(last - last % BLOCK, SIZE)]
        assert await look(house, third, TABLE) == wanted
        assert trio.current_time() - began - 1 <= AWAY + 164 * KIB / RATE + 0.001


@pytest.mark.trio
async def test_others_are_served_as_before(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What a prober does is foretold to no other program and to nobody in the house: they get 256 KiB."""
    async with housed(tmp_path) as house:
        first, second, third, fourth, *_ = songs(house)
        for asset in (first, second):
            await look(house, asset)
        assert await look(house, third, PROBE[:1], who="mpv") == [Span(0, 256 * KIB)]
        assert await look(house, fourth, PROBE[:1], who="") == [Span(0, 256 * KIB)]


@pytest.mark.trio
async def test_who_reads_on_is_a_reader(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A program that goes on where it used to stop gets each byte once, and its next file begins as any."""
    async with housed(tmp_path) as house:
        first, second, third, fourth, *_ = songs(house)
        for asset in (first, second):
            await look(house, asset)
        whole = [Span(at, min(at + 128 * KIB, SIZE)) for at in range(0, SIZE, 128 * KIB)]
        asked = await look(house, third, whole)
        assert asked[:2] == PIECES
        assert sum(one.length for one in asked) == SIZE
        assert (await look(house, fourth))[0].stop not in (192 * KIB, 448 * KIB)


@pytest.mark.trio
async def test_a_file_never_measured_is_foretold_once_its_length_is_known(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Of a file whose length nobody knows 256 KiB are asked for, and the rest of the look by then: no byte
    beyond it."""
    async with housed(tmp_path) as house:
        first, second, *_ = songs(house)
        for asset in (first, second):
            await look(house, asset)
        unknown = wav_asset("89abcdef")
        house.put(unknown, Thing(DATA, slow=AWAY, pace=RATE))
        began = trio.current_time()
        assert await look(house, unknown) == [Span(0, 256 * KIB), Span(256 * KIB, 448 * KIB)]
        assert trio.current_time() - began - 1 <= 2 * AWAY + 192 * KIB / RATE + 0.001


@pytest.mark.trio
async def test_what_is_here_is_not_fetched_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Blocks that are here or on their way are left out of what is foretold, and a second look at a file
    costs nothing."""
    async with housed(tmp_path) as house:
        first, second, third, fourth, *_ = songs(house)
        for asset in (first, second):
            await look(house, asset)
        await look(house, third, [*PROBE[:2], Span(192 * KIB, 256 * KIB)], who="head")
        assert await look(house, third) == [Span(256 * KIB, 448 * KIB)]
        assert await look(house, third) == []
        assert await look(house, fourth) == PIECES


@pytest.mark.trio
async def test_many_probers_leave_a_connection_free(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where three files are looked at at a time the third begins with one half: the sixth connection is for
    who comes next."""
    async with housed(tmp_path) as house, trio.open_nursery() as nursery:
        assets = songs(house)
        for asset in assets[:2]:
            await look(house, asset)
        for asset in assets[2:5]:
            nursery.start_soon(look, house, asset)
        await trio.sleep(AWAY / 2)
        assert len(house.content.transfers()) == 5


@pytest.mark.trio
async def test_a_service_that_gives_no_parts_is_asked_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where a part is answered with the whole nothing is foretold: it would come twice."""
    async with housed(tmp_path) as house:
        for asset in songs(house, thing=Thing(DATA, slow=AWAY, pace=RATE, ranges=False)):
            assert len(await look(house, asset)) == 1


@pytest.mark.expected_log("0000000.:wav: silent")
@pytest.mark.trio
async def test_a_failure_is_told_once_and_asked_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A look that fails at `open` fails for a second without another request, and then works."""
    async with housed(tmp_path) as house:
        assets = songs(house)
        for asset in assets[:2]:
            await look(house, asset)
        thing = house.put(assets[2], Thing(DATA, slow=AWAY, pace=RATE))
        thing.failures += [TooSlow("silent"), TooSlow("silent")]
        with pytest.raises(TooSlow):
            await look(house, assets[2])
        pulls = house.stage.pulls
        with pytest.raises(TooSlow):
            await look(house, assets[2])
        assert house.stage.pulls == pulls
        await trio.sleep(1)
        assert await look(house, assets[2]) == PIECES


@pytest.mark.trio
async def test_who_opens_and_leaves_costs_what_was_on_its_way(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A program that opens a file and closes it unread leaves no download behind, and nothing is foretold of
    its next one."""
    async with housed(tmp_path) as house:
        first, second, third, fourth, *_ = songs(house)
        for asset in (first, second):
            await look(house, asset)
        moved = house.stage.moved
        assert await look(house, third, ()) == PIECES
        assert house.stage.moved - moved < 2 * BLOCK
        assert house.content.transfers() == []
        assert (await look(house, fourth))[0] == Span(0, 256 * KIB)
