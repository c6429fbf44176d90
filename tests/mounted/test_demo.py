"""`musicfs demo`: a mount with no account, no network and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import host
from tests.mounted.mounting import END, READY, done, run, sha256, take_away, until


class Demo:
    """A running demo."""

    def __init__(self, home: Path, name: str = "music") -> None:
        self.home, self.path = home, home / name
        self.path.mkdir()
        (home / "tmp").mkdir()
        (home / "run").mkdir(mode=0o700)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("MUSICFS_")}
        self.environ |= {"HOME": str(home), "TMPDIR": str(home / "tmp"), "XDG_RUNTIME_DIR": str(home / "run")}
        # As on a machine with no network at all: nothing here leaves the process.
        self.environ |= {"MUSICFS_API_URL": "https://musicfs.invalid"}
        self.log = (home / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "musicfs", "demo", str(self.path)],
            env=self.environ,
            stdout=self.log,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
        )
        until(lambda: self.process.poll() is not None or host.find_mount(self.path) is not None, READY)
        assert self.process.poll() is None, (home / "log").read_text()

    def end(self) -> None:
        """End it by force."""
        self.process.kill()
        self.process.wait(END)
        self.log.close()
        take_away(self.path)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Mount the demo once for all."""
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        yield demo
    finally:
        demo.end()


def test_ls(demo: Demo) -> None:
    """`ls` shows both services and at least a dozen songs under readable names."""
    assert done(["ls", demo.path]).split() == ["flowmusic", "library", "tempolor"]
    names = os.listdir(demo.path / "library")
    assert len(names) >= 12
    assert not any(name.startswith((".", "-")) or name.endswith((".", " ")) for name in names)
    assert len({name.casefold() for name in names}) == len(names)
    done(["ls", "-lR", demo.path])


@pytest.mark.timeout(300)  # the demo plays its wavs: 12 s of CPU, 94 s where seven others wanted it too
def test_cp_and_sha256sum(demo: Demo, tmp_path: Path) -> None:
    """`cp -r` and `sha256sum` work on the demo, and agree."""
    done(["cp", "-r", demo.path / "flowmusic", demo.path / "tempolor", tmp_path], limit=240)
    copies = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(copies) > 20
    for copy in copies:
        assert sha256(demo.path / copy.relative_to(tmp_path)) == sha256(copy)


@pytest.mark.parametrize("form", ["mp3", "m4a", "wav"])
def test_ffprobe(form: str, demo: Demo) -> None:
    """ffprobe reads every form of a song in library/ as music of more than ten seconds."""
    found = sorted(demo.path.glob(f"library/*/*.{form}"))
    assert found
    for song in found[:3]:
        words = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
        assert float(done([*words, str(song)])) > 10.0


def test_stems(demo: Demo) -> None:
    """One song has stems to look into."""
    stems = [path for path in demo.path.glob("tempolor/*/stems") if os.listdir(path)]
    assert stems
    assert any(sha256(path) for path in stems[0].rglob("*") if path.is_file())


def test_status(demo: Demo) -> None:
    """`musicfs status` works on the demo as on any mount."""
    asked = run([sys.executable, "-m", "musicfs", "status", str(demo.path)], env=demo.environ)
    assert asked.returncode == 0, asked.stderr
    assert str(demo.path) in asked.stdout


def test_log_is_calm(demo: Demo) -> None:
    """The demo says nothing alarming but what its one bad archive is there to show."""
    lines = (demo.home / "log").read_text().splitlines()
    loud = [line for line in lines if " WARNING " in line or " ERROR " in line]
    assert all("left out" in line for line in loud)


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C unmounts the demo within 5 s and leaves nothing behind: no mount, no cache, no state."""
    demo = Demo(tmp_path)
    try:
        done(["ls", demo.path / "library"])
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(5) in (0, 130)
        assert host.find_mount(demo.path) is None
        assert os.listdir(demo.path) == []
        assert os.listdir(tmp_path / "tmp") == []
        assert not (tmp_path / ".cache").exists()
        assert not (tmp_path / ".local").exists()
    finally:
        demo.end()
