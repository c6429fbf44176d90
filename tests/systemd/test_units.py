"""The units are ones that systemd understands, whole; what each may hold and must not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER_UNIT = ROOT / "systemd/musicfs@.service"
SYSTEM_UNIT = ROOT / "systemd/musicfs.service"
USERS = ROOT / "packaging/sysusers"

EXPOSURE = 40  # a tenth of a point each: 4.0 is the most that the system unit may be exposed
HIDES = (
    *("ProtectSystem", "ProtectHome", "ProtectProc", "ProtectControlGroups", "ProtectKernel"),
    *("Private", "ReadOnlyPaths", "InaccessiblePaths", "DynamicUser"),
)
"""Each makes a private mount namespace, and nobody else sees the mount (ecosystem.md §2.2)."""
DISARMS = ("NoNewPrivileges", "Protect", "Restrict", "SystemCall", "Lock", "Capability", "Memory", "Load")
"""Each disables the setuid fusermount3, or fails in a user manager."""

analysed = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)


def directives(unit: Path) -> list[str]:
    """Give the names of a unit's lines."""
    return [line.partition("=")[0] for line in unit.read_text().splitlines() if line and line[0] not in "#["]


def run(*command: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run one of systemd's programs."""
    return subprocess.run(
        command,
        env={**os.environ, "XDG_RUNTIME_DIR": str(home), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_user_unit_has_no_sandbox_line_that_breaks_the_mount() -> None:
    """No directive of the unit is one that breaks fusermount3 or hides the mount."""
    broken = [
        name
        for name in directives(USER_UNIT)
        if name.startswith((*HIDES, *DISARMS)) and not name.startswith("RestartPrevent")
    ]
    assert broken == []


def test_the_system_unit_hides_its_mount_from_nobody() -> None:
    """No directive of the unit makes a mount namespace."""
    assert [name for name in directives(SYSTEM_UNIT) if name.startswith(HIDES)] == []


def test_units_are_in_step_with_the_program() -> None:
    """Both are told when the mount answers, watched, reloaded by SIGHUP, cleaned up after, and stop for codes
    that mend nothing."""
    for unit in (USER_UNIT, SYSTEM_UNIT):
        text = unit.read_text()
        for line in (
            "Type=notify",
            "WatchdogSec=60s",
            "ExecReload=/usr/bin/kill -HUP $MAINPID",
            "Restart=on-failure",
            "RestartPreventExitStatus=2 77 78",
        ):
            assert f"\n{line}\n" in text, (unit.name, line)
        assert "\nExecStopPost=-" in text


@analysed
@pytest.mark.parametrize("unit", [USER_UNIT, SYSTEM_UNIT], ids=["user", "system"])
def test_systemd_finds_nothing_to_say_about_a_unit(tmp_path: Path, unit: Path) -> None:
    """`systemd-analyze verify` accepts it without a word (it exits 0 on unknown keys, but says so)."""
    found = tmp_path / unit.name
    # The program and its page are not installed where the tests run; true stands in for the program.
    text = unit.read_text().replace("ExecStart=musicfs", "ExecStart=true")
    found.write_text(text.replace("ExecStart=/usr/bin/musicfs", "ExecStart=/usr/bin/true"))
    scope = ["--user"] if "@" in unit.name else []
    done = run("systemd-analyze", "verify", "--man=no", *scope, found, home=tmp_path)
    # Of a machine without a bus, a container, systemd 255 says so whatever it verifies.
    said = [line for line in done.stderr.splitlines() if "connect to system bus" not in line]
    assert (done.returncode, done.stdout, said) == (0, "", [])


@analysed
def test_the_system_unit_is_little_exposed(tmp_path: Path) -> None:
    """`systemd-analyze security` gives it at most 4.0."""
    done = run(
        "systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", SYSTEM_UNIT, home=tmp_path
    )
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not on this machine"
)
def test_the_user_of_the_system_unit_is_made(tmp_path: Path) -> None:
    """sysusers makes the very user that the unit names, with no shell and no login."""
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", USERS, home=tmp_path)
    assert done.returncode == 0, done.stderr
    (made,) = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if "musicfs" in line]
    assert made.split(":")[0] == "musicfs"
    assert made.split(":")[5:] == ["/var/lib/musicfs", "/usr/sbin/nologin"]
    assert "\nUser=musicfs\n" in SYSTEM_UNIT.read_text()
