"""A listing that changes under the mount, fails, shrinks or shifts: what was known stays, the new comes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from musicfs.demo import Service
from musicfs.demo.faults import garbage, html, json_error
from tests.mounted.mounting import (
    Mount,
    digest,
    done,
    mounted,
    sha256,
    until,
)
from tests.mounted.picture import photograph, stock


@pytest.fixture
def lively(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount a service whose listing is fresh for a second."""
    stock(service)
    with mounted(service, tmp_path, listing_ttl=1, forget_after=1, deadline=5) as mount:
        yield mount.list_all()


def refreshed(service: Service, mount: Mount, times: int = 2) -> None:
    """Look into the folders until both services' lists were asked again so often."""
    for path in ("flowmusic/music", "tempolor/music"):
        until(partial(_asked_again, service, mount, path, times))


def _asked_again(service: Service, mount: Mount, path: str, times: int) -> bool:
    return _looks(service, mount, path) >= times


def _looks(service: Service, mount: Mount, path: str) -> int:
    for folder in ("flowmusic", "tempolor", "library"):
        mount.listed(folder)
    return sum(record.kind == "list" and path in record.path for record in service.log)


def test_new_clip(lively: Mount, service: Service) -> None:
    """A new clip appears within the listing's TTL plus one refresh, in flowmusic/ and in library/, and
    plays."""
    clip, job = service.add_clip("ada@example.com", "Brand new"), service.add_job("100", "New too")
    until(lambda: f"{clip.uuid}.mp3" in lively.listed("flowmusic"), 10)
    until(lambda: job.item in lively.listed("tempolor"), 10)
    until(lambda: {"Brand new", "New too"} <= lively.listed("library"), 10)
    assert sha256(lively.path / "flowmusic" / f"{clip.uuid}.mp3") == digest(clip.assets["mp3"])


def test_looking_does_not_wait(lively: Mount, service: Service) -> None:
    """`ls` of a known folder does not wait for the network: a stale listing is served and refreshed
    behind."""
    service.twist(kind="list", first_byte=30.0)
    time.sleep(1.1)  # The listing has to grow old for real.
    began = time.monotonic()
    assert len(lively.listed("flowmusic")) == 2
    assert len(lively.listed("tempolor")) == 2
    assert time.monotonic() - began < 4.0  # who waits for the network does so for the deadline, which is 5 s
    service.clear()


def test_folders_time(service: Service, tmp_path: Path) -> None:
    """A folder's time is not moved by its first listing, so that a second `rsync -a` has nothing to set; it
    moves with its names, though the kernel asked for it a moment before."""
    stock(service)
    with mounted(service, tmp_path, listing_ttl=1) as mount:
        folders = [mount.path / name for name in ("flowmusic", "tempolor", "library")]
        before = [folder.stat().st_mtime_ns for folder in folders]
        names = [os.listdir(folder) for folder in folders]
        assert all(names)
        assert [folder.stat().st_mtime_ns for folder in folders] == before
        service.add_clip("ada@example.com", "Brand new"), service.add_job("100", "New too")

        def renewed(folder: Path, was: int, known: list[str]) -> bool:
            folder.stat()
            if set(os.listdir(folder)) == set(known):
                return False
            # A name may be seen while it is being written down; the time moves when it is.
            until(lambda: folder.stat().st_mtime_ns > was)
            return True

        for folder, was, known in zip(folders, before, names, strict=True):
            until(partial(renewed, folder, was, known))


FAULTS = {
    "401": json_error(401),
    "404": json_error(404),
    "500": html(500),
    "596": json_error(596),
    "JSON": garbage(),
    "no lists": json_error(400, "Parameter limit must be between 1 and 100"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_error_removes_nothing(what: str, lively: Mount, service: Service) -> None:
    """An error in a listing removes nothing, however often it comes back."""
    before = photograph(lively)
    lively.expect("listing (flowmusic|tempolor)")
    service.reset_counts()
    service.fail(FAULTS[what], kind="list")
    refreshed(service, lively)
    assert photograph(lively) == before
    service.clear()
    service.reset_counts()
    refreshed(service, lively, 1)
    assert photograph(lively) == before


def test_accounts_error_removes_nothing(lively: Mount, service: Service) -> None:
    """An error, or an empty answer, where the accounts are asked removes nothing."""
    before = photograph(lively)
    lively.expect("listing (flowmusic|tempolor)", "account")
    service.reset_counts()
    service.fail(html(502), kind="accounts")
    until(lambda: _looks(service, lively, "tempolor") >= 0 and service.counts["accounts"] >= 2)
    service.clear()
    service.flow.accounts.clear()
    service.tempolor.accounts.clear()
    service.reset_counts()
    until(lambda: _looks(service, lively, "tempolor") >= 0 and service.counts["accounts"] >= 2)
    assert photograph(lively) == before


def test_empty_lists_remove_little(service: Service, tmp_path: Path) -> None:
    """A pass that would lose a large library at once changes nothing."""
    for number in range(15):
        service.add_clip("ada@example.com", f"Song {number}")
        service.add_job("100", f"Job {number}")
    with mounted(service, tmp_path, listing_ttl=1, forget_after=1) as mount:
        mount.expect("listing (flowmusic|tempolor)")
        before = mount.listed("flowmusic"), mount.listed("tempolor")
        service.knobs.empty_lists = True
        service.reset_counts()
        refreshed(service, mount, 4)
        assert (mount.listed("flowmusic"), mount.listed("tempolor")) == before


def test_two_accounts_on_each(service: Service, tmp_path: Path) -> None:
    """Two accounts on each service are listed whole: every page, both types, each song once."""
    for account, many in (("ada@example.com", 230), ("ben+music@example.org", 101)):
        for number in range(many):
            service.add_clip(account, f"Song {number}")
    for account, many in (("100", 45), ("200", 21)):
        for number in range(many):
            service.add_job(account, f"Job {number}", kind="song" if number % 3 else "instrumental")
    with mounted(service, tmp_path) as mount:
        clips = done(["ls", "-U", mount.path / "flowmusic"]).split()
        jobs = done(["ls", "-U", mount.path / "tempolor"]).split()
        assert sorted(clips) == sorted(f"{clip.uuid}.mp3" for clip in service.flow.clips)
        assert sorted(jobs) == sorted(job.item for job in service.tempolor.jobs)
        assert len(mount.songs()) == 331 + 66


def test_broken_account_hides_nothing(service: Service, tmp_path: Path) -> None:
    """An account that answers 596, or that GET /accounts calls broken, hides nothing of the others; its known
    songs stay, and it is listed when it is mended."""
    stock(service)
    for email in ("ben@example.org", "cy@example.net"):
        service.add_clip(email, f"Of {email[:3]}")
    service.add_job("200", "Of the second")
    service.flow.accounts["ben@example.org"].broken = True
    service.flow.accounts["cy@example.net"].error = "refresh token rejected"
    service.tempolor.break_account("200")
    with mounted(service, tmp_path, listing_ttl=1) as mount:
        mount.expect("account")
        assert mount.listed("flowmusic") == {f"{clip.uuid}.mp3" for clip in service.flow.clips[:2]}
        assert mount.listed("tempolor") == {job.item for job in service.tempolor.jobs[:2]}
        for email in service.flow.accounts:
            service.flow.add_account(email)
        service.tempolor.add_account("200")
        mount.expect("account")
        until(lambda: len(mount.listed("tempolor")) == 3)


def test_list_that_shifts(service: Service, tmp_path: Path) -> None:
    """A clip that is added between two pages hides no other."""
    for number in range(150):
        service.add_clip("ada@example.com", f"Song {number}")
    shifts = iter(range(3))

    def shift() -> None:
        if next(shifts, None) is not None:
            service.add_clip("ada@example.com", "Meanwhile")

    service.knobs.between_pages = shift
    with mounted(service, tmp_path) as mount:
        shown = mount.listed("flowmusic")
    assert {f"{clip.uuid}.mp3" for clip in service.flow.clips[:150]} <= shown
