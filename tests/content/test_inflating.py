"""Laws of deflated stems: any size comes out whole, and a wrong checksum is never seen too late."""

from __future__ import annotations

import random
import tempfile
import zlib
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.content.asset import Asset
from musicfs.demo import Member, zip_of
from musicfs.errors import BadArchive, StoreError
from musicfs.model import Form, Span
from tests.world import Thing, housed, tempolor_song

STEMS = Asset(tempolor_song(), Form.STEMS)
STEM = STEMS.member_of("stem.wav")
PIECE = 262_144  # bytes that are inflated at a time

SIZES = st.builds(lambda pieces, rest: pieces * PIECE + rest, st.integers(0, 5), st.integers(0, 1200))


@given(size=SIZES, noisy=st.integers(0, 3000), first=st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_stem_comes_out_whole(size: int, noisy: int, first: bool) -> None:
    """A deflated stem of silence, with a little noise before or behind it, is exactly what was packed,
    wherever its last bytes fall."""
    noise, silence = random.Random(noisy).randbytes(noisy), bytes(size)
    plain = noise + silence if first else silence + noise
    assert trio.run(partial(_unpacked, plain), clock=trio.testing.MockClock(autojump_threshold=0)) == plain


async def _unpacked(plain: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        async with housed(Path(folder)) as house:
            house.put(STEMS, Thing(zip_of([Member("stem.wav", plain, deflated=True)])))
            await house.archives.directory(STEMS, 5.0)
            opened = await house.archives.open(STEM)
            try:
                return bytes(await opened.read(Span(0, len(plain))))
            finally:
                opened.close()


@pytest.mark.trio
@pytest.mark.expected_log("checksum")
async def test_a_wrong_checksum_is_not_seen_too_late(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Nobody ever gets the last bytes of a stem with a wrong checksum, however closely they wait for them."""
    plain = random.Random(1).randbytes(3 * PIECE + 500)
    bad = zip_of([Member("stem.wav", plain, deflated=True, crc=zlib.crc32(plain) ^ 1)])
    failed: list[int] = []
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(bad))
        await house.archives.directory(STEMS, 5.0)

        async def wait_for(start: int) -> None:
            opened = await house.archives.open(STEM)
            try:
                await opened.read(Span(start, len(plain)))
            except BadArchive:
                failed.append(start)
            finally:
                opened.close()

        async with trio.open_nursery() as nursery:
            for start in range(0, len(plain), 50_000):
                nursery.start_soon(wait_for, start)
    assert len(failed) == len(range(0, len(plain), 50_000))


def _lose(folder: Path, size: int) -> None:
    """Remove the file of an inflated stem of `size` bytes, also while it is being inflated."""
    for data in folder.rglob("*.data"):
        if data.with_suffix(".pass").exists() or data.stat().st_size == size:
            data.unlink()


@pytest.mark.trio
@pytest.mark.expected_log("damaged in the cache")
@pytest.mark.expected_log("was lost in its pass")
@pytest.mark.parametrize("times", [1, 5])
async def test_a_stem_lost_while_it_is_inflated(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, times: int
) -> None:
    """A stem whose file vanishes while it is being inflated is inflated once more, and nobody sees it; where
    the disk loses it again and again, that is an error and not a loop."""
    plain = random.Random(2).randbytes(4 * PIECE)
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(zip_of([Member("stem.wav", plain, deflated=True)]), pace=float(PIECE)))
        await house.archives.directory(STEMS, 5.0)
        opened = await house.archives.open(STEM)
        await opened.read(Span(PIECE, PIECE + 1))
        failures = 0
        for _ in range(times):
            _lose(tmp_path, len(plain))
            try:
                assert bytes(await opened.read(Span(0, 1))) == plain[:1]
            except StoreError:
                failures += 1
        if not failures:
            assert bytes(await opened.read(Span(0, len(plain)))) == plain
        assert bool(failures) is (times > 1)
        opened.close()
        await trio.sleep(10)
        opened = await house.archives.open(STEM)
        assert bytes(await opened.read(Span(0, len(plain)))) == plain
        opened.close()
