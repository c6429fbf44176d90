"""A booted machine for all tests of this folder that want one, with musicfs installed in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Service, wav_of_size, zip_of
from tests.loopback import Loopback, running
from tests.systemd.machine import LISTENER, ROOT, CannotBoot, Machine, booted

CONFIG = """
api_url = "{api}"
media_url = "{media}"
keep_free = 0
"""
QUICK = "[Service]\nRestartSec=200ms\n"  # what is not about waiting is not to wait
SESSION = f"""[Service]
Type=notify
User={LISTENER}
Environment=XDG_RUNTIME_DIR=/run/user/{LISTENER} HOME=/home/{LISTENER}
ExecStart=/lib/systemd/systemd --user
Delegate=yes
"""
"""What pam and logind start at a login."""


@pytest.fixture(scope="package")
def service() -> Service:
    """Play the services, with a song of each."""
    service = Service(clock=time.time)
    service.add_clip("ada@example.com", "Dawn", 3.0)
    service.add_job(
        "100", "Night Drive", wav=wav_of_size(300_000, "night"), stems=zip_of({"bass.wav": b"RIFF"})
    )
    return service


@pytest.fixture(scope="package")
def loop(service: Service) -> Iterator[Loopback]:
    """Play them on 127.0.0.1, which the machine shares."""
    with running(service) as loop:
        yield loop


@pytest.fixture(scope="package")
def config(loop: Loopback) -> str:
    """Say where they are."""
    return CONFIG.format(api=loop.api_url, media=loop.bucket_url)


@pytest.fixture(scope="package")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot a machine once for all, with the units as they are shipped."""
    try:
        with booted(tmp_path_factory.mktemp("machine")) as machine:
            install(machine)
            yield machine
    except CannotBoot as reason:
        pytest.skip(str(reason))


def install(machine: Machine) -> None:
    """Put everything where a package would."""
    machine.path("/usr/bin/musicfs").unlink(missing_ok=True)
    machine.path("/usr/bin/musicfs").symlink_to(ROOT / ".venv/bin/musicfs")
    for name in ("musicfs.service", "musicfs@.service"):
        kind = "user" if "@" in name else "system"
        machine.write(f"/usr/lib/systemd/{kind}/{name}", (ROOT / "systemd" / name).read_text())
        machine.write(f"/etc/systemd/{kind}/{name}.d/quick.conf", QUICK)
    machine.write("/usr/lib/sysusers.d/musicfs.conf", Path(ROOT / "packaging/sysusers").read_text())
    machine.done("systemd-sysusers", "/usr/lib/sysusers.d/musicfs.conf")
    for line, place in (("x:{0}:{0}::/home/{0}:/bin/sh", "passwd"), ("x:{0}:", "group")):
        with machine.path(f"/etc/{place}").open("a") as file:
            file.write(f"listener:{line}\n".format(LISTENER))
    for folder in (f"/home/{LISTENER}", f"/run/user/{LISTENER}"):
        machine.done("install", "-d", "-m", "700", "-o", str(LISTENER), "-g", str(LISTENER), folder)
    # A disk of its own: on an overlay a lock's file is not the one that /proc/locks names.
    options = f"mode=700,uid={LISTENER},gid={LISTENER}"
    machine.done("mount", "-t", "tmpfs", "-o", options, "tmpfs", f"/home/{LISTENER}")
    machine.write("/etc/systemd/system/session.service", SESSION)
    machine.done("systemctl", "daemon-reload")
