"""The bytes are the service's bytes, whatever its servers are like and whoever reads."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo import (
    Clip,
    ContentRange,
    Cut,
    Delivery,
    Framing,
    Job,
    Knobs,
    Member,
    Mp3Noise,
    Ranges,
    Role,
    Service,
    Tag,
    archive_of,
    content,
    wav_of,
    wav_of_size,
)
from musicfs.demo.faults import body, html
from tests.mounted.mounting import Mount, digest, done, mounted, run, sha256, until

STEMS = {"vocals.wav": wav_of(3, "vocals"), "drums.wav": wav_of(3, "drums")}
PACKED = {"notes.txt": b"in the key of F minor\n" * 5000}
MODES = [
    (Ranges.HONOUR, Framing.CHUNKED),
    (Ranges.LAX, Framing.CLOSE),
    (Ranges.STRICT, Framing.LENGTH),
    (Ranges.IGNORE, Framing.CHUNKED),
]


def stock(service: Service) -> None:
    """Fill a service with both accounts' music, stems of both kinds among it."""
    for account in ("ada@example.com", "ben+music@example.org"):
        song = service.add_clip(account, f"Harbour of {account[:3]}", 20.0)
        service.flow.add_stems(song)
        service.add_clip(account, None, None)
    members = [
        *(Member(f"stems/{name}", data) for name, data in STEMS.items()),
        *(Member(name, data, deflated=True) for name, data in PACKED.items()),
    ]
    for account in ("100", "200"):
        service.add_job(account, "Tide", 15.0, stems=archive_of(members))
        service.add_job(
            account, "Choir", kind="instrumental", stems=archive_of({"bass.wav": wav_of(2, "bass")})
        )


def expected(service: Service) -> dict[str, str]:
    """Give the digest of every file of the two pure folders, by path."""
    files = {f"flowmusic/{clip.uuid}.mp3": digest(clip.assets["mp3"]) for clip in service.flow.clips}
    for job in service.tempolor.jobs:
        files |= {f"tempolor/{job.item}/song.{form}": digest(job.assets[form]) for form in ("mp3", "wav")}
        if job.kind == "song":
            files |= {f"tempolor/{job.item}/stems/stems/{name}": digest(data) for name, data in STEMS.items()}
            files |= {f"tempolor/{job.item}/stems/{name}": digest(data) for name, data in PACKED.items()}
        else:
            files[f"tempolor/{job.item}/stems/bass.wav"] = digest(wav_of(2, "bass"))
    return files


def digests(folder: Path) -> dict[str, str]:
    """Hash every file below a folder, by path, with the program that people use."""
    lines = done(["sh", "-c", "find . -type f -print0 | xargs -0 sha256sum"], cwd=folder).splitlines()
    return {line[66:].removeprefix("./"): line[:64] for line in lines}


@pytest.mark.parametrize(("ranges", "framing"), MODES, ids=lambda value: str(value))
def test_every_byte_server(ranges: Ranges, framing: Framing, service: Service, tmp_path: Path) -> None:
    """Against mp3s without Content-Length and byte servers in each range mode, every file's SHA-256
    equals the service's; `rsync -a` of flowmusic/ and of tempolor/ is exact and a second `rsync -ai`
    prints nothing; at most one mint per object and one mp3 download per clip for it all."""
    stock(service)
    service.knobs = Knobs(
        mp3=Delivery(ranges=Ranges.IGNORE, framing=framing, etag=Tag.NONE, last_modified=False),
        cdn=Delivery(ranges=ranges),
        bucket=Delivery(ranges=ranges, generation=True),
    )
    copy, wanted = tmp_path / "copy", expected(service)
    copy.mkdir()
    with mounted(service, tmp_path) as mount:
        for folder in ("flowmusic", "tempolor"):
            source = f"{mount.path}/{folder}"
            done(["rsync", "-a", source, copy])
            assert done(["rsync", "-ai", source, copy]) == ""
        assert digests(copy) == wanted
        assert digests(mount.path) | wanted == digests(mount.path)
        library = digests(mount.path / "library")
        for clip in service.flow.clips:
            for form in ("mp3", *(("m4a", "wav") if not (clip.title or "").endswith(STEM_ENDS) else ())):
                assert digest(clip.assets[form]) in library.values()
    mints = Counter((record.path, record.form) for record in service.log if record.kind == "mint")
    again = [record for record in service.log if mints[record.path, record.form] > 1]
    assert set(mints.values()) == {1}, again
    assert service.counts["mp3"] == len(service.flow.clips)


STEM_ENDS = (" - drums", " - bass", " - vocals", " - other")


# One mount for all that only reads -------------------------------------------------------------------------


class Stage:
    """A mount with many cold songs."""

    def __init__(self, mount: Mount, service: Service) -> None:
        self.mount, self.service = mount, service
        self._jobs, self._clips = iter(service.tempolor.jobs), iter(service.flow.clips)

    def job(self) -> tuple[Job, Path]:
        """Give a job that nobody touched yet, and its folder."""
        job = next(self._jobs)
        return job, self.mount.path / "tempolor" / job.item

    def clip(self) -> tuple[Clip, Path]:
        """Give a clip that nobody touched yet, and its mp3."""
        # A test that reads several songs may have had the next one fetched ahead.
        clip = next(clip for clip in self._clips if not self.asked(clip.uuid, "mp3"))
        return clip, self.mount.path / "flowmusic" / f"{clip.uuid}.mp3"

    def asked(self, name: str, *kinds: str) -> int:
        """Count requests of some kinds whose path holds `name`."""
        return sum(name in record.path and record.kind in kinds for record in self.service.log)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount a service with forty songs on each side."""
    service = Service(clock=time.time)
    for number in range(40):
        service.add_clip("ada@example.com", f"Song {number}", 20.0)
        service.add_job("100", f"Job {number}", wav=wav_of_size(6_000_044, number))
    with mounted(service, tmp_path_factory.mktemp("exact"), deadline=8) as mount:
        yield Stage(mount.list_all(), service)


@pytest.fixture(autouse=True)
def _healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave the shared service healthy, whatever a test made of it."""
    yield
    if "stage" in request.fixturenames:
        request.getfixturevalue("stage").service.clear()


def test_random_seeks(stage: Stage) -> None:
    """A program that reads here and there gets the service's bytes, fewer only at the end of the file."""
    job, folder = stage.job()
    asset, dice = job.assets["wav"], random.Random(1)
    with (folder / "song.wav").open("rb", buffering=0) as file:
        for _ in range(150):
            at, length = dice.randrange(asset.size + 1000), dice.choice((1, 100, 4096, 70_000, 300_000))
            assert os.pread(file.fileno(), length, at) == asset.read(at, at + length)


MAPPING = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as seen:
    assert seen[-100:] and seen[3_000_000]
    print(len(seen), hashlib.sha256(seen).hexdigest())
"""


def test_mmap(stage: Stage) -> None:
    """A program that maps a file into its memory sees the service's bytes."""
    job, folder = stage.job()
    # In a process of its own: a page fault holds the interpreter's lock, and the services need it here.
    said = done([sys.executable, "-c", MAPPING, folder / "song.wav"])
    assert said.split() == [str(job.assets["wav"].size), digest(job.assets["wav"])]


def test_tail_first(stage: Stage) -> None:
    """A tagger that reads the tail first and then the head gets both, and the whole is not fetched for it."""
    job, folder = stage.job()
    asset = job.assets["wav"]
    before = stage.service.bytes_sent(Role.CDN)
    with (folder / "song.wav").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 128, asset.size - 128) == asset.read(asset.size - 128, asset.size)
        assert os.pread(file.fileno(), 4096, 0) == asset.read(0, 4096)
    assert stage.service.bytes_sent(Role.CDN) - before <= 2 * 1024 * 1024


def test_dd_and_tar_and_cp(stage: Stage, tmp_path: Path) -> None:
    """dd with odd block sizes, tar and cp bring the service's bytes and keep the service's times."""
    job, folder = stage.job()
    asset = job.assets["wav"]
    piece = tmp_path / "piece"
    done(["dd", f"if={folder}/song.wav", f"of={piece}", "bs=7777", "skip=300", "count=200", "status=none"])
    assert piece.read_bytes() == asset.read(300 * 7777, 500 * 7777)
    done(["tar", "-cf", tmp_path / "job.tar", "-C", folder, "song.mp3", "song.wav"])
    done(["tar", "-xf", tmp_path / "job.tar", "-C", tmp_path])
    done(["cp", "-p", folder / "song.wav", tmp_path / "copy.wav"])
    assert sha256(tmp_path / "song.mp3") == digest(job.assets["mp3"])
    assert sha256(tmp_path / "song.wav") == sha256(tmp_path / "copy.wav") == digest(asset)
    assert (tmp_path / "copy.wav").stat().st_mtime_ns == (folder / "song.wav").stat().st_mtime_ns
    assert os.access(tmp_path / "copy.wav", os.W_OK)


def test_ffprobe(stage: Stage) -> None:
    """ffprobe reads the duration of an mp3 and of a wav through the mount."""
    job, folder = stage.job()
    for name, seconds in (("song.wav", job.assets["wav"].size / 176_400), ("song.mp3", 12.0)):
        words: list[str | Path] = [
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "format=duration",
            "-of",
            "csv=p=0",
            folder / name,
        ]
        assert float(done(words)) == pytest.approx(seconds, abs=0.2)


def test_one_download_for_many_readers(stage: Stage) -> None:
    """Several readers at once of one cold file share one download: one mp3 request, and of a ranged
    file no byte twice."""
    clip, mp3 = stage.clip()
    job, folder = stage.job()
    before = stage.service.counts["mp3"], stage.service.bytes_sent(Role.CDN)
    stage.service.twist(kind="mp3", drip=1_000_000)
    wanted = {mp3: digest(clip.assets["mp3"]), folder / "song.wav": digest(job.assets["wav"])}
    readers = [
        (path, subprocess.Popen(["sha256sum", path], stdout=subprocess.PIPE, text=True))
        for path in wanted
        for _ in range(5)
    ]
    for path, reader in readers:
        assert reader.communicate(timeout=30)[0][:64] == wanted[path]
    assert stage.service.counts["mp3"] - before[0] == 1
    assert stage.service.bytes_sent(Role.CDN) - before[1] <= job.assets["wav"].size
    assert stage.asked(job.item, "mint") == 1


def test_reader_who_goes_away(stage: Stage) -> None:
    """A reader that is killed takes nothing from another reader of the same file."""
    clip, mp3 = stage.clip()
    stage.service.twist(kind="mp3", drip=200_000)
    asked = len(stage.service.log)
    first = subprocess.Popen(["cat", mp3], stdout=subprocess.DEVNULL)
    second = subprocess.Popen(["sha256sum", mp3], stdout=subprocess.PIPE, text=True)
    until(lambda: any(one.kind == "mp3" and one.sent > 50_000 for one in list(stage.service.log)[asked:]))
    first.kill()
    first.wait(5)
    assert second.communicate(timeout=20)[0][:64] == digest(clip.assets["mp3"])


# Answers that lie -----------------------------------------------------------------------------------------


def outcome(path: Path, wanted: bytes) -> str:
    """Read a file whole with a plain program: "exact", or the error's name; wrong bytes fail the test."""
    ended = subprocess.run(["cat", path], capture_output=True, timeout=30, check=False)
    if ended.returncode == 0:
        assert ended.stdout == wanted, "success with other bytes than the service's"
        return "exact"
    assert wanted.startswith(ended.stdout), "other bytes before the error"
    text = ended.stderr.decode().strip()
    return next(name for number, name in errno.errorcode.items() if text.endswith(os.strerror(number)))


LIES: dict[str, dict[str, Any]] = {
    "shifted": {"content_range": ContentRange.SHIFTED},
    "missing": {"content_range": ContentRange.MISSING},
    "long": {"long": 10},
    "short": {"short": 10},
    "gzip": {"gzip": True},
}


@pytest.mark.parametrize("lie", LIES)
def test_lying_range_is_an_error(lie: str, stage: Stage) -> None:
    """A shifted or missing Content-Range, a body too long or too short for it, or gzip in spite of
    identity is an error, never other bytes; and once the server is honest the file is exact."""
    job, folder = stage.job()
    wav, wanted = folder / "song.wav", content(job.assets["wav"])
    stage.mount.expect(rf"tempolor.*{job.item}.*wav")
    twist = stage.service.twist(form="wav", role=Role.CDN, **LIES[lie])
    assert outcome(wav, wanted) == "EIO"
    stage.service.twists.remove(twist)
    until(lambda: outcome(wav, wanted) == "exact", 10)


@pytest.mark.parametrize("lie", [ContentRange.STAR, ContentRange.WRONG_TOTAL], ids=str)
def test_odd_totals(lie: ContentRange, stage: Stage) -> None:
    """A Content-Range with `*` or a wrong total gives exact bytes or an error, never short or padded ones."""
    job, folder = stage.job()
    wav, wanted = folder / "song.wav", content(job.assets["wav"])
    stage.mount.expect(rf"tempolor.*{job.item}.*wav", "other bytes now")
    stage.service.twist(form="wav", role=Role.CDN, content_range=lie)
    assert outcome(wav, wanted) in ("exact", "EIO", "ESTALE")
    stage.service.clear()
    until(lambda: outcome(wav, wanted) == "exact", 10)


PAGES = {"html": html(200), "json": body(b'{"error": "sorry"}'), "empty": body(b"", "audio/mpeg")}


@pytest.mark.parametrize("page", PAGES)
def test_page_instead_of_song(page: str, stage: Stage) -> None:
    """An HTML page, JSON or nothing at all with status 200 is EIO at open, never a song."""
    clip, mp3 = stage.clip()
    job, folder = stage.job()
    stage.mount.expect(rf"{clip.uuid}|{job.item}")
    stage.service.fail(PAGES[page], kind="mp3")
    stage.service.fail(PAGES[page], role=Role.CDN)
    for path in (mp3, folder / "song.wav"):
        with pytest.raises(OSError) as caught:
            os.open(path, os.O_RDONLY)
        assert caught.value.errno == errno.EIO
    stage.service.clear()
    until(lambda: outcome(mp3, content(clip.assets["mp3"])) == "exact", 10)
    until(lambda: outcome(folder / "song.wav", content(job.assets["wav"])) == "exact", 10)


@pytest.mark.parametrize("framing", Framing, ids=str)
def test_pass_cut_once(framing: Framing, stage: Stage) -> None:
    """An mp3 whose first download breaks off (by reset, or by a clean close that looks like an end) is read
    exactly all the same."""
    clip, mp3 = stage.clip()
    stage.service.twist(
        times=1, kind="mp3", framing=framing, cut=Cut(100_000, clean=framing is Framing.CLOSE)
    )
    stage.service.twist(kind="mp3", framing=framing)
    assert sha256(mp3) == digest(clip.assets["mp3"])


def test_pass_with_other_bytes(stage: Stage) -> None:
    """An mp3 that is made anew with other bytes each time, and breaks in the middle, is never a
    mixture: a program gets one whole rendering or an error."""
    _, mp3 = stage.clip()
    stage.mount.expect("flowmusic", "other bytes now")
    stage.service.twist(kind="mp3", framing=Framing.CHUNKED, restless=True)
    stage.service.twist(times=1, kind="mp3", cut=Cut(150_000))
    begin = len(stage.service.log)
    until(lambda: run(["cat", mp3]).returncode == 0)
    served = mp3.read_bytes()
    calls = [number for number, record in enumerate(stage.service.log[begin:]) if record.kind == "mp3"]
    assert len(calls) >= 2
    assert sha256(mp3) == sha256(mp3)
    changed = sum(a != b for a, b in zip(served, content(Mp3Noise(20.0, mp3.stem)), strict=True))
    assert 0 < changed < 2000


def test_zero_bytes_are_not_padded(service: Service, tmp_path: Path) -> None:
    """A file ends where the service's ends: one byte less or more than a block changes nothing."""
    jobs = [
        service.add_job("100", wav=wav_of_size(size, size))
        for size in (65_535, 65_536, 65_537, 262_144, 44, 300_001)
    ]
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        for job in jobs:
            path = mount.path / "tempolor" / job.item / "song.wav"
            assert sha256(path) == digest(job.assets["wav"])
            assert path.stat().st_size == job.assets["wav"].size


def test_version_change(service: Service, tmp_path: Path) -> None:
    """When the service has other bytes under the same name, an open handle gets its own version or
    ESTALE, and a new `open` gets the new version whole."""
    job = service.add_job("100", wav=wav_of_size(4_000_044, "old"))
    with mounted(service, tmp_path, deadline=3) as mount:
        mount.list_all()
        wav = mount.path / "tempolor" / job.item / "song.wav"
        with wav.open("rb", buffering=0) as old:
            head = os.pread(old.fileno(), 4096, 0)
            before = os.stat(wav).st_ino
            job.assets["wav"] = new = wav_of_size(4_100_044, "new")
            job.modified = job.updated + 60
            with pytest.raises(OSError) as caught:
                os.pread(old.fileno(), 4096, 3_500_000)
            assert caught.value.errno == errno.ESTALE
            assert os.pread(old.fileno(), 4096, 0) == head
        assert sha256(wav) == digest(new)
        assert os.stat(wav).st_ino != before
        mount.expect("other bytes now")


def test_many_programs_at_once(stage: Stage) -> None:
    """Twelve programs reading twelve files with seeks all get exact bytes."""
    songs = [stage.job() for _ in range(6)]
    wrong: list[str] = []

    def reads(job: Job, path: Path) -> None:
        if sha256(path) != digest(job.assets["wav"]):
            wrong.append(str(path))

    threads = [
        threading.Thread(target=reads, args=(job, folder / "song.wav"))
        for job, folder in songs
        for _ in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)
