"""What streaming takes of the heap, as Python counts it: resident memory is up to the kernel as well."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from pathlib import Path

import pytest
import trio.testing

from tests.world import House, Thing, housed, pattern, spans, wav_asset

MIB = 2**20
DATA = pattern(16 * MIB + 77)
PIECES = 262_144  # bytes: what a receive brings at most


async def read_all(house: House, ident: str, step: int) -> None:
    """Read a song from end to end, letting go of each answer as pyfuse3 does."""
    song = wav_asset(ident)
    house.put(song, Thing(DATA, pace=64 * MIB))
    reader = await house.content.open(song)
    for span in spans(reader.size, step):
        assert len(await reader.read(span)) == span.length
    reader.close()


@pytest.mark.trio
@pytest.mark.parametrize("step", [131_072, MIB], ids=["128 KiB", "1 MiB"])
async def test_a_stream_takes_of_the_heap_what_it_receives(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, step: int
) -> None:
    """A song that is read while four streams bring it, and again from the disk, takes of the heap what they
    receive and no more: with the bytes gathered and joined there it was 2.2 and 2.7 MB, and is 0.84."""
    async with housed(tmp_path) as house:
        house.stage.PIECE = PIECES
        await read_all(house, "00000001", step)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await read_all(house, "00000002", step)
            await read_all(house, "00000002", step)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most - before < (4 + 1) * PIECES


@pytest.mark.trio
async def test_reading_on_and_on_leaves_nothing_behind(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Four songs in a cache that has room for three are fetched again and again, and what Python holds after
    400 MB is what it held after 130."""
    async with housed(tmp_path, limit=50 * MIB) as house:
        house.stage.PIECE = PIECES

        async def blocks(rounds: int) -> int:
            for number in range(4 * rounds):
                await read_all(house, f"{number % 4:08x}", MIB)
            assert house.stage.moved >= 4 * rounds * len(DATA)
            house.stage.answers.clear()
            gc.collect()
            return sys.getallocatedblocks()

        before = await blocks(2)
        assert await blocks(4) - before < 200
