"""One pass over what is made anew at each request: watermarks, broken passes, short ones, blind ones."""

from __future__ import annotations

import errno
from contextlib import nullcontext
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content.reader import BlobReader
from musicfs.demo import content, mp3_of
from musicfs.demo.assets import Altered, Plain
from musicfs.errors import Changed, Misbehaved, StoreFull, TooSlow, Unreachable
from musicfs.model import Known, Span
from tests.world import House, Thing, housed, mp3_asset, pattern

SECONDS = 60.0
SONG = mp3_of(SECONDS)
MP3 = mp3_asset(duration=SECONDS)
CUT = len(SONG) // 2


def made_anew(salt: int, since: int = 64) -> bytes:
    """Make the same song as another request would: other bytes from `since` on, of the same length."""
    return content(Altered(Plain(SONG), salt, since))


async def read(reader: BlobReader) -> bytes:
    """Read the whole file."""
    return bytes(await reader.read(Span(0, reader.size)))


async def read_anew(house: House) -> bytes:
    """Open the file, read it whole, close it."""
    reader = await house.content.open(MP3)
    try:
        return await read(reader)
    finally:
        reader.close()


# In health ----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_readers_follow_at_the_watermark(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """With a length, open returns at once, and each reader gets its bytes as soon as they have come."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, pace=100_000.0))
        began = trio.current_time()
        reader = await house.content.open(MP3)
        assert reader.size == len(SONG)
        assert trio.current_time() == began
        assert bytes(await reader.read(Span(0, 100_000))) == SONG[:100_000]
        assert 0.9 <= trio.current_time() - began <= 1.3
        assert bytes(await reader.read(Span(500_000, 500_100))) == SONG[500_000:500_100]
        assert 4.9 <= trio.current_time() - began <= 5.3
        assert await read(reader) == SONG
        reader.close()
        assert house.stage.pulls == 1


@pytest.mark.trio
async def test_twenty_readers_are_one_pass(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Who comes at whatever moment joins the one pass, and the song is kept."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, slow=1.0, pace=200_000.0))
        got: list[bytes] = []

        async def visit(delay: float) -> None:
            await trio.sleep(delay)
            got.append(await read_anew(house))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(visit, number * 0.5)
        assert got == [SONG] * 20
        assert house.stage.pulls == 1
        assert house.content.cached(MP3)
        known = house.memo.known(MP3.key)
        assert (known.version, known.size, known.one_pass) == (0, len(SONG), True)
        assert known.validator.startswith("sha256 ")


@pytest.mark.trio
async def test_without_a_length_open_waits_for_the_whole(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where the length is known only at the end, open waits for it, and its size is exact."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, sized=False, pace=100_000.0))
        began = trio.current_time()
        reader = await house.content.open(MP3)
        assert reader.size == len(SONG)
        assert trio.current_time() - began >= 9
        assert await read(reader) == SONG
        reader.close()


@pytest.mark.trio
async def test_who_gives_up_leaves_the_pass_running(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Once begun, a pass runs to its end: the next open finds the song here."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, sized=False, pace=100_000.0))
        with trio.move_on_after(2):
            await house.content.open(MP3)
        await trio.sleep(20)
        assert house.content.cached(MP3)
        assert await read_anew(house) == SONG
        assert house.stage.pulls == 1


@pytest.mark.trio
async def test_who_asks_again_at_once_is_told_at_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A program that opens six times over waits for its deadline once, not six times; who asks a second later
    waits anew, and so does who has no deadline."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, slow=40.0))
        for number in range(6):
            with trio.move_on_after(30) as waiting, pytest.raises(TooSlow) if number else nullcontext():
                await house.content.open(MP3)
            assert waiting.cancelled_caught == (number == 0)
        assert trio.current_time() == 30
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_anew, house)
            await trio.sleep(1.5)
            with trio.fail_after(30):
                await read_anew(house)
        assert trio.current_time() == 40


@pytest.mark.trio
async def test_a_deadline_while_a_failure_is_tried_again_is_that_failure(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """An `open` whose deadline comes between two tries is told what the first one met with, and who opens at
    once after it as well; the tries go on, and the song is served."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, breaks=[0] * 8))
        for _ in range(2):
            with trio.fail_after(0.9), pytest.raises(Misbehaved):
                await house.content.open(MP3)
        assert trio.current_time() == 0.9
        await trio.sleep(1)
        with trio.fail_after(30):
            assert await read_anew(house) == SONG


@pytest.mark.trio
async def test_who_was_only_measuring_hurries_nobody(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A look at the size, which has a short deadline of its own, leaves the next open its whole time."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, slow=10.0))
        with trio.move_on_after(2):
            await house.content.measure(MP3)
        with trio.fail_after(30):
            assert await read_anew(house) == SONG


@pytest.mark.trio
async def test_a_closed_handle_leaves_the_pass_running(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A pass that a prober began and closed at once ends on the shelf all the same."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, pace=100_000.0))
        (await house.content.open(MP3)).close()
        await trio.sleep(20)
        assert house.content.cached(MP3)
        assert house.content.blob(MP3).holders == 0


# Broken passes ------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_broken_pass_that_agrees_goes_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A pass that breaks starts over; as the new bytes equal those here, its readers notice nothing."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, breaks=[CUT, 1000, CUT + 5]))
        assert await read_anew(house) == SONG
        assert house.memo.known(MP3.key).version == 0
        assert len(house.stage.answers) == 4
        assert house.changes == []


@pytest.mark.parametrize("since", [64, 200_000, CUT - 2000])
@pytest.mark.trio
async def test_a_broken_pass_that_disagrees_is_another_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, since: int
) -> None:
    """Where the second pass brings other bytes, who had some of the first gets Changed, and the next open
    gets the second whole."""
    async with housed(tmp_path) as house:
        other = made_anew(1, since)
        thing = house.put(MP3, Thing(SONG, breaks=[CUT], pace=100_000.0, next_data=[SONG, other]))
        old = await house.content.open(MP3)
        assert bytes(await old.read(Span(0, 1000))) == SONG[:1000]
        with pytest.raises(Changed) as caught:
            await old.read(Span(0, len(SONG)))
        assert caught.value.errno == errno.ESTALE
        fresh = await house.content.open(MP3)
        assert fresh.version == old.version + 1
        assert await read(fresh) == other
        assert house.changes == [MP3.key]
        assert len(house.stage.answers) == 2
        assert thing.next_data == []
        old.close()
        fresh.close()


@pytest.mark.trio
async def test_a_broken_pass_that_comes_back_shorter_is_another_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A second pass of another length is other bytes, even where it agrees as far as it goes."""
    async with housed(tmp_path) as house:
        shorter = mp3_of(SECONDS / 4)
        house.put(MP3, Thing(SONG, breaks=[CUT], pace=100_000.0, next_data=[SONG, shorter]))
        old = await house.content.open(MP3)
        with pytest.raises(Changed):
            await read(old)
        old.close()
        await trio.sleep(60)
        assert await read_anew(house) == shorter


@pytest.mark.trio
async def test_a_broken_pass_that_comes_back_longer_and_untold_is_another_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A second pass that tells no length is no file before its end: the end that the first one told may lie
    in the middle of it."""
    async with housed(tmp_path) as house:
        longer = mp3_of(SECONDS + 3)
        thing = house.put(MP3, Thing(SONG, breaks=[CUT], pace=100_000.0, next_data=[SONG, longer]))
        old = await house.content.open(MP3)
        thing.sized = False
        assert longer.startswith(bytes(await old.read(Span(0, len(SONG) - 1))))
        with pytest.raises(Changed):
            await old.read(Span(len(SONG) - 1, len(SONG)))
        old.close()
        assert await read_anew(house) == longer
        assert len(house.stage.answers) == 2


@pytest.mark.expected_log("flowmusic:.*:mp3: the connection broke")
@pytest.mark.trio
async def test_a_pass_that_never_ends_well_is_an_error(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """When `wire` has lost patience, readers get the error, nothing is kept, the next open begins anew."""
    async with housed(tmp_path) as house:
        thing = house.put(MP3, Thing(SONG, breaks=[CUT] * 9))
        reader = await house.content.open(MP3)
        with pytest.raises(Misbehaved) as caught:
            await read(reader)
        assert caught.value.errno == errno.EIO
        reader.close()
        assert not house.content.cached(MP3)
        assert house.store.snapshot().objects == 0
        await trio.sleep(2)
        thing.data = made_anew(2)
        assert await read_anew(house) == thing.data


@pytest.mark.expected_log("flowmusic:.*:mp3: the connection broke")
@pytest.mark.trio
async def test_a_failed_pass_whose_bytes_were_read_is_another_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Bytes of a failed pass may be in the kernel under the old number, so the next pass has another."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, breaks=[CUT] * 9, pace=1e6))
        reader = await house.content.open(MP3)
        await reader.read(Span(0, 1000))
        await trio.sleep(60)
        reader.close()
        fresh = await house.content.open(MP3)
        assert fresh.version == 1
        assert await read(fresh) == SONG
        fresh.close()


# Passes that look short ---------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_pass_that_ends_early_is_made_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Without a length, an mp3 cut in a frame is asked for once more, and the whole one is served."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, sized=False, ends=[CUT + 7]))
        assert await read_anew(house) == SONG
        assert len(house.stage.answers) == 2


@pytest.mark.trio
async def test_two_passes_of_one_length_are_believed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A song much shorter than its listing, twice the same, is what the service has."""
    async with housed(tmp_path) as house:
        half = mp3_of(SECONDS / 2)
        house.put(MP3, Thing(half, sized=False))
        assert await read_anew(house) == half
        assert len(house.stage.answers) == 2


@pytest.mark.expected_log("ended early")
@pytest.mark.trio
async def test_two_passes_that_end_early_at_different_places_are_an_error(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Cut twice, here and there: EIO at open, and nothing is kept."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, sized=False, ends=[CUT + 7, CUT + 1007]))
        with pytest.raises(Misbehaved) as caught:
            await house.content.open(MP3)
        assert caught.value.errno == errno.EIO
        assert house.store.snapshot().objects == 0


@pytest.mark.expected_log("not an mp3")
@pytest.mark.trio
async def test_what_is_no_mp3_is_an_error(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Bytes in which no frame follows another, twice, are refused."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(b"\0" + pattern(300_000), sized=False))
        with pytest.raises(Misbehaved):
            await house.content.open(MP3)
        assert len(house.stage.answers) == 2
        assert house.store.snapshot().objects == 0


@pytest.mark.trio
async def test_without_a_listed_duration_the_frames_decide(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where the listing tells no duration, a pass that ends behind a whole frame is whole."""
    untold = mp3_asset(duration=None)
    async with housed(tmp_path) as house:
        house.put(untold, Thing(mp3_of(3.0), sized=False))
        reader = await house.content.open(untold)
        assert reader.size == len(mp3_of(3.0))
        assert len(house.stage.answers) == 1
        reader.close()


# Blind passes -------------------------------------------------------------------------------------------


async def evicted(house: House, data: bytes) -> None:
    """Have the song known and not here: it was whole once, and gave way."""
    thing = house.put(MP3, Thing(SONG))
    assert await read_anew(house) == SONG
    house.store.drop(str(MP3.key), 0)
    house.build()
    thing.data = data


@pytest.mark.trio
async def test_a_blind_pass_of_the_same_bytes_is_the_same_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """An evicted song that comes again byte for byte keeps its version."""
    async with housed(tmp_path) as house:
        await evicted(house, SONG)
        assert house.content.facts(MP3).exact
        reader = await house.content.open(MP3)
        assert reader.version == 0
        assert await read(reader) == SONG
        reader.close()
        assert house.changes == []


@pytest.mark.trio
async def test_a_blind_pass_serves_nothing_before_its_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """While it may still turn out to be another version, open waits, even though a length is told."""
    async with housed(tmp_path) as house:
        await evicted(house, SONG)
        house.stage.things[str(MP3.key)].pace = 100_000.0
        began = trio.current_time()
        assert await read_anew(house) == SONG
        assert trio.current_time() - began >= 9


@pytest.mark.parametrize("other", [made_anew(3), mp3_of(SECONDS + 1)], ids=["same length", "longer"])
@pytest.mark.trio
async def test_a_blind_pass_of_other_bytes_is_another_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, other: bytes
) -> None:
    """An evicted song that was made anew is Changed for who opens the old number; the new one is here."""
    async with housed(tmp_path) as house:
        await evicted(house, other)
        with pytest.raises(Changed):
            await house.content.open(MP3)
        moved = house.stage.moved
        await trio.sleep(10)
        reader = await house.content.open(MP3)
        assert reader.version == 1
        assert await read(reader) == other
        assert house.stage.moved - moved <= len(other)
        reader.close()
        assert house.changes == [MP3.key]


@pytest.mark.trio
async def test_a_new_version_stays_for_who_looks_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Who waited for the old version looks the name up again at once: until then the new one gives way to
    nobody, and a moment later it may."""
    async with housed(tmp_path) as house:
        await evicted(house, made_anew(3))
        with pytest.raises(Changed):
            await house.content.open(MP3)
        pulls = house.stage.pulls
        assert list(house.store.prune(inf)) == []
        reader = await house.content.open(MP3)
        assert (reader.version, house.stage.pulls) == (1, pulls)
        reader.close()
        await trio.sleep(1)
        assert len(list(house.store.prune(inf))) == 1


@pytest.mark.expected_log("mp3: no$")
@pytest.mark.trio
async def test_a_blind_pass_that_fails_changes_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A song that cannot be had now keeps its version, size and digest for later."""
    async with housed(tmp_path) as house:
        await evicted(house, SONG)
        before = house.memo.known(MP3.key)
        house.stage.things[str(MP3.key)].failures.append(Unreachable("no"))
        with pytest.raises(Unreachable):
            await house.content.open(MP3)
        assert house.memo.known(MP3.key) == before
        await trio.sleep(2)
        assert await read_anew(house) == SONG
        assert house.memo.known(MP3.key) == before


@pytest.mark.trio
async def test_an_evicted_song_that_is_open_elsewhere_is_fetched_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A handle whose song was dropped under it gets the same bytes again, or Changed."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG))
        reader = await house.content.open(MP3)
        assert await read(reader) == SONG
        house.store.drop(str(MP3.key), 0)
        assert await read(reader) == SONG
        house.store.drop(str(MP3.key), 0)
        house.stage.things[str(MP3.key)].data = made_anew(4)
        with pytest.raises(Changed):
            await read(reader)
        reader.close()


# The disk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.expected_log("flowmusic:.*:mp3: ")
@pytest.mark.trio
async def test_a_song_that_fits_nowhere_is_enospc(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, sized: bool
) -> None:
    """A pass needs the disk; without room for it, open fails with ENOSPC and nothing is kept."""
    async with housed(tmp_path, limit=200_000) as house:
        house.put(MP3, Thing(SONG, sized=sized))
        with pytest.raises(StoreFull) as caught:
            await house.content.open(MP3)
        assert caught.value.errno == errno.ENOSPC
        assert house.store.used == 0


@pytest.mark.parametrize("limit", [1_500_000, 1_100_000])
@pytest.mark.trio
async def test_a_new_version_needs_no_room_for_the_old(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, limit: int
) -> None:
    """A pass that turns out to be of another version at its end takes the place it has: where old and new
    do not fit side by side, the new one is had all the same, by one pass."""
    async with housed(tmp_path, limit=limit) as house:
        thing = house.put(MP3, Thing(SONG, sized=False))
        assert await read_anew(house) == SONG
        house.store.drop(str(MP3.key), 0)
        thing.next_data = [made_anew(6), made_anew(7)]
        with pytest.raises(Changed):
            await house.content.open(MP3)
        reader = await house.content.open(MP3)
        assert await read(reader) == made_anew(6)
        assert reader.version == 1
        reader.close()


@pytest.mark.trio
async def test_a_restart_forgets_a_partial_pass(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What was not sealed is not there after a restart, and the next open begins at the first byte."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, pace=100_000.0))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                house.nursery = nursery
                house.build()
                reader = await house.content.open(MP3)
                await reader.read(Span(0, 100_000))
                nursery.cancel_scope.cancel()
        assert not scope.cancelled_caught
    async with housed(tmp_path) as house:
        assert house.store.snapshot().objects == 0
        house.put(MP3, Thing(made_anew(5)))
        assert await read_anew(house) == made_anew(5)


@pytest.mark.expected_log("mp3: stalled")
@pytest.mark.trio
async def test_a_failure_is_remembered_and_heals(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A pass that fails answers for a second, and is made again afterwards."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG, failures=[TooSlow("stalled")]))
        for _ in range(3):
            with pytest.raises(TooSlow):
                await house.content.open(MP3)
        assert house.stage.pulls == 1
        assert house.memo.known(MP3.key) == Known()
        await trio.sleep(1.1)
        assert await read_anew(house) == SONG


# Damage -------------------------------------------------------------------------------------------------


def _zero(folder: Path) -> None:
    for path in folder.rglob("*.data"):
        path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.expected_log("was damaged and is fetched again")
@pytest.mark.trio
async def test_damage_again_is_mended_again(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What was lost, came again and was read from the disk may be lost at once: that disk is not sick."""
    async with housed(tmp_path) as house:
        house.put(MP3, Thing(SONG))
        for _ in range(4):
            assert await read_anew(house) == SONG
            await trio.testing.wait_all_tasks_blocked()
            assert await read_anew(house) == SONG
            _zero(tmp_path)
