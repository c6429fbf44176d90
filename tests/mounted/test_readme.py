"""The README's commands, as they stand: what is run here, and who runs the rest."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.mounting import run
from tests.mounted.test_demo import Demo

README = Path(__file__).parents[2] / "README.md"
BLOCKS: list[str] = [one.strip() for one in re.findall(r"^```\n(.*?)^```$", README.read_text(), re.M | re.S)]
SESSION, BACKUP = "$ cd", "mountpoint -q"
ELSEWHERE = {
    "MOUNT/": "a picture of the tree",
    "ls ~/musicfs-demo/library": "the session's commands once more",
    "musicfs login": "tests/commands/test_login.py, and the mount is every other test here",
    ".venv/bin/python -m tests.bench.day": "tests/bench/test_day.py, for a smaller library",
    "sh scripts/demo": "by hand, and its setup by `python -m tests.packaging` in a clean Debian",
    "sh scripts/bench": "by hand, for docs/performance.md",
    "sh scripts/test": "CI",
}
"""How each other block begins, and where it is run."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Mount the demo where `musicfs demo` does."""
    demo = Demo(tmp_path_factory.mktemp("readme"), "musicfs-demo")
    demo.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        yield demo
    finally:
        demo.end()


def block(begins: str) -> str:
    """Give the one block of the page that begins so."""
    (found,) = [one for one in BLOCKS if one.startswith(begins)]
    return found


def test_each_block_is_run_by_somebody() -> None:
    """A command that is new on the page is run here, or it is said where."""
    begins = (SESSION, BACKUP, *ELSEWHERE)
    assert [one for one in BLOCKS if not one.startswith(begins)] == []
    assert all(block(one) for one in begins)


def test_the_session_is_what_a_terminal_shows(demo: Demo, tmp_path: Path) -> None:
    """Every command of it prints what stands below it, to the byte count; blanks and line ends are free."""
    commands = re.findall(r"^\$ (.*)\n((?:[^$].*\n?)*)", block(SESSION), re.M)
    assert len(commands) == 7
    # On a terminal `ls` looks at each file for its colour, and quotes blanks.
    script = 'exec 2>&1\nls() { command ls -C --color=always --quoting-style=shell-escape "$@"; }\n'
    for command, _ in commands:
        script += "printf '\\1\\n'\n" + command.replace("/tmp/", f"{tmp_path}/") + "\n"
    terminal = {"TERM": "xterm", "COLUMNS": "200"}
    shown = run(["bash", "-c", script], env={**demo.environ, **terminal}, limit=100).stdout
    # Colours, and the progress that a terminal shows as a bar and takes away, are not on the page.
    plain = re.sub(r"\x1b\[[0-9;]*[mK]|^warming: .*\n", "", shown, flags=re.M)
    said = [" ".join(one.split()) for one in plain.split("\1\n")[1:]]
    assert said == [" ".join(printed.split()) for _, printed in commands]
    assert (tmp_path / "drums.mp3").stat().st_size > 0


def test_the_backup_keeps_the_copy_of_what_is_not_mounted(demo: Demo, tmp_path: Path) -> None:
    """The line copies what is mounted, and takes nothing away once the folder is an empty one."""
    line = block(BACKUP).replace("~/Music-AI", "~/musicfs-demo").replace("/backup/", f"{tmp_path}/")
    assert run(["sh", "-c", line], env=demo.environ).returncode == 0
    copied = sorted(path.name for path in (tmp_path / "flowmusic").iterdir())
    assert copied == sorted(os.listdir(demo.path / "flowmusic"))
    assert run(["musicfs", "umount", demo.path], env=demo.environ).returncode == 0
    assert os.listdir(demo.path) == []
    assert run(["sh", "-c", line], env=demo.environ).returncode != 0
    assert sorted(path.name for path in (tmp_path / "flowmusic").iterdir()) == copied
