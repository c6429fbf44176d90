"""The unit is one that systemd understands, whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "musicfs@.service"

# Each of these disables the setuid fusermount3 or hides the mount from the session (ecosystem.md §2.2).
FORBIDDEN = (
    "NoNewPrivileges",
    "Protect",
    "Private",
    "Restrict",
    "SystemCall",
    "Lock",
    "Capability",
    "Dynamic",
)


def test_the_user_unit_has_no_sandbox_line_that_breaks_the_mount() -> None:
    """No directive of the unit is one that breaks fusermount3 or hides the mount."""
    directives = [
        line.partition("=")[0] for line in UNIT.read_text().splitlines() if line and line[0] not in "#["
    ]
    broken = [
        name for name in directives if name.startswith(FORBIDDEN) and not name.startswith("RestartPrevent")
    ]
    assert broken == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_finds_nothing_to_say_about_the_user_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts the unit without a word (it exits 0 on unknown keys, but says so)."""
    found = tmp_path / UNIT.name
    # The program is not installed where the tests run; /bin/true stands in for it.
    found.write_text(UNIT.read_text().replace("ExecStart=musicfs", "ExecStart=true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(found)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
