"""Each row of DESIGN's "Errors → errno", seen by a real program through a real mount.

How it thinks: every test takes songs that nobody has touched, makes the service fail for them, and
looks twice: with `cat`, as a user would, and with one system call, to know that it is `open` that fails
and with what. After each the fault is cleared, and the same file has to be exact."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo import Cut, Framing, Role, Service, wav_of_size
from musicfs.demo.faults import (
    body,
    denied_link,
    dropped,
    garbage,
    html,
    json_error,
    throttled,
    xml_error,
)
from tests.mounted.failing import STRANGER, Stage, catting, fails, fill, heals, opening
from tests.mounted.mounting import digest, done, mounted, run, sha256, until


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount it once for all faults that concern one song."""
    service = fill(Service(clock=time.time))
    service.add_clip("ben@example.org", "Of another account")
    with mounted(service, tmp_path_factory.mktemp("errno"), deadline=4, listing_ttl=3600) as mount:
        yield Stage(mount.list_all(), service)


@pytest.fixture(autouse=True)
def _healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave the shared service healthy, whatever a test made of it."""
    yield
    if "stage" in request.fixturenames:
        request.getfixturevalue("stage").service.clear()


# The API ------------------------------------------------------------------------------------------------

API = {
    "401": (json_error(401), "EACCES"),
    "402": (json_error(402), "EACCES"),
    "403": (json_error(403), "EACCES"),
    "596": (json_error(596, "Account ada@example.com in error state"), "EACCES"),
    "404": (json_error(404), "EIO"),
    "410": (json_error(410), "EIO"),
    "409": (json_error(409), "EBUSY"),
    "429": (throttled(), "EBUSY"),
    "418": (json_error(418), "EIO"),
    "500": (json_error(500), "EIO"),
    "502": (html(502), "EIO"),
    "503": (html(503), "EIO"),
    "524": (html(524), "EIO"),
    "html": (html(200), "EIO"),
    "reset": (dropped(), "EIO"),
    "closed": (dropped(clean=True), "EIO"),
}


MINT = {key: value for key, value in API.items() if key not in ("410", "409")} | {
    "not completed": (json_error(400, "Generation is not completed yet (0)"), "EBUSY"),
    "400": (json_error(400, "Parameter job_id is not valid"), "EIO"),
    "bad JSON": (garbage(), "EIO"),
    "null url": (body(b'{"url":null,"remainSeconds":0}'), "EIO"),
    "no URL": (body(b'{"url":"::::","remainSeconds":0}'), "EIO"),
    "no https": (body(b'{"url":"ftp://example.com/a.wav","remainSeconds":0}'), "EIO"),
    "private": (body(b'{"url":"https://10.1.2.3/a.wav","remainSeconds":0}'), "EIO"),
}


def test_fresh_404(stage: Stage) -> None:
    """A record COMPLETED under 120 s ago whose link answers 404 is not ready yet: EBUSY, not gone."""
    job = stage.service.add_job("100", "Fresh", 4.0, created=time.time() - 60, updated=time.time() - 5)
    folder = stage.mount.path / "tempolor" / stage.service.tempolor.handle(job)
    stage.service.knobs.not_ready = 100.0
    fails(folder / "song.wav", "EBUSY")
    heals(stage, folder / "song.wav", digest(job.assets["wav"]))


# The byte servers ---------------------------------------------------------------------------------------

CDN = {
    "403": (denied_link(), "EACCES"),
    "401": (html(401), "EACCES"),
    "404": (xml_error(404, "NoSuchKey"), "EIO"),
    "410": (xml_error(410, "Gone"), "EIO"),
    "418": (html(418), "EIO"),
    "429": (throttled(), "EBUSY"),
    "500": (xml_error(500, "InternalError"), "EIO"),
    "html": (html(200), "EIO"),
    "reset": (dropped(), "EIO"),
}


@pytest.fixture(scope="module")
def table(stage: Stage) -> dict[str, tuple[str, str, str]]:
    """Try every row of the three tables, each on a song of its own and side by side, because most of
    the time is spent in waiting for the next try: what `cat` said, what `open` said, and what became of
    it afterwards."""
    service, trials = stage.service, dict[str, tuple[Path, str]]()
    for what, (answer, _) in API.items():
        clip = stage.clip()
        service.fail(answer, kind="mp3", path=clip.uuid)
        trials[f"mp3 {what}"] = stage.mp3(clip), digest(clip.assets["mp3"])
    for place, rows in (("mint", MINT), ("CDN", CDN)):
        for what, (answer, _) in rows.items():
            job = stage.job()
            meant: dict[str, Any] = {"kind": "mint"} if place == "mint" else {"role": Role.CDN}
            service.fail(answer, path=job.item, **meant)
            trials[f"{place} {what}"] = stage.wav(job), digest(job.assets["wav"])
    paths, wanted = zip(*trials.values(), strict=True)
    with ThreadPoolExecutor(12) as pool:
        seen = list(pool.map(lambda path: (catting(path), opening(path)), paths))
        service.clear()
        healed = list(pool.map(_healed, paths, wanted))
    assert stage.mount.running
    return {name: (*two, after) for name, two, after in zip(trials, seen, healed, strict=True)}


def _healed(path: Path, wanted: str) -> str:
    until(lambda: catting(path) == "")
    return "exact" if sha256(path) == wanted else "other bytes"


@pytest.mark.parametrize("what", API)
def test_mp3(what: str, table: dict[str, tuple[str, str, str]]) -> None:
    """A listed mp3 whose download is refused has the table's errno at open: 401 402 403 596 are EACCES; 404
    and 410 are EIO; 409 and 429 are EBUSY; other 4xx, 5xx, HTML and broken connections are EIO."""
    name = API[what][1]
    assert table[f"mp3 {what}"] == (name, name, "exact")


@pytest.mark.parametrize("what", MINT)
def test_link(what: str, table: dict[str, tuple[str, str, str]]) -> None:
    """A listed wav whose link is refused, or no link, has the table's errno at open: 400 "not completed" is
    EBUSY, bad JSON and links that lead nowhere allowed are EIO, the rest as for an mp3."""
    name = MINT[what][1]
    assert table[f"mint {what}"] == (name, name, "exact")


@pytest.mark.parametrize("what", CDN)
def test_byte_server(what: str, table: dict[str, tuple[str, str, str]]) -> None:
    """A link refused right after its new mint is EACCES; bytes that are not there, 5xx, other 4xx, HTML and a
    broken connection are EIO; 429 is EBUSY."""
    name = CDN[what][1]
    assert table[f"CDN {what}"] == (name, name, "exact")


def test_throttled_a_while(stage: Stage) -> None:
    """429 with a Retry-After that ends in time is waited for, and the file is exact; one that comes again and
    again is EBUSY."""
    clip, other = stage.clip(), stage.clip()
    stage.service.fail(throttled(1), kind="mp3", path=clip.uuid, times=1)
    assert sha256(stage.mp3(clip)) == digest(clip.assets["mp3"])
    stage.service.fail(throttled(1), kind="mp3", path=other.uuid)
    assert catting(stage.mp3(other)) == "EBUSY"
    assert stage.mp3(other).name in stage.mount.listed("flowmusic")
    heals(stage, stage.mp3(other), digest(other.assets["mp3"]))


@pytest.mark.parametrize("status", [403, 404])
def test_bucket_says_no(status: int, stage: Stage) -> None:
    """The bucket's 403 counts as its 404: a listed form is EIO at open and stays listed; a form asked
    for by name but never listed is ENOENT."""
    clip, answer = stage.clip(), xml_error(status, "AccessDenied" if status == 403 else "NoSuchKey")
    stage.service.fail(answer, role=Role.BUCKET, path=clip.uuid)
    folder = stage.mount.path / "library" / str(clip.title)
    fails(folder / f"{clip.title}.m4a", "EIO")
    assert f"{clip.title}.m4a" in os.listdir(folder)
    handle = stage.service.flow.handle(clip).replace(clip.uuid, STRANGER)
    fails(stage.mount.path / "flowmusic" / f"{handle}.m4a", "ENOENT")
    heals(stage, folder / f"{clip.title}.m4a", digest(clip.assets["m4a"]))


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED], ids=str)
def test_body_that_always_ends_early(framing: Framing, stage: Stage) -> None:
    """A body that always ends short of its length is an error and never the end of a file."""
    job = stage.job()
    stage.service.twist(role=Role.CDN, path=job.item, framing=framing, cut=Cut(100, clean=True))
    assert catting(stage.wav(job)) == "EIO"
    heals(stage, stage.wav(job), digest(job.assets["wav"]))


def _listing_fails(folder: Path, number: int) -> bool:
    with pytest.raises(OSError) as caught:
        os.listdir(folder)
    return caught.value.errno == number


def test_stems_refused(stage: Stage) -> None:
    """A `stems/` whose link is refused is an error, never an empty folder; a 404 long after the job was
    finished is an empty folder."""
    job = stage.job()
    stems = stage.mount.path / "tempolor" / job.item / "stems"
    for answer, number in (
        (json_error(403), errno.EACCES),
        (json_error(500), errno.EIO),
        (html(200), errno.EIO),
    ):
        fault = stage.service.fail(answer, kind="mint", path=job.item)
        # A failure answers for a second; then the next one has its turn.
        until(partial(_listing_fails, stems, number))
        stage.service.faults.remove(fault)
    # The last failure still answers for a moment.
    stage.service.fail(json_error(404), kind="mint", path=job.item)
    until(lambda: catting(stems) == "EISDIR" and run(["ls", stems]).returncode == 0)
    assert os.listdir(stems) == []


# What does not exist, is not ready, is too much -----------------------------------------------------------


def test_asked_for_by_id(stage: Stage) -> None:
    """404 or 410 of a thing asked for by its id, a FAILED job, and a full clip id that the service does
    not know ("not a valid clip ID or jobid" among it) are ENOENT."""
    service, top = stage.service, stage.mount.path
    failed = service.flow.add_job("ada@example.com", status="failed")
    names = [
        f"flowmusic/job:{STRANGER}-user:1234-ada@example.com-bot:flowmusic.mp3",
        f"flowmusic/{service.flow.handle(failed)}.mp3",
        f"flowmusic/user:1234-ada@example.com-clip:{STRANGER}.mp3",
        "tempolor/user:1234-tempolor:100-job:nosuchjob00/song.mp3",
        f"tempolor/{service.tempolor.handle(service.add_job('100', status=10))}/song.mp3",
    ]
    for name in names:
        fails(top / name, "ENOENT")
    service.knobs.unknown_clip = 400
    fails(top / f"flowmusic/user:1234-ada@example.com-clip:{STRANGER[:-1]}2.mp3", "ENOENT")
    service.fail(json_error(410), kind="record")
    fails(top / "tempolor/user:1234-tempolor:100-job:nosuchjob01/song.mp3", "ENOENT")


def test_unfinished(stage: Stage) -> None:
    """A job that is still being made is EBUSY by its name, and is not listed."""
    service, top = stage.service, stage.mount.path
    clip = service.flow.add_job("ada@example.com", status="pending")
    job = service.add_job("100", status=0)
    fails(top / f"flowmusic/{service.flow.handle(clip)}.mp3", "EBUSY")
    fails(top / f"tempolor/{service.tempolor.handle(job)}/song.mp3", "EBUSY")
    assert job.item not in stage.mount.listed("tempolor")
    job.status = 30
    until(lambda: opening(top / f"tempolor/{service.tempolor.handle(job)}/song.mp3") == "", 10)


def test_broken_account(tmp_path: Path) -> None:
    """596 is EACCES for that account's files alone."""
    service = Service(clock=time.time)
    mine, other = service.add_clip("ada@example.com", "A"), service.add_clip("ben@example.org", "B")
    with mounted(service, tmp_path, listing_ttl=3600) as mount:
        assert len(mount.listed("flowmusic")) == 2
        service.flow.accounts["ada@example.com"].broken = True
        mount.expect(mine.uuid)
        fails(mount.path / "flowmusic" / f"{mine.uuid}.mp3", "EACCES")
        assert sha256(mount.path / "flowmusic" / f"{other.uuid}.mp3") == digest(other.assets["mp3"])


def test_foreign_job(stage: Stage) -> None:
    """A job of somebody else is EACCES."""
    foreign = stage.service.flow.add_job("eve@example.net", foreign=True)
    fails(stage.mount.path / "flowmusic" / f"{stage.service.flow.handle(foreign)}.mp3", "EACCES")


def test_version_gone(stage: Stage) -> None:
    """A version that is gone under a handle is ESTALE there, and the name opens the new one."""
    job = stage.service.add_job("100", wav=wav_of_size(3_000_044, "old"))
    wav = stage.mount.path / "tempolor" / stage.service.tempolor.handle(job) / "song.wav"
    stage.mount.expect("other bytes now")
    with wav.open("rb", buffering=0) as file:
        os.pread(file.fileno(), 10, 0)
        job.assets["wav"] = new = wav_of_size(3_100_044, "new")
        with pytest.raises(OSError) as caught:
            os.pread(file.fileno(), 10, 2_900_000)
    assert caught.value.errno == errno.ESTALE
    assert sha256(wav) == digest(new)


def test_crowd(stage: Stage) -> None:
    """At most four wait for one `stems/` never seen; the others are EBUSY at once, and nobody hangs."""
    job = stage.job()
    stems = stage.mount.path / "tempolor" / job.item / "stems"
    refused = threading.Event()
    stage.service.twist(kind="mint", path=job.item, gate=refused.is_set)
    said: list[str] = []

    def looks() -> None:
        try:
            os.listdir(stems)
            said.append("")
        except OSError as failed:
            said.append(errno.errorcode[failed.errno or 0])

    threads = [threading.Thread(target=looks) for _ in range(7)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(said) >= 3)
    finally:
        refused.set()
    for thread in threads:
        thread.join(20)
    assert sorted(said) == ["", "", "", "", "EBUSY", "EBUSY", "EBUSY"]


def test_indexer(stage: Stage, tmp_path: Path) -> None:
    """An indexer or thumbnailer gets EACCES at once for what is not in the cache, starts no download,
    and reads what is whole in it."""
    job = stage.job()
    program = tmp_path / "tumblerd"
    shutil.copy(shutil.which("cat") or "/bin/cat", program)
    before = len(stage.service.log)
    assert "Permission denied" in run([program, stage.wav(job)]).stderr
    assert len(stage.service.log) == before
    done(["cat", stage.wav(job)])
    done([program, stage.wav(job)])


WRITES: dict[str, Callable[[Path], object]] = {
    "write": lambda path: os.open(path, os.O_WRONLY),
    "append": lambda path: os.open(path, os.O_RDWR | os.O_APPEND),
    "truncate": lambda path: os.truncate(path, 0),
    "create": lambda path: os.open(path.parent / "new", os.O_CREAT | os.O_WRONLY),
    "unlink": os.unlink,
    "rename": lambda path: os.rename(path, path.parent / "other.mp3"),
    "mkdir": lambda path: os.mkdir(path.parent / "folder"),
    "rmdir": lambda path: os.rmdir(path.parent),
    "link": lambda path: os.link(path, path.parent / "linked.mp3"),
    "symlink": lambda path: os.symlink("nowhere", path.parent / "linked.mp3"),
    "chmod": lambda path: os.chmod(path, 0o600),
    "utime": lambda path: os.utime(path, (0, 0)),
}


@pytest.mark.parametrize("what", WRITES)
def test_writes(what: str, stage: Stage) -> None:
    """Every attempt to change something is EROFS, and nothing is asked of the services."""
    path = stage.mp3(stage.service.flow.clips[0])
    before = len(stage.service.log)
    with pytest.raises(OSError) as caught:
        WRITES[what](path)
    assert caught.value.errno == errno.EROFS
    assert len(stage.service.log) == before


def test_wrong_kind(stage: Stage) -> None:
    """A file used as a folder is ENOTDIR, a folder read as a file EISDIR, an unknown name ENOENT."""
    path = stage.mp3(stage.service.flow.clips[0])
    fails(path / "below", "ENOTDIR")
    assert catting(path.parent) == "EISDIR"
    fails(path.parent / f"{STRANGER}.mp3", "ENOENT")
