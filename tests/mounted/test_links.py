"""Links are minted once, shared, renewed on refusal and before expiry; the reader notices nothing."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Job, Role, Service, content, wav_of_size
from musicfs.demo.faults import denied_link, xml_error
from tests.mounted.mounting import Mount, digest, mounted, sha256, until


@pytest.fixture
def mount(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount one job with a wav of 20 MiB."""
    service.add_job("100", wav=wav_of_size(20 * 1024 * 1024, "long"))
    with mounted(service, tmp_path, deadline=5) as mount:
        yield mount.list_all()


def wav_of(mount: Mount, service: Service) -> tuple[Job, Path]:
    """Give the job and where its wav is."""
    job = service.tempolor.jobs[0]
    return job, mount.path / "tempolor" / job.item / "song.wav"


def mints(service: Service) -> int:
    """Count the links that were made."""
    return service.counts["mint"]


def read_slowly(path: Path, wanted: bytes, seconds: float) -> None:
    """Read a file in 80 steps that take some seconds in all, comparing each."""
    step = len(wanted) // 80 + 1
    with path.open("rb", buffering=0) as file:
        for at in range(0, len(wanted), step):
            # The link has to grow old for real: it is the service's clock that judges it.
            time.sleep(seconds / 80)
            assert os.pread(file.fileno(), step, at) == wanted[at : at + step]


@pytest.mark.parametrize("told", [0, 2], ids=["life-unknown", "life-told"])
def test_slow_reader_outlives_links(told: int, service: Service, mount: Mount) -> None:
    """With links that live 2 s, whether the service says so or not, a slow reader of a long wav gets exact
    bytes. No link of which that was told is used up to its refusal."""
    # What is told is let live longer, so that no slow machine sends a request too late.
    service.knobs.validity, service.knobs.remain_seconds = 12.0 if told else 2.0, told
    job, wav = wav_of(mount, service)
    began = time.monotonic()
    read_slowly(wav, content(job.assets["wav"]), 6.0)
    took = time.monotonic() - began
    assert 2 <= mints(service) <= took + 2  # a link of 2 s lives 1 s at least: its stamp is in whole seconds
    refused = sum(record.status == 403 for record in service.log)
    assert refused <= (0 if told else 2 * mints(service))  # who reads and who reads ahead find one dead


def test_slow_connection_outlives_links(service: Service, mount: Mount) -> None:
    """With links that live 2 s and a byte server that drips, the file is exact."""
    service.knobs.validity = 2.0
    service.twist(role=Role.CDN, drip=3_000_000)
    job, wav = wav_of(mount, service)
    assert sha256(wav) == digest(job.assets["wav"])
    assert mints(service) >= 2


def test_remaining_zero_is_unknown(service: Service, mount: Mount) -> None:
    """With `remainSeconds: 0` an object is minted once, however often it is opened and wherever it is
    read."""
    job, wav = wav_of(mount, service)
    for at in (0, 19_000_000, 5_000_000, 12_000_000):
        with wav.open("rb", buffering=0) as file:
            assert os.pread(file.fileno(), 5000, at) == job.assets["wav"].read(at, at + 5000)
    assert sha256(wav) == digest(job.assets["wav"])
    assert mints(service) == 1


def test_link_is_shared(service: Service, mount: Mount) -> None:
    """Readers of one object at the same time share one link."""
    job, wav = wav_of(mount, service)
    handles = [os.open(wav, os.O_RDONLY) for _ in range(5)]
    try:
        for number, handle in enumerate(handles):
            at = number * 4_000_000
            assert os.pread(handle, 100, at) == job.assets["wav"].read(at, at + 100)
    finally:
        for handle in handles:
            os.close(handle)
    assert mints(service) == 1


@pytest.mark.parametrize(
    "answer",
    [denied_link(), denied_link("invalid md5hash"), xml_error(404, "NoSuchKey"), xml_error(410, "Gone")],
    ids=["expired", "forged", "missing", "gone"],
)
def test_refused_link_is_healed(answer: object, service: Service, mount: Mount) -> None:
    """A link that is refused in the middle of a file is minted once more, and the read goes on at its
    byte."""
    job, wav = wav_of(mount, service)
    wanted = job.assets["wav"]
    with wav.open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 0) == wanted.read(0, 4096)
        service.fail(answer, times=1, role=Role.CDN)  # type: ignore[arg-type]
        assert os.pread(file.fileno(), 4096, 10_000_000) == wanted.read(10_000_000, 10_004_096)
    assert mints(service) == 2


def test_refused_right_after_its_mint(service: Service, mount: Mount) -> None:
    """A link refused right after its new mint is EACCES, after two mints and no more; then it heals."""
    mount.expect("refused right after")
    job, wav = wav_of(mount, service)
    service.fail(denied_link(), role=Role.CDN)
    with pytest.raises(PermissionError) as caught:
        os.open(wav, os.O_RDONLY)
    assert caught.value.errno == errno.EACCES
    assert mints(service) == 2
    service.clear()
    until(lambda: os.access(wav, os.R_OK) and _opens(wav))
    assert sha256(wav) == digest(job.assets["wav"])


def test_missing_right_after_its_mint(service: Service, mount: Mount) -> None:
    """A listed file whose bytes answer 404 with a new link too is EIO at open, and its entry stays."""
    mount.expect("bytes are not there")
    _, wav = wav_of(mount, service)
    service.fail(xml_error(404, "NoSuchKey"), role=Role.CDN)
    with pytest.raises(OSError) as caught:
        os.open(wav, os.O_RDONLY)
    assert caught.value.errno == errno.EIO
    assert wav.exists()
    assert wav.name in mount.listed("tempolor", wav.parent.name)


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True
