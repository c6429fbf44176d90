"""What `status` and `why` tell: counted, described, and never an address, a token or a link."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from musicfs.core.tree import folder_inode
from musicfs.demo import Service
from musicfs.demo.faults import json_error
from musicfs.errors import MusicfsError
from musicfs.report import Report
from tests.world import LOOSE_ENDS, Mounted, living, wall

pytestmark = LOOSE_ENDS

SECRETS = ("@", "example.com", "auth_key", "100200300", "Bearer", "demo-abcdefghij")


def report_on(mounted: Mounted, errors: deque[tuple[float, str, str]] | None = None) -> Report:
    """Make the report of a house."""
    place = Path("/mnt/music")
    return Report(mounted.files, mounted.wire.tally, mounted.store.snapshot, place, errors or deque())


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
        assert told["upstream"] == {"kinds": {}, "bytes": 0}
        flow = service_of(told, "flowmusic")
        assert (flow["songs"], flow["complete"], flow["listed_ago"]) == (0, False, None)
        assert made.log == []


@pytest.mark.expected_log("one account is in an error state")
@pytest.mark.trio
async def test_status_counts_and_names_no_account(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Accounts are numbered, their songs counted, a broken one described; what was asked is tallied."""
    made = Service.demo(wall)
    async with living(made, tmp_path) as mounted:
        report = report_on(mounted)
        await mounted.names("library")
        await mounted.read(f"flowmusic/{made.flow.clips[0].uuid}.mp3")
        made.flow.break_account("ben+music@example.org", "ben+music@example.org: token rejected")
        await trio.sleep(3700)
        await mounted.names("library")
        await trio.testing.wait_all_tasks_blocked()
        told = innocent(report.status())
        flow = service_of(told, "flowmusic")
        assert [(one["name"], one["state"]) for one in flow["accounts"]] == [
            ("account 1", "ok"),
            ("account 2", "broken"),
        ]
        assert sum(one["songs"] for one in flow["accounts"]) == flow["songs"] == len(made.flow.clips)
        assert flow["complete"]
        assert told["upstream"]["kinds"]["mp3"] == 1
        assert told["upstream"]["bytes"] == made.flow.clips[0].assets["mp3"].size
        assert told["cache"]["objects"] == 1
        assert told["uptime"] >= 3700


@pytest.mark.trio
async def test_status_shows_what_is_under_way(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Open files and transfers are there while they last, by keys that are no secret."""
    made = Service.demo(wall)
    made.twist(kind="mp3", drip=20_000.0)
    async with living(made, tmp_path) as mounted:
        clip = made.flow.clips[0]
        handle = await mounted.files.open((await mounted.find(f"flowmusic/{clip.uuid}.mp3")).inode)
        await mounted.files.read(handle, 0, 1000)
        told = innocent(report_on(mounted).status())
        assert told["open_files"] == 1
        (transfer,) = told["transfers"]
        assert transfer["key"] == f"flowmusic:{clip.uuid}:mp3"
        assert 0 < transfer["done"] < transfer["size"]
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
    """The last failures the kernel was given, and how long ago."""
    async with living(Service(clock=wall), tmp_path) as mounted:
        errors = deque([(trio.current_time(), "open", "the service is slow")])
        report = report_on(mounted, errors)
        await trio.sleep(5)
        (told,) = innocent(report.status())["errors"]
        assert (told["ago"], told["error"]) == (5.0, "the service is slow")


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
        assert (told["state"], told["failure"]) == ("cold", None)
        assert "estimate" in told["detail"]
        fault = made.fail(json_error(402), kind="mint")
        inode = (await mounted.find(path)).inode
        with pytest.raises(MusicfsError):
            await mounted.files.open(inode)
        told = innocent(await report.why(path))
        assert "402" in told["failure"]
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
        assert innocent(await report.why(""))["what"] == "a folder"
        assert innocent(await report.why("library/Night Drive"))["state"] == "known"
        stem = innocent(await report.why("library/Northern Choir/stems/vocals.wav"))
        assert "a stem of tempolor" in stem["what"]
        for path in (
            "library/Northern Choir/stems/vocals.wav",
            "library/Northern Choir/stems/instruments/bass.wav",
        ):
            await mounted.read(path)
            await trio.testing.wait_all_tasks_blocked()
            told = innocent(await report.why(path))
            assert told["state"] == "cached"
            assert "exact" in told["detail"]
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
        report = Report(
            mounted.files,
            mounted.wire.tally,
            mounted.store.snapshot,
            Path("/mnt"),
            deque(),
            lambda: {**mounted.wire.gauges(), **mounted.store.gauges()},
        )
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
