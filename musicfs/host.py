"""This machine: what is mounted, what a mountpoint is worth, and the few levers a mount has.

How it thinks: the truth about mounts is /proc/self/mountinfo, read as text. A path under a FUSE mount is
never stat'ed to learn about it: a dead daemon answers ENOTCONN, a wedged one not at all, and for the
living daemon itself such a call is a deadlock. Links on the way to a mount are followed with readlink, up
to it.

What must always be true: a live FUSE mount is never mounted over and never cleared, only a dead one is.
Every OSError leaves as a ConfigError (the user can mend it), a StoreError (a disk), or a plain False
where the lever is a convenience (fusectl, sd_notify).
It refuses to mount fusectl, and to wait for longer than its limits.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from musicfs.errors import ConfigError, StoreError

MOUNTINFO = Path("/proc/self/mountinfo")
FUSECTL = Path("/sys/fs/fuse/connections")
DEVICES = Path("/sys/class/bdi")
DEVICE = Path("/dev/fuse")
PROC = Path("/proc")

PROBE_LIMIT = 2.0
"""Seconds for a statvfs: a living daemon answers it from memory, so a slower one is alive and stuck."""
COMMAND_LIMIT = 2.0
"""Seconds for one unmount: a plain and a lazy one fit into the 5 s that `musicfs umount` promises."""
LINKS = 40
"""As many symbolic links in one path as the kernel follows."""


class Mount(msgspec.Struct, frozen=True):
    """One line of mountinfo."""

    mountpoint: Path
    minor: int
    """The device's minor number, by which fusectl names the connection."""
    fstype: str
    source: str
    owner: int | None = None
    """The user id that mounted it, where the kernel says (FUSE)."""

    @property
    def is_fuse(self) -> bool:
        """Whether a process answers for it."""
        return self.fstype in ("fuse", "fuseblk") or self.fstype.startswith("fuse.")

    @property
    def is_ours(self) -> bool:
        """Whether it is a musicfs."""
        return self.fstype == "fuse.musicfs" or (self.is_fuse and self.source.split(":")[0] == "musicfs")


def mounts(mountinfo: Path = MOUNTINFO) -> list[Mount]:
    """List what is mounted, in the kernel's order: of two on one mountpoint the later one is seen."""
    try:
        text = os.fsdecode(mountinfo.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {mountinfo}: {error.strerror}") from error
    return parse_mountinfo(text)


def parse_mountinfo(text: str) -> list[Mount]:
    """Read mountinfo's lines (proc(5)); a line that does not have the known shape is left out."""
    found = []
    for line in text.split("\n"):
        left, dash, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if not dash or len(before) < 6 or len(after) < 2 or not before[2].partition(":")[2].isdigit():
            continue
        minor = int(before[2].partition(":")[2])
        owner = re.search(r"(?:^|,)user_id=(\d{1,10})(?:,|$)", after[-1])
        place, uid = Path(_unescape(before[4])), int(owner[1]) if owner else None
        found.append(Mount(place, minor, _unescape(after[0]), _unescape(after[1]), uid))
    return found


def _unescape(word: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def find_mount(mountpoint: Path, table: Sequence[Mount] | None = None) -> Mount | None:
    """Find what is visibly mounted exactly there; the path is compared as text."""
    table = mounts() if table is None else table
    return next((mount for mount in reversed(table) if mount.mountpoint == mountpoint), None)


def holding(path: Path, table: Sequence[Mount] | None = None) -> Mount | None:
    """Find the mount that an absolute path lies in: the longest mountpoint that is a prefix of it."""
    table = mounts() if table is None else table
    by_place = {mount.mountpoint: mount for mount in table}
    return next((by_place[place] for place in (path, *path.parents) if place in by_place), None)


def locate(path: Path, table: Sequence[Mount] | None = None) -> Path:
    """Make a path absolute and follow its links, but touch nothing at or below a FUSE mount."""
    table = mounts() if table is None else table
    fuse = {str(mount.mountpoint) for mount in table if mount.is_fuse}
    pending = list(reversed(Path(os.path.abspath(path)).parts[1:]))
    done, inside, links = "/", False, 0
    while pending:
        done = os.path.join(done, pending.pop())
        inside = inside or done in fuse
        target = None if inside or links >= LINKS else _link_target(done)
        if target is not None:
            onward = os.path.normpath(os.path.join(os.path.dirname(done), target))
            pending.extend(reversed(Path(onward).parts[1:]))
            done, links = "/", links + 1
    return Path(done)


def _link_target(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def is_stale(mountpoint: Path) -> bool:
    """Say whether a FUSE mount is there whose daemon is dead; one that does not answer counts as alive."""
    mount = find_mount(mountpoint)
    if mount is None or not mount.is_fuse:
        return False
    verdict: list[bool] = []
    # A thread, because a statvfs on a stuck daemon cannot be interrupted from within the process.
    probe = threading.Thread(target=lambda: verdict.append(_is_disconnected(mountpoint)), daemon=True)
    probe.start()
    probe.join(PROBE_LIMIT)
    return bool(verdict and verdict[0])


def _is_disconnected(mountpoint: Path) -> bool:
    # statvfs and not stat: the root's attributes may still be in the kernel's cache for minutes.
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def server_of(mountpoint: Path, proc: Path = PROC) -> int | None:
    """Find a process that was started with this mountpoint and has the FUSE device open.

    A daemon of another session (other runtime folder) is not in the register, and to ask the mount itself
    could be to wait for ever.
    """
    for each in proc.iterdir():
        if not each.name.isdigit():
            continue
        try:
            home, words = os.fsencode(os.readlink(each / "cwd")), (each / "cmdline").read_bytes().split(b"\0")
            named = {os.path.normpath(os.path.join(home, word)) for word in words}
            files = (each / "fd").iterdir() if os.fsencode(mountpoint) in named else ()
            if any(os.readlink(file) == str(DEVICE) for file in files):
                return int(each.name)
        except OSError:
            continue  # Gone meanwhile, or another user's.
    return None


def claim(mountpoint: Path) -> None:
    """Make sure that a folder can be mounted on: clear a dead mount, refuse a live one or no folder."""
    mount = find_mount(mountpoint)
    if mount is not None and mount.is_fuse:
        if not is_stale(mountpoint):
            what = "a musicfs" if mount.is_ours else f"a {mount.fstype}"
            raise ConfigError(f"{what} is mounted on {mountpoint} already; unmount it or take another folder")
        clear_stale(mountpoint)
    try:
        mode = mountpoint.stat().st_mode
    except FileNotFoundError as missing:
        raise ConfigError(
            f"there is no folder {mountpoint}; make it first: mkdir -p {mountpoint}"
        ) from missing
    except OSError as error:
        raise ConfigError(f"cannot use {mountpoint} as a mountpoint: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"{mountpoint} is not a folder; a mountpoint has to be one")


def is_empty(folder: Path) -> bool:
    """Tell whether nothing lies in a folder, as far as can be seen.

    What autofs has there is not looked into: it would have the mount started that is asking.
    """
    mount = find_mount(folder)
    if mount is not None and mount.fstype == "autofs":
        return True
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def clear_stale(mountpoint: Path) -> None:
    """Unmount what a dead daemon left; the caller has asked `is_stale`."""
    said = detach(mountpoint, lazy=True)
    if said is not None:
        raise ConfigError(f"a dead mount on {mountpoint} cannot be cleared: {said}")


def detach(mountpoint: Path, *, lazy: bool) -> str | None:
    """Unmount; None when done, else what the system said. Lazy: at once, whatever is still open there."""
    if os.geteuid() == 0:
        # Without -c a plain umount looks at the path first, and a stuck daemon would hold it.
        command = ["umount", "-l" if lazy else "-c", "--", str(mountpoint)]
    else:
        command = ["fusermount3", "-uz" if lazy else "-u", "--", str(mountpoint)]
    try:
        program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError as error:
        return f"cannot run {command[0]}: {error.strerror}"
    try:
        said = program.communicate(timeout=COMMAND_LIMIT)[1]
    except subprocess.TimeoutExpired:
        # Not waited for: a process inside a stuck mount may not die before the mount does.
        program.kill()
        return f"{command[0]} did not finish within {COMMAND_LIMIT:.0f} s"
    if program.returncode == 0:
        return None
    return said.decode("utf-8", "replace").strip() or f"{command[0]} ended with {program.returncode}"


def raise_background(minor: int, wanted: int, connections: Path = FUSECTL) -> bool:
    """Let the kernel have `wanted` background requests in flight; say whether it could be set.

    The default of 12 lets 12 stalled readers freeze every other one. False where fusectl is not mounted.
    """
    connection = connections / str(minor)
    try:
        (connection / "max_background").write_text(str(wanted))
        # The kernel stops reading ahead at this mark; three quarters is its own ratio (12 and 9).
        (connection / "congestion_threshold").write_text(str(wanted * 3 // 4))
    except OSError:
        return False
    return True


def raise_read_ahead(minor: int, kib: int, devices: Path = DEVICES) -> bool:
    """Let the kernel read ahead of a sequential reader by `kib`; say whether it could be set (only by root).

    A reader of files from end to end then asks in pieces of up to 1 MiB in place of 128 KiB, for two thirds
    of the CPU. Who reads little sees no difference, because the kernel's window begins at four pages; only a
    page fault at a random place of a mapped file brings 1 MiB in place of 128 KiB.
    """
    try:
        (devices / f"0:{minor}" / "read_ahead_kb").write_text(str(kib))
    except OSError:
        return False
    return True


def sd_notify(environ: Mapping[str, str], text: str) -> bool:
    """Tell systemd something (`READY=1`), if it listens; say whether it was sent."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)  # systemd's buffer is large; a full one is no reason to stop the mount
            sender.sendto(text.encode(), address)
    except OSError:
        return False
    return True


def disk_free(folder: Path) -> int:
    """Say how many bytes this user may still write on a folder's disk."""
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise StoreError(f"cannot look at the disk of {folder}: {error.strerror}") from error
    return room.f_bavail * room.f_frsize
