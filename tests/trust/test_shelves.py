"""The content room over the real store, without a kernel: what a crash, a lost state or a lost file leaves is
never mixed with what the service has now, and nobody waits for what cannot come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content.asset import Asset
from musicfs.core.spans import BLOCK
from musicfs.demo import Member, mp3_of, zip_of
from musicfs.errors import Changed, MusicfsError
from musicfs.model import Form, Known, Span
from tests.figures import TRUST
from tests.world import House, Memo, Thing, mp3_asset, pattern, wav_asset

SIZE = 5 * BLOCK + 777
OLD, NEW = pattern(SIZE, "old"), pattern(SIZE, "new")
WAV, MP3 = wav_asset(), mp3_asset()


@asynccontextmanager
async def housed(folder: Path, memo: Memo | None = None) -> AsyncIterator[House]:
    """Give a content room on a folder, and end what it began."""
    async with trio.open_nursery() as nursery:
        with House(nursery, folder, memo=memo) as house:
            yield house
            nursery.cancel_scope.cancel()


async def read(house: House, asset: Asset, span: Span | None = None) -> bytes:
    """Open a file, read a span or all of it, and close it."""
    reader = await house.content.open(asset)
    try:
        return bytes(await reader.read(span or Span(0, reader.size)))
    finally:
        reader.close()


async def read_at_last(house: House, asset: Asset) -> bytes:
    """Read a file whole as a program that opens it again after an error."""
    for _ in range(3):
        try:
            return await read(house, asset)
        except Changed:
            continue
    raise AssertionError("the new version never came")


def files(house: House, suffix: str) -> list[Path]:
    """List the cache's files of that suffix."""
    return sorted((house.store._folder / "objects").rglob(f"*{suffix}"))


@pytest.mark.trio
async def test_lost_notes_cost_nothing(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A crash before the ledger's note, or a state that is gone: the shelf says length and validator itself,
    a whole file is served whole and nobody is asked."""
    song = mp3_of(12.0)
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(OLD))
        house.put(MP3, Thing(song))
        assert (await read(house, WAV), await read(house, MP3)) == (OLD, song)
    async with housed(tmp_path, Memo()) as house:
        house.put(WAV, Thing(b""))
        house.put(MP3, Thing(b""))
        assert (await read(house, WAV), await read(house, MP3)) == (OLD, song)
        assert house.stage.pulls == 0
        assert house.content.facts(MP3).exact
        assert house.memo.known(WAV.key).size == SIZE


@pytest.mark.parametrize("validators", [("etag one", "etag two"), ("size 1", "size 2")])
@pytest.mark.trio
async def test_lost_notes_and_other_bytes(
    validators: tuple[str, str], tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A part on the shelf, no note of it, and other bytes of the same length at the service: the part is let
    go of, never completed with the others."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(OLD, validators[0]))
        await read(house, WAV, Span(2 * BLOCK, 2 * BLOCK + 10))
    async with housed(tmp_path, Memo()) as house:
        house.put(WAV, Thing(NEW, validators[1]))
        assert await read_at_last(house, WAV) == NEW


@pytest.mark.trio
async def test_version_counted_twice(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Where the shelf holds a version of the same number but of other bytes than the ledger knows, as after a
    restored state, its blocks are not believed."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(OLD))
        assert await read(house, WAV) == OLD
    memo = Memo()
    memo.note(WAV.key, Known(0, SIZE, "etag two"))
    async with housed(tmp_path, memo) as house:
        house.put(WAV, Thing(NEW, "etag two"))
        assert await read(house, WAV) == NEW


@pytest.mark.trio
async def test_stem_of_another_archive(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A stem that was inflated from one archive is not served for the stem of that name in another, though
    the versions' numbers are the same since the state was lost."""
    archive = Asset(WAV.song, Form.STEMS)
    member = archive.member_of("words.txt")
    old, new = b"in the key of F\n" * 9000, b"in the key of C\n" * 9000
    last = Memo()
    for memo, text, here in ((last, old, False), (Memo(), new, False), (None, new, True)):
        last = memo or last
        async with housed(tmp_path, last) as house:
            data = zip_of([Member("words.txt", text, deflated=True)])
            house.put(archive, Thing(data, f"size {len(data)} {text[:20]!r}"))
            house.store.drop(str(archive.key), 0)  # The archive itself was evicted long ago.
            await house.archives.directory(archive, 10)
            assert house.archives.cached(member) is here
            opened = await house.archives.open(member)
            assert bytes(await opened.read(Span(0, opened.size))) == text
            opened.close()
            await trio.sleep(1)
            assert house.archives.cached(member)


@pytest.mark.trio
async def test_maps_cut_at_every_byte(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """However the maps are cut, with or without the state, every byte read is the service's."""
    song = mp3_of(6.0)
    async with housed(tmp_path / "made") as house:
        house.put(WAV, Thing(OLD))
        house.put(MP3, Thing(song))
        await read(house, WAV)
        await read(house, MP3)
        memo = house.memo
        kept = {
            path: (path.read_bytes(), path.with_suffix(".data").read_bytes()) for path in files(house, ".map")
        }
    for cut in range(max(len(raw) for raw, _ in kept.values())):
        for path, (raw, data) in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw[:cut])
            path.with_suffix(".data").write_bytes(data)
            TRUST["damages"] += 1
        async with housed(tmp_path / "made", memo if cut % 2 else Memo()) as house:
            house.put(WAV, Thing(OLD))
            house.put(MP3, Thing(song))
            assert await read(house, WAV) == OLD
            assert await read(house, MP3) == song
            TRUST["bytes verified"] += len(OLD) + len(song)


@pytest.mark.expected_log("damaged")
@pytest.mark.expected_log("lost in its pass|let go")
@pytest.mark.trio
async def test_pass_that_lost_its_bytes(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A reader who wants bytes of a running pass that the disk has lost waits for the pass's end, is told so,
    and stops nobody meanwhile; the next open has the file."""
    song = mp3_of(12.0)
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(song, pace=32_000))
        reader = await house.content.open(MP3)
        await reader.read(Span(100_000, 100_010))
        for path in files(house, ".data"):
            path.unlink()
        with pytest.raises(MusicfsError):
            await reader.read(Span(0, 10))
        reader.close()
        await trio.sleep(2)
        assert await read_at_last(house, MP3) == song


@pytest.mark.trio
async def test_reader_beside_a_measure(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A reader whose first block is being measured by a request for one byte, which has come and whose answer
    is not closed yet, waits for that end and not in a circle."""
    async with housed(tmp_path) as house:
        house.put(WAV, Thing(OLD))
        held = trio.Event()
        pull = house.stage.pull

        async def closing_slowly(source: object, sink: object, slow: bool = False) -> None:
            await pull(source, sink, slow)  # type: ignore[arg-type]
            if not held.is_set():
                held.set()
                await trio.sleep(5)

        house.stage.pull = closing_slowly  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.content.measure, WAV)
            await held.wait()
            with trio.fail_after(60):
                assert await read(house, WAV) == OLD


@pytest.mark.trio
async def test_second_pass_of_another_length(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A pass that tells its length and breaks, and starts over as one that tells none and is shorter: whoever
    was told the first length gets an error, not a wait for bytes that never come."""
    asset, first, second = mp3_asset(duration=None), mp3_of(12.0), mp3_of(8.0)
    assert first.startswith(second)
    async with housed(tmp_path) as house:
        thing = house.put(asset, Thing(first, pace=64_000, breaks=[100_000]))
        reader = await house.content.open(asset)
        thing.sized, thing.next_data = False, [second]
        assert reader.size == len(first)
        with trio.fail_after(200), pytest.raises(MusicfsError):
            await reader.read(Span(reader.size - 10, reader.size))
        reader.close()
        assert await read_at_last(house, asset) == second
        assert len(house.stage.answers) == 2


@pytest.mark.trio
async def test_next_version_without_room(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A pass that turns out to be of other bytes is served though the disk has no room for the next version
    beside it, and leaves nothing to which a later pass would be added."""
    bodies: list[bytes] = []
    async with trio.open_nursery() as nursery:
        # Room for one pass and three blocks and a little: a copy would stop in its third block, and a pass
        # that was added to what the copy left would just fit.
        with House(nursery, tmp_path, limit=SIZE + 227_000) as house:
            thing = house.put(MP3, Thing(mp3_of(SIZE / 16_000)))
            for number in range(6):
                thing.next_data = [mp3_of(SIZE / 16_000, number)]
                bodies.append(thing.next_data[0])
                assert await read_at_last(house, MP3) in bodies, "a mixture"
                house.store.drop(str(MP3.key), house.content.facts(MP3).version)
                TRUST["bytes verified"] += SIZE
            assert await read_at_last(house, MP3) in bodies
            nursery.cancel_scope.cancel()
