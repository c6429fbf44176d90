"""A machine with a systemd of its own, booted in namespaces beside the tests (`boot.sh`).

How it thinks: the root is this machine's, on which nothing is kept; the network is shared, so that the
services which the tests play are reached at 127.0.0.1. A command is run in the machine by nsenter, and a
file is written through `/proc/<its process 1>/root`.

What must always be true: whatever a test does, the end of the machine is the end of all its processes and
mounts, because they live in its namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.mounted.mounting import STEP, run, until

ROOT = Path(__file__).parents[2]
BOOT = Path(__file__).with_name("boot.sh")
SYSTEMD = "/lib/systemd/systemd"
REFUSED = 77  # boot.sh's code for a kernel that has no namespaces or no overlay for us
PATIENCE = 60.0  # seconds until something that has to happen is taken for lost; a whole boot takes one or two
STARTED = ("running", "degraded")  # a kernel without audit, say, costs the journal a socket

LISTENER = 61_111
"""A user of the machine, and the one whose session there is."""


class CannotBoot(Exception):
    """This machine has no systemd, or its kernel lets us have no machine."""


class Machine:
    """One booted machine."""

    def __init__(self, process: subprocess.Popen[str], pid: int) -> None:
        self._process, self.pid = process, pid
        self.root = Path(f"/proc/{pid}/root")

    def run(
        self,
        *words: str | Path,
        user: int | None = None,
        session: bool = False,
        limit: float = PATIENCE,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine as root, or as a user, perhaps in that user's session."""
        command: list[str | Path] = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-C"]
        if user is not None:
            command += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        if session:
            environ |= {"XDG_RUNTIME_DIR": f"/run/user/{user}", "HOME": f"/home/{user}"}
        return run([*command, *words], env=environ, limit=limit, cwd=Path("/"))

    def done(self, *words: str | Path, user: int | None = None, session: bool = False) -> str:
        """Run a command that has to succeed, and give what it printed."""
        ended = self.run(*words, user=user, session=session)
        assert ended.returncode == 0, f"{words}: {ended.stderr}\n{self.journal()}"
        return ended.stdout

    def path(self, path: str) -> Path:
        """Find a file of the machine from outside; not for what lies in one of its FUSE mounts."""
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644, owner: int = 0) -> None:
        """Write a file, its folders included."""
        file = self.path(path)
        for folder in reversed(file.relative_to(self.root).parents):
            made = self.root / folder
            if not made.exists():
                made.mkdir()
                os.chown(made, owner, owner)
        file.write_text(text)
        file.chmod(mode)
        os.chown(file, owner, owner)

    def journal(self) -> str:
        """Give the end of the machine's journal."""
        return self.run("journalctl", "--no-pager", "-q", "-n", "60", "-o", "cat").stdout

    def until(self, true: Callable[[], object]) -> None:
        """Look again and again until something holds."""
        until(true, PATIENCE, self.journal)

    def end(self) -> None:
        """Turn it off."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        self._process.wait(PATIENCE)


class Unit:
    """A service of the machine, the system's or the session's."""

    def __init__(self, machine: Machine, name: str, session: bool = False) -> None:
        self.machine, self.name, self._session = machine, name, session

    def systemctl(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run systemctl about it."""
        scope = ("--user",) if self._session else ()
        user = LISTENER if self._session else None
        return self.machine.run("systemctl", *scope, verb, *words, user=user, session=self._session)

    def must(self, verb: str, *words: str) -> None:
        """Run systemctl about it, which has to succeed."""
        ended = self.systemctl(verb, *words, self.name)
        assert ended.returncode == 0, f"{verb}: {ended.stderr}\n{self.machine.journal()}"

    def shows(self, name: str) -> str:
        """Give one of its properties."""
        return self.systemctl("show", "-P", name, self.name).stdout.strip()

    @property
    def pid(self) -> int:
        """Its main process, as the machine numbers it."""
        return int(self.shows("MainPID"))

    def process(self) -> int:
        """Its main process, as we number it."""
        pid = str(self.pid)
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = next(
                    (line.split()[1:] for line in status.read_text().splitlines() if line[:6] == "NSpid:"), []
                )
                if numbers[1:] == [pid] and _space(status.parent) == _space(
                    Path(f"/proc/{self.machine.pid}")
                ):
                    return int(status.parent.name)
        raise AssertionError(f"{self.name} has no process:\n{self.machine.journal()}")


def _space(process: Path) -> str:
    return os.readlink(process / "ns/pid")


@contextlib.contextmanager
def booted(work: Path) -> Iterator[Machine]:
    """Boot a machine, with the folder `work` to build it in, and turn it off at the end.

    Raises:
        CannotBoot: there is nothing to boot it with.
    """
    if os.geteuid() != 0:
        raise CannotBoot("only root can boot a systemd in namespaces")
    if not os.access(SYSTEMD, os.X_OK) or shutil.which("unshare") is None:
        raise CannotBoot("systemd or unshare is not installed")
    tried = subprocess.run(["unshare", "-mpfuiC", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise CannotBoot(f"the kernel refuses the namespaces: {tried.stderr.strip()}")
    with (work / "boot.log").open("w+") as log:
        (work / "machine").mkdir()
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL"),  # if the tests are killed, the machine goes with them
                *("unshare", "-m", "--propagation", "private"),
                *("sh", str(BOOT), "outside", str(work / "machine"), str(ROOT), sys.base_prefix),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        machine = Machine(process, 0)
        try:
            machine.pid = _first_process(process, work / "boot.log")
            machine.root = Path(f"/proc/{machine.pid}/root")
            machine.until(lambda: machine.run("systemctl", "is-system-running").stdout.strip() in STARTED)
            yield machine
        finally:
            if machine.pid:
                machine.end()
            else:
                process.kill()
                process.wait(PATIENCE)


def _first_process(process: subprocess.Popen[str], log: Path) -> int:
    """Wait for systemd, and say which process it is from outside: a grandchild of what was started."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            said = log.read_text()
            if process.returncode == REFUSED:
                raise CannotBoot(f"the kernel refuses the namespaces: {said.strip()}")
            raise AssertionError(f"the machine did not boot:\n{said}")
        for child in _children(process.pid):
            for grandchild in _children(child):
                with contextlib.suppress(OSError):
                    if os.path.basename(os.readlink(f"/proc/{grandchild}/exe")) == "systemd":
                        return grandchild
        time.sleep(STEP)
    raise AssertionError(f"the machine did not boot in time:\n{log.read_text()}")


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
