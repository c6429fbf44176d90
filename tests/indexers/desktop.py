"""An ordinary user's session on the side: a bus, a screen nobody sees, and the programs of a desktop.

How it thinks: musicfs is mounted by root for everybody (`allow_other`), the programs are `muse`'s, as on a
machine that several people use. Their home is a folder of the test's own, so nothing of a real person is
read or changed. The bus starts what programs ask it for (Tumbler, Tracker's extractor); whoever was started
so carries our mark in its environment, and is ended by it.

What must always be true: at the end none of these processes is left; only such with our mark are ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from musicfs.config.settings import SCANNERS
from musicfs.demo import Service
from tests.mounted.mounting import PATIENCE, STEP, Mount, mounted, until

USER = "muse"
TRACKER = Path("/usr/libexec/tracker-miner-fs-3")
EXTRACT = Path("/usr/libexec/tracker-extract-3")
_SCREEN = (
    "4096x3072x24"  # pixels: a window as large shows 500 files at once, and Thunar thumbnails what is seen
)
_GRACE = 3.0  # seconds between asking programs to end and ending them
_LOOK = 1.0  # seconds between two such looks: on two cores a desktop needs the rest
_MARK = "MUSICFS_DESKTOP"


def eventually(true: Callable[[], object], limit: float = PATIENCE) -> None:
    """Look now and then until something holds: as `until`, for looks that cost a process each."""
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(_LOOK)


def account() -> pwd.struct_passwd:
    """Give the ordinary user, made if the machine has none."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", USER], check=True)
    return pwd.getpwnam(USER)


class Desktop:
    """One user's session."""

    screen = _SCREEN

    def __init__(self, place: Path, user: pwd.struct_passwd) -> None:
        self.home, self.user = place / USER, user
        self.runtime = self.home / "run"
        self.config = self.home / ".config"
        self._log = place / "desktop.log"
        self._started: list[subprocess.Popen[bytes]] = []
        for folder in (self.home, self.runtime, self.config):
            folder.mkdir(mode=0o700)
            shutil.chown(folder, user.pw_uid, user.pw_gid)
        self.environ: dict[str, str] = {
            "HOME": str(self.home),
            "USER": USER,
            "LOGNAME": USER,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime}/bus",
            "GSETTINGS_BACKEND": "keyfile",  # settings in a file of this home, with no service behind
            "QT_QPA_PLATFORM": "offscreen",
            "NO_AT_BRIDGE": "1",
            _MARK: str(place),
        }

    # Programs ------------------------------------------------------------------------------------------

    def start(self, *words: str | Path, root: bool = False, fds: Sequence[int] = ()) -> None:
        """Start a program that stays until the session ends."""
        with self._log.open("ab") as log:
            program = subprocess.Popen(
                words,
                env=self.environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
                **({} if root else self._identity),
            )
        self._started.append(program)

    def run(self, *words: str | Path, limit: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            words,
            env=self.environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            **self._identity,
        )

    @property
    def _identity(self) -> dict[str, Any]:
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def write(self, path: Path, text: str) -> None:
        """Write a file of the user's."""
        self.run("mkdir", "-p", path.parent)
        path.write_text(text)
        shutil.chown(path, self.user.pw_uid, self.user.pw_gid)

    def open_bus(self) -> None:
        """Start the session's bus."""
        self.start("dbus-daemon", "--session", "--nofork", f"--address=unix:path={self.runtime}/bus")
        until((self.runtime / "bus").exists)

    def activate(self, name: str) -> None:
        """Have the bus start the service of a name, as it does for whoever asks for it."""
        words = ("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/")
        asked = ("org.freedesktop.DBus.StartServiceByName", f"string:{name}", "uint32:0")
        started = self.run(*words, *asked)
        assert started.returncode == 0, started.stderr

    def open_screen(self) -> None:
        """Start an X server on a free display. Root's, because it may have to make /tmp/.X11-unix."""
        told, tell = os.pipe()
        # By itself it begins anew when its last client leaves, and turns away who comes in that moment.
        words = ("-displayfd", str(tell), "-screen", "0", self.screen, "-nolisten", "tcp", "-ac", "-noreset")
        self.start("Xvfb", *words, root=True, fds=[tell])
        os.close(tell)
        with os.fdopen(told) as pipe:
            self.environ["DISPLAY"] = f":{pipe.readline().strip()}"

    # Thunar --------------------------------------------------------------------------------------------

    def show(self, folder: Path) -> None:
        """Open a folder in Thunar, in a window over the whole screen."""
        self.start("thunar", folder)
        found: list[str] = []

        def seen() -> bool:
            title = f"^{re.escape(folder.name)} - Thunar$"
            found[:] = self.run("xdotool", "search", "--onlyvisible", "--name", title).stdout.split()
            return bool(found)

        until(seen)
        width, height, _ = self.screen.split("x")
        for words in (("windowmove", found[0], "0", "0"), ("windowsize", found[0], width, height)):
            assert self.run("xdotool", *words).returncode == 0

    def leave(self) -> None:
        """Close every window of Thunar."""
        assert self.run("thunar", "-q").returncode == 0
        until(lambda: "thunar" not in self.programs().values())

    @property
    def thumbnails(self) -> int:
        """How many thumbnails there are, without those that are being written: Tumbler names these by the
        time as well, and on a busy machine such a one may stay for good."""
        return sum("-" not in path.stem for path in self._pictures())

    def swept(self) -> bool:
        """Throw away what Tumbler wrote and could not keep, of a second long past; say if there was any."""
        past = f"-{time.time() - 2:.0f}"
        left = [path for path in self._pictures() if "-" in path.stem and path.stem[-len(past) :] < past]
        for path in left:
            path.unlink()
        return bool(left)

    def _pictures(self) -> Iterable[Path]:
        return (self.home / ".cache" / "thumbnails").rglob("*.png")

    # The end -------------------------------------------------------------------------------------------

    def programs(self) -> Mapping[int, str]:
        """Give the session's processes: the name of each one's executable, by id."""
        mark = f"{_MARK}={self.environ[_MARK]}".encode()
        found: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = os.path.basename(os.readlink(folder / "exe"))
        return found

    def close(self) -> None:
        """End every program of the session."""
        for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
            for pid in self.programs():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            end = time.monotonic() + patience
            while self.programs() and time.monotonic() < end:
                time.sleep(STEP)
        assert not self.programs()
        for program in self._started:
            program.wait(_GRACE)


class Scene:
    """A service, a mount of it, and a user's session beside it."""

    def __init__(self, service: Service, mount: Mount, desktop: Desktop) -> None:
        self.service, self.mount, self.desktop = service, mount, desktop

    @property
    def refused(self) -> int:
        """How many opens were refused to scanners, as `musicfs status` says."""
        told = self.mount.ask("status", "--json", str(self.mount.path))
        assert told.returncode == 0, told.stderr
        return int(json.loads(told.stdout)["scanners_refused"])

    @property
    def asked(self) -> Counter[tuple[str, str | None, str | None]]:
        """What the service was asked for, listings apart: (kind, form, Range header) of each request."""
        log = list(self.service.log)
        return Counter((one.kind, one.form, one.range) for one in log if one.kind not in ("list", "accounts"))


@contextlib.contextmanager
def scene(service: Service, scanners: Sequence[str] = SCANNERS, hints: str = "") -> Iterator[Scene]:
    """Mount a service for everybody, with its folders listed once, and open a session."""
    user = account()
    # Not below pytest's own folder, which other users may not enter.
    place = Path(tempfile.mkdtemp(prefix="musicfs-desktop-", dir="/var/tmp"))
    place.chmod(0o755)
    named = ",".join(scanners) or ","  # an empty variable would be an unset one
    try:
        uid, gid = user.pw_uid, user.pw_gid
        with mounted(
            service, place, allow_other="true", uid=uid, gid=gid, scanners=named, hints=hints
        ) as mount:
            for folder in ("flowmusic", "tempolor", "library"):
                mount.listed(folder)
            service.reset_counts()
            desktop = Desktop(place, user)
            try:
                desktop.open_bus()
                yield Scene(service, mount, desktop)
            finally:
                desktop.close()
    finally:
        shutil.rmtree(place)
