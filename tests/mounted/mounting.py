"""A real kernel mount of the loopback service, in a process of its own, with a bounded life.

How it thinks: the mount is what a user runs (`musicfs mount`), told where the services are by the environment.
It says READY on a notify socket, as under systemd. The test process plays the services. Everything that could
hang is bounded, and at the end the mount is taken away by force if it has to be.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from musicfs.demo import DEMO_TOKEN, Service
from tests.loopback import Loopback, running

READY = 30.0  # seconds a start may take on a busy machine
END = 15.0  # seconds an end may take; the promise is 5, asserted where it is the subject


class Mount:
    """One running `musicfs mount`."""

    def __init__(self, loop: Loopback, home: Path, **settings: object) -> None:
        self.loop, self.home = loop, home
        self.path = home / "mnt"
        self.log_path = home / "log"
        self._settings = {name.upper(): str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None
        self.path.mkdir(exist_ok=True)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every musicfs command about this mount."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("MUSICFS_")},
            "MUSICFS_TOKEN": DEMO_TOKEN,
            "MUSICFS_API_URL": self.loop.api_url,
            "MUSICFS_MEDIA_URL": self.loop.bucket_url,
            "MUSICFS_CACHE_DIR": str(self.home / "cache"),
            "MUSICFS_STATE_DIR": str(self.home / "state"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "MUSICFS_DEADLINE": "10",
            "MUSICFS_KEEP_FREE": "0",
            **{f"MUSICFS_{name}": value for name, value in self._settings.items()},
        }

    @property
    def pid(self) -> int:
        """The daemon's."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the daemon said so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> Mount:
        """Start and wait until the mount answers."""
        (self.home / "run").mkdir(mode=0o700, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            place = self.home / "notify"
            place.unlink(missing_ok=True)
            ready.bind(str(place))
            ready.settimeout(READY)
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "musicfs", "mount", str(self.path)],
                    env={**self.environ, "NOTIFY_SOCKET": str(place)},
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
            try:
                said = ready.recv(4096)
            except TimeoutError:
                self.kill()
                raise AssertionError(f"the mount did not get ready:\n{self.log}") from None
        assert b"READY=1" in said, said
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End as a user would, and give the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(END)

    def kill(self) -> None:
        """End by force, whatever state it is in, and take the mount away."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(END)
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False, timeout=END)

    @property
    def running(self) -> bool:
        """Whether the daemon lives."""
        return self._process is not None and self._process.poll() is None

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a musicfs command about this mount."""
        return run([sys.executable, "-m", "musicfs", *words], env=self.environ)

    def warnings(self) -> list[str]:
        """The lines of the log that a quiet run does not have."""
        return [line for line in self.log.splitlines() if re.search(r"WARNING|ERROR|CRITICAL|Traceback", line)]


def run(
    command: list[str], *, env: dict[str, str] | None = None, limit: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a program with a bound on its time; its messages in English."""
    return subprocess.run(
        command,
        env={**(env or os.environ), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def sha256(path: Path) -> str:
    """Hash a file as a program would read it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def mounted(service: Service, home: Path, tls: bool = False, **settings: object) -> Iterator[Mount]:
    """Serve, mount, and clean up, whatever happens."""
    with running(service, tls=tls) as loop:
        if tls:
            settings["ca_file"] = loop.write_ca(home / "ca.pem")
        mount = Mount(loop, home, **settings)
        try:
            yield mount.start()
            if mount.running:
                mount.stop()
        finally:
            mount.kill()
