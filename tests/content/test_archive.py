"""Stems: members of a ZIP that is not here, on virtual time."""

from __future__ import annotations

import errno
import random
import zlib
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content.asset import Asset
from musicfs.content.ports import Opened
from musicfs.core.spans import BLOCK
from musicfs.core.zipdir import LOCAL_HEADER
from musicfs.demo import Member, zip_of
from musicfs.errors import BadArchive, BytesMissing, Changed, Crowded, NoSuchEntry, TooSlow, Unreachable
from musicfs.model import Form, Song, Span
from tests.world import NOW, House, Thing, housed, pattern, spans, tempolor_song

SONG = tempolor_song()
STEMS = Asset(SONG, Form.STEMS)
DRUMS, BASS = pattern(900_000, "drums"), pattern(700_000, "bass")
NOTE = b"four tracks, one piece\n" * 40_000
ZIP = zip_of(
    [Member("drums.wav", DRUMS), Member("sub/bass.wav", BASS), Member("note.txt", NOTE, deflated=True)]
)
DRUMS_WAV, NOTE_TXT = STEMS.member_of("drums.wav"), STEMS.member_of("note.txt")


async def learn(house: House, limit: float = 5.0) -> list[str]:
    """List the archive."""
    return [member.name for member in (await house.archives.directory(STEMS, limit)).members]


async def all_of(opened: Opened) -> bytes:
    """Read a member from end to end."""
    return b"".join([bytes(await opened.read(span)) for span in spans(opened.size, 100_000)])


async def read(house: House, asset: Asset) -> bytes:
    """Open, read, close."""
    opened = await house.archives.open(asset)
    try:
        return await all_of(opened)
    finally:
        opened.close()


# The directory ------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_directory_is_asked_for_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The members come from the tail by range, and the directory is kept for ever, over restarts too."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP))
        assert house.archives.seen(STEMS) is None
        assert await learn(house) == ["drums.wav", "sub/bass.wav", "note.txt"]
        assert house.stage.moved == 65_536
        assert house.stage.pulls == 1
        asked = house.stage.pulls
        assert await learn(house) == ["drums.wav", "sub/bass.wav", "note.txt"]
        house.build()
        assert await learn(house) == ["drums.wav", "sub/bass.wav", "note.txt"]
        assert house.stage.pulls == asked
        assert sum(house.stage.mints.values()) == 1


@pytest.mark.trio
async def test_at_most_four_wait_for_a_directory(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Four wait for the same answer, the fifth is told to come back, and the service is asked once."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP, slow=1.0))
        ends: list[object] = []

        async def ask() -> None:
            try:
                ends.append(len(await learn(house)))
            except Crowded:
                ends.append("crowded")

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
        assert sorted(map(str, ends)) == ["3", "3", "3", "3", "crowded", "crowded"]
        assert sum(house.stage.mints.values()) == 1


@pytest.mark.trio
async def test_a_slow_directory_is_learned_behind(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Who waits is told ETIMEDOUT in time; the question goes on, and the next listing has its answer."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP, slow=3.0))
        began = trio.current_time()
        with pytest.raises(TooSlow):
            await learn(house, limit=2.0)
        assert trio.current_time() - began == 2.0
        await trio.sleep(10)
        assert house.archives.seen(STEMS) is not None


@pytest.mark.trio
async def test_no_stems_is_an_empty_folder(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """404 long after the song was finished means that it has no stems; asked again the next day, and not
    before, also after a restart."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP, failures=[BytesMissing("404")] * 2))
        assert await learn(house) == []
        await trio.sleep(3600)
        assert await learn(house) == []
        assert house.stage.pulls == 1
        house.build()
        assert await learn(house) == []
        assert house.stage.pulls == 1
        await trio.sleep(43_200)
        await trio.sleep(43_200)
        assert await learn(house) == []
        assert house.stage.pulls == 2
        await trio.sleep(43_200)
        await trio.sleep(43_200)
        assert len(await learn(house)) == 3


@pytest.mark.trio
async def test_a_fresh_songs_404_is_an_error(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Within the hour after a song was finished its stems may still come: never an empty folder."""
    fresh = Song("tempolor", "77", "user:1-tempolor:1-job:77", updated=NOW - 1800)
    async with housed(tmp_path) as house:
        archive = Asset(fresh, Form.STEMS)
        house.put(archive, Thing(ZIP, failures=[BytesMissing("404")]))
        with pytest.raises(BytesMissing):
            await house.archives.directory(archive, 5.0)


@pytest.mark.expected_log("stems: no route")
@pytest.mark.trio
async def test_couldnt_ask_is_not_empty(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A directory that cannot be had now is an error, remembered a second, and heals."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP, failures=[Unreachable("no route")]))
        for _ in range(2):
            with pytest.raises(Unreachable):
                await learn(house)
        assert house.stage.pulls == 1
        await trio.sleep(1.1)
        assert len(await learn(house)) == 3


@pytest.mark.expected_log("stems: no end record")
@pytest.mark.trio
async def test_rubbish_is_a_bad_archive(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What is no ZIP is EIO, never an empty folder."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(pattern(300_000)))
        with pytest.raises(BadArchive) as caught:
            await learn(house)
        assert caught.value.errno == errno.EIO


@pytest.mark.expected_log("stems: ")
@pytest.mark.trio
async def test_a_bad_archive_is_said_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who looks into a bad archive again and again gives one line in the log, until it is another archive."""
    async with housed(tmp_path) as house:
        for archive, lines in ((pattern(300_000), 1), (pattern(200_000, "other"), 2)):
            house.put(STEMS, Thing(archive))
            for _ in range(20):
                with pytest.raises(BadArchive):
                    await learn(house)
                await trio.sleep(1.5)
            assert len(caplog.records) == lines
        house.put(STEMS, Thing(ZIP))
        assert await learn(house) == ["drums.wav", "sub/bass.wav", "note.txt"]


# Members ------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_stored_members_are_ranges(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A stored member is read from the archive by range, exactly, and only as far as it is read."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP))
        await learn(house)
        before = house.stage.moved
        opened = await house.archives.open(DRUMS_WAV)
        assert opened.size == len(DRUMS)
        assert bytes(await opened.read(Span(400_000, 400_100))) == DRUMS[400_000:400_100]
        assert house.stage.moved - before <= 5 * 65_536 + 262_144
        assert await all_of(opened) == DRUMS
        assert bytes(await opened.read(Span(len(DRUMS), len(DRUMS) + 50))) == b""
        assert bytes(await opened.read(Span(len(DRUMS) - 5, len(DRUMS) + 50))) == DRUMS[-5:]
        opened.close()
        assert await read(house, STEMS.member_of("sub/bass.wav")) == BASS
        assert house.archives.cached(DRUMS_WAV)


@pytest.mark.trio
async def test_a_cached_member_asks_nobody(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Members that are here play with the network down, after a restart as well."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP))
        await learn(house)
        await read(house, DRUMS_WAV)
        await read(house, NOTE_TXT)
        house.stage.things.clear()
        house.build()
        await trio.sleep(3600)
        assert await read(house, DRUMS_WAV) == DRUMS
        assert await read(house, NOTE_TXT) == NOTE


@pytest.mark.trio
async def test_a_member_is_cached_to_its_last_block(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A member counts as cached only if its last block is here, which a long local header may push beyond
    where the directory alone would have it end; indexers are served what is cached, and nothing is asked."""
    name = "drums " + "x" * 200 + ".wav"
    drums = pattern(4 * BLOCK - LOCAL_HEADER - 100, "drums")  # ends in the fifth block
    member = STEMS.member_of(name)
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(zip_of([Member(name, drums), Member("bass.wav", pattern(900_000))])))
        await learn(house)
        assert not house.archives.cached(member)
        opened = await house.archives.open(member)
        for _ in range(2):
            assert bytes(await opened.read(Span(0, len(drums) - 200))) == drums[:-200]
            await trio.testing.wait_all_tasks_blocked()
        blob = house.content.blob(STEMS)
        assert blob.entry is not None
        assert house.archives.cached(member) is (4 in blob.entry.have)
        assert bytes(await opened.read(Span(0, len(drums)))) == drums
        await trio.sleep(1)
        assert house.archives.cached(member)
        opened.close()
        house.stage.things.clear()
        house.build()
        assert house.archives.cached(member)
        assert await read(house, member) == drums


@pytest.mark.trio
async def test_a_deflated_member_is_inflated_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Ten readers of a deflated member share one inflation, and it is kept as a file of its own."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP, pace=50_000.0))
        await learn(house)
        before = house.stage.moved
        got: list[bytes] = []

        async def visit() -> None:
            got.append(await read(house, NOTE_TXT))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(visit)
        assert got == [NOTE] * 10
        assert house.stage.moved - before <= 5 * 65_536
        assert house.archives.cached(NOTE_TXT)
        moved = house.stage.moved
        assert await read(house, NOTE_TXT) == NOTE
        assert house.stage.moved == moved


@pytest.mark.parametrize(
    "packed",
    [pattern(3_000_000), *(random.Random(3).randbytes(size) for size in (30_000, 1_100_000, 3_000_000))],
    ids=["30 KB of 3 MB", "30 KB", "1 MB", "3 MB"],
)
@pytest.mark.trio
async def test_inflating_stops_at_the_members_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, packed: bytes
) -> None:
    """For a deflated member nothing of the archive's others is read ahead, but what its last block holds."""
    members = [Member("note.txt", packed, deflated=True), Member("drums.wav", pattern(4_000_000, "drums"))]
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(zip_of(members)))
        await learn(house)
        before = house.stage.moved
        assert await read(house, NOTE_TXT) == packed
        member = house.archives.member(NOTE_TXT)[1]
        assert house.stage.moved - before <= member.packed + 2 * BLOCK


@pytest.mark.parametrize(
    "member",
    [
        Member("note.txt", NOTE, deflated=True, crc=zlib.crc32(NOTE) ^ 1),
        Member("note.txt", NOTE, deflated=True, claimed=len(NOTE) + 1),
        Member("note.txt", NOTE, deflated=True, claimed=len(NOTE) - 1),
        Member("note.txt", pattern(200_000), method=8),
    ],
    ids=["crc", "longer", "shorter", "no deflate"],
)
@pytest.mark.expected_log("stems/note.txt: a member")
@pytest.mark.trio
async def test_an_inflated_member_is_checked(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, member: Member
) -> None:
    """A member whose bytes are not those its directory promises is EIO, and nothing of it is kept."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(zip_of([Member("drums.wav", DRUMS), member])))
        await learn(house)
        with pytest.raises(BadArchive) as caught:
            await read(house, NOTE_TXT)
        assert caught.value.errno == errno.EIO
        assert not house.archives.cached(NOTE_TXT)
        assert await read(house, DRUMS_WAV) == DRUMS


@pytest.mark.expected_log("stems/note.txt: a member")
@pytest.mark.expected_log("stems/drums.wav: no member")
@pytest.mark.trio
async def test_a_bad_member_is_said_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A member that is not what it promises is one line in the log, however often it is opened."""
    lies = bytearray(zip_of([Member("drums.wav", DRUMS), Member("note.txt", NOTE, deflated=True, crc=1)]))
    lies[0:4] = b"XXXX"
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(bytes(lies)))
        await learn(house)
        for member in (NOTE_TXT, DRUMS_WAV) * 3:
            with pytest.raises(BadArchive):
                await read(house, member)
            await trio.sleep(1.5)
        assert len(caplog.records) == 2


@pytest.mark.expected_log("stems/drums.wav: no member")
@pytest.mark.trio
async def test_a_local_header_must_agree(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A member whose local header is not one is refused at open, before any byte is served."""
    broken = bytearray(ZIP)
    broken[0:4] = b"XXXX"
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(bytes(broken)))
        await learn(house)
        with pytest.raises(BadArchive):
            await house.archives.open(DRUMS_WAV)


@pytest.mark.parametrize("pad", [0, 1, 40_000, 65_535])
@pytest.mark.trio
async def test_one_request_lists_the_members(
    pad: int, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Wherever blocks begin, one request for the last 64 KiB tells the members, and all bytes are right."""
    archive = zip_of([Member("pad", bytes(pad)), Member("drums.wav", DRUMS), Member("bass.wav", DRUMS[::-1])])
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(archive))
        assert await learn(house) == ["pad", "drums.wav", "bass.wav"]
        assert (house.stage.pulls, house.stage.moved) == (1, 65_536)
        assert await read(house, STEMS.member_of("bass.wav")) == DRUMS[::-1]
        assert await read(house, DRUMS_WAV) == DRUMS
        assert house.stage.moved < 65_536 + len(archive)


@pytest.mark.trio
async def test_a_short_archive_is_its_own_tail(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """An archive of less than 64 KiB has come whole with its directory."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(zip_of({"a.wav": DRUMS[:1000], "b.wav": DRUMS[:3000]})))
        await learn(house)
        assert await read(house, STEMS.member_of("b.wav")) == DRUMS[:3000]
        assert house.stage.pulls == 1


@pytest.mark.trio
async def test_a_tail_that_breaks(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A tail that breaks off goes on at its byte, and is put together rightly."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP, breaks=[20_000, 30_000]))
        assert await learn(house) == ["drums.wav", "sub/bass.wav", "note.txt"]
        assert await read(house, NOTE_TXT) == NOTE
        assert house.stage.moved < 2 * 65_536


@pytest.mark.trio
async def test_a_tail_answered_with_the_whole_and_then_with_ranges(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A server that answers the tail with the whole, breaks off, and knows ranges from then on, gives exactly
    the archive: what came from its start stays where it was."""
    async with housed(tmp_path) as house:
        thing = Thing(ZIP, ranges=False, pace=1e6, breaks=[100_000])
        house.put(STEMS, thing)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(learn, house)
            await trio.sleep(0.09)
            thing.ranges = True
        assert await learn(house) == ["drums.wav", "sub/bass.wav", "note.txt"]
        assert await read(house, DRUMS_WAV) == DRUMS
        assert await read(house, NOTE_TXT) == NOTE


@pytest.mark.trio
async def test_the_head_of_a_member_is_one_request(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The first bytes of a stored member cost one request, also long after the archive was looked at."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP))
        await learn(house)
        await trio.sleep(60)
        opened = await house.archives.open(DRUMS_WAV)
        assert bytes(await opened.read(Span(0, 4096))) == DRUMS[:4096]
        opened.close()
        assert house.stage.pulls == 2


@pytest.mark.trio
async def test_a_member_that_is_not_there(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A name that the directory does not have is ENOENT."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP))
        await learn(house)
        with pytest.raises(NoSuchEntry):
            await house.archives.open(STEMS.member_of("nothing.wav"))


# Another archive ----------------------------------------------------------------------------------------

BUILT = zip_of([Member("note.txt", NOTE, deflated=True), Member("drums.wav", DRUMS)])
REBUILT = zip_of([Member("note.txt", NOTE[::-1], deflated=True), Member("drums.wav", DRUMS[::-1])])


@pytest.mark.parametrize(
    ("asset", "old", "new"), [(DRUMS_WAV, DRUMS, DRUMS[::-1]), (NOTE_TXT, NOTE, NOTE[::-1])]
)
@pytest.mark.trio
async def test_a_rebuilt_archive_is_another_version(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, asset: Asset, old: bytes, new: bytes
) -> None:
    """When the service has built the archive anew, one open is Changed; the next finds the new directory,
    because the kernel looks up again only once."""
    async with housed(tmp_path) as house:
        thing = house.put(STEMS, Thing(BUILT))
        await learn(house)
        first = house.archives.member(asset)[0]
        thing.data, thing.validator = REBUILT, "etag two"
        await trio.sleep(60)
        with pytest.raises(Changed):
            await read(house, asset)
        assert house.archives.member(asset)[0] == first + 1
        assert await read(house, asset) == new


@pytest.mark.trio
async def test_an_open_member_never_gets_a_mixture(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A handle on the old archive serves what is here and is Changed for the rest."""
    async with housed(tmp_path) as house:
        thing = house.put(STEMS, Thing(ZIP))
        await learn(house)
        opened = await house.archives.open(DRUMS_WAV)
        assert bytes(await opened.read(Span(0, 1000))) == DRUMS[:1000]
        await trio.testing.wait_all_tasks_blocked()
        thing.data, thing.validator = REBUILT, "etag two"
        with pytest.raises(Changed):
            await all_of(opened)
        assert bytes(await opened.read(Span(0, 1000))) == DRUMS[:1000]
        opened.close()


@pytest.mark.trio
async def test_without_ranges_the_archive_is_fetched_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where the byte server knows no ranges, directory and members come out of one whole fetch."""
    async with housed(tmp_path) as house:
        house.put(STEMS, Thing(ZIP, ranges=False, pace=1e7))
        await learn(house)
        assert await read(house, DRUMS_WAV) == DRUMS
        assert await read(house, NOTE_TXT) == NOTE
        assert house.stage.moved <= len(ZIP)
