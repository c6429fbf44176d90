"""`rsync -a --delete` of each folder, day after day: an ill service costs the copy nothing, a song that its
owner deleted leaves, and names, inodes and times are a song's own for ever.

How it thinks: one mount whose listing is old after 0.15 s, and one copy of all three folders; a song may
leave after 0.25 s. An illness lasts three times as long, is looked at all the while, and is then copied from.
What needs no kernel is in tests/catalog/test_deletions.py."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from musicfs.demo import Clip, Job, Request, Response, Service, wav_of_size, zip_of
from musicfs.demo.faults import Answer, black_hole, dropped, garbage, html, json_error
from tests.mounted.mounting import PLAYLISTS, Mount, done, mounted, until

ADA, BEN = "ada@example.com", "ben+music@example.org"
FOLDERS = ("flowmusic", "tempolor", "library")
TTL, FORGET = 0.15, 0.25  # seconds: a listing's age, and from the first pass that lacks a song to its leaving
ILL = 3 * FORGET  # seconds an illness lasts: several passes, far enough apart for whatever is believed


class Stage:
    """A mount, its services, and a copy of its folders."""

    def __init__(self, mount: Mount, service: Service, copy: Path) -> None:
        self.mount, self.service, self.copy = mount, service, copy
        copy.mkdir()

    def rsync(self) -> None:
        """Bring the copy up to date, as a user's timer would: songs that are not in a folder go."""
        for folder in FOLDERS:
            done(["rsync", "-a", "--delete", f"{self.mount.path}/{folder}/", f"{self.copy}/{folder}/"])

    def copied(self) -> dict[str, tuple[int, int]]:
        """Give the size and the time of every file of the copy, by path."""
        found = {}
        for path in self.copy.rglob("*"):
            if path.is_file():
                told = path.stat()
                found[str(path.relative_to(self.copy))] = told.st_size, told.st_mtime_ns
        return found

    def names(self) -> list[set[str]]:
        """List the three folders."""
        return [self.mount.listed(folder) for folder in FOLDERS]

    def pass_over(self) -> None:
        """Wait for four listings of both accounts of each service from now on."""
        self.service.reset_counts()
        until(lambda: self.names() and self._lists("flowmusic") >= 8 and self._lists("tempolor") >= 16)

    def _lists(self, service: str) -> int:
        return sum(one.kind == "list" and service in one.path for one in list(self.service.log))

    def named(self, name: str, below: str = "library") -> bool:
        """Say whether a folder lists a name."""
        return name in self.mount.listed(below)

    def remove(self, clip: Clip, job: Job) -> None:
        """Delete two songs, as their owner would."""
        self.service.flow.clips.remove(clip)
        self.service.tempolor.jobs.remove(job)

    def heal(self) -> None:
        """Make the services well again."""
        self.service.clear()
        self.service.flow.add_account(ADA), self.service.flow.add_account(BEN)
        self.service.tempolor.add_account("100"), self.service.tempolor.add_account("200")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount and copy a library of short songs."""
    service, home = Service(clock=time.time), tmp_path_factory.mktemp("deletions")
    for number in range(24):
        service.add_clip(ADA, f"Song {number}", 0.2)
    for number in range(3):
        service.add_clip(BEN, f"Song {number}", 0.2)
        service.add_job("200", f"Choir {number}", 0.2, kind="instrumental")
    for number in range(12):
        stems = zip_of({"bass.wav": b"RIFF" + bytes(500)}) if number % 2 else None
        service.add_job("100", f"Job {number}", 0.2, wav=wav_of_size(3000, number), stems=stems)
    # After a restart rsync asks anew which `stems/` have none; a busy machine took over 0.4 of 4 s for one.
    with mounted(service, home, listing_ttl=TTL, forget_after=FORGET, deadline=20) as mount:
        stage = Stage(mount, service, home / "copy")
        stage.rsync()
        yield stage


# Illnesses -------------------------------------------------------------------------------------------------


def _answers(answer: Answer, kind: str, service: Service) -> None:
    service.fail(answer, kind=kind)


def _empty(service: Service) -> None:
    service.knobs.empty_lists = True


def _lost(service: Service) -> None:
    del service.flow.accounts[ADA], service.tempolor.accounts["100"]
    service.fail(json_error(404), kind="record")


def _all_lost(service: Service) -> None:
    service.flow.accounts.clear()
    service.tempolor.accounts.clear()


def _broken(service: Service) -> None:
    service.flow.break_account(ADA)
    service.tempolor.break_account("100")


def _half(service: Service) -> None:
    clips = [clip for number, clip in enumerate(service.flow.clips) if number % 2 or clip.account == BEN]
    jobs = service.tempolor.jobs[::2]
    service.fail(partial(_as_if, service, clips, jobs), kind="list")


def _as_if(service: Service, clips: list[Clip], jobs: list[Job], request: Request) -> Response:
    """Answer as if the service had only these."""
    kept = service.flow.clips, service.tempolor.jobs, service.faults
    service.flow.clips, service.tempolor.jobs, service.faults = clips, jobs, []
    try:
        return service.answer(request)
    finally:
        service.flow.clips, service.tempolor.jobs, service.faults = kept


ILLNESSES: dict[str, Callable[[Service], None]] = {
    "empty lists": _empty,
    "an account lost": _lost,
    "all accounts lost": _all_lost,
    "596": _broken,
    "half a list": _half,
    "500": partial(_answers, json_error(500), "list"),
    "522 of accounts": partial(_answers, html(522), "accounts"),
    "404": partial(_answers, json_error(404), "list"),
    "html": partial(_answers, html(200), "list"),
    "garbage": partial(_answers, garbage(), "list"),
    "dropped": partial(_answers, dropped(), "list"),
    "timeouts": partial(_answers, black_hole(), "list"),
}


@pytest.mark.parametrize("illness", ILLNESSES)
def test_illness(illness: str, stage: Stage) -> None:
    """While a service is ill every folder lists what it listed, and `rsync -a --delete` of each takes
    nothing from the copy; nor does a restart in the middle."""
    before, names = stage.copied(), stage.names()
    assert len(before) > 100
    stage.mount.expect("listing ")
    ILLNESSES[illness](stage.service)
    end = time.monotonic() + ILL
    while time.monotonic() < end:
        assert stage.names() == names
        time.sleep(0.05)  # The illness has to last, on the mount's own clock.
    stage.rsync()
    assert stage.copied() == before
    if illness in ("empty lists", "timeouts"):
        stage.mount.restart()
        assert stage.names() == names
        stage.rsync()
        assert stage.copied() == before
    stage.heal()
    if illness == "timeouts":
        # The host is left alone for 15 s after them; a mount that starts anew asks at once.
        stage.mount.restart()
    assert stage.names() == names


def test_copy_again_is_silent(stage: Stage) -> None:
    """After all that, the folders are what was copied: `rsync -ai --delete` prints nothing."""
    stage.mount.expect("listing ")
    for folder in FOLDERS:
        words = ["rsync", "-ai", "--delete", f"{stage.mount.path}/{folder}/", f"{stage.copy}/{folder}/"]
        assert done(words) == ""


# Deletions ------------------------------------------------------------------------------------------------


def test_deletion(stage: Stage) -> None:
    """Songs that their owner deleted leave both folders and `library/`, and with them the copy; their
    neighbours stay."""
    clip = stage.service.add_clip(ADA, "Leaving clip", 0.2)
    job = stage.service.add_job("100", "Leaving job", 0.2, wav=wav_of_size(3000, "leaving"))
    until(lambda: stage.named("Leaving clip") and stage.named("Leaving job"))
    stage.rsync()
    before = set(stage.copied())
    stage.remove(clip, job)
    until(lambda: not stage.named("Leaving clip") and not stage.named("Leaving job"))
    assert not stage.named(f"{clip.uuid}.mp3", "flowmusic")
    assert not stage.named(job.item, "tempolor")
    # The kernel knew these names, and was to keep them for minutes; it is told in a moment.
    paths = (f"flowmusic/{clip.uuid}.mp3", f"tempolor/{job.item}", "library/Leaving clip")
    until(lambda: not any((stage.mount.path / path).exists() for path in paths))
    stage.rsync()
    gone = before - set(stage.copied())
    mine = {path for path in before if clip.uuid in path or job.item in path or "Leaving" in path}
    assert gone == mine
    assert len(gone) >= 5


def test_record_refused_twice(stage: Stage) -> None:
    """A TemPolor song that its list omits stays while its record answers, and leaves when that has said
    404 twice."""
    job = stage.service.add_job("200", "Between", 0.2, kind="instrumental")
    until(lambda: stage.named(job.item, "tempolor"))
    omitted = partial(_as_if, stage.service, stage.service.flow.clips, stage.service.tempolor.jobs[:-1])
    stage.service.fail(omitted, kind="list")
    stage.pass_over()
    assert stage.named(job.item, "tempolor")
    assert stage.named("Between")
    stage.service.fail(json_error(404), kind="record", path=job.item)
    until(lambda: not stage.named(job.item, "tempolor"))
    assert stage.service.counts["record"] >= 2
    assert not stage.named("Between")
    stage.service.clear()
    until(lambda: stage.named(job.item, "tempolor"))


def test_vanished_and_back(stage: Stage) -> None:
    """A song that left and comes back, also over a restart, has its name, inode and time again, and can be
    read at once; the name was not given to its namesake meanwhile."""
    clip, job = stage.service.flow.clips[5], stage.service.tempolor.jobs[5]
    name = clip.title or ""
    paths = [f"flowmusic/{clip.uuid}.mp3", f"tempolor/{job.item}/song.wav", f"library/{name}/{name}.mp3"]
    before = [_identity(stage.mount.path / path) for path in paths]
    for restart in (False, True):
        stage.remove(clip, job)
        until(lambda: not stage.named(name) and not stage.named(job.item, "tempolor"))
        until(lambda: not any((stage.mount.path / path).exists() for path in paths))
        namesake = stage.service.add_clip(BEN, name, 0.2)
        until(partial(stage.named, f"{name} [{namesake.uuid[:6]}]"))
        if restart:
            stage.mount.restart()
            assert not stage.named(name)
        stage.service.flow.clips.insert(5, clip)
        stage.service.tempolor.jobs.insert(5, job)
        until(lambda: stage.named(name) and stage.named(job.item, "tempolor"))
        # The kernel knew that there are no such names; it is told otherwise in a moment.
        until(lambda: all((stage.mount.path / path).exists() for path in paths))
        assert [_identity(stage.mount.path / path) for path in paths] == before
        assert (stage.mount.path / paths[1]).read_bytes() == job.assets["wav"].read(0, 1 << 20)


def test_a_listing_begun_before_it_left(stage: Stage) -> None:
    """A song that leaves between the opening of a folder and its listing is shown by that listing, and can
    not be had by its name afterwards: the listing does not bring the name back into the kernel."""
    clip, job = stage.service.flow.clips[7], stage.service.tempolor.jobs[7]
    name = clip.title or ""
    paths = [stage.mount.path / folder for folder in FOLDERS]
    with contextlib.ExitStack() as stack:
        begun = [stack.enter_context(os.scandir(path)) for path in paths]
        stage.remove(clip, job)
        until(lambda: not stage.named(name) and not stage.named(job.item, "tempolor"))
        shown = [{entry.name for entry in listing} for listing in begun]
    left = [f"{clip.uuid}.mp3", job.item, name]
    assert all(one in listing for one, listing in zip(left, shown, strict=True))
    until(lambda: not any((path / one).exists() for path, one in zip(paths, left, strict=True)))
    stage.service.flow.clips.insert(7, clip)
    stage.service.tempolor.jobs.insert(7, job)
    until(lambda: stage.named(name) and stage.named(job.item, "tempolor"))


def _identity(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_ino, told.st_mtime_ns


def test_edited_title(stage: Stage) -> None:
    """A title edited upstream renames nothing, and nobody else gets the name that the song keeps."""
    clip = stage.service.add_clip(BEN, "First title", 0.2)
    until(lambda: stage.named("First title"))
    clip.title = "Second title"
    other = stage.service.add_clip(BEN, "First title", 0.2)
    until(lambda: stage.named(f"First title [{other.uuid[:6]}]"))
    stage.mount.restart()
    assert stage.named("First title")
    assert not stage.named("Second title")
    assert _identity(stage.mount.path / f"flowmusic/{clip.uuid}.mp3") == _identity(
        stage.mount.path / "library/First title/First title.mp3"
    )


# Before the first listing -----------------------------------------------------------------------------------


FIRST: dict[str, tuple[Callable[[Service], None], set[int]]] = {
    "500": (partial(_answers, json_error(500), "list"), {errno.EIO, errno.ETIMEDOUT}),
    "html": (partial(_answers, html(200), "list"), {errno.EIO}),
    "401": (partial(_answers, json_error(401), "accounts"), {errno.EACCES}),
    "596": (_broken, {errno.EACCES}),
}


@pytest.mark.parametrize("illness", FIRST)
def test_first_listing_fails(illness: str, service: Service, tmp_path: Path) -> None:
    """Before anything was ever listed a failing listing is an error in all three folders, never an empty
    one, and `rsync --delete` takes nothing from a copy of earlier days."""
    clip, job = service.add_clip(ADA, "Song", 0.2), service.add_job("100", "Job", 0.2)
    old = {"flowmusic": f"{clip.uuid}.mp3", "tempolor": job.item, "library": "Song"}
    for folder, name in old.items():
        (tmp_path / "copy" / folder).mkdir(parents=True)
        (tmp_path / "copy" / folder / name).write_bytes(b"a copy of earlier days")
    make, allowed = FIRST[illness]
    make(service)
    # A second is for what may time out; whatever has an answer of its own gets the time that it takes.
    deadline = 1 if errno.ETIMEDOUT in allowed else 10
    with mounted(service, tmp_path, listing_ttl=TTL, forget_after=FORGET, deadline=deadline) as mount:
        mount.expect("listing ")
        copies = [
            subprocess.Popen(
                ["rsync", "-a", "--delete", f"{mount.path}/{folder}/", f"{tmp_path}/copy/{folder}/"],
                stderr=subprocess.PIPE,
            )
            for folder in FOLDERS
        ]
        assert all(copy.communicate(timeout=20) and copy.returncode for copy in copies)
        for folder, name in old.items():
            with pytest.raises(OSError) as caught:
                os.listdir(mount.path / folder)
            assert caught.value.errno in allowed
            assert os.listdir(tmp_path / "copy" / folder) == [name]
        service.clear()
        service.flow.add_account(ADA), service.tempolor.add_account("100")
        mount.surroundings["MUSICFS_DEADLINE"] = "20"  # That was for the ill.
        mount.restart()
        assert {folder: mount.listed(folder) for folder in old} == {
            folder: {name, *({"Job"} | PLAYLISTS if folder == "library" else ())}
            for folder, name in old.items()
        }


# Pages that shift -------------------------------------------------------------------------------------------


def test_shifting_pages(service: Service, tmp_path: Path) -> None:
    """Clips and jobs that come and go between the pages of the first listing, and of one after a restart,
    cost no song that was there all the time, and show none twice; in the end the folders are exact."""
    service.knobs.tempolor_page = 20
    for number in range(230):
        service.add_clip(ADA, f"Clip {number}", 0.2)
    for number in range(70):
        service.add_job("100", f"Job {number}", 0.2)
    edits: list[str] = []
    service.knobs.between_pages = lambda: _edit(service, edits.pop(0)) if edits else None
    with mounted(service, tmp_path, listing_ttl=TTL, forget_after=FORGET) as mount:
        for wave in (["add", "old", "new"], ["new", "old", "add", "middle"]):
            there = _whole(service)
            edits += wave
            for folder in ("flowmusic", "tempolor"):
                found = os.listdir(mount.path / folder)
                assert len(found) == len(set(found))
                assert there & _whole(service) & _of(folder, service) <= set(found)
            until(partial(_is_spent, edits, mount))
            _restart_an_hour_later(mount)
        # A clip that went after its pass had read its page leaves after two more complete ones: one a start.
        until(partial(_is_read, service, len(service.log), mount))
        time.sleep(FORGET)
        _restart_an_hour_later(mount)
        for folder in ("flowmusic", "tempolor"):
            until(partial(_is_exact, mount, service, folder))
        assert len(mount.songs()) == len(_whole(service))


def _restart_an_hour_later(mount: Mount) -> None:
    """Restart, with a complete pass due at once: a start within the hour would make none."""
    assert mount.stop() == 0
    (state,) = (mount.home / "state").rglob("state.db")
    with contextlib.closing(sqlite3.connect(state)) as base, base:
        base.execute("DELETE FROM marks WHERE name LIKE 'passed:%'")
    mount.start()


def _edit(service: Service, kind: str) -> None:
    for things, add in (
        (service.flow.clips, lambda: service.add_clip(ADA, "New clip", 0.2)),
        (service.tempolor.jobs, lambda: service.add_job("100", "New job", 0.2)),
    ):
        if kind == "add":
            add()
        else:
            things.pop({"old": 0, "new": len(things) - 1, "middle": len(things) // 2}[kind])


def _is_spent(edits: list[str], mount: Mount) -> bool:
    return bool(mount.listed("flowmusic") and mount.listed("tempolor")) and not edits


def _is_read(service: Service, since: int, mount: Mount) -> bool:
    """Tell whether Flow Music's three pages were asked for, and what they said was taken in."""
    pages = [one for one in service.log[since:] if one.path == "/v1/flowmusic/music"]
    return bool(mount.listed("flowmusic")) and len(pages) > 3  # the fourth is of the next refresh


def _is_exact(mount: Mount, service: Service, folder: str) -> bool:
    return mount.listed(folder) == _of(folder, service)


def _of(folder: str, service: Service) -> set[str]:
    if folder == "flowmusic":
        return {f"{clip.uuid}.mp3" for clip in service.flow.clips}
    return {job.item for job in service.tempolor.jobs}


def _whole(service: Service) -> set[str]:
    return _of("flowmusic", service) | _of("tempolor", service)
