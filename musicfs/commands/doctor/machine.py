"""The doctor's look at this machine: what a mount needs of it, and what earlier ones left.

How it thinks: each function looks at one thing and gives its verdicts. Files of the system are given as
parameters, so that a test may show it another machine.

What must always be true: no mountpoint is touched, and no path below a FUSE mount: what is mounted is read
in mountinfo, who serves it in the register, who locks in /proc/locks. Nothing is changed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from musicfs import config, host
from musicfs.commands import exits
from musicfs.commands.columns import bytes_text
from musicfs.commands.doctor.verdicts import Verdict, good, note, wrong
from musicfs.errors import MusicfsError

FUSE_CONF = Path("/etc/fuse.conf")
LOCKS = Path("/proc/locks")
STATUS = Path("/proc/self/status")
SCARCE = 1024**3
"""Bytes: with less than that free for the cache, an album of wav files does not fit."""


def device(path: Path = host.DEVICE) -> Verdict:
    """Look whether the kernel's FUSE device can be opened."""
    name = "FUSE device"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return wrong(
            name,
            f"there is no {path}",
            "On a host run: modprobe fuse. A container needs --device /dev/fuse --cap-add SYS_ADMIN.",
            exits.NO_PERMISSION,
        )
    except OSError as error:
        return wrong(name, f"{path}: {error.strerror}", f"As root run: chmod 666 {path}", exits.NO_PERMISSION)
    return good(name, f"{path} can be opened")


def mounter(found: str | None = None, *, root: bool | None = None, status: Path = STATUS) -> Verdict:
    """Look for fusermount3, by which an ordinary user mounts."""
    name, path = "fusermount3", found if found is not None else shutil.which("fusermount3")
    root = os.geteuid() == 0 if root is None else root
    if not path:
        if root:
            return note(
                name, "is not installed; root mounts without it", "For other users: apt install fuse3"
            )
        return wrong(name, "is not installed", "Install it: apt install fuse3", exits.NO_PERMISSION)
    if not root and _is_held_back(status):
        return wrong(
            name,
            "cannot become root: this process runs with no_new_privs (a container, or a sandboxed unit)",
            "Take NoNewPrivileges and the like out of the unit, or mount as root",
            exits.NO_PERMISSION,
        )
    mode = os.stat(path)
    if root or (mode.st_mode & stat.S_ISUID and mode.st_uid == 0):
        return good(name, f"{path}, {'and root needs none' if root else 'setuid root'}")
    return wrong(
        name,
        f"{path} is not setuid root, so it cannot mount",
        f"As root run: chown root {path} && chmod u+s {path}",
        exits.NO_PERMISSION,
    )


def _is_held_back(status: Path) -> bool:
    """Tell whether setuid programs gain nothing here."""
    try:
        return "NoNewPrivs:\t1" in status.read_text()
    except OSError:
        return False


def library() -> Verdict:
    """Look whether libfuse and its Python door can be loaded."""
    try:
        from musicfs import session
    except ImportError as error:
        return wrong("libfuse", f"cannot be loaded: {error}", "Install it: apt install libfuse3-3")
    return good("libfuse", f"is loaded, {session.TASKS} requests at a time")


def others(allow_other: bool, conf: Path = FUSE_CONF, *, root: bool | None = None) -> Verdict:
    """Look whether other users may be let in, where that is asked for."""
    name = "other users"
    root = os.geteuid() == 0 if root is None else root
    try:
        words = {line.split("#")[0].strip() for line in conf.read_text("utf-8", "replace").splitlines()}
    except OSError:
        words = set()
    allowed = root or "user_allow_other" in words
    if allow_other and not allowed:
        return wrong(
            name,
            f"allow_other is set, but {conf} does not let ordinary users have it",
            f"As root add the line user_allow_other to {conf}",
            exits.NO_PERMISSION,
        )
    if allow_other:
        return good(name, "are let in (allow_other)")
    how = "could be let in with allow_other" if allowed else f"cannot be: {conf} has no user_allow_other"
    return good(name, f"are not let in, as is the default; they {how}")


def control_files(table: Sequence[host.Mount], folder: Path = host.FUSECTL) -> Verdict:
    """Look whether the kernel's limits for a mount can be raised."""
    mounted = any(mount.fstype == "fusectl" for mount in table)
    if mounted:
        return good("fusectl", f"is mounted on {folder}")
    return note(
        "fusectl",
        "is not mounted: at most eight reads wait for the network at a time",
        f"As root run: mount -t fusectl none {folder}",
    )


def disk(paths: config.Paths, chosen: config.Settings, table: Sequence[host.Mount]) -> Iterator[Verdict]:
    """Look at the folders of cache and state: where they lie, whether they can be used, how much room."""
    for name, folder in (("cache", paths.cache), ("state", paths.state)):
        place = host.locate(folder, table)
        under = host.holding(place, table)
        key = f"{name}_dir"
        if under is not None and under.is_fuse:
            yield wrong(
                name,
                f"{place} lies on a {under.fstype} mount, which is not a disk",
                f"Choose a folder on a local disk with {key}",
                exits.CANT_CREATE,
            )
            continue
        there = next(one for one in (place, *place.parents) if one.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            yield wrong(
                name, f"{there} cannot be written", f"Choose another folder with {key}", exits.CANT_CREATE
            )
            continue
        yield _room(place, there, chosen) if name == "cache" else good(name, f"{place} can be written")


def _room(place: Path, there: Path, chosen: config.Settings) -> Verdict:
    try:
        free = host.disk_free(there)
    except MusicfsError as failure:
        return wrong("cache", str(failure), failure.remedy, exits.CANT_CREATE)
    room = free - chosen.keep_free
    says = f"{place}, {bytes_text(free)} free on its disk, of which {bytes_text(chosen.keep_free)} stay free"
    if room < min(SCARCE, chosen.cache_size):
        remedy = "Free some space, choose another disk with cache_dir, or lower keep_free"
        return note("cache", f"{says}: hardly anything can be kept", remedy)
    return good("cache", f"{says}; the cache may take {bytes_text(chosen.cache_size)}")


def lock(paths: config.Paths, daemons: Mapping[Path, int], locks: Path = LOCKS) -> Verdict:
    """Look who holds the profile's cache; `daemons` are the living ones, by mountpoint."""
    name = "lock"
    holder = _holder(paths.cache / "lock", locks)
    if holder is None:
        return good(name, "nobody uses the cache of this profile")
    serving = next((mountpoint for mountpoint, pid in daemons.items() if pid == holder), None)
    if serving is not None:
        return good(name, f"the cache is in use by the musicfs on {serving} (process {holder})")
    return note(
        name,
        f"process {holder} uses the cache of this profile and serves no mount of yours",
        f"If it hangs, end it: kill {holder}",
    )


def _holder(path: Path, locks: Path) -> int | None:
    """Find in /proc/locks the process that holds a flock on a file; to try the lock would be to take it."""
    try:
        mark = os.stat(path)
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    wanted = f"{os.major(mark.st_dev):02x}:{os.minor(mark.st_dev):02x}:{mark.st_ino}"
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == wanted and words[4].isdigit():
            return int(words[4])
    return None


def mounted(
    table: Sequence[host.Mount], daemons: Mapping[Path, int], user: int | None = None
) -> Iterator[Verdict]:
    """Look at every musicfs that is mounted: whether somebody serves it."""
    user = os.geteuid() if user is None else user
    ours = {mount.mountpoint: mount for mount in table if mount.is_ours}
    for place, mount in ours.items():
        pid = daemons.get(place) or host.server_of(place)
        if pid is not None:
            yield good("mount", f"{place} is served by process {pid}")
        elif mount.owner not in (None, user):
            yield note(
                "mount", f"{place} belongs to user {mount.owner}, whose daemon cannot be seen from here"
            )
        else:
            yield wrong("mount", f"{place} is mounted and nobody serves it", f"Run: musicfs umount {place}")
    if not ours:
        yield good("mount", "no musicfs is mounted, and none was left behind")
