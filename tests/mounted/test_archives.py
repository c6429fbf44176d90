"""Archives and titles made to do harm, through a real mount: the good members are served exactly, the bad
ones are left out and named, and the daemon stays small, quick and alive.

How it thinks: one mount for all of them, so that its memory is measured over the whole lot. The archives
are written by hand where no honest program would write them; expected bytes are what was put in."""

from __future__ import annotations

import errno
import io
import os
import random
import re
import struct
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicfs.demo import Job, Member, Mp3Noise, Plain, Service, m4a_of, wav_of_size, zip_of
from musicfs.demo.assets import Source
from tests.mounted.mounting import Mount, digest, done, mounted, run, sha256, until

MIB = 1024 * 1024
GROWTH = 64 * MIB  # bytes that the daemon may grow by over all of these archives together
PIECE = 262_144  # bytes inflated at a time
GOOD = b"RIFF" + bytes(range(256)) * 40
OTHER = b"RIFF" + bytes(range(255, -1, -1)) * 40
NOISE = b"RIFF" + random.Random(5).randbytes(3 * MIB)
LONG_AGO = 7200.0  # seconds since a job was finished, so that a refusal of its stems is the last word


# Archives by hand -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Raw:
    """One entry, written as told."""

    name: bytes
    packed: bytes
    size: int
    crc: int
    method: int = 0
    at: int | None = None
    """Claim that the local header lies there."""
    wide: bool = False
    """Put sizes and offset into a zip64 extra field."""


def stored(name: bytes, data: bytes, at: int | None = None, wide: bool = False) -> Raw:
    """Make an honest stored entry."""
    return Raw(name, data, len(data), zlib.crc32(data), at=at, wide=wide)


def deflate(data: bytes) -> bytes:
    """Pack as an archive does."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def written(entries: list[Raw], zip64: bool = False) -> bytes:
    """Lay out entries as an archive; with `zip64`, with the wide end records."""
    body, directory = bytearray(), bytearray()
    for entry in entries:
        place = len(body) if entry.at is None else entry.at
        if entry.at is None:
            shared = (20, 0, entry.method, 0, 0x5C21, entry.crc, len(entry.packed), entry.size)
            body += struct.pack("<I5H3I2H", 0x04034B50, *shared, len(entry.name), 0) + entry.name
            body += entry.packed
        values = [len(entry.packed), entry.size, place]
        extra = b""
        if entry.wide:
            extra = struct.pack("<2H3Q", 1, 24, entry.size, len(entry.packed), place)
            values = [0xFFFFFFFF] * 3
        head = (45, 45, 0, entry.method, 0, 0x5C21, entry.crc, *values[:2], len(entry.name), len(extra))
        directory += struct.pack("<I6H3I5H2I", 0x02014B50, *head, 0, 0, 0, 0, values[2]) + entry.name + extra
    start, length, count = len(body), len(directory), len(entries)
    end = struct.pack("<I4H2IH", 0x06054B50, 0, 0, count & 0xFFFF, count & 0xFFFF, length, start, 0)
    if zip64:
        record = struct.pack("<IQ2H2I4Q", 0x06064B50, 44, 45, 45, 0, 0, count, count, length, start)
        locator = struct.pack("<IIQI", 0x07064B50, 0, start + length, 1)
        end = record + locator + struct.pack("<I4H2IH", 0x06054B50, *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)
    return bytes(body + directory) + end


class Pipe(io.RawIOBase):
    """A file that can only be written on, so that zipfile has to use data descriptors."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += memoryview(data)  # type: ignore[arg-type]
        return memoryview(data).nbytes  # type: ignore[arg-type]


def streamed(members: dict[str, bytes]) -> bytes:
    """Write an archive as a streaming service does: lengths and checksums behind each member."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for number, (name, data) in enumerate(members.items()):
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
    return bytes(pipe.data)


SILENCES = {f"silence-{size}.wav": size for size in (50 * MIB, PIECE + 24, 4 * PIECE + 188, PIECE, 0)}
"""Sizes of silent stems: a long one, and some at which zlib still holds bytes when all is fed to it."""

BAD_NAMES: list[str | bytes] = [
    *("../evil.wav", "nested/../../evil.wav", "/etc/passwd", "C:/drive.wav", "back\\..\\slash.wav"),
    *(".", "..", "a//b.wav", "-rf.wav", ".hidden.wav", "end.wav ", "x" * 300 + ".wav", "é" * 140 + ".wav"),
    *("nul\0.wav", "esc\x1b[31m.wav", "new\nline.wav", "c1\x85.wav", "bidi\u202egpj.wav", "mark\u200f.wav"),
    *("__MACOSX/._good.wav", "a/b/c/d/e/f/g/h/i.wav", "good.wav/inside.wav", "GOOD.wav", "good.wav"),
    *("__macosx/x", "line\u2028.wav", 'quote".wav', "star*.wav"),
]

ARCHIVES: dict[str, tuple[Source, dict[str, bytes]]] = {
    "names": (
        zip_of(
            [Member("good.wav", GOOD)]
            + [Member(name, OTHER) for name in BAD_NAMES]
            + [Member("nested/deep/ök 音.wav", OTHER, deflated=True), Member(b"\x81\xff.wav", GOOD)]
        ),
        {"good.wav": GOOD, "nested/deep/ök 音.wav": OTHER, b"\x81\xff.wav".decode("cp437"): GOOD},
    ),
    "methods": (
        zip_of(
            [
                Member("secret.wav", GOOD, flags=1),
                Member("strong.wav", GOOD, flags=0x40),
                Member("deflate64.wav", GOOD, method=9),
                Member("bzip2.wav", GOOD, method=12),
                Member("longer.wav", GOOD, claimed=len(GOOD) + 5),
                Member("stored.wav", GOOD),
                Member("deflated.wav", OTHER, deflated=True),
            ]
        ),
        {"stored.wav": GOOD, "deflated.wav": OTHER},
    ),
    "zip64": (
        written([stored(b"wide.wav", GOOD, wide=True), stored(b"narrow.wav", OTHER)], zip64=True),
        {"wide.wav": GOOD, "narrow.wav": OTHER},
    ),
    "descriptors": (streamed({"a.wav": GOOD, "b.wav": OTHER}), {"a.wav": GOOD, "b.wav": OTHER}),
    "overlaps": (
        written(
            [
                stored(b"first.wav", GOOD),
                stored(b"same.wav", GOOD, at=0),
                stored(b"inside.wav", GOOD[:100], at=200),
                stored(b"last.wav", OTHER),
                stored(b"outside.wav", GOOD, at=1 << 31),
            ]
        ),
        {"first.wav": GOOD, "last.wav": OTHER},
    ),
    "prefixed": (
        b"\x7fELF" + random.Random(4).randbytes(140_000) + zip_of({"a.wav": GOOD}),
        {"a.wav": GOOD},
    ),
    "commented": (zip_of({"a.wav": GOOD}, comment=b"PK\x05\x06" * 9000), {"a.wav": GOOD}),
    "nested": (
        zip_of({f"Disc {one}/{two}/stem.wav": GOOD + bytes([one, two]) for one in (1, 2) for two in (1, 2)}),
        {f"Disc {one}/{two}/stem.wav": GOOD + bytes([one, two]) for one in (1, 2) for two in (1, 2)},
    ),
    "empty": (zip_of({}), {}),
    "silent": (
        zip_of([Member(name, bytes(size), deflated=True) for name, size in SILENCES.items()]),
        {name: bytes(size) for name, size in SILENCES.items()},
    ),
    "many": (
        written(
            [stored(b"%06d.wav" % number, b"RIFF%06d" % number) for number in range(100_000)], zip64=True
        ),
        {f"{number:06}.wav": b"RIFF%06d" % number for number in range(256)},
    ),
}
"""By title: the archive, and what of it is to be seen."""

UNREADABLE: dict[str, bytes] = {
    "cut": zip_of({"a.wav": GOOD, "b.wav": OTHER})[:-30],
    "cut early": zip_of({"a.wav": GOOD * 20, "b.wav": OTHER * 20})[:300_000],
    "garbage": b"PK\x03\x04" + random.Random(3).randbytes(200_000),
    "tiny": b"PK",
    "page": b"<!DOCTYPE html><html>the service is tired</html>",
    "damaged directory": zip_of({"a.wav": GOOD}).replace(b"PK\x01\x02", b"PK\x01\x03"),
    "far directory": written([stored(b"a.wav", GOOD)])[:-22]
    + struct.pack("<I4H2IH", 0x06054B50, 0, 0, 1, 1, 0x7FFFFFFF, 0, 0),
}

LIARS: dict[str, Raw] = {
    "bomb": Raw(b"bomb.wav", deflate(bytes(200 * MIB)), 2000, 0, 8),
    "wrong checksum": Raw(b"wrong.wav", deflate(NOISE), len(NOISE), 12345, 8),
    "short": Raw(b"short.wav", deflate(GOOD), len(GOOD) + 100, zlib.crc32(GOOD), 8),
    "not deflated": Raw(b"not.wav", b"\xff" * 5000, 5000, zlib.crc32(GOOD), 8),
}
"""Members that show only when they are unpacked that they are not what they promise."""


# The mount ------------------------------------------------------------------------------------------------


class Stage:
    """The mount, and where each title's stems are."""

    def __init__(self, mount: Mount, service: Service) -> None:
        self.mount, self.service = mount, service
        self.jobs: dict[str, Job] = {}

    def add(self, title: str, stems: Source) -> None:
        """Give the service a job of two hours ago."""
        then = time.time() - LONG_AGO
        job = self.service.add_job("100", title, 0.5, stems=stems, created=then, updated=then)
        self.jobs[title] = job

    def stems(self, title: str) -> Path:
        """Say where a job's stems are."""
        return self.mount.path / "tempolor" / self.jobs[title].item / "stems"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount one job for each archive."""
    service = Service(clock=time.time)
    with mounted(service, tmp_path_factory.mktemp("archives"), listing_ttl=1) as mount:
        stage = Stage(mount, service)
        for title, (archive, _) in ARCHIVES.items():
            stage.add(title, archive)
        for title, data in UNREADABLE.items():
            stage.add(title, data)
        for title, liar in LIARS.items():
            stage.add(title, written([stored(b"before.wav", GOOD), liar, stored(b"after.wav", OTHER)]))
        mount.listed("tempolor")
        yield stage


def peak(mount: Mount) -> int:
    """Give the most memory the daemon ever had, in bytes."""
    told = Path(f"/proc/{mount.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", told)
    assert found is not None
    return int(found[1]) * 1024


@pytest.fixture(autouse=True)
def _small(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test over which the daemon has grown too much."""
    if "stage" not in request.fixturenames:
        yield
        return
    mount = request.getfixturevalue("stage").mount
    before = peak(mount)
    yield
    assert peak(mount) - before <= GROWTH


def walked(folder: Path) -> dict[str, str]:
    """Hash every file below a folder, by path."""
    found = {}
    for here, _, files in os.walk(folder, onerror=_raise):
        for name in files:
            path = Path(here, name)
            assert path.stat().st_size == len(path.read_bytes())
            found[str(path.relative_to(folder))] = sha256(path)
    return found


def _raise(failure: OSError) -> None:
    raise failure


@pytest.mark.parametrize("title", ARCHIVES)
def test_good_members(title: str, stage: Stage) -> None:
    """Of a hostile archive the good members are listed, and no others, and have exactly their bytes, soon."""
    stage.mount.expect("left out")
    begin = time.monotonic()
    wanted = {name: digest(data) for name, data in ARCHIVES[title][1].items()}
    assert walked(stage.stems(title)) == wanted
    assert time.monotonic() - begin < 15


def test_left_out_are_named(stage: Stage) -> None:
    """What was left out is named in the log with its reason, each once, in printable characters."""
    stage.mount.expect("left out")
    for title in ("names", "methods", "overlaps", "many"):
        os.listdir(stage.stems(title))
    log = stage.mount.log
    said = re.findall(r"left out '(.*?)': (.*)", log)
    names = [name for name, _ in said]
    for name in ("../evil.wav", "/etc/passwd", "secret.wav", "deflate64.wav", "same.wav", "GOOD.wav"):
        assert names.count(name) == 1
    assert dict(said)["deflate64.wav"].startswith("packed by the unknown method 9")
    assert dict(said)["…"].startswith("and 99")
    assert len(said) < 400
    assert all(char.isprintable() for char in log.replace("\n", ""))


@pytest.mark.parametrize("title", UNREADABLE)
def test_unreadable(title: str, stage: Stage) -> None:
    """An archive that cannot be read is EIO for its folder, at once and again, never an empty folder; the
    log has one line of it, however often a program looks; the song beside it plays."""
    stage.mount.expect("stems")
    for _ in range(20):
        with pytest.raises(OSError) as caught:
            os.listdir(stage.stems(title))
        assert caught.value.errno == errno.EIO
        with pytest.raises(OSError):
            (stage.stems(title) / "drums.wav").stat()
    lines = [line for line in stage.mount.warnings() if stage.jobs[title].item in line]
    assert lines == stage.mount.warnings()
    assert len(lines) == 1
    song = stage.stems(title).parent / "song.wav"
    assert sha256(song) == digest(stage.jobs[title].assets["wav"])


@pytest.mark.parametrize("title", LIARS)
def test_liars(title: str, stage: Stage) -> None:
    """A member that is not what its directory promises is an error and never other bytes; its neighbours are
    exact."""
    stage.mount.expect("member|inflated")
    folder = stage.stems(title)
    name = LIARS[title].name.decode()
    assert set(os.listdir(folder)) == {"before.wav", name, "after.wav"}
    for _ in (0, 1):
        ended = run(["cat", folder / name], limit=15)
        assert ended.returncode == 1
        assert os.strerror(errno.EIO) in ended.stderr
    assert sha256(folder / "before.wav") == digest(GOOD)
    assert sha256(folder / "after.wav") == digest(OTHER)


def test_bytes_behind_the_end(stage: Stage) -> None:
    """A deflated member with megabytes behind its own end is served exactly, and they are not kept."""
    junk = Raw(b"a.wav", deflate(GOOD) + bytes(80 * MIB), len(GOOD), zlib.crc32(GOOD), 8)
    stage.add("junk", written([junk]))
    until(lambda: stage.jobs["junk"].item in stage.mount.listed("tempolor"))
    assert walked(stage.stems("junk")) == {"a.wav": digest(GOOD)}


def test_rebuilt_archive(stage: Stage) -> None:
    """When an archive is built anew under a known directory, an open member gives its own bytes or ESTALE;
    soon the new members are listed and have the new bytes, and the old ones are gone."""
    stage.mount.expect("other bytes now", "built anew")
    old = {name: wav_of_size(2 * MIB, f"old {name}") for name in ("a.wav", "b.wav")}
    new = {name: wav_of_size(2 * MIB + 40, f"new {name}") for name in ("b.wav", "c.wav")}
    stage.add("rebuilt", zip_of(old))
    until(lambda: stage.jobs["rebuilt"].item in stage.mount.listed("tempolor"))
    folder, job = stage.stems("rebuilt"), stage.jobs["rebuilt"]
    with (folder / "a.wav").open("rb", buffering=0) as held:
        before = os.fstat(held.fileno()).st_ino
        head = os.pread(held.fileno(), 4096, 0)
        assert head == old["a.wav"].read(0, 4096)
        job.assets["stems"] = Plain(zip_of(new))
        job.modified = job.updated + 60
        with pytest.raises(OSError) as caught:
            os.pread(held.fileno(), 4096, 2 * MIB - 4096)
        assert caught.value.errno == errno.ESTALE
        assert os.pread(held.fileno(), 4096, 0) == head
        until(lambda: _read_or_stale(folder / "b.wav") == digest(new["b.wav"]))
    assert walked(folder) == {name: digest(data) for name, data in new.items()}
    until(lambda: not (folder / "a.wav").exists())  # the kernel knew it, and is told in a moment
    assert (folder / "b.wav").stat().st_ino != before


def _read_or_stale(path: Path) -> str | None:
    ended = run(["sha256sum", path])
    assert ended.returncode == 0 or os.strerror(errno.ESTALE) in ended.stderr
    return ended.stdout[:64] or None


# Titles ---------------------------------------------------------------------------------------------------


SPICES = [
    *(
        "\u202e",
        "\u200f",
        "\u2066",
        "\x00",
        "\x07",
        "\x1b[2J",
        "\n",
        "\r\n",
        "\t",
        "\x85",
        "\u2028",
        "\ufeff",
    ),
    *("/", "\\", ":", "*", "?", '"', "<", ">", "|", "..", ".", " ", "-", "~", "%2f", "%00", "\ufffd"),
    *(
        "😀",
        "👩‍👩‍👧‍👦",
        "é",
        "e\u0301",
        "ﬁ",
        "ß",
        "İ",
        "ı",
        "Å",
        "A\u030a",
        "桜",
        "ى",
        "\u0301",
        "\U0001f1eb",
    ),
    *(
        "con",
        "NUL",
        "aux.wav",
        "LPT1",
        "COM¹",
        "desktop.ini",
        "Thumbs.db",
        ".Trash-1000",
        "$HOME",
        "`id`",
        ";",
    ),
    *("Song", "SONG", "song", " - drums", " - bass", "[abcdef]", "ada@example.com", "--delete", "-rf"),
]
"""What titles are stirred from."""

WHOLE_TITLES: list[str | None] = [
    *(None, "", " ", ".", "..", "/", "//", "...", "-", "\x00", "\u202e", "Untitled", "UNTITLED", "library"),
    *("x" * 300, "é" * 300, "e\u0301" * 300, "\u0301" * 300, "😀" * 300, "/" * 300, "a/" * 150, "." * 300),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "a" * 254 + "é",
        "x" * 250 + ".mp3",
        "stems",
        "song.mp3",
        "con",
        "NUL ",
    ),
]


UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u2028-\u202e\u061c\u200e\u200f\u2066-\u2069]')
"""What no name may hold (DESIGN §1)."""


def hostile_titles(count: int) -> list[str | None]:
    """Give as many titles, case twins and plain repetitions among them."""
    dice = random.Random(11)
    titles = list(WHOLE_TITLES)
    while len(titles) < count:
        made = "".join(dice.choice(SPICES) for _ in range(dice.choice((1, 2, 3, 8, 60))))
        titles += [made, dice.choice((made, made.upper(), unicodedata.normalize("NFD", made)))]
    return titles[:count]


@pytest.mark.timeout(400)  # a thousand songs are fetched: over a minute where seven others wanted it too
def test_hostile_titles(service: Service, tmp_path: Path) -> None:
    """A thousand hostile titles in library/: every name is valid UTF-8 of at most 255 bytes, safe to print
    and no one's twin, every folder can be entered, and `rsync -a` takes them all; a second one prints
    nothing."""
    mp3, m4a, wav = Mp3Noise(0.1), m4a_of(0.01), wav_of_size(300)
    for number, title in enumerate(hostile_titles(1000)):
        if number % 4:
            service.add_job("100", title, 0.1, mp3=mp3, wav=wav)
        else:
            service.add_clip("ada@example.com", title, 0.1, mp3=mp3, m4a=m4a, wav=wav)
    with mounted(service, tmp_path, listing_ttl=600) as mount:
        library, copy = mount.path / "library", tmp_path / "copy"
        copy.mkdir()
        folders = mount.songs()
        assert len(folders) == 1000
        names = {folder: os.listdir(library / folder) for folder in folders}
        for folder, files in names.items():
            assert len(files) >= 3
            for name in (folder, *files):
                assert len(name.encode("utf-8")) <= 255
                assert UNSAFE.search(name) is None
                assert unicodedata.is_normalized("NFC", name)
                assert name[0] not in ".- "
                assert name[-1] not in ". "
        folded = {unicodedata.normalize("NFC", unicodedata.normalize("NFD", one).casefold()) for one in names}
        assert len(folded) == 1000
        # Stems cost a link a song; the songs themselves are what is copied here.
        words = ["rsync", "-ai", "--exclude=/*/stems/", f"{library}/", f"{copy}/"]
        done(words, limit=300)
        assert done(words) == ""
        for folder, files in names.items():
            assert set(os.listdir(copy / folder)) == {name for name in files if name != "stems"}
        assert all(char.isprintable() for char in mount.log.replace("\n", ""))
