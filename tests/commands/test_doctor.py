"""`musicfs doctor`: each thing it looks at, well and ill; it touches no mount and tells no secret."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import config, control, host
from musicfs.__main__ import main
from musicfs.commands.doctor import machine, record, services
from musicfs.commands.doctor import running as running_daemon
from musicfs.commands.doctor.verdicts import Standing, Verdict
from musicfs.config import Settings
from musicfs.demo import DEMO_TOKEN, Role, Service
from musicfs.demo.faults import json_error
from musicfs.providers.useapi import Subscription
from tests.commands.conftest import Serve
from tests.loopback import Loopback, running
from tests.sleeper import sleeper

ACCOUNT = "ada+private@example.com"


def names(verdicts: list[Verdict], standing: Standing) -> list[str]:
    """List what stands so."""
    return [verdict.name for verdict in verdicts if verdict.standing is standing]


# This machine ---------------------------------------------------------------------------------------------


def test_the_device_is_opened(tmp_path: Path) -> None:
    """What can be opened is good; what is not there, or may not be opened, is code 77 with a remedy."""
    (tmp_path / "fuse").touch()
    assert machine.device(tmp_path / "fuse").standing is Standing.GOOD
    missing = machine.device(tmp_path / "none")
    assert (missing.standing, missing.code) == (Standing.WRONG, 77)
    assert "modprobe fuse" in missing.remedy
    (tmp_path / "folder").mkdir()
    assert "chmod 666" in machine.device(tmp_path / "folder").remedy


def test_fusermount_has_to_be_setuid_root(tmp_path: Path) -> None:
    """An ordinary user needs the bit and the owner; root needs neither."""
    program = tmp_path / "fusermount3"
    program.touch()
    program.chmod(0o755)
    assert machine.mounter(str(program), root=True).standing is Standing.GOOD
    plain = machine.mounter(str(program), root=False)
    assert (plain.standing, plain.code) == (Standing.WRONG, 77)
    assert f"chmod u+s {program}" in plain.remedy.replace(f"chown root {program} && ", "")
    program.chmod(0o4755)
    wanted = Standing.GOOD if program.stat().st_uid == 0 else Standing.WRONG
    assert machine.mounter(str(program), root=False).standing is wanted
    assert "apt install fuse3" in machine.mounter("", root=False).remedy
    held = tmp_path / "status"
    held.write_text("Name:\tmusicfs\nNoNewPrivs:\t1\n")
    assert "no_new_privs" in machine.mounter(str(program), root=False, status=held).says
    assert machine.mounter(str(program), root=True, status=held).standing is Standing.GOOD


@pytest.mark.parametrize(
    ("conf", "asked", "standing"),
    [
        ("#user_allow_other\n", True, Standing.WRONG),
        ("user_allow_other # yes\n", True, Standing.GOOD),
        ("", False, Standing.GOOD),
    ],
)
def test_other_users(conf: str, asked: bool, standing: Standing, tmp_path: Path) -> None:
    """`allow_other` without `user_allow_other` is wrong for an ordinary user, and for root it is not."""
    path = tmp_path / "fuse.conf"
    path.write_text(conf)
    assert machine.others(asked, path, root=False).standing is standing
    assert machine.others(asked, path, root=True).standing is Standing.GOOD


def test_fusectl_is_looked_up_in_the_table() -> None:
    """Mounted is good; not mounted is a note that says what it costs and how to mend it."""
    there = host.Mount(Path("/sys/fs/fuse/connections"), 9, "fusectl", "fusectl")
    assert machine.control_files([there]).standing is Standing.GOOD
    missing = machine.control_files([])
    assert missing.standing is Standing.NOTE
    assert "mount -t fusectl" in missing.remedy


def test_disks(tmp_path: Path) -> None:
    """Folders that are not there yet are judged by what is above them; little room is a note, a FUSE mount
    under the cache is wrong and is not touched."""
    paths = config.find_paths({}, "p", tmp_path / "a/cache", tmp_path / "a/state")
    said = list(machine.disk(paths, Settings(keep_free=0), []))
    assert names(said, Standing.GOOD) == ["cache", "state"]
    assert not (tmp_path / "a").exists()
    scarce = next(machine.disk(paths, Settings(keep_free=1 << 60), []))
    assert scarce.standing is Standing.NOTE
    assert "keep_free" in scarce.remedy
    table = [host.Mount(tmp_path / "a", 9, "fuse.sshfs", "host:/")]
    said = list(machine.disk(paths, Settings(), table))
    assert names(said, Standing.WRONG) == ["cache", "state"]
    assert said[0].code == 73


def test_the_lock_is_read_and_not_tried(tmp_path: Path) -> None:
    """A cache in use is told with its process, whether it serves a mount or not."""
    paths = config.find_paths({}, "p", tmp_path, tmp_path / "state")
    assert "nobody" in machine.lock(paths, {}).says
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        serving = machine.lock(paths, {Path("/m"): os.getpid()})
        assert (serving.standing, "/m" in serving.says) == (Standing.GOOD, True)
        lost = machine.lock(paths, {})
        assert lost.standing is Standing.NOTE
        assert lost.remedy.endswith(f"kill {os.getpid()}")
    assert "nobody" in machine.lock(paths, {}).says


@pytest.mark.mounted
def test_mounts_are_judged_without_touching_them(tmp_path: Path) -> None:
    """A stopped daemon holds nobody up: its mount is served; a dead one's is wrong, with the command that
    clears it; another user's cannot be told."""
    mountpoint = tmp_path / "mount"
    with sleeper(mountpoint) as process:
        process.send_signal(signal.SIGSTOP)
        table = [mount for mount in host.mounts() if mount.mountpoint == mountpoint]
        began = time.monotonic()
        (served,) = machine.mounted(table, {})
        assert time.monotonic() - began < 10
        assert (served.standing, str(process.pid) in served.says) == (Standing.GOOD, True)
        process.kill()
        process.wait()
        (dead,) = machine.mounted(table, {})
        assert dead.remedy == f"Run: musicfs umount {mountpoint}"
        (foreign,) = machine.mounted(table, {}, user=os.geteuid() + 1)
        assert foreign.standing is Standing.NOTE


@pytest.fixture
def _no_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the command a machine where nothing is mounted: other tests may be mounting on this one."""
    monkeypatch.setattr(host, "mounts", list)


# The services ---------------------------------------------------------------------------------------------


@pytest.fixture
def service(_no_mounts: None) -> Service:
    """Give a service with one account of each and a song."""
    made = Service(clock=time.time)
    made.add_clip(ACCOUNT, "Tide", 5.0)
    made.add_job("100200300", "Ember")
    return made


@pytest.fixture
def loop(service: Service) -> Iterator[Loopback]:
    """Serve it."""
    with running(service) as loop:
        yield loop


def environ(loop: Loopback, monkeypatch: pytest.MonkeyPatch, token: str = DEMO_TOKEN) -> None:
    """Point the settings at the loopback service."""
    monkeypatch.setenv("MUSICFS_API_URL", loop.api_url)
    monkeypatch.setenv("MUSICFS_MEDIA_URL", loop.bucket_url)
    monkeypatch.setenv("MUSICFS_TOKEN", token)


def examined(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str, str]]:
    """Run the doctor and give what it says, by name."""
    main(["doctor", "--json"])
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out)["findings"]
    return {one["name"]: (one["standing"], one["says"], one["remedy"]) for one in found}


def test_all_is_well(
    service: Service, loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Token, subscription, every account, the bucket and the clock are good; it costs five questions and one
    byte, and no link."""
    environ(loop, monkeypatch)
    found = examined(capsys)
    for name in ("subscription", "clock", "Flow Music, account 1", "TemPolor, account 1"):
        assert found[name][0] == "good", found[name]
    assert found["Flow Music's bytes"][:2] == ("good", "127.0.0.1 gives them")
    assert found["token"] == ("good", "useapi.net accepts it", "")
    assert service.counts == {"account": 1, "accounts": 2, "list": 2, "range": 1}
    assert service.bytes_sent(Role.BUCKET) == 1


def test_a_refused_token(
    loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """401 is the token's fault: code 77, `musicfs login`, and nothing else is asked."""
    environ(loop, monkeypatch, "user:9-other")
    assert main(["doctor"]) == 77
    said = capsys.readouterr().out
    assert "WRONG  token" in said
    assert "-> Run: musicfs login" in said
    assert "Flow Music" not in said


def test_a_lapsed_subscription(
    service: Service, loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """402, or a page that says so, is the subscription's fault and not the token's."""
    environ(loop, monkeypatch)
    service.knobs.subscription_expired = True
    found = examined(capsys)
    assert found["token"][0] == "good"
    assert found["subscription"][0] == "wrong"
    assert "Renew" in found["subscription"][2]
    page = Subscription(False, {}, None)
    assert services.subscription(page).standing is Standing.WRONG


def test_a_broken_account_is_numbered_and_not_named(
    service: Service, loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """596 is said of that account alone, with no address anywhere in what is printed."""
    service.add_clip("ben@example.com", "Other", 5.0)
    service.flow.break_account(ACCOUNT, f"{ACCOUNT}: refresh token rejected")
    environ(loop, monkeypatch)
    found = examined(capsys)
    assert found["Flow Music, account 1"][0] == "wrong"
    assert "Add this account again" in found["Flow Music, account 1"][2]
    assert found["Flow Music, account 2"][0] == "good"
    assert "example.com" not in json.dumps(found)


def test_nobody_answers(
    loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the API down it is said once, code 69, and the machine is looked at all the same."""
    environ(loop, monkeypatch)
    loop.stop()
    assert main(["doctor"]) == 69
    said = capsys.readouterr().out
    assert "WRONG  useapi.net" in said
    assert "FUSE device" in said


def test_the_bucket_and_the_listing_fail_alone(
    service: Service, loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bucket that is down, an API without an account page, and a service that fails are told one by one."""
    environ(loop, monkeypatch)
    loop.stop(Role.BUCKET)
    service.fail(json_error(404), kind="account")
    service.fail(json_error(403), path="tempolor", kind="accounts")
    found = examined(capsys)
    assert found["subscription"][0] == "note"
    assert found["Flow Music's bytes"][0] == "wrong"
    assert found["TemPolor"][0] == "wrong"
    assert found["Flow Music, account 1"][0] == "good"


@pytest.mark.parametrize(("apart", "standing"), [(60, Standing.GOOD), (-600, Standing.WRONG)])
def test_clocks(apart: float, standing: Standing) -> None:
    """A minute is nothing, ten are; no date is a note."""
    assert services.clock(1e9, 1e9 + apart).standing is standing
    assert services.clock(None, 1e9).standing is Standing.NOTE


# A running daemon -----------------------------------------------------------------------------------------


def test_a_daemon_is_asked_what_it_met(serving: Serve) -> None:
    """Servers that are down, want quiet or answer; damage of the disk; the newest failure with its remedy."""
    told = {
        "uptime": 60,
        "upstream": {
            "hosts": {
                "edge:443": {"down_for": 12.0, "quiet_for": {}},
                "api:8443": {"down_for": None, "quiet_for": {"list": 70.0}},
                "well:443": {"down_for": None, "quiet_for": {}},
            }
        },
        "cache": {"damaged": 3},
        "errors": [{"error": "old"}, {"error": "slow", "ago": 5, "path": "Tide", "remedy": "Open it again."}],
    }
    with serving(Path("/m"), lambda verb, args: told):
        (daemon,) = control.daemons(config.runtime_dirs(os.environ))
        said = {verdict.name: verdict for verdict in running_daemon.look(daemon)}
        assert "edge" not in {verdict.name for verdict in running_daemon.look(daemon, demo=True)}
    assert (said["edge"].standing, said["edge"].code) == (Standing.WRONG, 69)
    assert said["api:8443"].standing is Standing.NOTE
    assert said["well"].standing is Standing.GOOD
    assert said["cache"].says.startswith("3 blocks")
    assert (said["last failure"].says, said["last failure"].remedy) == (
        "5 s ago a program was refused: slow",
        "Open it again.",
    )


def test_a_daemon_that_says_nothing_is_wrong(serving: Serve, tmp_path: Path) -> None:
    """A register without a socket behind it, and an odd answer, are told and stop nothing."""
    lost = control.Daemon(Path("/m"), tmp_path / "none", 4242)
    (verdict,) = running_daemon.look(lost)
    assert (verdict.standing, verdict.remedy) == (Standing.WRONG, "Run: musicfs umount /m && kill 4242")
    with serving(Path("/m"), lambda verb, args: {}):
        (daemon,) = control.daemons(config.runtime_dirs(os.environ))
        assert [one.standing for one in running_daemon.look(daemon)] == [Standing.GOOD]


# The command ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_mounts")
def test_without_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    """It says how to give one, and no question leaves."""
    assert main(["doctor"]) == 77
    said = capsys.readouterr().out
    assert "there is no token" in said
    assert "-> Run: musicfs login" in said


@pytest.mark.usefixtures("_no_mounts")
def test_bad_settings_do_not_stop_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt key is the first finding, and the rest follows with the defaults."""
    path = home / ".config/musicfs/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("deadlin = 3\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    assert main(["doctor"]) == 78
    said = capsys.readouterr().out
    assert "did you mean 'deadline'?" in said
    assert "FUSE device" in said


def test_the_report_holds_nothing_private(
    home: Path,
    service: Service,
    loop: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Versions, findings and settings are in it; token, address, home folder and song are not."""
    environ(loop, monkeypatch)
    main(["doctor", "--report"])
    said = capsys.readouterr().out
    for part in ("## musicfs", "pyfuse3 3.", "- good: FUSE device", f"api_url = {loop.api_url}"):
        assert part in said
    for secret in (DEMO_TOKEN, ACCOUNT, str(home), "Tide"):
        assert secret not in said


def test_a_status_is_made_nameless() -> None:
    """What names songs, folders and programs is taken out at every depth; numbers and sentences stay."""
    told = {"pid": 3, "mountpoint": "/m", "errors": [{"path": "library/Tide", "error": "slow", "ago": 1.0}]}
    assert record.nameless(told) == {"pid": 3, "errors": [{"error": "slow", "ago": 1.0}]}
