"""Who runs the benchmark: an ordinary user, with a steward for what only root may do.

How it thinks: figures of root are not figures of a user (fusectl, /dev/fuse, limits). So a run that was
started by root goes on in a child that is an ordinary user, and root stays behind as steward: on request it
drops the kernel's caches and raises a mount's read-ahead. A run that was started by a user has no steward:
caches are then dropped file by file, and what needs root is left out.

What must always be true: the steward takes two commands and no paths; what it changed on the machine (the
mode of /dev/fuse) is changed back; nothing is left mounted below the run's folder.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from musicfs import host

_NEEDED = "import httpx, pyfuse3, trio, trustme"
_DEVICE = Path("/dev/fuse")
_LOCK = Path("/run/musicfs-bench.lock")


class Steward:
    """What only root may do; without a voice to it, nothing of it can be done."""

    def __init__(self, voice: socket.socket | None) -> None:
        self._voice = voice

    @property
    def present(self) -> bool:
        """Say whether there is one, or whether we are root ourselves."""
        return self._voice is not None or os.geteuid() == 0

    def drop_caches(self) -> bool:
        """Drop the kernel's caches of files and names; say whether that was done."""
        return self._ask("drop")

    def read_ahead(self, minor: int, kib: int) -> bool:
        """Let the kernel read a mount's files further ahead; say whether that was done."""
        return self._ask(f"ahead {minor} {kib}")

    def _ask(self, words: str) -> bool:
        if self._voice is None:
            if os.geteuid() == 0:
                _do(words.split())
            return os.geteuid() == 0
        self._voice.sendall(f"{words}\n".encode())
        return self._voice.recv(16) == b"done\n"


def forget_file(path: Path) -> None:
    """Let go of the cached pages of one file: what a user can do of `drop_caches`."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def ordinary() -> pwd.struct_passwd:
    """Give the user to go on as: who called sudo, else whom MUSICFS_BENCH_USER names, else nobody."""
    name = os.environ.get("MUSICFS_BENCH_USER") or os.environ.get("SUDO_USER") or "nobody"
    return pwd.getpwnam(name if name != "root" else "nobody")


def _interpreter(user: pwd.struct_passwd) -> tuple[list[str], dict[str, str]] | None:
    """Find a Python that the user may run and that has what we need: this one, else the system's."""
    packages = {"PYTHONPATH": sysconfig.get_paths()["purelib"]}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for program, extra in ((sys.executable, {}), (f"/usr/bin/python{version}", packages)):
        words = [*_as(user), "/bin/sh", "-c", 'exec "$0" "$@"', program, "-c", _NEEDED]
        if (
            subprocess.run(words, env={**os.environ, **extra}, capture_output=True, check=False).returncode
            == 0
        ):
            return [program], extra
    return None


def _as(user: pwd.struct_passwd) -> list[str]:
    return ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--init-groups"]


def go_on_as_user(words: Sequence[str], folder: Path) -> int | None:
    """Run `python -m tests.bench` as an ordinary user in `folder`, and be its steward until it ends.

    Gives its exit code, or None where no ordinary user could run it.
    """
    user = ordinary()
    found = _interpreter(user)
    if found is None:
        return None
    program, extra = found
    os.chown(folder, user.pw_uid, user.pw_gid)
    ours, theirs = socket.socketpair()
    with ours, _device_for_all():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # The child hears it too, cleans up and ends.
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        child = subprocess.Popen(
            [*_as(user), "/bin/sh", "-c", 'exec "$0" "$@"', *program, "-m", "tests.bench", *words],
            env=_environ(folder, extra, theirs.fileno()),
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            _serve(ours)
        finally:
            code = child.wait()
            leave_nothing(folder)
    return code


def _environ(folder: Path, extra: Mapping[str, str], voice: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ}
    told = {"MUSICFS_BENCH_FOLDER": str(folder), "MUSICFS_BENCH_STEWARD": str(voice)}
    return {**kept, **extra, **told, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def steward_of(environ: Mapping[str, str]) -> Steward:
    """Give the steward that the environment tells of, or one that can do nothing."""
    number = environ.get("MUSICFS_BENCH_STEWARD")
    return Steward(socket.socket(fileno=int(number)) if number else None)


def _serve(voice: socket.socket) -> None:
    """Answer until the child is gone."""
    with voice.makefile("r") as lines:
        for line in lines:
            try:
                _do(line.split())
            except (OSError, ValueError):
                voice.sendall(b"cannot\n")
            else:
                voice.sendall(b"done\n")


def _do(words: Sequence[str]) -> None:
    if words == ["drop"]:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    elif words and words[0] == "ahead":
        minor, kib = map(int, words[1:])
        Path(f"/sys/class/bdi/0:{minor}/read_ahead_kb").write_text(str(kib))
    else:
        raise ValueError(words)


@contextmanager
def _device_for_all() -> Iterator[None]:
    """Open /dev/fuse to everybody for a while, as udev does on every desktop and server.

    Runs at the same time share a lock; the first notes the mode there was, the last puts it back.
    """
    with _LOCK.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        lock.seek(0)
        if not lock.read():
            lock.write(f"{stat.S_IMODE(_DEVICE.stat().st_mode):o}")
            lock.flush()
        _DEVICE.chmod(0o666)
        try:
            yield
        finally:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # Another run still needs it.
            else:
                lock.seek(0)
                _DEVICE.chmod(int(lock.read(), 8))
                lock.truncate(0)


def leave_nothing(folder: Path) -> None:
    """Take away whatever is still mounted below a folder."""
    for mount in reversed(host.mounts()):
        if folder in mount.mountpoint.parents:
            host.detach(mount.mountpoint, lazy=True)
