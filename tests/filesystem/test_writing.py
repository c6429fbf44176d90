"""The library's small files and covers, without a kernel: what they hold, what they cost, how they change."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from musicfs.core.tree import folder_inode
from musicfs.demo import Service
from musicfs.demo.assets import content
from musicfs.demo.faults import refusal
from musicfs.errors import BytesMissing, Changed, Misbehaved, NoSuchEntry, ScannerRefused
from musicfs.filesystem.writing import Writing
from tests.world import LOOSE_ENDS, Mounted, Notebook, living, wall

pytestmark = LOOSE_ENDS

ADA = "ada@example.com"
JPEG, PNG = b"\xff\xd8\xff\xe0" + bytes(5000), b"\x89PNG\r\n\x1a\n" + bytes(5000)
LYRICS = "[Verse]\nOne boat\nTwo boats"


async def refreshed(mounted: Mounted) -> None:
    """Let the listing grow old, look, so that a refresh begins, and wait until it has ended."""
    await trio.sleep(70)
    await mounted.names("library")
    await trio.testing.wait_all_tasks_blocked(0.01)
    await trio.sleep(5)


@pytest.mark.trio
async def test_what_is_written_costs_no_request(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Lyrics, facts and playlists have exact sizes and are read with no request but the listing's."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        asked = len(made.log)
        song = "library/Harbour Lights"
        for path in (f"{song}/lyrics.txt", f"{song}/lyrics.lrc", f"{song}/info.json", "library/All.m3u8"):
            found = await mounted.find(path)
            assert found.size == len(await mounted.read(path)) > 0
        assert len(made.log) == asked
        assert b"[00:04.00]The boats are drawing home." in await mounted.read(f"{song}/lyrics.lrc")
        told = json.loads(await mounted.read("library/Northern Choir/info.json"))
        assert (told["service"], told["bpm"], told["key"]) == ("TemPolor", 96, "F minor")
        assert "@" not in json.dumps(told)


@pytest.mark.trio
async def test_playlists_are_one_of_all_and_one_of_each_service(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Each path of a playlist leads to a file; together the services' playlists have the songs of all."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        assert (await mounted.names("library"))[-3:] == ["All.m3u8", "Flow Music.m3u8", "TemPolor.m3u8"]

        async def paths(name: str) -> list[str]:
            lines = (await mounted.read(f"library/{name}")).decode().splitlines()
            return [line for line in lines if not line.startswith("#")]

        found = await paths("All.m3u8")
        assert sorted(found) == sorted(await paths("Flow Music.m3u8") + await paths("TemPolor.m3u8"))
        folders = [one for one in await mounted.names("library") if not one.endswith(".m3u8")]
        assert sorted(path.partition("/")[0] for path in found) == sorted(folders)
        for path in found:
            assert (await mounted.find(f"library/{path}")).size > 0


@pytest.mark.trio
async def test_a_cover_is_fetched_when_it_is_opened(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Listing and `stat` ask for no picture; opening one gives its bytes, and the token stays at home."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Tide", 1.0, cover=JPEG)
    made.add_job("100", "Ebb", 1.0, cover=PNG)
    async with living(made, tmp_path) as mounted:
        assert "cover.jpg" in await mounted.names("library/Tide")
        found = await mounted.find("library/Ebb/cover.png")
        await mounted.files.getattr(found.inode)
        assert not [one for one in made.log if one.form == "cover"]
        assert await mounted.read("library/Tide/cover.jpg") == content(clip.assets["cover"])
        assert await mounted.read("library/Ebb/cover.png") == PNG
        asked = [one for one in made.log if one.form == "cover"]
        assert asked
        assert not any(one.authorised for one in asked)
        assert (await mounted.find("library/Ebb/cover.png")).size == len(PNG)


@pytest.mark.trio
@pytest.mark.expected_log("no picture came")
@pytest.mark.parametrize("body", [b"<html>sorry</html>", b"MZ" + bytes(600), b"ID3\x04" + bytes(600)])
async def test_what_is_no_picture_is_no_cover(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, body: bytes
) -> None:
    """A body that does not begin like a picture is refused, whatever the URL and the server call it."""
    made = Service(clock=wall)
    made.add_clip(ADA, "Tide", 1.0, cover=body)
    async with living(made, tmp_path) as mounted:
        with pytest.raises(Misbehaved):
            await mounted.read("library/Tide/cover.jpg")


@pytest.mark.trio
async def test_a_cover_that_is_gone_fails_at_open(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A listed picture whose bytes answer 404 is an error at `open`; the name stays."""
    made = Service(clock=wall)
    made.add_clip(ADA, "Tide", 1.0, cover=JPEG)
    made.fail(lambda request: refusal(404, "no"), form="cover")
    async with living(made, tmp_path) as mounted:
        with pytest.raises(BytesMissing):
            await mounted.read("library/Tide/cover.jpg")
        assert "cover.jpg" in await mounted.names("library/Tide")


@pytest.mark.trio
async def test_an_indexer_may_look_at_pictures_and_texts(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Pictures may be opened by indexers, and what is written here; a song that is not cached may not."""
    made = Service(clock=wall)
    made.add_clip(ADA, "Tide", 1.0, cover=JPEG, lyrics=LYRICS)
    async with living(made, tmp_path) as mounted:
        mounted.programs.scanners.add(7)
        for name in ("cover.jpg", "lyrics.txt", "info.json"):
            inode = (await mounted.find(f"library/Tide/{name}")).inode
            mounted.files.close(await mounted.files.open(inode, 7))
        with pytest.raises(ScannerRefused):
            await mounted.files.open((await mounted.find("library/Tide/Tide.m4a")).inode, 7)


@pytest.mark.trio
async def test_a_change_of_facts_is_another_file(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """New lyrics are a new inode; who opens the old one is sent to look again, who reads it reads on."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Tide", 1.0, lyrics="One")
    async with living(made, tmp_path) as mounted:
        told: list[tuple[int, str]] = []
        mounted.files.left = lambda parent, name: told.append((parent, name))
        old = (await mounted.find("library/Tide/lyrics.txt")).inode
        handle = await mounted.files.open(old)
        clip.lyrics = "One\nTwo"
        await refreshed(mounted)
        assert (folder_inode(("library", "Tide")), "lyrics.txt") in told
        new = await mounted.find("library/Tide/lyrics.txt")
        assert new.inode != old
        assert await mounted.read("library/Tide/lyrics.txt") == b"One\nTwo\n"
        with pytest.raises(Changed):
            await mounted.files.open(old)
        assert await mounted.files.read(handle, 0, 100) == b"One\n"
        mounted.files.close(handle)


@pytest.mark.trio
async def test_a_new_song_makes_new_playlists(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A song that is listed is in the playlist at once, and the kernel is told to look it up again."""
    made = Service(clock=wall)
    made.add_clip(ADA, "Tide", 1.0)
    async with living(made, tmp_path) as mounted:
        old = await mounted.find("library/All.m3u8")
        told: list[tuple[int, str]] = []
        mounted.files.left = lambda parent, name: told.append((parent, name))
        made.add_clip(ADA, "Ebb", 1.0)
        await refreshed(mounted)
        assert (folder_inode(("library",)), "All.m3u8") in told
        assert (await mounted.find("library/All.m3u8")).inode != old.inode
        assert b"Ebb/Ebb.mp3" in await mounted.read("library/All.m3u8")


@pytest.mark.trio
async def test_a_song_called_like_a_playlist_is_told_apart(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A title that is a playlist's name gets a mark, as the second of two songs would."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "all.M3U8", 1.0)
    async with living(made, tmp_path) as mounted:
        assert f"all.M3U8 [{clip.uuid[:6]}]" in await mounted.names("library")
        assert b"#EXTM3U" in await mounted.read("library/All.m3u8")


@pytest.mark.trio
async def test_a_state_from_before_is_filled_at_the_next_refresh(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Songs kept by a musicfs that knew no lyrics or covers have them after one refresh; names stay."""
    made = Service(clock=wall)
    made.add_clip(ADA, "Tide", 1.0, cover=JPEG, lyrics=LYRICS)
    memory = Notebook()
    async with living(made, tmp_path / "one", memory) as mounted:
        await mounted.names("library")
        await trio.testing.wait_all_tasks_blocked(0.01)
    for row in memory.songs():
        row.song = msgspec.structs.replace(row.song, cover=None, sheet=b"")
        await memory.save_songs([row])
    async with living(made, tmp_path / "two", memory) as mounted:
        assert await mounted.names("library/Tide") == ["Tide.mp3", "Tide.m4a", "Tide.wav", "info.json"]
        await mounted.names("library")
        await trio.sleep(5)
        assert {"cover.jpg", "lyrics.txt"} < set(await mounted.names("library/Tide"))


@pytest.mark.trio
async def test_a_record_adds_what_no_list_tells(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever asks for a job by its full id has its song's prompt, date and timed lyrics from then on."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Tide", 1.0, lyrics=LYRICS, timing=[[0.5, 1.0], [2.0, 3.0]])
    job = made.flow.add_job(ADA, clip)
    async with living(made, tmp_path) as mounted:
        assert "lyrics.lrc" not in await mounted.names("library/Tide")
        await mounted.find(f"flowmusic/{made.flow.handle(job)}.mp3")
        await refreshed(mounted)
        assert b"[00:02.00]Two boats" in await mounted.read("library/Tide/lyrics.lrc")
        told = json.loads(await mounted.read("library/Tide/info.json"))
        assert told["prompt"] == "A song about the sea"
        assert "created" in told


@pytest.mark.trio
async def test_takes_of_one_title_stand_side_by_side(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Takes that share a title sort together, whatever came between them, and each has its own name."""
    made = Service(clock=wall)
    for title in ("Night Drive", "Ebb", "Night Drive", "Tide", "Night Drive"):
        made.add_clip(ADA, title, 1.0)
    async with living(made, tmp_path) as mounted:
        names = sorted(name for name in await mounted.names("library") if not name.endswith(".m3u8"))
        takes = [place for place, name in enumerate(names) if name.startswith("Night Drive")]
        assert takes == [1, 2, 3]
        assert len(set(names)) == 5


@pytest.mark.trio
async def test_hints_stand_at_the_top(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Each name that the settings have is an empty file there, once, and nowhere else; without any there is
    none."""
    async with living(Service(clock=wall), tmp_path) as mounted:
        top = await mounted.names()
        assert top == ["flowmusic", "tempolor", "library"]
        mounted.files.finding.writing = Writing(
            mounted.files.catalog, (".trackerignore", ".nomedia", ".nomedia")
        )
        assert await mounted.names() == [*top, ".trackerignore", ".nomedia"]
        for name in (".trackerignore", ".nomedia"):
            assert (await mounted.find(name)).size == 0
            assert await mounted.read(name) == b""
        for path in (".other", "library/.nomedia"):
            with pytest.raises(NoSuchEntry):
                await mounted.find(path)
