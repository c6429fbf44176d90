"""A real kernel mount of the loopback service, in a process of its own, with a bounded life.

How it thinks: the mount is what a user runs (`musicfs mount`), told where the services are by the
environment. It says READY on a notify socket, as under systemd. The test process plays the services.
Everything that could hang is bounded, and at the end the mount is taken away by force if it has to be.

What must always be true: a log line at WARNING or above that no test declared (`Mount.expect`) is a
failure; `conftest.py` asks after each test, and `mounted` when the mount ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from musicfs import host
from musicfs.demo import DEMO_TOKEN, Service, content
from musicfs.demo.assets import Source
from tests.loopback import Loopback, running

READY = 30.0  # seconds a start may take on a busy machine
END = 15.0  # seconds an end may take; the promise is 5, asserted where it is the subject
PATIENCE = 20.0  # seconds until something that has to happen soon is taken for lost
STEP = 0.05  # seconds between two looks

SECRETS = (DEMO_TOKEN, "auth_key=", "X-Goog-Signature", "Bearer ", "@example.")
"""The token, signed queries, and the e-mail addresses of the tests."""

PLAYLISTS = {"All.m3u8", "Flow Music.m3u8", "TemPolor.m3u8"}
"""What is written into `library/` beside the songs."""

MOUNTS: list[Mount] = []
"""Every mount that is in use, for `conftest.py` to look at after each test."""


class Mount:
    """One running `musicfs mount`."""

    def __init__(self, loop: Loopback, home: Path, /, *program: str, **settings: object) -> None:
        self.loop, self.home = loop, home
        self.path = home / "mnt"
        self.log_path = home / "log"
        self.program = [sys.executable, *(program or ("-m", "musicfs"))]
        self._settings = {name.upper(): str(value) for name, value in settings.items()}
        self.surroundings: dict[str, str] = {}
        """What else is in the environment of the program."""
        self._process: subprocess.Popen[bytes] | None = None
        self._expected: list[str] = []
        self._looked_at = 0
        self.path.mkdir(exist_ok=True)
        self._lives = 0

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
            **self.surroundings,
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
            # A life's own: the one before may still say that it is stopping.
            self._lives += 1
            place = self.home / f"notify{self._lives}"
            place.unlink(missing_ok=True)
            ready.bind(str(place))
            ready.settimeout(STEP)
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [*self.program, "mount", str(self.path)],
                    env={**self.environ, "NOTIFY_SOCKET": str(place)},
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
            said = self._await(ready)
        assert b"READY=1" in said, said
        return self

    def _await(self, ready: socket.socket) -> bytes:
        end = time.monotonic() + READY
        while self.running and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                return ready.recv(4096)
        self.kill()
        raise AssertionError(f"the mount did not get ready:\n{self.log}")

    def stop(self, number: int = signal.SIGTERM, limit: float = END) -> int:
        """End as a user would, and give the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(limit)

    def ended(self, limit: float = END) -> int:
        """Wait for an end that something else brings about, and give the exit code."""
        assert self._process is not None
        return self._process.wait(limit)

    def crash(self) -> None:
        """Kill the daemon (SIGKILL) and leave the dead mount where it is."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(END)

    def restart(self) -> Mount:
        """End in good order and start again on the same folders."""
        assert self.stop() == 0, self.log
        return self.start()

    def again(self) -> Mount:
        """Unmount and mount in one breath, as `umount X && mount X` does: the daemon may not have ended."""
        before = self._process
        assert before is not None
        done(["umount", self.path])
        self.start()
        assert before.wait(END) == 0, self.log
        return self

    def kill(self) -> None:
        """End by force, whatever state it is in, and take the mount away."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(END)
        take_away(self.path)

    @property
    def running(self) -> bool:
        """Whether the daemon lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def present(self) -> bool:
        """Whether something is mounted there."""
        return host.find_mount(self.path) is not None

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a musicfs command about this mount."""
        return run([sys.executable, "-m", "musicfs", *words], env=self.environ)

    def listed(self, *names: str) -> set[str]:
        """Give the names in a folder of the mount."""
        return set(os.listdir(self.path.joinpath(*names)))

    def list_all(self) -> Mount:
        """Wait for the first listings, however short the deadline; a name waits for them two seconds only."""
        self.expect("the first listing is still being read")
        for folder in ("flowmusic", "tempolor", "library"):
            until(partial(self._lists, folder))
        return self

    def _lists(self, folder: str) -> bool:
        with contextlib.suppress(TimeoutError):
            return self.listed(folder) is not None
        return False

    def songs(self) -> set[str]:
        """Give the songs' folders in `library/`, without the playlists beside them."""
        return {name for name in self.listed("library") if not name.endswith(".m3u8")}

    def settle(self, *paths: Path) -> None:
        """Wait until files that were read whole are kept whole: their bytes are served before."""
        for path in paths:
            until(partial(self._keeps, path))

    def _keeps(self, path: Path) -> bool:
        return bool(json.loads(self.ask("why", "--json", str(path)).stdout)["state"] == "cached")

    # The log -------------------------------------------------------------------------------------------

    def expect(self, *patterns: str) -> None:
        """Declare warnings that this test provokes; they hold until the next `check`."""
        self._expected += patterns

    def warnings(self) -> list[str]:
        """The lines of the log, since the last `check`, that a quiet run does not have."""
        lines = self.log.splitlines()[self._looked_at :]
        return [line for line in lines if re.search(r" (WARNING|ERROR|CRITICAL) |^Traceback", line)]

    def check(self) -> None:
        """Fail if the log holds what nobody declared; then begin anew."""
        found, expected = self.warnings(), self._expected
        self._looked_at, self._expected = len(self.log.splitlines()), []
        surprises = [line for line in found if not any(re.search(one, line) for one in expected)]
        said = "\n".join(surprises)
        assert not surprises, f"in the daemon's log; declare it with expect() or mend it:\n{said}"


def run(
    command: Sequence[str | Path],
    *,
    env: dict[str, str] | None = None,
    limit: float = 60.0,
    cwd: Path | None = None,
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
        cwd=cwd,
    )


def done(command: Sequence[str | Path], *, limit: float = 60.0, cwd: Path | None = None) -> str:
    """Run a program that has to succeed, and give what it printed."""
    ended = run(command, limit=limit, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def sha256(path: Path) -> str:
    """Hash a file by a program of its own: one that read several would have the next ones fetched ahead."""
    return done(["sha256sum", "--zero", path])[:64]


def digest(source: Source) -> str:
    """Hash what the service has."""
    return hashlib.sha256(content(source)).hexdigest()


def until(true: Callable[[], object], limit: float = PATIENCE, told: Callable[[], str] = lambda: "") -> None:
    """Look again and again until something holds; fail with what is `told` after `limit` seconds."""
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, f"it did not come about in time\n{told()}"
        time.sleep(STEP)


def take_away(path: Path) -> None:
    """Unmount lazily, whoever uses it; nothing if nothing is mounted there."""
    while host.find_mount(path) is not None:
        if host.detach(path, lazy=True) is not None:
            return


def sweep(mount: Mount) -> None:
    """Fail if the log, the maps and names of the cache, or the folder of sockets hold a secret."""
    texts = {"the log": mount.log}
    for folder in ("cache", "run"):
        for path in (mount.home / folder).rglob("*"):
            readable = path.is_file() and path.suffix != ".data"  # bytes of songs are the service's
            texts[str(path)] = path.name + (path.read_bytes().decode("latin-1") if readable else "")
    found = [(place, secret) for place, text in texts.items() for secret in SECRETS if secret in text]
    assert not found, f"secrets: {found[:5]}"


@contextlib.contextmanager
def attached(mount: Mount) -> Iterator[Mount]:
    """Start a mount, look after its log, and clean up, whatever happens."""
    MOUNTS.append(mount)
    try:
        yield mount.start()
        if mount.running:
            assert mount.stop() == 0, mount.log
        mount.check()
        sweep(mount)
    finally:
        MOUNTS.remove(mount)
        mount.kill()


@contextlib.contextmanager
def mounted(service: Service, home: Path, tls: bool = False, **settings: object) -> Iterator[Mount]:
    """Serve, mount, and clean up, whatever happens."""
    with running(service, tls=tls) as loop:
        if tls:
            settings["ca_file"] = loop.write_ca(home / "ca.pem")
        with attached(Mount(loop, home, **settings)) as mount:
            yield mount
