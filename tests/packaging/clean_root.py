"""A Debian of its own to install into, and a mount in it that has to play.

How it thinks: a root is a copy of one freshly made by debootstrap, entered by chroot. All of it happens in
mount and PID namespaces of its own, so whatever is mounted or left running there ends with this program. The
network is the machine's: apt and PyPI are asked for real, and the made-up service answers on 127.0.0.1.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from musicfs.demo import DEMO_TOKEN, Clip, Service
from tests.loopback import Loopback, running
from tests.mounted.mounting import digest

CLONE = "/home/ada/musicfs"
"""Where the clone is in a root; the blocks of docs/install.md run there."""
WAIT = 60.0  # seconds for a mount to come or go on a busy machine

_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_FUSE = (10, 229)


def debootstrap(folder: Path) -> None:
    """Make the Debian that the roots are copies of."""
    done = ("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(folder))
    subprocess.run(done, check=True, stdout=subprocess.DEVNULL)


class Root:
    """One root, to be used once."""

    def __init__(self, path: Path, base: Path, clone: Path) -> None:
        self.path = path
        subprocess.run(["cp", "-a", "--reflink=auto", base, path], check=True)
        self._furnish()
        self.run("apt-get update -q && useradd --create-home --shell /bin/sh ada")
        shutil.copytree(clone, self.inside(CLONE), symlinks=True)
        self.run(f"chown -R ada:ada {CLONE}")

    def inside(self, place: str) -> Path:
        """Say where a path of the root's is from outside."""
        return self.path / place.lstrip("/")

    def _furnish(self) -> None:
        """Give it devices, /proc and /sys, and the machine's names and certificates."""
        for kind, place in (("tmpfs", "dev"), ("proc", "proc"), ("sysfs", "sys")):
            subprocess.run(["mount", "-t", kind, kind, self.path / place], check=True)
        for name, numbers in {**_NODES, "fuse": _FUSE}.items():
            os.mknod(self.path / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(*numbers))
            (self.path / "dev" / name).chmod(0o666)
        for name in ("pts", "shm"):
            (self.path / "dev" / name).mkdir()
        subprocess.run(
            ["mount", "-t", "devpts", "-o", "ptmxmode=666", "pts", self.path / "dev/pts"], check=True
        )
        (self.path / "dev/ptmx").symlink_to("pts/ptmx")
        (self.path / "dev/fd").symlink_to("/proc/self/fd")
        table = self.path / "etc/mtab"
        table.unlink(missing_ok=True)
        table.symlink_to("../proc/self/mounts")  # as the installer does: fusermount3 asks it
        for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
            shutil.copy(Path("/") / name, self.path / name)

    def command(self, user: str, words: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        """Give the command line that runs words in there, in a clean environment."""
        home = "/root" if user == "root" else f"/home/{user}"
        around = {
            "HOME": home,
            "USER": user,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "UV_SYSTEM_CERTS": "true",  # a network with an authority of its own is no obstacle
            **environ,
        }
        variables = [f"{name}={value}" for name, value in around.items()]
        return ["chroot", f"--userspec={user}:{user}", str(self.path), "env", "-i", *variables, *words]

    def run(self, text: str, user: str = "root", environ: Mapping[str, str] = MappingProxyType({})) -> str:
        """Run shell commands where the clone is, and give all that they said; they have to succeed."""
        place = CLONE if self.inside(CLONE).exists() else "/"
        done = subprocess.run(
            self.command(user, ("sh", "-ec", f"cd {place}\n{text}"), environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{user}: {text}: ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def files(self) -> set[str]:
        """List what is on the system's disk: what an installation may leave behind."""
        found = self.run("find /etc /opt /srv /usr /var -xdev \\( -type f -o -type l -o -type d \\) | sort")
        passing = ("/var/cache/", "/var/log/", "/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/systemd/")
        return {line for line in found.splitlines() if not line.startswith(passing)}


class Playing:
    """A mount in a root, as somebody started it."""

    def __init__(self, root: Root, loop: Loopback, user: str, program: str, name: str) -> None:
        self.root, self.user = root, user
        self.place = f"{'/root' if user == 'root' else f'/home/{user}'}/{name}"
        self.environ = {
            "MUSICFS_TOKEN": DEMO_TOKEN,
            "MUSICFS_API_URL": loop.api_url,
            "MUSICFS_MEDIA_URL": loop.bucket_url,
            "MUSICFS_KEEP_FREE": "0",
        }
        config = f"/tmp/{user}-{name}.toml"
        root.run(f"mkdir -p {self.place} && touch {config}", user)
        self.log = (root.path / f"{name}.log").open("w")
        self.process = subprocess.Popen(
            root.command(user, (program, "mount", "--config", config, self.place), self.environ),
            stdout=self.log,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
        )
        self.until(lambda: self.mounted, "it is not mounted")

    @property
    def mounted(self) -> bool:
        """Whether it is there."""
        return f" {self.root.path}{self.place} " in Path("/proc/self/mountinfo").read_text()

    def until(self, true: Callable[[], bool], complaint: str) -> None:
        """Wait until something holds."""
        end = time.monotonic() + WAIT
        while not true():
            assert time.monotonic() < end, f"{complaint}:\n{Path(self.log.name).read_text()}"
            time.sleep(0.1)

    def plays(self, clip: Clip) -> None:
        """Read a song, as whoever mounted it, and compare it with the service's."""
        said = self.root.run(f"sha256sum {self.place}/flowmusic/{clip.uuid}.mp3", self.user)
        assert said[:64] == digest(clip.assets["mp3"])

    def ends(self) -> None:
        """Wait until it is unmounted and its program has ended well."""
        self.until(lambda: not self.mounted, "it is still mounted")
        assert self.process.wait(WAIT) == 0, Path(self.log.name).read_text()
        said = Path(self.log.name).read_text()
        assert " ERROR " not in said, said
        assert "Traceback" not in said, said


@contextmanager
def songs(count: int) -> Iterator[tuple[Loopback, list[Clip]]]:
    """Serve some songs."""
    service = Service(clock=time.time)
    clips = [service.add_clip("ada@example.org", f"Song {number}", 4.0) for number in range(count)]
    with running(service) as loop:
        yield loop, clips
