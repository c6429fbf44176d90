"""The verbs without a kernel: references, handles, opening, reading, indexers."""

from __future__ import annotations

import errno
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.content import Asset
from musicfs.core.inodes import ROOT
from musicfs.core.tree import File
from musicfs.demo import ContentRange, Framing, Role, Service, content, m4a_of, wav_of, wav_of_size
from musicfs.demo.faults import json_error
from musicfs.errors import (
    BytesMissing,
    Changed,
    IsADirectory,
    Misbehaved,
    NoSuchEntry,
    NotADirectory,
    ScannerRefused,
    UnknownHandle,
    Withdrawn,
)
from musicfs.model import Span
from tests.world import LOOSE_ENDS, living, wall

pytestmark = LOOSE_ENDS

ADA = "ada@example.com"
INDEXER = 77


def service() -> Service:
    """Make the demo's service, on the tests' clock."""
    return Service.demo(wall)


@pytest.mark.trio
async def test_a_stale_open_is_stale_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Who opens an old inode and then what its name leads to gets a handle, though the cache has let go of
    the song meanwhile and the service makes it anew each time: the kernel looks up again once only."""
    made = service()
    clip = made.flow.clips[0]
    made.twist(kind="mp3", restless=True)
    path = f"flowmusic/{clip.uuid}.mp3"
    async with living(made, tmp_path) as mounted:
        await mounted.read(path)
        old = (await mounted.find(path)).inode
        for _ in range(2):
            await trio.sleep(1)  # The pass that gave the last byte has still to be sealed.
            assert list(mounted.store.prune(inf))
            with pytest.raises(Changed):
                await mounted.files.open(old)
            mounted.files.close(await mounted.files.open((await mounted.find(path)).inode))


# Bytes --------------------------------------------------------------------------------------------------


@pytest.mark.expected_log("left out")
@pytest.mark.trio
async def test_every_file_is_the_services_bytes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """mp3, m4a, wav and stems of both services are read exactly, at one mint an object and one mp3 a clip."""
    made = service()
    async with living(made, tmp_path) as mounted:
        clip = made.flow.clips[0]
        job = next(job for job in made.tempolor.jobs if "stems" in job.assets)
        for _ in range(2):
            for form in ("mp3", "m4a", "wav"):
                assert await mounted.read(f"flowmusic/{clip.uuid}.{form}") == content(clip.assets[form])
            for form in ("mp3", "wav"):
                assert await mounted.read(f"tempolor/{job.item}/song.{form}") == content(job.assets[form])
            for member in ("vocals.wav", "instruments/bass.wav", "instruments/Überblick.txt"):
                assert await mounted.read(f"tempolor/{job.item}/stems/{member}")
        assert made.counts["mint"] == 3
        assert made.counts["mp3"] == 1
        assert not any(record.authorised for record in made.log if record.role != "api")


@pytest.mark.trio
async def test_an_estimate_becomes_exact_at_open(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Open knows the exact size, tells the kernel to ask again where it showed another, and only then."""
    made = service()
    job = made.tempolor.jobs[0]
    async with living(made, tmp_path) as mounted:
        found = await mounted.find(f"tempolor/{job.item}/song.wav")
        assert found.size != job.assets["wav"].size
        for _ in range(2):
            mounted.files.close(await mounted.files.open(found.inode))
        assert mounted.resized == [found.inode]
        assert (await mounted.files.getattr(found.inode)).size == job.assets["wav"].size


@pytest.mark.trio
async def test_reads_are_exact_and_short_only_at_the_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A read in the middle is whole, one over the end is clipped, one behind it is empty."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Song", wav=wav_of(2.0))
    data = content(clip.assets["wav"])
    async with living(made, tmp_path) as mounted:
        handle = await mounted.files.open((await mounted.find(f"flowmusic/{clip.uuid}.wav")).inode)
        assert bytes(await mounted.files.read(handle, 1000, 50_000)) == data[1000:51_000]
        assert bytes(await mounted.files.read(handle, len(data) - 7, 4096)) == data[-7:]
        assert bytes(await mounted.files.read(handle, len(data), 4096)) == b""
        mounted.files.close(handle)


@pytest.mark.trio
async def test_what_is_here_waits_for_nobody(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A file that is whole in the cache is opened at once, an indexer's open too; of any open file the bytes
    that are here are read at once, exactly, and of others nothing is said."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Song", wav=wav_of_size(700_000, "song"))
    data = content(clip.assets["wav"])
    async with living(made, tmp_path) as mounted:
        mounted.programs.scanners.add(INDEXER)
        inode = (await mounted.find(f"flowmusic/{clip.uuid}.wav")).inode
        assert mounted.files.open_here(inode) is None
        handle = await mounted.files.open(inode)
        assert mounted.files.open_here(inode) is None
        assert mounted.files.read_here(handle, 690_000, 100) is None
        await mounted.files.read(handle, 690_000, 100)
        await trio.testing.wait_all_tasks_blocked()
        assert mounted.files.read_here(handle, 690_000, 4096) == data[690_000:694_096]
        mounted.files.close(handle)
        await mounted.read(f"flowmusic/{clip.uuid}.wav")
        asked = len(made.log)
        for tid in (0, INDEXER):
            opened = mounted.files.open_here(inode, tid)
            assert opened is not None
            for start, stop in ((0, 1), (0, 131_072), (1000, 99_000), (65_000, 700_000), (699_999, 800_000)):
                assert mounted.files.read_here(opened, start, stop - start) == data[start:stop]
            assert mounted.files.read_here(opened, 700_000, 4096) == b""
            mounted.files.close(opened)
        assert mounted.files.open_files == 0
        assert len(made.log) == asked


@pytest.mark.trio
async def test_a_guess_is_taken_back_though_the_file_came_unasked(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A file that was fetched ahead, whole, is opened the long way once where an estimate of its size was
    told: the kernel is told to ask again."""
    made = service()
    job = made.tempolor.jobs[0]
    async with living(made, tmp_path) as mounted:
        found = await mounted.find(f"tempolor/{job.item}/song.wav")
        node = mounted.files.node(found.inode)
        assert isinstance(node, File)
        ahead = await mounted.files.content.open(Asset(node.row.song, node.form))
        await ahead.read(Span(0, ahead.size))
        await trio.testing.wait_all_tasks_blocked()
        ahead.close()
        assert mounted.files.open_here(found.inode) is None
        mounted.files.close(await mounted.files.open(found.inode))
        assert mounted.resized == [found.inode]
        handle = mounted.files.open_here(found.inode)
        assert handle is not None
        mounted.files.close(handle)


@pytest.mark.expected_log("before the end that the file names")
@pytest.mark.parametrize("form", ["wav", "m4a"])
@pytest.mark.trio
async def test_a_file_that_ends_too_early_is_not_believed(
    form: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where no length is told anywhere and the body ends in good order, the file's own word about its length
    counts: what is cut is an error and is not kept, and heals."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Song", wav=wav_of(2.0), m4a=m4a_of(10.0))
    made.twist(role=Role.BUCKET, content_range=ContentRange.STAR, framing=Framing.CHUNKED, short=1000)
    async with living(made, tmp_path) as mounted:
        name = f"flowmusic/{clip.uuid}.{form}"
        with pytest.raises(Misbehaved):
            await mounted.files.open((await mounted.find(name)).inode)
        made.clear()
        await trio.sleep(2)
        assert await mounted.read(name) == content(clip.assets[form])


@pytest.mark.trio
async def test_an_open_file_keeps_its_size(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Who asks an open file for its size gets that of the bytes it reads, whatever the service has now."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Song", wav=wav_of_size(600_000, "old"))
    async with living(made, tmp_path) as mounted:
        found = await mounted.find(f"flowmusic/{clip.uuid}.wav")
        handle = await mounted.files.open(found.inode)
        clip.assets["wav"] = wav_of_size(400_000, "new")
        with pytest.raises(Changed):
            await mounted.files.read(handle, 590_000, 10_000)
        assert (await mounted.files.getattr(found.inode)).size == 600_000
        again = await mounted.find(f"flowmusic/{clip.uuid}.wav")
        assert (again.inode, again.size) != (found.inode, 600_000)
        mounted.files.close(handle)


# References and handles ---------------------------------------------------------------------------------


@pytest.mark.trio
async def test_references_go_to_zero(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What lookup, `.` and `..` gave, FORGET takes back, to the last."""
    made = service()
    async with living(made, tmp_path) as mounted:
        given: list[int] = []
        top = (await mounted.files.lookup(ROOT, "library")).inode
        song = (await mounted.files.lookup(top, "Night Drive")).inode
        file = (await mounted.files.lookup(song, "Night Drive.mp3")).inode
        again = (await mounted.files.lookup(song, "Night Drive.mp3")).inode
        given += [top, song, file, again]
        given += [mounted.files.relative(song, up=False).inode, mounted.files.relative(song, up=True).inode]
        assert given[-2:] == [song, top]
        assert mounted.files.relative(top, up=True).inode == ROOT
        with pytest.raises(NoSuchEntry):
            await mounted.files.lookup(song, "nothing")
        assert len(mounted.files.register) == 3
        for inode in given:
            mounted.files.node(inode)
            mounted.files.register.forget(inode)
        assert len(mounted.files.register) == 0
        with pytest.raises(NoSuchEntry):
            mounted.files.node(file)


@pytest.mark.trio
async def test_listing_holds_nothing(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Listing folders takes no references; what is shown has the numbers that lookup gives."""
    made = service()
    async with living(made, tmp_path) as mounted:
        top = (await mounted.files.lookup(ROOT, "flowmusic")).inode
        entries = await mounted.files.entries(top)
        shown = {entry.name: mounted.files.shown(entry)[1].inode for entry in entries}
        assert len(mounted.files.register) == 1
        for name, inode in shown.items():
            assert (await mounted.files.lookup(top, name)).inode == inode
        places = [entry.place for entry in entries]
        assert places == sorted(set(places))


@pytest.mark.trio
async def test_handles_are_closed_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Each open is a handle of its own; a closed or unknown one is EBADF; at the end all are closed."""
    made = service()
    async with living(made, tmp_path) as mounted:
        inode = (await mounted.find(f"flowmusic/{made.flow.clips[0].uuid}.mp3")).inode
        one, two, three = [await mounted.files.open(inode) for _ in range(3)]
        assert len({one, two, three}) == mounted.files.open_files == 3
        mounted.files.close(one)
        for handle in (one, 0, 999):
            with pytest.raises(UnknownHandle):
                await mounted.files.read(handle, 0, 10)
            with pytest.raises(UnknownHandle):
                mounted.files.close(handle)
        assert len(await mounted.files.read(two, 0, 10)) == 10
        mounted.files.shut()
        assert mounted.files.open_files == 0


@pytest.mark.trio
async def test_a_folder_is_no_file(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Opening a folder is EISDIR, listing a file ENOTDIR, a number nobody was given ENOENT."""
    made = service()
    async with living(made, tmp_path) as mounted:
        with pytest.raises(IsADirectory):
            await mounted.files.open(ROOT)
        file = await mounted.find(f"flowmusic/{made.flow.clips[0].uuid}.mp3")
        with pytest.raises(NotADirectory):
            await mounted.files.entries(file.inode)
        for verb in (mounted.files.open, mounted.files.entries, mounted.files.getattr):
            with pytest.raises(NoSuchEntry):
                await verb(12_345)


# Opening ------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_missing_bytes_of_a_listed_name_are_eio(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A listed form whose bytes are 404 is EIO at open and stays listed; one only asked for is ENOENT."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Song", without=("mp3", "wav"))
    parent = made.add_clip(ADA, "Parent")
    stem = made.flow.add_stems(parent)[0]
    async with living(made, tmp_path) as mounted:
        for path in (f"flowmusic/{clip.uuid}.mp3", "library/Song/Song.wav"):
            with pytest.raises(BytesMissing) as caught:
                await mounted.read(path)
            assert caught.value.errno == errno.EIO
            await mounted.find(path)
        with pytest.raises(Withdrawn):
            await mounted.read(f"flowmusic/{stem.uuid}.wav")


@pytest.mark.trio
async def test_an_old_number_is_stale_and_the_new_one_opens(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Other bytes at the service: one ESTALE for the old number, and the name's next lookup opens the new."""
    made = Service(clock=wall)
    clip = made.add_clip(ADA, "Song", wav=wav_of(3.0, "one"))
    path = f"flowmusic/{clip.uuid}.wav"
    async with living(made, tmp_path) as mounted:
        old = await mounted.find(path)
        handle = await mounted.files.open(old.inode)
        first = bytes(await mounted.files.read(handle, 0, 1000))
        await trio.testing.wait_all_tasks_blocked()
        mounted.files.close(handle)
        mounted.store.drop(f"flowmusic:{clip.uuid}:wav", 0)
        clip.assets["wav"] = wav_of(4.0, "two")
        await trio.sleep(60)
        with pytest.raises(Changed) as caught:
            await mounted.files.open(old.inode)
        assert caught.value.errno == errno.ESTALE
        fresh = await mounted.find(path)
        assert fresh.inode != old.inode
        assert await mounted.read(path) == content(clip.assets["wav"])
        assert mounted.files.open_here(old.inode) is None
        assert first != b""
        with pytest.raises(Changed):
            await mounted.files.open(old.inode)


@pytest.mark.expected_log("wav: ")
@pytest.mark.trio
async def test_open_fails_with_the_services_word(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A refused mint is the open's error; no handle is left, and it heals."""
    made = service()
    job = made.tempolor.jobs[0]
    async with living(made, tmp_path) as mounted:
        inode = (await mounted.find(f"tempolor/{job.item}/song.wav")).inode
        fault = made.fail(json_error(402), kind="mint")
        with pytest.raises(Exception, match="402") as caught:
            await mounted.files.open(inode)
        assert getattr(caught.value, "errno", None) == errno.EACCES
        assert mounted.files.open_files == 0
        made.faults.remove(fault)
        await trio.sleep(1.1)
        mounted.files.close(await mounted.files.open(inode))


# Indexers -----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_indexers_start_no_download(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """An indexer is EACCES at once for what is not whole in the cache, and is served what is; counted."""
    made = service()
    job = next(job for job in made.tempolor.jobs if "stems" in job.assets)
    async with living(made, tmp_path) as mounted:
        mounted.programs.scanners.add(INDEXER)
        path = f"tempolor/{job.item}/song.wav"
        inode = (await mounted.find(path)).inode
        with pytest.raises(ScannerRefused) as caught:
            await mounted.files.open(inode, INDEXER)
        assert caught.value.errno == errno.EACCES
        assert made.counts["mint"] == 0
        handle = await mounted.files.open(inode)
        await mounted.files.read(handle, 0, 4096)
        with pytest.raises(ScannerRefused):
            await mounted.files.open(inode, INDEXER)
        mounted.files.close(handle)
        await mounted.read(path)
        handle = await mounted.files.open(inode, INDEXER)
        assert len(await mounted.files.read(handle, 0, 4096)) == 4096
        mounted.files.close(handle)
        assert mounted.files.scanners_refused == 2


@pytest.mark.expected_log("left out")
@pytest.mark.trio
async def test_indexers_list_no_stems_first(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A `stems/` never seen is EACCES for an indexer, as it costs a link; afterwards it is listed."""
    made = service()
    job = next(job for job in made.tempolor.jobs if "stems" in job.assets)
    async with living(made, tmp_path) as mounted:
        mounted.programs.scanners.add(INDEXER)
        folder = (await mounted.find(f"tempolor/{job.item}/stems")).inode
        with pytest.raises(ScannerRefused):
            await mounted.files.entries(folder, INDEXER)
        with pytest.raises(ScannerRefused):
            await mounted.files.lookup(folder, "vocals.wav", INDEXER)
        assert made.counts["mint"] == 0
        await mounted.files.entries(folder)
        assert await mounted.files.entries(folder, INDEXER)


@pytest.mark.trio
async def test_a_name_that_appears_is_told(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The kernel, which keeps for a while that a name does not exist, is told when a listing brings it."""
    made = service()
    async with living(made, tmp_path) as mounted:
        top = (await mounted.find("library")).inode
        with pytest.raises(NoSuchEntry):
            await mounted.files.lookup(top, "Brand New")
        told: list[tuple[int, str]] = []
        mounted.files.left = lambda parent, name: told.append((parent, name))
        made.add_clip(ADA, "Brand New")
        await trio.sleep(61)
        await mounted.names("library")
        await trio.sleep(1)
        assert (top, "Brand New") in told
        await mounted.find("library/Brand New")
