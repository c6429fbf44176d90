"""The token, signed URLs and e-mail addresses stay where they belong, whatever goes wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from musicfs.demo import DEMO_TOKEN, Role, Service, wav_of_size, zip_of
from musicfs.demo.faults import denied_link, garbage, html, json_error, throttled, xml_error
from tests.mounted.mounting import Mount, mounted, run, until

EMAILS = ("ada@example.com", "ben+music@example.org")
MARKS = ("auth_key=", "X-Goog-Signature", "Bearer ")


class Aftermath:
    """What is left to be searched after a day with every kind of trouble."""

    def __init__(self, mount: Mount, service: Service, said: str) -> None:
        self.mount, self.service, self.said = mount, service, said


def attempt(path: Path) -> None:
    """Read a file or list a folder, whatever comes of it."""
    run(["cat", path] if path.suffix else ["ls", path])


def trouble(mount: Mount, service: Service) -> None:
    """Go through every kind of fault with every kind of file."""
    faults = {
        "mp3": (json_error(403), json_error(596, f"Account {EMAILS[0]} in error state"), html(500)),
        "mint": (garbage(), json_error(402), throttled(1), html(502)),
        "range": (denied_link(), xml_error(404, "NoSuchKey"), html(200)),
    }
    clips, jobs = iter(service.flow.clips), iter(service.tempolor.jobs)
    for kind, answers in faults.items():
        for answer in answers:
            clip, job = next(clips), next(jobs)
            fault = service.fail(answer, kind=kind)
            paths = [
                mount.path / "flowmusic" / f"{clip.uuid}.mp3",
                mount.path / "flowmusic" / f"{service.flow.handle(clip)}.wav",
                mount.path / "tempolor" / job.item / "song.wav",
                mount.path / "tempolor" / job.item / "stems",
            ]
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(attempt, paths))
            service.faults.remove(fault)
    service.flow.break_account(EMAILS[1], f"refresh token of {EMAILS[1]} rejected")
    service.fail(json_error(401, f"Bearer {DEMO_TOKEN} is not known"), kind="list", times=2)
    until(lambda: mount.listed("flowmusic") and service.counts["list"] >= 8)
    for folder, _, names in os.walk(mount.path):  # A folder that cannot be had now is passed over.
        for name in names:
            attempt(Path(folder, name))
    # Whole again, so that the log is quiet while it is searched.
    service.clear()
    service.flow.add_account(EMAILS[1])
    asked = service.counts["list"] + 8
    until(lambda: mount.listed("flowmusic") and service.counts["list"] >= asked)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Run a mount, as talkative as it can be, through all of it."""
    service = Service(clock=time.time)
    service.knobs.list_urls = service.knobs.signed_bucket = True
    for number in range(12):
        service.add_clip(EMAILS[number % 2], f"Song {number}", 3.0)
        service.add_job(
            "100", f"Job {number}", wav=wav_of_size(100_044, number), stems=zip_of({"a.wav": b"RIFF"})
        )
    home = tmp_path_factory.mktemp("secrets")
    with mounted(service, home, deadline=2, listing_ttl=1, log_level="debug") as mount:
        mount.expect("WARNING")
        mount.list_all()
        trouble(mount, service)
        status = mount.ask("status", str(mount.path)), mount.ask("status", "--json", str(mount.path))
        assert [asked.returncode for asked in status] == [0, 0]
        why = [mount.ask("why", str(path)) for path in list(mount.path.rglob("*.mp3"))[:6]]
        said = "".join(asked.stdout + asked.stderr for asked in (*status, *why))
        yield Aftermath(mount, service, said)


def holds(text: str, *more: str) -> list[str]:
    """Name the secrets that a text holds."""
    return [secret for secret in (DEMO_TOKEN, *MARKS, *EMAILS, *more) if secret in text]


def files(folder: Path) -> list[Path]:
    """List every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_socket()]


def test_log(aftermath: Aftermath) -> None:
    """No log line, at the lowest level too, holds the token, a signed query or an e-mail address."""
    assert "DEBUG" in aftermath.mount.log
    assert holds(aftermath.mount.log) == []


def test_status_and_why(aftermath: Aftermath) -> None:
    """`status`, `status --json` and `why` hold none."""
    assert "account 1" in aftermath.said
    assert holds(aftermath.said) == []


def test_cache(aftermath: Aftermath) -> None:
    """No cache file, no name of one and no name in the mount holds any."""
    home = aftermath.mount.home
    kept = files(home / "cache")
    assert kept
    for path in kept:
        assert holds(path.read_bytes().decode("latin-1")) == []
    names = [str(path.relative_to(home)) for path in home.rglob("*")]
    assert holds("\n".join(names)) == []


def test_state(aftermath: Aftermath) -> None:
    """No state file holds the token or a signed query; e-mail addresses are in the state folder alone,
    which is 0700."""
    home = aftermath.mount.home
    kept = files(home / "state")
    assert kept
    text = "".join(path.read_bytes().decode("latin-1") for path in kept)
    assert set(holds(text)) <= set(EMAILS)
    assert "auth_key" not in text
    for folder in ("state", "cache"):
        assert (home / folder).stat().st_mode & 0o777 == 0o700


def test_runtime(aftermath: Aftermath) -> None:
    """The folder of sockets and the register of mounts hold none."""
    for path in files(aftermath.mount.home / "run"):
        assert holds(path.read_text()) == []


def test_proc(aftermath: Aftermath) -> None:
    """`/proc/mounts` and the daemon's command line hold none."""
    mounts = Path("/proc/mounts").read_text()
    assert str(aftermath.mount.path) in mounts
    assert holds(mounts) == []
    assert holds(Path(f"/proc/{aftermath.mount.pid}/cmdline").read_text()) == []


def test_no_xattrs(aftermath: Aftermath) -> None:
    """There are no extended attributes to hold any."""
    for path in list(aftermath.mount.path.rglob("*"))[:20]:
        assert _xattrs(path) == []


def _xattrs(path: Path) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []


def test_byte_servers_see_no_credentials(aftermath: Aftermath) -> None:
    """No byte server ever saw `Authorization`; the API saw it every time."""
    for record in aftermath.service.log:
        assert record.authorised is (record.role is Role.API)
    assert {record.role for record in aftermath.service.log} == set(Role)


def test_only_get(aftermath: Aftermath) -> None:
    """No request but GET left the house."""
    assert {record.method for record in aftermath.service.log} == {"GET"}
