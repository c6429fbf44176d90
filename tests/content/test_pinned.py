"""What was pinned stays so when the service has other bytes for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content import Asset
from musicfs.errors import Changed
from musicfs.model import Span
from musicfs.store import Entry
from tests.world import House, Thing, housed, mp3_asset, pattern, wav_asset

WAV, MP3 = wav_asset(), mp3_asset()
FIRST, SECOND = pattern(900_000, "first"), pattern(900_000, "second")


def _zero(folder: Path) -> None:
    for path in folder.rglob("*.data"):
        path.write_bytes(bytes(900_000))


def _entry(house: House, asset: Asset, version: int) -> Entry:
    entry = house.store.find(str(asset.key), version)
    assert entry is not None
    return entry


@pytest.mark.trio
async def test_a_next_version_is_pinned_before_a_byte_of_it_is_read(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A pin goes over to the next version at once, so that a restart does not forget it."""
    async with housed(tmp_path) as house:
        thing = house.put(WAV, Thing(FIRST))
        reader = await house.content.open(WAV)
        await reader.read(Span(0, 1000))
        await trio.testing.wait_all_tasks_blocked()
        _entry(house, WAV, 0).pin()
        thing.data, thing.validator = SECOND, "etag two"
        with pytest.raises(Changed):
            await reader.read(Span(800_000, 801_000))
        assert _entry(house, WAV, 1).pinned
        reader.close()
        assert house.store.find(str(WAV.key), 0) is None
        assert house.content.explain(WAV)["pinned"] is True


@pytest.mark.expected_log("was damaged and is fetched again")
@pytest.mark.trio
async def test_a_pass_that_brings_other_bytes_is_pinned_like_the_one_before(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A pinned mp3 that was damaged and comes back as other bytes is pinned still."""
    async with housed(tmp_path) as house:
        thing = house.put(MP3, Thing(FIRST))
        reader = await house.content.open(MP3)
        assert bytes(await reader.read(Span(0, 1000))) == FIRST[:1000]
        await trio.testing.wait_all_tasks_blocked()
        reader.close()
        _entry(house, MP3, 0).pin()
        house.build()
        thing.data = SECOND
        _zero(tmp_path)
        reader = await house.content.open(MP3)
        with pytest.raises(Changed):
            await reader.read(Span(0, 1000))
        reader.close()
        again = await house.content.open(MP3)
        assert bytes(await again.read(Span(0, 1000))) == SECOND[:1000]
        again.close()
        assert _entry(house, MP3, again.version).pinned
