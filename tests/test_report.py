"""What `status` and `why` tell: counted, described, and never an address, a token or a link."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from musicfs import providers
from musicfs.content.links import Links
from musicfs.core.tree import folder_inode
from musicfs.demo import Role, Service
from musicfs.demo.faults import black_hole, json_error, throttled
from musicfs.errors import MusicfsError, NoSuchEntry, TooSlow
from musicfs.report import Failures, Status, Why
from tests.world import LOOSE_ENDS, Mounted, living, wall

pytestmark = LOOSE_ENDS

SECRETS = ("@", "example.com", "auth_key", "100200300", "Bearer", "demo-abcdefghij")


class Desk:
    """The report of a house."""

    def __init__(
        self,
        mounted: Mounted,
        failures: Failures | None = None,
        gauges: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        links = Links(mounted.wire, providers.find(mounted.service.origins.bucket), wall)
        self._why = Why(mounted.files, mounted.wire, links)
        place, failures = Path("/mnt/music"), failures or Failures()
        whole = Status(mounted.files, mounted.wire, mounted.store.snapshot, place, failures, gauges)
        self.status, self.gauges = whole.told, whole.gauges
        self.why, self.marks = self._why.why, self._why.marks


def report_on(mounted: Mounted, failures: Failures | None = None) -> Desk:
    """Make the report of a house."""
    return Desk(mounted, failures)


def innocent(told: dict[str, Any]) -> dict[str, Any]:
    """See that an answer can be sent and tells no secret."""
    text = json.dumps(told)
    assert not [secret for secret in SECRETS if secret in text]
    return told


def service_of(told: dict[str, Any], slug: str) -> dict[str, Any]:
    """Find one service in a status."""
    found: dict[str, Any] = next(one for one in told["services"] if one["service"] == slug)
    return found


@pytest.mark.trio
async def test_status_before_anything(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A fresh mount tells what it is and that nothing was listed, and asking for its status asks nobody."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        told = innocent(report_on(mounted).status())
        assert told["mountpoint"] == "/mnt/music"
        assert told["open_files"] == 0
        assert told["transfers"] == told["errors"] == []
        assert (told["upstream"]["kinds"], told["upstream"]["bytes"]) == ({}, 0)
        assert told["upstream"]["today"]["kinds"] == {}
        assert told["cache"]["hit_rate"] is None
        assert told["first_byte"]["fetched"] == {"files": 0, "median": None, "p99": None}
        assert told["refused"] == {}
        flow = service_of(told, "flowmusic")
        assert (flow["songs"], flow["complete"], flow["listed_ago"]) == (0, False, None)
        assert made.log == []


@pytest.mark.expected_log("one account is in an error state")
@pytest.mark.trio
async def test_status_counts_and_names_no_account(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """In `status` accounts are numbered, their songs counted, a broken one described; what was asked is
    tallied."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        report = report_on(mounted)
        await mounted.names("library")
        await mounted.read(f"flowmusic/{made.flow.clips[0].uuid}.mp3")
        made.flow.break_account("ben+music@example.org", "ben+music@example.org: token rejected")
        await trio.sleep(3700)
        await mounted.names("library")
        await trio.sleep(0.5)  # From then on the list is refreshed behind that look.
        await trio.testing.wait_all_tasks_blocked()
        told = innocent(report.status())
        flow = service_of(told, "flowmusic")
        assert [(one["name"], one["state"]) for one in flow["accounts"]] == [
            ("account 1", "ok"),
            ("account 2", "broken"),
        ]
        ages = [one["listed_ago"] for one in flow["accounts"]]
        assert ages == [0.0, 3700.5]  # the broken one's last listing is that of the start
        assert "Add this account again" in flow["accounts"][1]["remedy"]
        assert sum(one["songs"] for one in flow["accounts"]) == flow["songs"] == len(made.flow.clips)
        assert flow["complete"]
        assert told["upstream"]["kinds"]["mp3"] == 1
        assert told["upstream"]["bytes"] == made.flow.clips[0].assets["mp3"].size
        assert told["cache"]["objects"] == 1
        assert told["cache"]["hit_rate"] == 0.0
        assert told["first_byte"]["fetched"]["files"] == 1
        await mounted.read(f"flowmusic/{made.flow.clips[0].uuid}.mp3")
        assert report.status()["cache"]["hit_rate"] == 0.5
        assert report.status()["first_byte"]["cached"] == {"files": 1, "median": 0.0, "p99": 0.0}
        assert told["uptime"] >= 3700


@pytest.mark.expected_log("not believed")
@pytest.mark.trio
async def test_status_tells_which_songs_stay_until_somebody_says(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """`status` counts the songs that wait for a word, of an account that lost over a quarter at once and of
    one that is linked no more, and names neither."""
    made = Service(clock=wall)
    for number in range(30):
        made.add_clip("ada@example.com", f"Song {number}")
        made.add_clip("ben@example.com", f"Other {number}")
    async with living(made, tmp_path) as mounted:
        await mounted.names("flowmusic")
        for clip in [clip for clip in made.flow.clips if clip.account == "ada@example.com"][:12]:
            made.flow.clips.remove(clip)
        del made.flow.accounts["ben@example.com"]
        await trio.sleep(3700)
        await mounted.names("flowmusic")
        await trio.sleep(1)  # The refresh behind that look.
        one, other = service_of(innocent(report_on(mounted).status()), "flowmusic")["accounts"]
        assert (one["name"], one["songs"], one["state"]) == ("account 1", 30, "doubted")
        assert one["error"] == "its last listing lacked 12 of them"
        assert (other["name"], other["songs"], other["state"]) == ("not linked", 30, "gone")
        assert one["remedy"] == other["remedy"]
        assert "musicfs forget ACCOUNT" in one["remedy"]


@pytest.mark.trio
async def test_status_shows_what_is_under_way(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Open files and transfers are there while they last, by keys that are no secret."""
    made = Service.demo(wall)
    made.twist(kind="mp3", drip=20_000.0)
    async with living(made, tmp_path) as mounted:
        clip = made.flow.clips[0]
        await mounted.names("library")
        handle = await mounted.files.open((await mounted.find(f"flowmusic/{clip.uuid}.mp3")).inode)
        await mounted.files.read(handle, 60_000, 1000)
        told = innocent(report_on(mounted).status())
        assert told["open_files"] == 1
        (transfer,) = told["transfers"]
        assert transfer["key"] == f"flowmusic:{clip.uuid}:mp3"
        assert transfer["path"].startswith("library/")
        assert transfer["programs"] == ["player0"]
        assert 0 < transfer["done"] < transfer["size"]
        assert 15_000 < transfer["rate"] < 40_000
        assert told["upstream"]["hosts"]["api.useapi.net:443"]["requests"] == 1
        mounted.files.close(handle)


@pytest.mark.expected_log("listing flowmusic")
@pytest.mark.trio
async def test_a_failed_listing_is_told_with_its_remedy(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """`status` and `why` of a folder that cannot be listed say why, and what to do."""
    made = Service.demo(wall)
    made.fail(json_error(401), path="flowmusic")
    async with living(made, tmp_path) as mounted:
        with pytest.raises(MusicfsError):
            await mounted.names("flowmusic")
        report = report_on(mounted)
        assert "401" in service_of(innocent(report.status()), "flowmusic")["error"]
        told = innocent(await report.why("flowmusic"))
        assert "401" in told["failure"]
        assert "token" in told["remedy"]


@pytest.mark.trio
async def test_failures_of_late_are_told(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The last failures that programs were given, of what and how long ago; one that repeats is counted, and
    names that a player probes for are not told."""
    async with living(Service(clock=wall), tmp_path) as mounted:
        failures = Failures()
        failures.note("library/Tide", TooSlow("the service is slow"))
        failures.note("library/none", NoSuchEntry("no such name"))
        report = report_on(mounted, failures)
        await trio.sleep(5)
        (told,) = innocent(report.status())["errors"]
        assert (told["ago"], told["path"], told["error"]) == (5.0, "library/Tide", "the service is slow")
        assert told["remedy"]
        failures.note("library/Other", TooSlow("the service is slow"))
        failures.note("library/Tide", TooSlow("the service is slow"))
        one, two = report.status()["errors"]
        assert (one["path"], two["path"], two["times"], two["ago"]) == (
            "library/Other",
            "library/Tide",
            2,
            0.0,
        )
        for number in range(50):
            failures.note(f"library/{number}", TooSlow("slow"))
        assert len(report.status()["errors"]) == 20


@pytest.mark.expected_log("wav: the token was refused|left out|wav: ")
@pytest.mark.trio
async def test_why_follows_a_file(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Cold, failed, partial, cached: what a file's state is, what failed last, and what to do."""
    made = Service.demo(wall)
    job = next(job for job in made.tempolor.jobs if "stems" in job.assets)
    path = f"tempolor/{job.item}/song.wav"
    async with living(made, tmp_path) as mounted:
        report = report_on(mounted)
        told = innocent(await report.why(path))
        assert (told["state"], told["failure"], told["again"]) == ("cold", None, None)
        assert told["source"] == "comes by a link that TemPolor is asked for when it is opened"
        assert "estimate" in told["detail"]
        fault = made.fail(json_error(402), kind="mint")
        inode = (await mounted.find(path)).inode
        with pytest.raises(MusicfsError):
            await mounted.files.open(inode)
        told = innocent(await report.why(path))
        assert "402" in told["failure"]
        assert told["failed_ago"] == 0.0
        assert told["again"] == "It is tried again when it is next opened"
        assert "subscription" in told["remedy"]
        made.faults.remove(fault)
        await trio.sleep(2)
        handle = await mounted.files.open(inode)
        await mounted.files.read(handle, 0, 1000)
        await trio.testing.wait_all_tasks_blocked()
        mounted.files.close(handle)
        told = innocent(await report.why(path))
        assert told["state"].startswith("partial")
        assert told["failure"] is None
        await mounted.read(path)
        told = innocent(await report.why(path))
        assert told["state"] == "cached"
        assert "exact" in told["detail"]
        assert job.item in told["what"]


@pytest.mark.expected_log("left out")
@pytest.mark.trio
async def test_why_knows_every_kind_of_place(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Folders, stems and names that are not there have their sentences; whatever is asked is answered."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        report = report_on(mounted)
        assert innocent(await report.why(""))["state"] == "not wholly listed yet"
        await mounted.names("library")
        top = innocent(await report.why("library"))
        assert (top["what"], top["state"]) == ("a folder", "known")
        assert top["detail"].startswith(f"{len(made.flow.clips)} songs of Flow Music, asked for 0 s ago; ")
        assert innocent(await report.why("library/Night Drive"))["detail"] == (
            "It holds: mp3 cold, m4a cold, wav cold"
        )
        for form, source in (
            ("mp3", "is made by Flow Music at each"),
            ("wav", "comes from the public bucket"),
        ):
            told = innocent(await report.why(f"library/Night Drive/Night Drive.{form}"))
            assert told["source"].startswith(source)
        stems = innocent(await report.why("library/Northern Choir/stems"))
        assert stems["what"].startswith("a folder of stems of “Northern Choir” (TemPolor ")
        assert stems["state"] == "never listed"
        assert made.counts["mint"] < 1
        clips = innocent(await report.why("library/Night Drive/stems"))
        assert (clips["state"], clips["detail"]) == ("known", "It holds: 4 cold")
        stem = innocent(await report.why("library/Northern Choir/stems/vocals.wav"))
        assert stem["what"].startswith("the stem 'vocals.wav' of “Northern Choir” (TemPolor ")
        assert stem["source"].startswith("is a part of the stems ZIP, which comes")
        for path in (
            "library/Northern Choir/stems/vocals.wav",
            "library/Northern Choir/stems/instruments/bass.wav",
        ):
            await mounted.read(path)
            await trio.testing.wait_all_tasks_blocked()
            told = innocent(await report.why(path))
            assert told["state"] == "cached"
            assert "exact" in told["detail"]
        stems = innocent(await report.why("library/Northern Choir/stems"))
        assert stems["detail"] == "It holds: 1 cached, 1 partial, a folder"
        await mounted.names("library/Untitled/stems")
        stems = innocent(await report.why("library/Untitled/stems"))
        assert stems["detail"] == "The service has no stems of this song"
        for path in ("nothing", "library/none/x", "library/../..", "flowmusic/x.mp3/y", "\udcff", "a" * 5000):
            told = await report.why(path)
            assert told["what"] == "nothing that can be had"
            assert told["remedy"] is not None


@pytest.mark.trio
async def test_asking_costs_nothing(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """`status` and `why` of what was listed fetch nothing and hold nothing."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        await trio.testing.wait_all_tasks_blocked()
        asked = len(made.log)
        report = report_on(mounted)
        for _ in range(5):
            report.status()
            await report.why("library/Night Drive/Night Drive.wav")
        assert len(made.log) == asked
        held = len(mounted.files.register)
        await report.why("library/Night Drive/Night Drive.wav")
        assert len(mounted.files.register) == held


@pytest.mark.trio
async def test_gauges_return_to_zero(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What is in use is counted while a reader waits; each count is zero once all is closed and forgotten."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        report = Desk(mounted, None, lambda: {**mounted.wire.gauges(), **mounted.store.gauges()})
        clip = made.flow.clips[0]
        await mounted.names("flowmusic")
        made.twist(kind="mp3", drip=20_000.0)
        found = await mounted.find(f"flowmusic/{clip.uuid}.mp3")
        handle = await mounted.files.open(found.inode)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mounted.files.read, handle, 30_000, 1000)
            await trio.sleep(0.5)
            busy = report.gauges()
        used = ("files", "inodes", "users", "jobs", "waiters", "requests", "promised", "held")
        assert {name: busy[name] > 0 for name in used} == dict.fromkeys(used, True)
        mounted.files.close(handle)
        await trio.sleep(60)
        for inode in [found.inode, *(folder_inode((name,)) for name in ("flowmusic",))]:
            mounted.files.register.forget(inode, 10)
        assert set(report.gauges().values()) == {0}


@pytest.mark.expected_log("no data came in time|asks for fewer")
@pytest.mark.trio
async def test_why_says_when_it_is_tried_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A host that is down is left alone for so long, one that wants quiet as well, and both are told."""
    made = Service.demo(wall)
    path = "library/Night Drive/Night Drive.wav"
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        inode = (await mounted.find(path)).inode
        made.fail(throttled(300), role=Role.BUCKET, times=1)
        with pytest.raises(MusicfsError):
            await mounted.files.open(inode)
        told = innocent(await report_on(mounted).why(path))
        assert told["again"] == "The service asked for quiet for 300 s more; then the next open tries it"
        await trio.sleep(400)
        made.fail(black_hole(), role=Role.BUCKET)
        with pytest.raises(MusicfsError):
            await mounted.files.open(inode)
        told = innocent(await report_on(mounted).why(path))
        assert told["again"].startswith("Its server is left alone for 15 s more")
        hosts = innocent(report_on(mounted).status())["upstream"]["hosts"]
        assert [host["down_for"] for host in hosts.values() if host["down_for"]] == [15.0]


@pytest.mark.trio
async def test_marks_are_the_same_words(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Extended attributes say what `why` says, leave out what there is nothing to say of, and are asked of
    nobody."""
    made = Service.demo(wall)
    path = "library/Night Drive/Night Drive.mp3"
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        await mounted.read(path)
        await trio.testing.wait_all_tasks_blocked()
        asked = len(made.log)
        node = mounted.files.node((await mounted.find(path)).inode)
        marks = innocent(dict(report_on(mounted).marks(node)))
        told = await report_on(mounted).why(path)
        assert marks["user.musicfs.state"] == told["state"] == "cached"
        assert marks["user.musicfs.size"] == told["detail"]
        assert marks["user.musicfs.source"] == told["source"]
        assert not {"user.musicfs.failure", "user.musicfs.pinned"} & marks.keys()
        assert report_on(mounted).marks(mounted.files.node(1))["user.musicfs.state"] == "known"
        assert len(made.log) == asked


@pytest.mark.trio
async def test_refusals_are_told_by_program(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """`status` says which indexer was refused how often; `why` says who was refused a file, when, and what to
    do, until it is in the cache."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        mounted.programs.scanners.add(7)
        inode = (await mounted.find("library/Night Drive/Night Drive.mp3")).inode
        for _ in range(3):
            with pytest.raises(MusicfsError):
                await mounted.files.open(inode, 7)
        report = report_on(mounted)
        told = innocent(report.status())
        assert (told["refused"], told["scanners_refused"]) == ({"indexer7": 3}, 3)
        await trio.sleep(5)
        path = "library/Night Drive/Night Drive.mp3"
        told = innocent(await report.why(path))
        assert told["failure"] == (
            "indexer7 was refused it, because indexers are served what is in the cache only"
        )
        assert (told["failed_ago"], told["state"]) == (5.0, "cold")
        assert "`scanners`" in told["remedy"]
        await mounted.read(path)
        await trio.testing.wait_all_tasks_blocked()
        assert (await report.why(path))["failure"] is None
