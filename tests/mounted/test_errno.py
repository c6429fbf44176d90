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

from musicfs.demo import Clip, Cut, Framing, Job, Role, Service, wav_of_size, zip_of
from musicfs.demo.faults import (
    Answer,
    black_hole,
    body,
    denied_link,
    dropped,
    garbage,
    html,
    json_error,
    throttled,
    xml_error,
)
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, digest, done, mounted, run, sha256, until

STRANGER = "00000000-0000-4000-8000-000000000001"


class Stage:
    """A mount with many songs that nobody has touched."""

    def __init__(self, mount: Mount, service: Service) -> None:
        self.mount, self.service = mount, service
        self._jobs, self._clips = iter(service.tempolor.jobs), iter(service.flow.clips)

    def job(self) -> Job:
        """Give a job, and declare what the log will say of it."""
        job = next(self._jobs)
        self.mount.expect(job.item)
        return job

    def clip(self) -> Clip:
        """Give a clip, and declare what the log will say of it."""
        clip = next(self._clips)
        self.mount.expect(clip.uuid)
        return clip

    def mp3(self, clip: Clip) -> Path:
        """Say where a clip's mp3 is."""
        return self.mount.path / "flowmusic" / f"{clip.uuid}.mp3"

    def wav(self, job: Job) -> Path:
        """Say where a job's wav is."""
        return self.mount.path / "tempolor" / job.item / "song.wav"


def fill(service: Service, songs: int = 50) -> Service:
    """Give a service many songs on each side."""
    for number in range(songs):
        service.add_clip("ada@example.com", f"Song {number}", 8.0)
        service.add_job("100", f"Job {number}", 4.0, stems=zip_of({"bass.wav": b"RIFF" + bytes(5000)}))
    return service


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount it once for all faults that concern one song."""
    service = fill(Service(clock=time.time))
    service.add_clip("ben@example.org", "Of another account")
    with mounted(service, tmp_path_factory.mktemp("errno"), deadline=4, listing_ttl=3600) as mount:
        mount.listed("flowmusic"), mount.listed("tempolor"), mount.listed("library")
        yield Stage(mount, service)


@pytest.fixture(autouse=True)
def _healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave the shared service healthy, whatever a test made of it."""
    yield
    if "stage" in request.fixturenames:
        request.getfixturevalue("stage").service.clear()


def opening(path: Path) -> str:
    """Name what `open` says: an errno, or "" if it opens."""
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as failed:
        return errno.errorcode[failed.errno or 0]
    return ""


def catting(path: Path) -> str:
    """Name what `cat` says: an errno, or "" if it reads the whole."""
    ended = run(["cat", path], limit=30)
    if ended.returncode == 0:
        return ""
    return next(
        name for number, name in errno.errorcode.items() if ended.stderr.strip().endswith(os.strerror(number))
    )


def fails(path: Path, name: str) -> None:
    """See a program and a single `open` fail with the same errno."""
    assert (catting(path), opening(path)) == (name, name)


def heals(stage: Stage, path: Path, wanted: str) -> None:
    """See the mount alive and the file exact, once the fault is cleared."""
    stage.service.clear()
    assert stage.mount.running
    until(lambda: catting(path) == "", 6)
    assert sha256(path) == wanted


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
    until(lambda: catting(path) == "", 10)
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
        until(partial(_listing_fails, stems, number), 5)
        stage.service.faults.remove(fault)
    # The last failure still answers for a moment.
    stage.service.fail(json_error(404), kind="mint", path=job.item)
    until(lambda: catting(stems) == "EISDIR" and run(["ls", stems]).returncode == 0, 5)
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
    until(lambda: opening(top / f"tempolor/{service.tempolor.handle(job)}/song.mp3") == "", 6)


def test_broken_account(tmp_path: Path) -> None:
    """596 is EACCES for that account's files alone."""
    service = Service(clock=time.time)
    mine, other = service.add_clip("ada@example.com", "A"), service.add_clip("ben@example.org", "B")
    with mounted(service, tmp_path, deadline=3, listing_ttl=3600) as mount:
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
    stage.service.twist(kind="mint", path=job.item, first_byte=1.5)
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


# Nobody answers ------------------------------------------------------------------------------------------


class Silence:
    """What was seen of a service that falls silent in many ways, and afterwards."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.healed: dict[str, str] = {}
        self.log = ""


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Silence:
    """Fall silent in every way at once, look, come back, and look again: a host that is down is left
    alone for 15 s, so all ways share that wait."""
    found, service, strange = Silence(), fill(Service(clock=time.time), 12), fill(Service(clock=time.time), 2)
    home = tmp_path_factory.mktemp("silence")
    with (
        running(strange, tls=True) as stranger,
        mounted(service, home, deadline=3, listing_ttl=3600) as mount,
    ):
        stage = Stage(mount, service)
        mount.listed("flowmusic"), mount.listed("tempolor"), mount.listed("library")
        links: dict[str, Answer] = {
            "DNS": body(b'{"url":"https://nobody.musicfs.invalid/a.wav","remainSeconds":0}'),
            "TLS": body(f'{{"url":"{stranger.cdn_url}/a.wav","remainSeconds":0}}'.encode()),
        }
        paths: dict[str, tuple[Path, str]] = {}
        for name, answer in links.items():
            job = stage.job()
            paths[name] = stage.wav(job), digest(job.assets["wav"])
            service.fail(answer, kind="mint", path=job.item)
            found.seen[name] = catting(paths[name][0])
        stalled = stage.job()
        paths["stall"] = stage.wav(stalled), digest(stalled.assets["wav"])
        service.twist(role=Role.CDN, path=stalled.item, stall_at=100)
        found.seen["stall"] = catting(paths["stall"][0])
        clip = stage.clip()
        cover = mount.path / "library" / str(clip.title) / f"{clip.title}.wav"
        paths["refused"] = cover, digest(clip.assets["wav"])
        mount.loop.stop(Role.BUCKET)
        found.seen["refused"] = catting(cover)
        hole = stage.clip()
        service.fail(black_hole(), kind="mp3", times=1)
        found.seen["no mp3"] = catting(stage.mp3(hole))
        _silence_the_cdn(stage, found, paths)
        throttle = stage.job()
        paths["429, later"] = stage.wav(throttle), digest(throttle.assets["wav"])
        service.fail(throttled(5), kind="mint", path=throttle.item)
        found.seen["429, later"] = catting(paths["429, later"][0])
        service.clear()
        mount.loop.start(Role.BUCKET)
        for name, (path, wanted) in paths.items():
            until(partial(_reads, path), 40)
            found.healed[name] = "exact" if sha256(path) == wanted else "other bytes"
        assert mount.running
        mount.expect("tempolor|flowmusic")
    return found


def _reads(path: Path) -> bool:
    return catting(path) == ""


def _silence_the_cdn(stage: Stage, found: Silence, paths: dict[str, tuple[Path, str]]) -> None:
    """Let the CDN accept and say nothing, and see what a later file is told."""
    first, second = stage.job(), stage.job()
    paths["black hole"] = stage.wav(first), digest(first.assets["wav"])
    paths["host down"] = stage.wav(second), digest(second.assets["wav"])
    stage.service.fail(black_hole(), role=Role.CDN)
    found.seen["black hole"] = catting(paths["black hole"][0])
    began = time.monotonic()
    found.seen["host down"] = catting(paths["host down"][0])
    found.seen["at once"] = "yes" if time.monotonic() - began < 1 else "no"


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("black hole", "ETIMEDOUT"),
        ("host down", "ETIMEDOUT"),
        ("no mp3", "ETIMEDOUT"),
        ("stall", "ETIMEDOUT"),
        ("refused", "EHOSTUNREACH"),
        ("DNS", "EHOSTUNREACH"),
        ("TLS", "EHOSTUNREACH"),
        ("429, later", "EBUSY"),
    ],
)
def test_silence(what: str, name: str, silence: Silence) -> None:
    """Timeouts and stalls are ETIMEDOUT; DNS, connection refused and TLS are EHOSTUNREACH; 429 with a
    Retry-After beyond the deadline is EBUSY; all heal by themselves when the service is back."""
    assert silence.seen[what] == name
    # A pass that was begun runs to its end behind, here a minute: that mp3 is not waited for.
    assert what == "no mp3" or silence.healed[what] == "exact"


def test_host_down_answers_at_once(silence: Silence) -> None:
    """After two timeouts in a row a host is down, and cold opens fail at once."""
    assert silence.seen["at once"] == "yes"


# The first listing, and the disk -------------------------------------------------------------------------

FIRST: dict[str, tuple[Answer, str]] = {
    "401": (json_error(401), "Permission denied"),
    "500": (html(500), "Input/output error"),
    "JSON": (garbage(), "Input/output error"),
}


@pytest.mark.parametrize("what", FIRST)
def test_first_listing_fails(what: str, service: Service, tmp_path: Path) -> None:
    """A first listing that fails gives the errno of its reason, never an empty folder; it heals by itself."""
    answer, words = FIRST[what]
    clip = service.add_clip("ada@example.com", "Only")
    service.fail(answer, role=Role.API)
    with mounted(service, tmp_path, deadline=5, listing_ttl=1) as mount:
        mount.expect("listing (flowmusic|tempolor)")
        for folder in ("flowmusic", "tempolor", "library"):
            said = run(["ls", mount.path / folder])
            assert said.returncode != 0
            assert said.stdout == ""
            assert words in said.stderr
        service.clear()
        service.tempolor.add_account("100")
        until(lambda: run(["ls", mount.path / "flowmusic"]).stdout == f"{clip.uuid}.mp3\n", 30)
        until(lambda: run(["ls", mount.path / "library"]).stdout == "Only\n", 30)


def test_first_listing_unreachable(service: Service, tmp_path: Path) -> None:
    """With the API refusing connections and nothing known, the mount starts and a folder is EHOSTUNREACH."""
    service.add_clip("ada@example.com", "Only")
    with running(service) as loop:
        loop.stop()
        with attached(Mount(loop, tmp_path, deadline=5)) as mount:
            mount.expect("listing (flowmusic|tempolor)")
            assert mount.listed() == {"flowmusic", "tempolor", "library"}
            assert "No route to host" in run(["ls", mount.path / "flowmusic"]).stderr


def test_first_listing_too_slow(service: Service, tmp_path: Path) -> None:
    """A first listing that takes longer than the deadline is ETIMEDOUT while it goes on behind, and
    then it is there whole."""
    names = sorted(f"{service.add_clip('ada@example.com', 'One').uuid}.mp3" for _ in range(500))
    # Five pages and the accounts, none of which is slow enough to be given up: 3 s in all.
    service.twist(role=Role.API, first_byte=0.5)
    with mounted(service, tmp_path, deadline=2) as mount:
        assert "Connection timed out" in run(["ls", mount.path / "flowmusic"]).stderr
        until(lambda: run(["ls", mount.path / "flowmusic"]).stdout.split() == names, 20)


def test_disk_full(service: Service, tmp_path: Path) -> None:
    """A whole-pass object that fits nowhere is ENOSPC at open, while ranged objects pass through memory."""
    clip, job = service.add_clip("ada@example.com", "Large", 30.0), service.add_job("100", "Job", 8.0)
    with mounted(service, tmp_path, cache_size="256K") as mount:
        mount.expect(clip.uuid, job.item, "open: no room")
        fails(mount.path / "flowmusic" / f"{clip.uuid}.mp3", "ENOSPC")
        assert sha256(mount.path / "tempolor" / job.item / "song.wav") == digest(job.assets["wav"])


def test_disk_sick(service: Service, tmp_path: Path) -> None:
    """Where the cache folder cannot be used any more, a whole-pass object is EIO at open, and ranged
    ones play."""
    clip, job = service.add_clip("ada@example.com", "Song"), service.add_job("100", "Job", 8.0)
    with mounted(service, tmp_path) as mount:
        mount.listed("flowmusic")
        shutil.rmtree(tmp_path / "cache" / "objects")
        (tmp_path / "cache" / "objects").write_text("not a folder")
        mount.expect(clip.uuid, job.item, "open: the disk")
        fails(mount.path / "flowmusic" / f"{clip.uuid}.mp3", "EIO")
        assert sha256(mount.path / "tempolor" / job.item / "song.wav") == digest(job.assets["wav"])
        (tmp_path / "cache" / "objects").unlink()
        until(lambda: opening(mount.path / "flowmusic" / f"{clip.uuid}.mp3") == "", 6)


# Mistakes of our own --------------------------------------------------------------------------------------

COLLABORATORS = {
    "catalog": "Catalog.touch",
    "catalog, names": "Catalog.row",
    "content": "Content.open",
    "content, read": "Content.read",
    "content, facts": "Content.facts",
    "links": "Links.locate",
    "wire": "Wire.pull",
    "wire, API": "Wire.converse",
    "store": "Store.create",
    "store, entry": "Entry.write",
    "ledger": "Ledger.note",
    "state": "State.save_files",
    "callers": "Callers.is_scanner",
    "provider": "TemPolor.locate",
    "register": "Register.remember",
}


@pytest.fixture(scope="module")
def saboteur(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount a musicfs whose rooms break when the file `sabotage` says so."""
    home = tmp_path_factory.mktemp("sabotage")
    with running(fill(service := Service(clock=time.time), 2 * len(COLLABORATORS))) as loop:
        program = ("-m", "tests.mounted.sabotage", str(home / "sabotage"))
        with attached(Mount(loop, home, *program, deadline=3, listing_ttl=3600)) as mount:
            mount.listed("flowmusic"), mount.listed("tempolor"), mount.listed("library")
            yield Stage(mount, service)


@pytest.mark.parametrize("what", COLLABORATORS)
def test_mistake_of_our_own(what: str, saboteur: Stage) -> None:
    """An unexpected exception raised in any collaborator leaves the mount alive and gives EIO where it
    is in the way; afterwards everything is exact."""
    job, switch = saboteur.job(), saboteur.mount.home / "sabotage"
    saboteur.mount.expect("broke", "Traceback", "unexpected", "sabotage", "musicfs")
    handle = saboteur.service.tempolor.handle(job)
    wav = saboteur.mount.path / "tempolor" / handle / "song.wav"
    switch.write_text(COLLABORATORS[what])
    try:
        assert catting(wav) in ("EIO", "")
        os.statvfs(saboteur.mount.path)
        for folder in (wav.parent, saboteur.mount.path / "flowmusic"):
            run(["ls", "-l", folder])
    finally:
        switch.unlink()
    until(lambda: f"sabotaged {COLLABORATORS[what]}" in saboteur.mount.log, 5)
    assert saboteur.mount.running
    until(lambda: catting(wav) == "", 6)
    assert sha256(wav) == digest(job.assets["wav"])
