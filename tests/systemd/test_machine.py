"""Both units as they are shipped, under a real systemd: they start, read, die, hang, stop and reload."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import DEMO_TOKEN, Service
from tests.systemd.machine import LISTENER, Machine, Unit

NOBODY = 65_534
SHARED = "/srv/musicfs"
OWN = f"/home/{LISTENER}/musicfs/studio"
SONG = "library/Night Drive/Night Drive.wav"
STOP = 8.0  # seconds; the promise is 5 for musicfs itself, the rest is systemd's on a busy machine


def mounted(machine: Machine, mountpoint: str) -> bool:
    """Say whether process 1 sees a mount there, and with it everybody."""
    return f" {mountpoint} " in Path(f"/proc/{machine.pid}/mountinfo").read_text()


def reads(machine: Machine, mountpoint: str, user: int) -> bool:
    """Say whether a user can read a song whole."""
    done = machine.run("cat", f"{mountpoint}/{SONG}", user=user)
    return done.returncode == 0


@pytest.fixture
def shared(machine: Machine, config: str, service: Service) -> Iterator[Unit]:
    """Start the system unit, with the token as a credential of root's."""
    service.token = DEMO_TOKEN
    machine.write("/etc/musicfs/config.toml", config)
    machine.write("/etc/musicfs/token", DEMO_TOKEN, 0o600)
    unit = Unit(machine, "musicfs.service")
    unit.must("enable", "--now")
    yield unit
    unit.systemctl("disable", "--now", unit.name)
    unit.systemctl("reset-failed")
    assert not mounted(machine, SHARED)


@pytest.fixture(scope="module")
def session(machine: Machine) -> None:
    """Log the listener in."""
    machine.done("systemctl", "start", "session.service")


@pytest.fixture
def own(machine: Machine, session: None, config: str, service: Service) -> Iterator[Unit]:
    """Start the unit of a session, with the token in a file."""
    service.token = DEMO_TOKEN
    home = f"/home/{LISTENER}/.config/musicfs"
    machine.write(f"{home}/studio.toml", f'{config}token_file = "token"\n', owner=LISTENER)
    machine.write(f"{home}/token", DEMO_TOKEN, 0o600, owner=LISTENER)
    unit = Unit(machine, "musicfs@studio.service", session=True)
    unit.must("enable", "--now")
    yield unit
    unit.systemctl("disable", "--now", unit.name)
    unit.systemctl("reset-failed")
    assert not mounted(machine, OWN)


def test_the_shared_mount_is_there_for_all_and_confined(machine: Machine, shared: Unit) -> None:
    """It is ready when `start` returns, everybody sees and reads it, and its daemon has no rights left."""
    assert mounted(machine, SHARED)
    assert reads(machine, SHARED, NOBODY)
    machine.until(lambda: "2 songs, " in shared.shows("StatusText"))
    for task in Path(f"/proc/{shared.process()}/task").iterdir():
        fields = dict(
            line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line
        )
        held = {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
        assert held == {0}, task
        assert (fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("1", "2")


def test_the_credential_is_nobody_elses(machine: Machine, shared: Unit) -> None:
    """The token is in no environment, and its file is root's alone."""
    environ = Path(f"/proc/{shared.process()}/environ").read_text()
    assert DEMO_TOKEN not in environ
    assert machine.run("cat", "/etc/musicfs/token", user=NOBODY).returncode != 0
    assert DEMO_TOKEN not in machine.journal()


def died(unit: Unit, before: int) -> bool:
    """Say whether a unit runs again, in another process."""
    return unit.shows("ActiveState") == "active" and unit.pid not in (0, before)


@pytest.mark.parametrize("name", ["shared", "own"])
def test_it_comes_back_after_a_kill(machine: Machine, name: str, request: pytest.FixtureRequest) -> None:
    """What a killed daemon left is cleared away, and the music is back by itself."""
    unit: Unit = request.getfixturevalue(name)
    mountpoint, user = (SHARED, NOBODY) if name == "shared" else (OWN, LISTENER)
    before = unit.pid
    os.kill(unit.process(), signal.SIGKILL)
    machine.until(lambda: died(unit, before))
    assert reads(machine, mountpoint, user)


@pytest.mark.parametrize("name", ["shared", "own"])
def test_a_hanging_daemon_is_started_again(
    machine: Machine, name: str, request: pytest.FixtureRequest
) -> None:
    """One that stands still is noticed by the watchdog, ended and replaced."""
    kind, template = ("system", "musicfs.service") if name == "shared" else ("user", "musicfs@.service")
    drop_in = f"/etc/systemd/{kind}/{template}.d/watchdog.conf"
    # Five seconds in place of sixty: a busy machine may starve a healthy daemon for one or two.
    machine.write(drop_in, "[Service]\nWatchdogSec=5s\nLimitCORE=0\n")
    reload = ["systemctl", "daemon-reload"]
    if name == "own":
        request.getfixturevalue("session")
        machine.done("systemctl", "--user", "daemon-reload", user=LISTENER, session=True)
    else:
        machine.done(*reload)
    try:
        unit: Unit = request.getfixturevalue(name)
        before = unit.pid
        os.kill(unit.process(), signal.SIGSTOP)
        machine.until(lambda: died(unit, before))
        mountpoint, user = (SHARED, NOBODY) if name == "shared" else (OWN, LISTENER)
        assert reads(machine, mountpoint, user)
    finally:
        machine.path(drop_in).unlink()


@pytest.mark.parametrize("name", ["shared", "own"])
def test_it_stops_while_files_are_open(machine: Machine, name: str, request: pytest.FixtureRequest) -> None:
    """`systemctl stop` takes the mount away whoever sits in it, and ends well."""
    unit: Unit = request.getfixturevalue(name)
    mountpoint, user = (SHARED, NOBODY) if name == "shared" else (OWN, LISTENER)
    hold = f"cd {mountpoint}/library && exec sleep 60 < 'Night Drive/Night Drive.wav'"
    reader = subprocess.Popen(
        [
            *("nsenter", "-t", str(machine.pid), "-m", "-p", "setpriv", f"--reuid={user}"),
            *(f"--regid={user}", "--clear-groups", "sh", "-c", hold),
        ]
    )
    try:
        children = Path(f"/proc/{reader.pid}/task/{reader.pid}/children")
        sitting = f"{mountpoint}/library"
        machine.until(
            lambda: any(os.readlink(f"/proc/{one}/cwd") == sitting for one in children.read_text().split())
        )
        began = time.monotonic()
        unit.must("stop")
        assert time.monotonic() - began < STOP
        assert not mounted(machine, mountpoint)
        assert (unit.shows("Result"), unit.shows("ExecMainStatus")) == ("success", "0")
    finally:
        reader.kill()
        reader.wait()


def test_a_reload_takes_over_settings_and_token(machine: Machine, own: Unit, service: Service) -> None:
    """`systemctl reload` keeps process and mount; afterwards the new token is shown, and the new size."""
    home = f"/home/{LISTENER}/.config/musicfs"
    before = own.pid
    service.token = "user:2-another"
    machine.write(f"{home}/token", service.token, 0o600, owner=LISTENER)
    text = machine.path(f"{home}/studio.toml").read_text()
    machine.write(f"{home}/studio.toml", f'{text}cache_size = "20M"\n', owner=LISTENER)
    own.must("reload")
    machine.until(
        lambda: machine.done("stat", "-f", "-c", "%b %S", OWN, user=LISTENER).split() == ["5120", "4096"]
    )
    service.add_job("100", "Dusk")
    machine.until(lambda: machine.run("cat", f"{OWN}/library/Dusk/Dusk.mp3", user=LISTENER).returncode == 0)
    assert own.pid == before


def test_a_reload_of_the_shared_mount_keeps_it(machine: Machine, shared: Unit, config: str) -> None:
    """Settings are read again by a daemon that is confined."""
    before = shared.pid
    machine.write("/etc/musicfs/config.toml", f'{config}cache_size = "20M"\n')
    shared.must("reload")
    machine.until(lambda: machine.done("stat", "-f", "-c", "%b %S", SHARED).split() == ["5120", "4096"])
    assert shared.pid == before


def test_the_journal_has_the_level_of_each_line(machine: Machine, shared: Unit, config: str) -> None:
    """A warning is one there, what SIGUSR1 tells is information; an entry repeats no time."""

    def entries() -> dict[str, str]:
        said = machine.done("journalctl", "--no-pager", "-q", "-u", shared.name, "-o", "json").splitlines()
        return {one["MESSAGE"]: one["PRIORITY"] for one in map(json.loads, said)}

    machine.write("/etc/musicfs/config.toml", f"{config}xattrs = true\n")
    shared.must("reload")
    assert shared.systemctl("kill", "-s", "USR1", shared.name).returncode == 0
    machine.until(
        lambda: any(line.startswith("musicfs.dump: task musicfs.dump.serve at ") for line in entries())
    )
    found = entries()
    assert found["musicfs.mount: these wait for the next mount: xattrs"] == "4"
    assert {level for line, level in found.items() if line.startswith("musicfs.dump: ")} == {"6"}


def test_a_missing_token_is_said_and_not_tried_again(machine: Machine, config: str, session: None) -> None:
    """Without its credential the shared unit does not start; the own one, without a token, ends with 77."""
    machine.write("/etc/musicfs/config.toml", config)
    machine.path("/etc/musicfs/token").unlink(missing_ok=True)
    unit = Unit(machine, "musicfs.service")
    assert unit.systemctl("start", unit.name).returncode != 0
    assert unit.shows("ExecMainStatus") == "243"  # CREDENTIALS, as systemd names it
    assert not mounted(machine, SHARED)
    unit.systemctl("stop", unit.name)
    machine.write(f"/home/{LISTENER}/.config/musicfs/empty.toml", config, owner=LISTENER)
    machine.path(f"/home/{LISTENER}/.config/musicfs/token").unlink(missing_ok=True)
    own = Unit(machine, "musicfs@empty.service", session=True)
    assert own.systemctl("start", own.name).returncode != 0
    assert (own.shows("ExecMainStatus"), own.shows("NRestarts")) == ("77", "0")
    assert "there is no token" in machine.journal()
    own.systemctl("reset-failed")
