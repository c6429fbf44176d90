"""`status`, `why` and extended attributes, through a real mount."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo import Role, Service, wav_of_size
from musicfs.demo.faults import json_error
from tests.mounted.mounting import Mount, done, mounted, sha256, until

MIB = 1024 * 1024


def status(mount: Mount) -> dict[str, Any]:
    """Ask for the status."""
    told: dict[str, Any] = json.loads(mount.ask("status", "--json", str(mount.path)).stdout)
    return told


def why(mount: Mount, path: Path) -> dict[str, Any]:
    """Ask about a path."""
    told: dict[str, Any] = json.loads(mount.ask("why", "--json", str(path)).stdout)
    return told


def test_status_follows_a_copy(service: Service, tmp_path: Path) -> None:
    """While a program copies a song it is told by name, with the file's title, how fast and who waits;
    afterwards times to the first byte, hits and what was asked are there, also after a restart."""
    service.add_job("100", "Large", wav=wav_of_size(4 * MIB, "large"))
    seen = threading.Event()
    service.twist(role=Role.CDN, drip=2 * MIB, gate=seen.is_set)
    with mounted(service, tmp_path, deadline=60) as mount:
        path = mount.path / "library/Large/Large.wav"
        mount.listed("library")
        with subprocess.Popen(["cp", path, tmp_path / "copy"]):
            try:
                until(lambda: any(one["rate"] for one in status(mount)["transfers"]))
                (transfer, *_) = status(mount)["transfers"]
                assert transfer["path"] == "library/Large/Large.wav"
                assert transfer["programs"] == ["cp"]
                assert transfer["size"] == 4 * MIB
                assert "library/Large/Large.wav  cp  " in mount.ask("status", str(mount.path)).stdout
            finally:
                seen.set()
        until(lambda: why(mount, path)["state"] == "cached")  # bytes are served before they are kept
        with path.open("rb") as file:
            # Or the kernel's own cache would answer the second reading, and the daemon never see it.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert len(file.read()) == 4 * MIB
        told = status(mount)
        assert told["transfers"] == []
        assert told["first_byte"]["fetched"]["files"] == 1
        assert told["first_byte"]["cached"]["files"] == 1
        # Now and then the kernel (6.18) asks for a page again that it was just given.
        assert told["cache"]["hit_rate"] == pytest.approx(0.5, abs=0.01)
        asked = told["upstream"]["today"]["kinds"]
        assert asked["mint"] == 1
        mount.restart()
        assert status(mount)["upstream"]["today"]["kinds"]["mint"] == 1
        assert "mint" not in status(mount)["upstream"]["kinds"]


def test_why_from_cold_to_pinned(service: Service, tmp_path: Path) -> None:
    """Cold, partial, cached, pinned; exact or an estimate; and what failed, when, and what to do."""
    job = service.add_job("100", "Tide", wav=wav_of_size(2 * MIB, "tide"))
    with mounted(service, tmp_path) as mount:
        path = mount.path / "library/Tide/Tide.wav"
        mount.listed("library")
        cold = why(mount, path)
        assert (cold["state"], cold["exact"], cold["pinned"]) == ("cold", False, False)
        assert cold["what"] == f"the wav of “Tide” (TemPolor {job.item})"
        fault = service.fail(json_error(402), kind="mint")
        mount.expect("402")
        with pytest.raises(PermissionError):
            path.open("rb")
        said = mount.ask("why", str(path)).stdout
        assert "the subscription is missing or has lapsed (402). It is tried again when" in said
        assert said.endswith("Renew the subscription at useapi.net.\n")
        (error,) = status(mount)["errors"]
        assert (error["path"], error["remedy"]) == (
            "library/Tide/Tide.wav",
            "Renew the subscription at useapi.net.",
        )
        service.faults.remove(fault)
        until(lambda: _opens(path))
        until(lambda: why(mount, path)["state"].startswith("partial"))
        partial = why(mount, path)
        assert (partial["exact"], partial["size"], partial["failure"]) == (True, 2 * MIB, None)
        sha256(path)
        until(lambda: why(mount, path)["state"] == "cached")
        assert mount.ask("warm", str(path)).returncode == 0
        said = mount.ask("why", str(path)).stdout
        what = f"{path}: the wav of “Tide” (TemPolor {job.item})"
        assert said.startswith(f"{what}, cached, pinned. 2.0 MiB (exact). It comes from ")


def _opens(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return len(file.read(4)) == 4
    except OSError:
        return False


def test_attributes_are_off_unless_wanted(service: Service, tmp_path: Path) -> None:
    """The kernel is told that there are none, and `ls -l` and `cp -a` do not mind."""
    service.add_clip("ada@example.com", "Tide", 2.0)
    with mounted(service, tmp_path) as mount:
        path = mount.path / "library/Tide/Tide.mp3"
        mount.listed("library")
        for ask in (lambda: os.getxattr(path, "user.musicfs.state"), lambda: os.listxattr(path)):
            with pytest.raises(OSError, match="supported") as caught:
                ask()
            assert caught.value.errno == errno.EOPNOTSUPP
        done(["ls", "-l", path.parent])
        done(["cp", "-a", path, tmp_path / "copy"])


def test_attributes_say_what_why_says(service: Service, tmp_path: Path) -> None:
    """With `xattrs = true` files and folders carry the same words; asking costs upstream nothing; an unknown
    name is ENODATA, ACLs are none, and `cp -a` takes the words along where the disk has room for them."""
    service.add_clip("ada@example.com", "Tide", 2.0)
    with mounted(service, tmp_path, xattrs="true") as mount:
        path = mount.path / "library/Tide/Tide.mp3"
        mount.listed("library")
        asked = len(service.log)
        assert os.getxattr(path, "user.musicfs.state") == b"cold"
        assert b"an estimate" in os.getxattr(path, "user.musicfs.size")
        assert set(os.listxattr(path)) == {f"user.musicfs.{name}" for name in ("state", "size", "source")}
        assert os.getxattr(mount.path, "user.musicfs.state") == b"known"
        for name in ("user.musicfs.none", "system.posix_acl_access"):
            with pytest.raises(OSError, match=r"No data|not supported"):
                os.getxattr(path, name)
        assert len(service.log) == asked
        said = b" ".join(os.getxattr(path, name) for name in os.listxattr(path))
        assert not [one for one in (b"ada@", b"user:", b"auth_key", b"?") if one in said]
        done(["ls", "-l", path.parent])
        done(["cp", "-a", path, tmp_path / "copy"])
        until(lambda: os.getxattr(path, "user.musicfs.state") == b"cached")
        assert why(mount, path)["source"].encode() == os.getxattr(path, "user.musicfs.source")
        assert mount.ask("warm", str(path)).returncode == 0
        assert os.getxattr(path, "user.musicfs.pinned") == b"yes"


def test_the_doctor_beside_a_mount(service: Service, tmp_path: Path) -> None:
    """It finds the daemon and its lock, asks the services as the mount would, and its report has the status
    without names."""
    service.add_clip("ada@example.com", "Tide", 2.0)
    with mounted(service, tmp_path) as mount:
        mount.listed("library")
        told = json.loads(mount.ask("doctor", "--json").stdout)["findings"]
        says = [one["says"] for one in told]
        assert f"{mount.path} is served by process {mount.pid}" in says
        assert f"the cache is in use by the musicfs on {mount.path} (process {mount.pid})" in says
        assert "its songs can be listed" in says
        assert "answered the daemon when it was last asked" in says
        report = mount.ask("doctor", "--report").stdout
        assert '"uptime"' in report
        for secret in ("Tide", "ada@example.com", mount.environ["MUSICFS_TOKEN"]):
            assert secret not in report


def test_a_stuck_daemon_stops_no_command(service: Service, tmp_path: Path) -> None:
    """With the daemon stopped (SIGSTOP), `status` and `why` end with a sentence and 69, and `doctor` ends."""
    with mounted(service, tmp_path) as mount:
        os.kill(mount.pid, 19)
        try:
            asked = [
                subprocess.Popen(
                    [sys.executable, "-m", "musicfs", *words],
                    env=mount.environ,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for words in (("status",), ("why", f"{mount.path}/library"), ("doctor",))
            ]
            for one in asked[:2]:
                said = one.communicate(timeout=60)[1]
                assert (one.returncode, "does not answer within" in said) == (69, True), said
            asked[2].communicate(timeout=90)
        finally:
            os.kill(mount.pid, 18)
