"""Nothing is asked but what is wanted: listings, looks and first bytes cost what they must."""

from __future__ import annotations

import glob
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import host
from musicfs.demo import Role, Service, archive_of, big_zip, wav_of_size, zip_of
from musicfs.demo.archive import Member
from tests.mounted.mounting import PLAYLISTS, Mount, done, mounted, run, sha256, until

MIB = 1024 * 1024
BIG = big_zip(160_000_000)


@pytest.fixture(scope="module")
def service() -> Service:
    """Fill a service with a few songs of each kind, one with a large wav and one with a huge archive."""
    service = Service(clock=time.time)
    for number in range(6):
        service.add_clip("ada@example.com", f"Song {number}", 30.0)
        service.add_job("100", f"Job {number}", stems=zip_of({"bass.wav": b"RIFF" + bytes(5000)}))
    service.add_job("100", "Large", wav=wav_of_size(20 * MIB, "large"))
    service.add_job("100", "Large too", wav=wav_of_size(20 * MIB, "large too"))
    service.add_job("100", "Huge", stems=BIG)
    BIG.read(BIG.size - 65_536, BIG.size)  # The service knows its checksums before anybody asks.
    return service


@pytest.fixture(scope="module")
def mount(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """Mount it once for all; no refresh comes between, however long these tests take."""
    with mounted(service, tmp_path_factory.mktemp("economy"), listing_ttl=3600) as mount:
        yield mount.list_all()


@pytest.fixture(autouse=True)
def _counted(service: Service) -> None:
    """Begin to count at each test."""
    service.reset_counts()


def paid(service: Service) -> Counter[str]:
    """Count what costs somebody something: mints, downloads, ranges; listings are not among it."""
    kept = ("mint", "mp3", "range", "whole", "record")
    return Counter({kind: count for kind, count in service.counts.items() if kind in kept})


def item(service: Service, title: str) -> str:
    """Give the folder of a job."""
    return next(job.item for job in service.tempolor.jobs if job.title == title)


def test_ls_flowmusic(mount: Mount, service: Service) -> None:
    """`ls -lR flowmusic` costs no mint and no download."""
    assert len(done(["ls", "-lR", mount.path / "flowmusic"]).splitlines()) == 2 + 6
    assert not paid(service)


def test_ls_library_and_tempolor(mount: Mount, service: Service) -> None:
    """`ls -l library/* tempolor/*` costs no mint and no download: at most one byte of each public file."""
    folders = sorted(glob.glob(f"{mount.path}/library/*") + glob.glob(f"{mount.path}/tempolor/*"))
    assert len(folders) == 6 + 9 + len(PLAYLISTS) + 9
    done(["ls", "-l", *folders])
    asked = paid(service)
    assert set(asked) <= {"range"}
    assert asked["range"] <= 12
    assert service.bytes_sent(Role.CDN) == 0
    assert service.bytes_sent(Role.BUCKET) <= 12


def test_ls_again(mount: Mount, service: Service) -> None:
    """A second look at everything costs nothing at all."""
    done(["ls", "-lR", mount.path / "library", mount.path / "flowmusic"])
    service.reset_counts()
    done(["ls", "-lR", mount.path / "library", mount.path / "flowmusic"])
    assert not paid(service)


def test_first_look_at_stems(mount: Mount, service: Service) -> None:
    """A `stems/` listed for the first time costs one mint, later ones none."""
    job = service.add_job("200", "Later", stems=zip_of({"a.wav": b"RIFF" + bytes(9000)}))
    folder = mount.path / "tempolor" / service.tempolor.handle(job) / "stems"
    assert done(["ls", folder]).split() == ["a.wav"]
    assert paid(service)["mint"] == 1
    for _ in range(3):
        assert done(["ls", folder]).split() == ["a.wav"]
    assert paid(service)["mint"] == 1


def test_first_bytes_of_a_large_wav(mount: Mount, service: Service) -> None:
    """The first 4 KiB of a 20 MiB wav moves at most 1 MiB."""
    wav = mount.path / "tempolor" / item(service, "Large") / "song.wav"
    done(["dd", f"if={wav}", "of=/dev/null", "bs=4k", "count=1", "status=none"])
    assert 4096 <= service.bytes_sent(Role.CDN) <= MIB
    assert paid(service) == {"mint": 1, "range": 1}


def test_the_kernel_asks_for_much_at_a_time(mount: Mount, service: Service) -> None:
    """Where the bound may be written (root's), the kernel reads ahead by 1 MiB; the first 4 KiB cost no byte
    more for it."""
    found = host.find_mount(mount.path)
    assert found is not None
    ahead = Path(f"/sys/class/bdi/0:{found.minor}/read_ahead_kb")
    if not ahead.exists():
        pytest.skip("there is no sysfs here")
    wanted = 1024 if os.access(ahead, os.W_OK) else 128
    until(lambda: int(ahead.read_text()) == wanted)
    wav = mount.path / "tempolor" / item(service, "Large too") / "song.wav"
    done(["dd", f"if={wav}", "of=/dev/null", "bs=4k", "count=1", "status=none"])
    assert service.bytes_sent(Role.CDN) <= 256 * 1024


def test_seek_in_a_large_wav(mount: Mount, service: Service) -> None:
    """Sixteen reads of 64 KiB at random places, each aligned, move what was read and little more."""
    wav = mount.path / "tempolor" / item(service, "Large") / "song.wav"
    with wav.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for number in range(16):
            os.pread(file.fileno(), 65_536, (5 + number * 17 % 16) * MIB)
    assert service.bytes_sent(Role.CDN) <= 2 * MIB


def test_stems_of_a_huge_archive(mount: Mount, service: Service) -> None:
    """Listing the stems of a 160 MB archive is one request for 64 KiB."""
    job = service.add_job("100", "Never seen", stems=BIG)
    folder = mount.path / "tempolor" / service.tempolor.handle(job) / "stems"
    names = ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    assert sorted(done(["ls", folder]).split()) == names
    assert service.bytes_sent(Role.CDN) == 64 * 1024
    assert paid(service) == {"mint": 1, "range": 1, "record": 1}
    sizes = {name: (folder / name).stat().st_size for name in names}
    assert set(sizes.values()) == {40_000_044}


def test_head_of_a_huge_stem(mount: Mount, service: Service) -> None:
    """The first bytes of a stored stem come from the middle of the archive in one request, and nothing else
    of it is fetched."""
    stem = mount.path / "tempolor" / item(service, "Huge") / "stems" / "other.wav"
    mount.listed("tempolor", item(service, "Huge"), "stems")
    service.reset_counts()
    with stem.open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4, 0) == b"RIFF"
    assert paid(service) == {"range": 1}
    assert service.bytes_sent(Role.CDN) <= 128 * 1024


def test_middle_of_a_deflated_stem(mount: Mount, service: Service) -> None:
    """Four programs in the middle of a deflated stem have it inflated once; after that it costs nothing."""
    sound = random.Random(4).randbytes(6 * MIB)
    archive = archive_of([Member("a.wav", b"RIFF" + sound, deflated=True), Member("b.wav", sound[:MIB])])
    job = service.add_job("100", "Packed", stems=archive)
    stem = mount.path / "tempolor" / service.tempolor.handle(job) / "stems" / "a.wav"
    assert stem.stat().st_size == len(sound) + 4
    places = [4 * MIB, 3 * MIB, 5 * MIB, 4 * MIB + 7]
    words = [["dd", f"if={stem}", "bs=64k", "count=1", f"skip={at}", "iflag=skip_bytes"] for at in places]
    readers = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for one in words]
    for at, reader in zip(places, readers, strict=True):
        assert reader.communicate(timeout=20)[0] == sound[at - 4 : at - 4 + 65_536]
    assert service.bytes_sent(Role.CDN) <= archive.size + 64 * 1024
    until(lambda: "cached" in mount.ask("why", str(stem)).stdout)
    service.reset_counts()
    with stem.open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 65_536, 2 * MIB) == sound[2 * MIB - 4 : 2 * MIB + 65_532]
    assert not paid(service)


def test_names_that_do_not_exist(mount: Mount, service: Service) -> None:
    """The names that players and file managers probe for cost nothing, wherever they are asked."""
    song = next(iter(mount.songs()))
    for folder in (
        "",
        "flowmusic",
        "tempolor",
        "library",
        f"library/{song}",
        f"tempolor/{item(service, 'Job 0')}",
    ):
        for name in (".hidden", ".Trash-1000", "Folder.jpg", "AlbumArt.jpg", ".nomedia", "desktop.ini"):
            assert not (mount.path / folder / name).exists()
    assert not (mount.path / "flowmusic" / "00000000-0000-4000-8000-000000000000.mp3").exists()
    assert not paid(service)
    assert not service.counts["list"]


def test_df_costs_nothing(mount: Mount, service: Service) -> None:
    """`df` is answered from local numbers."""
    lines = done(["df", "--output=size,avail", mount.path]).splitlines()
    assert all(int(number) > 0 for number in lines[1].split())
    assert not service.log


def test_storm_of_opens(mount: Mount, service: Service) -> None:
    """Sixty opens of a cold file, as a thumbnailer makes them, cost one check."""
    wav = mount.path / "tempolor" / item(service, "Job 3") / "song.wav"
    storm = [subprocess.Popen(["head", "-c", "100", wav], stdout=subprocess.DEVNULL) for _ in range(20)]
    for _ in range(40):
        os.close(os.open(wav, os.O_RDONLY))
    for program in storm:
        assert program.wait(20) == 0
    assert paid(service) == {"mint": 1, "range": 1}


def test_storm_of_opens_of_a_made_file(mount: Mount, service: Service) -> None:
    """Sixty opens of a cold mp3, which the service makes anew each time, cost one download."""
    mp3 = mount.path / "flowmusic" / f"{service.flow.clips[4].uuid}.mp3"
    for _ in range(60):
        os.close(os.open(mp3, os.O_RDONLY))
    sha256(mp3)
    assert paid(service) == {"mp3": 1}


def test_second_copy_is_free(mount: Mount, service: Service) -> None:
    """What was read once is kept: a second program, and the same song in library/, cost nothing."""
    job = item(service, "Job 5")
    done(["cat", mount.path / "tempolor" / job / "song.wav"])
    service.reset_counts()
    assert (
        run(
            ["cmp", mount.path / "tempolor" / job / "song.wav", mount.path / "library/Job 5/Job 5.wav"]
        ).stdout
        == ""
    )
    assert not paid(service)
