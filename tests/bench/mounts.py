"""Those who are measured: musicfs, rclone and httpdirfs, each a mount in a process of its own.

How it thinks: a `Mounted` is a command, a folder and a process; the classes differ in the command and in
what they need. A cold one gets an empty home each time; a remounted one gets the home it had. What a
process costs is read from /proc: it is the kernel's own book.

What must always be true: a mount ends with its `with` block, by SIGTERM, then by force; nobody's settings
come from the caller's own environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from musicfs import host
from musicfs.demo import DEMO_TOKEN
from tests.bench.book import US

_LAST_WORDS = 400  # characters of a log that explain a failure, as a rule
_START = 60.0  # seconds for a mount on a busy machine
_END = 15.0  # seconds to end in good order
_LOOK = 0.002  # seconds between two looks whether it is there: small beside the quickest start (110 ms)
_TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024

UNDER = ("setpriv", "--pdeathsig", "TERM")
"""What a program is started under, so that it ends with us."""
TUNED = (
    *("--vfs-cache-mode", "full", "--vfs-read-chunk-size", "4M", "--vfs-read-chunk-size-limit", "64M"),
    *("--vfs-read-ahead", "64M", "--buffer-size", "32M", "--dir-cache-time", "24h", "--attr-timeout", "60s"),
    "--vfs-fast-fingerprint",
)
"""What a reader of rclone's manual would set for this work (performance.md, note 1)."""


class Mounted:
    """A mount at `home`/mnt by a program; use it in a `with` statement."""

    name = ""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.fleeting = False
        """Whether its home goes when it ends."""
        self.path = home / "mnt"
        self.extra: dict[str, str] = {}
        """More for its environment."""
        self.took = 0.0
        """Seconds from the start of the program to the first answer of the mount."""
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Give the command that mounts in the foreground."""
        raise AssertionError("each program has its own")

    def environ(self) -> Mapping[str, str]:
        """Give what the program finds in its environment beside the path and a home."""
        return {}

    def answers(self) -> bool:
        """Say whether the mount is there and takes requests."""
        return host.find_mount(self.path) is not None

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        began = time.monotonic()
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*UNDER, *self.command()],
                env={**kept, "HOME": str(self.home), "LC_ALL": "C.UTF-8", **self.environ(), **self.extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            while not self.answers():
                if self._process.poll() is not None or time.monotonic() > began + _START:
                    raise RuntimeError(f"{self.name} did not mount: {self.said()[-500:]}")
                time.sleep(_LOOK)
            os.scandir(self.path).close()
        except BaseException:
            self._end()
            raise
        self.took = time.monotonic() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if value is not None:
            value.add_note(f"{self.name} said: {self.said()[-_LAST_WORDS:]}")
        if self.fleeting:
            shutil.rmtree(self.home, ignore_errors=True)

    def _end(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_END)
        while host.find_mount(self.path) is not None and host.detach(self.path, lazy=True) is None:
            pass

    def said(self) -> str:
        """Give what the program printed."""
        return (self.home / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The program's."""
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        """Give the CPU seconds it has used, user and system, its ended children's included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS

    def memory(self, field: str = "VmRSS") -> float:
        """Give its resident memory in MiB; with `VmHWM` the most it ever was."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def minor(self) -> int:
        """Give the mount's device number, by which the kernel's read-ahead is set."""
        found = host.find_mount(self.path)
        assert found is not None
        return found.minor


class Musicfs(Mounted):
    """`musicfs mount` with default settings, told by the environment where the services are."""

    name = US

    def __init__(
        self, home: Path, api: str, media: str, ca_file: Path | None = None, **settings: str
    ) -> None:
        super().__init__(home)
        self.settings = {
            "TOKEN": DEMO_TOKEN,
            "API_URL": api,
            "MEDIA_URL": media,
            "CACHE_DIR": str(home / "cache"),
            "STATE_DIR": str(home / "state"),
            **({"CA_FILE": str(ca_file)} if ca_file else {}),
            **{name.upper(): value for name, value in settings.items()},
        }

    def command(self) -> list[str]:
        """Give the command that mounts in the foreground."""
        return [sys.executable, "-m", "musicfs", "mount", str(self.path)]

    def environ(self) -> Mapping[str, str]:
        """Give what the program finds in its environment."""
        (self.home / "run").mkdir(mode=0o700, exist_ok=True)
        places = {"XDG_RUNTIME_DIR": str(self.home / "run"), "XDG_CONFIG_HOME": str(self.home / "config")}
        return {**places, **{f"MUSICFS_{name}": value for name, value in self.settings.items()}}

    def ask(self, *words: str, limit: float = 60.0) -> str:
        """Run a musicfs command about this mount and give what it printed."""
        ended = subprocess.run(
            [sys.executable, "-m", "musicfs", *words],
            env={**os.environ, "HOME": str(self.home), **self.environ()},
            capture_output=True,
            text=True,
            timeout=limit,
            check=True,
        )
        return ended.stdout


class Rclone(Mounted):
    """`rclone mount` of the byte server; `words` are its options."""

    def __init__(self, home: Path, url: str, name: str, *words: str, ca_file: Path | None = None) -> None:
        super().__init__(home)
        self.url, self.words, self.ca_file = url, words, ca_file
        self.name = name

    def command(self) -> list[str]:
        """Give the command that mounts in the foreground."""
        trust = ("--ca-cert", str(self.ca_file)) if self.ca_file else ()
        cache = ("--cache-dir", str(self.home / "cache"), "--config", str(self.home / "none"))
        return [
            *("rclone", "mount", ":http:", str(self.path), "--http-url", self.url, "--read-only"),
            *(*cache, *trust, *self.words),
        ]


class Httpdirfs(Mounted):
    """`httpdirfs` of the byte server, which dies at nginx without `--no-range-check`."""

    def __init__(self, home: Path, url: str, name: str, *words: str) -> None:
        super().__init__(home)
        self.url, self.words = url, words
        self.name = name

    def command(self) -> list[str]:
        """Give the command that mounts in the foreground."""
        return ["httpdirfs", "-f", "--no-range-check", *self.words, self.url, str(self.path)]

    def environ(self) -> Mapping[str, str]:
        """Give what the program finds in its environment."""
        return {"XDG_CACHE_HOME": str(self.home / "cache"), "XDG_CONFIG_HOME": str(self.home / "config")}


def emptied(home: Path) -> Path:
    """Give an empty folder of that name."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    return home
