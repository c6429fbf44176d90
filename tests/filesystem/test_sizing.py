"""What `stat` shows, without a kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content import Asset
from musicfs.core.inodes import ROOT
from musicfs.core.tree import File
from musicfs.demo import Role, Service
from musicfs.demo.faults import black_hole, json_error
from musicfs.filesystem import STEADY
from musicfs.filesystem.sizing import GUESSED
from musicfs.model import NOTHING, Key, Known
from tests.world import LOOSE_ENDS, living, wall

pytestmark = LOOSE_ENDS

ADA = "ada@example.com"
HARBOUR = "library/Harbour Lights/Harbour Lights"


def service() -> Service:
    """Make the demo's service, on the tests' clock."""
    return Service.demo(wall)


@pytest.mark.trio
async def test_an_estimate_is_not_believed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What was never measured shows an estimate above 0; where asking helps, the kernel must ask again."""
    made = service()
    async with living(made, tmp_path) as mounted:
        for form, believed in (("mp3", GUESSED), ("m4a", 0.0), ("wav", 0.0)):
            found = await mounted.find(f"{HARBOUR}.{form}")
            assert found.size > 0
            assert found.valid_for == believed
            assert found.name_for == STEADY
        assert made.counts["range"] == 0


@pytest.mark.parametrize("learned", ["at open", "behind the kernel's back"])
@pytest.mark.trio
async def test_an_estimate_that_the_kernel_keeps_is_taken_back(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, learned: str
) -> None:
    """`open` has the kernel forget the estimate it was told, however the exact size came to be known."""
    made = service()
    clip = made.flow.clips[0]
    async with living(made, tmp_path) as mounted:
        found = await mounted.find(f"{HARBOUR}.mp3")
        assert 0 < found.valid_for < 10
        if learned != "at open":
            row = mounted.files.catalog.row("flowmusic", clip.uuid)
            assert row is not None
            (await mounted.files.content.open(Asset(row.song, "mp3"))).close()
            assert mounted.resized == []
        mounted.files.close(await mounted.files.open(found.inode))
        assert mounted.resized == [found.inode]
        shown = await mounted.files.getattr(found.inode)
        assert (shown.size, shown.valid_for) == (clip.assets["mp3"].size, STEADY)
        mounted.files.close(await mounted.files.open(found.inode))
        assert mounted.resized == [found.inode]


@pytest.mark.trio
async def test_what_is_learnt_is_shown_where_it_was_listed_before(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A length and a version that come to be known between two listings are in the second: an entry keeps
    what was known of it only as long as nothing is noted of any file."""
    made = service()
    clip = made.flow.clips[0]
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")  # Names are given once every service was listed.
        folder = (await mounted.find("flowmusic")).inode
        entries = await mounted.files.entries(folder)
        entry = next(one for one in entries if one.name == f"{clip.uuid}.mp3")
        for known in (None, Known(0, 111, "etag a", True), Known(0, 222, "etag b", True), Known(3, 222)):
            if known is not None:
                mounted.ledger.note(Key("flowmusic", clip.uuid, "mp3"), known)
            for _ in range(2):
                node, shown = mounted.files.shown(entry)
                assert isinstance(node, File)
                assert node.version == (known or NOTHING).version
                if known is None:
                    assert shown.valid_for == GUESSED
                else:
                    assert (shown.size, shown.valid_for) == (known.size, STEADY)


@pytest.mark.trio
async def test_a_walk_of_a_big_library_asks_for_few_at_a_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """However many songs a walk passes whose sizes cannot be had, tasks and what is kept in mind stay few."""
    made = Service(clock=wall)
    for number in range(1000):
        made.add_clip(ADA, f"Song {number}")
    made.fail(json_error(404), role=Role.BUCKET)
    async with living(made, tmp_path) as mounted:
        for number in range(1000):
            for form in ("m4a", "wav"):
                found = await mounted.find(f"library/Song {number}/Song {number}.{form}")
                await mounted.files.getattr(found.inode)
                assert trio.lowlevel.current_statistics().tasks_living < 200
        await trio.testing.wait_all_tasks_blocked()
        assert made.counts["range"] <= 2 * 2000
        assert len(mounted.files.content._shelving.blobs) <= 1200


@pytest.mark.trio
async def test_stat_asks_public_servers_for_the_exact_size(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """`getattr` of an m4a or wav is exact, by one small range a form, once; then the kernel may keep it."""
    made = service()
    clip = made.flow.clips[0]
    async with living(made, tmp_path) as mounted:
        for _ in range(3):
            for form in ("m4a", "wav"):
                found = await mounted.find(f"{HARBOUR}.{form}")
                shown = await mounted.files.getattr(found.inode)
                assert shown.size == clip.assets[form].size
                assert shown.valid_for == STEADY
        assert made.counts["range"] == 2
        assert made.bytes_sent(Role.BUCKET) <= 10
        assert made.counts["mp3"] == 0


@pytest.mark.trio
async def test_stat_mints_nothing(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """`ls -lR` of everything costs no mint and no mp3."""
    made = service()
    async with living(made, tmp_path) as mounted:
        for top in ("flowmusic", "tempolor", "library"):
            for name in await mounted.names(top):
                found = await mounted.find(f"{top}/{name}")
                shown = await mounted.files.getattr(found.inode)
                assert shown.mtime_ns > 0
                if not found.folder:
                    assert shown.size > 0
                    continue
                for inner in await mounted.names(f"{top}/{name}"):
                    await mounted.files.getattr((await mounted.find(f"{top}/{name}/{inner}")).inode)
        assert made.counts["mint"] == made.counts["mp3"] == 0


@pytest.mark.trio
async def test_exact_sizes_are_measured_where_the_user_wants_them(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """With `sizes = "exact"` a TemPolor song's size is minted for, once, for all its forms."""
    made = service()
    job = made.tempolor.jobs[0]
    async with living(made, tmp_path, minted=True) as mounted:
        for form in ("mp3", "wav"):
            found = await mounted.find(f"tempolor/{job.item}/song.{form}")
            assert (await mounted.files.getattr(found.inode)).size == job.assets[form].size
        assert made.counts["mint"] == 2


@pytest.mark.parametrize("ill", ["silent", "missing"])
@pytest.mark.trio
async def test_a_listed_name_always_has_attributes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, ill: str
) -> None:
    """Whatever the byte server does, `stat` of a listed name is an estimate within 2 s, never an error."""
    made = service()
    if ill == "silent":
        made.twist(role=Role.BUCKET, first_byte=60.0)
    else:
        for clip in made.flow.clips:
            clip.assets.pop("wav", None)
    async with living(made, tmp_path) as mounted:
        found = await mounted.find(f"{HARBOUR}.wav")
        began = trio.current_time()
        shown = await mounted.files.getattr(found.inode)
        assert trio.current_time() - began <= 2.0
        assert shown == found


@pytest.mark.expected_log("wav: ")
@pytest.mark.expected_log("m4a: ")
@pytest.mark.trio
async def test_a_dead_bucket_costs_a_walk_little(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Once the host is known to be down, estimates answer at once."""
    made = service()
    made.fail(black_hole(), role=Role.BUCKET)
    async with living(made, tmp_path) as mounted:
        names = [name for name in await mounted.names("library") if "." not in name]
        began = trio.current_time()
        for name in names:
            for inner in await mounted.names(f"library/{name}"):
                await mounted.files.getattr((await mounted.find(f"library/{name}/{inner}")).inode)
        assert trio.current_time() - began <= 8.0
        assert len([one for one in made.log if one.role is Role.BUCKET]) <= 12


@pytest.mark.trio
async def test_a_hidden_form_is_not_waited_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A form whose bytes are missing is hidden after two 404s a day apart, and then costs `stat` nothing."""
    made = service()
    for clip in made.flow.clips:
        clip.assets.pop("wav", None)
    async with living(made, tmp_path) as mounted:
        found = await mounted.find(f"{HARBOUR}.wav")
        await mounted.files.getattr(found.inode)
        for _ in range(25):
            await trio.sleep(3600)
        await mounted.files.getattr(found.inode)
        assert "Harbour Lights.wav" not in await mounted.names("library/Harbour Lights")
        began, asked = trio.current_time(), made.counts["range"]
        await trio.sleep(10)
        began = trio.current_time()
        await mounted.files.getattr(found.inode)
        assert trio.current_time() == began
        assert made.counts["range"] == asked


@pytest.mark.trio
async def test_a_walk_is_measured_ahead(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Where a program stats song after song, the next ones' sizes are asked for along with this one's."""
    made = Service(clock=wall)
    for number in range(40):
        made.add_clip(ADA, f"Song {number:02}", 1.0)
    made.twist(role=Role.BUCKET, first_byte=0.4)
    async with living(made, tmp_path) as mounted:
        names = [name for name in await mounted.names("library") if not name.endswith(".m3u8")]
        began = trio.current_time()
        for name in names:
            for form in ("m4a", "wav"):
                found = await mounted.find(f"library/{name}/{name}.{form}")
                assert (await mounted.files.getattr(found.inode)).valid_for == STEADY
        assert trio.current_time() - began <= 80 * 0.4 / 3
        assert made.counts["range"] == 80


@pytest.mark.trio
async def test_folders_are_steady(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A folder is one link; a song's own time is its folder's, and the top folders' is their last change."""
    made = service()
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        await trio.testing.wait_all_tasks_blocked()
        song = await mounted.find("library/Harbour Lights")
        file = await mounted.find(f"{HARBOUR}.mp3")
        assert (song.folder, song.links, song.mtime_ns) == (True, 1, file.mtime_ns)
        top = await mounted.find("flowmusic")
        before = top.mtime_ns
        await trio.sleep(61)
        made.add_clip("ada@example.com", "New")
        await mounted.names("flowmusic")
        await trio.sleep(1)
        assert (await mounted.find("flowmusic")).mtime_ns > before
        assert mounted.files.relative(ROOT, up=False).mtime_ns > before
