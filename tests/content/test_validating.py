"""What identifies a file's bytes is kept as strongly as any answer said it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content.reader import BlobReader
from musicfs.errors import Changed
from musicfs.model import Span
from tests.world import Thing, housed, pattern, wav_asset

WAV = wav_asset()
FIRST = pattern(900_000, "first")
SECOND = pattern(900_000, "second")


@pytest.mark.trio
@pytest.mark.parametrize("weak", ["size 900000", "date Mon, 02 Nov 2026 size 900000"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_stronger_validator_is_taken_over(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, weak: str, restarted: bool
) -> None:
    """A file known by its length or date is known by its ETag once an answer brings one, also after a
    restart; other bytes of the same length are then met as another version."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(FIRST, weak))
        reader = await house.content.open(WAV)
        assert bytes(await reader.read(Span(0, 1000))) == FIRST[:1000]
        thing.validator = 'etag "one"'
        assert bytes(await reader.read(Span(500_000, 501_000))) == FIRST[500_000:501_000]
        await trio.sleep(1)  # A body that is under way is of one version to its end.
        if restarted:
            reader.close()
            house.build()
            reader = await house.content.open(WAV)
        thing.data, thing.validator = SECOND, 'etag "two"'
        with pytest.raises(Changed):
            await _same(reader, FIRST)
        reader.close()


async def _same(reader: BlobReader, data: bytes) -> None:
    for at in range(0, len(data), 65_536):
        assert bytes(await reader.read(Span(at, at + 65_536))) == data[at : at + 65_536]


@pytest.mark.trio
async def test_a_weaker_validator_is_not(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """An edge that tells no ETag takes nothing from what another told."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(FIRST, 'etag "one"'))
        reader = await house.content.open(WAV)
        thing.validator = "size 900000"
        await reader.read(Span(500_000, 501_000))
        await trio.sleep(1)
        thing.data, thing.validator = SECOND, 'etag "two"'
        with pytest.raises(Changed):
            await reader.read(Span(800_000, 801_000))
        reader.close()
