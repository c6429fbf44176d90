"""Runs docs/install.md in clean roots, as root: `python -m tests.packaging [--base FOLDER] [deb|pipx|uv …]`.

How it thinks: each way of installing has a root of its own, runs its blocks of the page as they stand, and
then has to play: a mount by what was installed, a song read through it and compared. For the package also
what no page says: an upgrade under two mounts, one that somebody listens to and one that nobody has looked
at yet, a removal, a purge, and what is left on the disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from musicfs import __version__, host
from musicfs.demo import DEMO_TOKEN, Clip
from tests.loopback import Loopback
from tests.mounted.mounting import digest
from tests.packaging import page
from tests.packaging.clean_root import CLONE, Playing, Root, debootstrap, songs

ROOT = Path(__file__).parents[2]
NEWER = f"{__version__}+newer"
LOADED = 15.0  # seconds after which a mount that nobody has looked at has loaded all its code, too


class Bench:
    """Where the roots are made."""

    def __init__(self, folder: Path, base: Path | None, deb: Path | None) -> None:
        self._folder, self.deb = folder, deb
        self._base = base or folder / "base"
        if base is None:
            say("debootstrap")
            debootstrap(self._base)
        self.clone = folder / "clone"
        self.clone.mkdir()
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", self.clone], input=archive, check=True)

    def root(self, name: str) -> Root:
        """Make one."""
        return Root(self._folder / name, self._base, self.clone)


def say(what: str) -> None:
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def follow(root: Root, name: str) -> str:
    """Run the page's blocks of this name; gives all that they said."""
    said = ""
    for block in page.of(name):
        say(f"{name}: {block.text.splitlines()[0]}")
        said += root.run(block.text, block.user)
    return said


def package(bench: Bench) -> None:
    """Build it in one root; install, use, upgrade, remove and purge it in another."""
    built = bench.deb
    if built is None:
        builder = bench.root("builder")
        follow(builder, "builder")
        (built,) = builder.inside(f"{CLONE}/dist").glob("*.deb")
    root = bench.root("deb")
    root.inside(f"{CLONE}/dist").mkdir()
    newer(Path(shutil.copy(built, root.inside(f"{CLONE}/dist"))))
    # What it depends on is not what is asked about: only what itself leaves behind.
    root.run("apt-get install -y python3 fuse3 procps systemd")
    before = root.files()
    assert __version__ in follow(root, "deb")
    installed(root)
    with songs(3) as (loop, clips):
        heard = Playing(root, loop, "ada", "musicfs", "heard")
        fresh = Playing(root, loop, "root", "musicfs", "fresh")
        heard.plays(clips[0])
        time.sleep(LOADED)
        said = follow(root, "upgrade")
        assert heard.place in said, said
        assert fresh.place in said, said
        assert NEWER in root.run("musicfs --version")
        # Nothing of the newer version may come into one that runs: what would be loaded now is not there.
        (later,) = root.path.glob("usr/lib/musicfs/lib/python3.*/site-packages/musicfs/wire/transport.py")
        later.rename(later.with_suffix(".away"))
        for mount in (heard, fresh):
            mount.plays(clips[1])
        later.with_suffix(".away").rename(later)
        say("deb: both went on over the upgrade")
        root.run(f"musicfs status {heard.place} && musicfs umount {heard.place}", "ada", heard.environ)
        heard.ends()
        again = Playing(root, loop, "ada", "musicfs", "heard")
        again.plays(clips[2])
        root.run("dpkg --verify musicfs && dpkg --audit")
        by_the_helper(root, loop, clips[0])
        follow(root, "remove")
        for mount in (again, fresh):
            mount.ends()
    assert not root.inside("/usr/lib/musicfs").exists()
    assert root.inside("/etc/musicfs/token").exists()
    assert root.inside("/var/lib/musicfs").exists()
    assert root.inside("/home/ada/.cache/musicfs").exists()
    follow(root, "purge")
    assert root.inside("/home/ada/.cache/musicfs").exists()
    left = root.files() - before
    assert left <= {"/etc/subuid-", "/etc/subgid-"}, f"left behind: {sorted(left)}"
    say("deb: nothing was left behind but what is people's own")


def by_the_helper(root: Root, loop: Loopback, clip: Clip) -> None:
    """Mount as fstab does, with settings and token where the machine has them; both types of a line."""
    config, token = root.inside("/etc/musicfs/config.toml"), root.inside("/etc/musicfs/token")
    config.write_text(f'api_url = "{loop.api_url}"\nmedia_url = "{loop.bucket_url}"\nkeep_free = "0"\n')
    token.touch(0o600)
    token.write_text(DEMO_TOKEN)
    for kind in ("musicfs", "fuse.musicfs"):
        # Not in the clone: mount(8) makes an absolute path of a word that is a name there.
        root.run(f"mkdir -p /srv/music && cd / && mount -t {kind} musicfs /srv/music -o _netdev")
        said = root.run(
            f"sha256sum /srv/music/flowmusic/{clip.uuid}.mp3 && umount /srv/music && rmdir /srv/music"
        )
        assert said[:64] == digest(clip.assets["mp3"])
    say("deb: mount(8) found its helper")


def newer(old: Path) -> None:
    """Pack the package once more as revision 2, of a program that calls itself newer."""
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        subprocess.run(["dpkg-deb", "-R", old, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace(f"{__version__}-1\n", f"{__version__}-2\n"))
        (module,) = tree.glob("usr/lib/musicfs/lib/python3.*/site-packages/musicfs/__init__.py")
        module.write_text(module.read_text().replace(f'"{__version__}"', f'"{NEWER}"'))
        compiled = ("-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", "/")
        subprocess.run(["/usr/bin/python3", "-m", "compileall", *compiled, module], check=True)
        sums = ["sh", "-c", 'cd "$0" && find usr -type f -exec md5sum {} + > DEBIAN/md5sums', str(tree)]
        subprocess.run(sums, check=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, old.parent], check=True)


def installed(root: Root) -> None:
    """Look at what came with it: the user, the units, the helper, the page, and nothing for all to write."""
    assert "musicfs" in root.run("getent passwd musicfs")
    for unit in ("system/musicfs.service", "user/musicfs@.service"):
        scope = "--user" if unit.startswith("user") else "--system"
        around = {"XDG_RUNTIME_DIR": "/tmp"}
        verify = f"systemd-analyze verify {scope} --man=no /usr/lib/systemd/{unit} 2>&1"
        said = root.run(verify, "root", around)
        assert said == "", said
    assert root.run("dpkg --verify musicfs") == ""
    listed = root.run("dpkg -L musicfs").split()
    for place in ("/usr/sbin/mount.musicfs", "/usr/share/man/man1/musicfs.1.gz", "/usr/bin/musicfs"):
        assert place in listed, place
    loose = root.run(
        "dpkg -L musicfs | xargs -d '\\n' sh -c 'find \"$@\" -maxdepth 0 -perm /022 ! -type l' sh"
    )
    assert loose == "", loose
    say("deb: user, units, helper and modes are as they should be")


def from_clone(name: str) -> Callable[[Bench], None]:
    """Install by pipx or uv, play, and go on with the page, which takes it away again."""

    def way(bench: Bench) -> None:
        root = bench.root(name)
        *first, last = page.of(name)
        for block in first:
            say(f"{name}: {block.text.splitlines()[0]}")
            root.run(block.text, block.user)
        with songs(1) as (loop, clips):
            mount = Playing(root, loop, "ada", "/home/ada/.local/bin/musicfs", name)
            mount.plays(clips[0])
            root.run(f"~/.local/bin/musicfs umount {mount.place}", "ada")
            mount.ends()
        say(f"{name}: {last.text.splitlines()[0]}")
        root.run(last.text, last.user)
        assert not root.inside("/home/ada/.local/bin/musicfs").exists()

    return way


WAYS = {"deb": package, "pipx": from_clone("pipx"), "uv": from_clone("uv")}


def main() -> int:
    """Go the ways that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.packaging")
    parser.add_argument("ways", nargs="*", choices=[*WAYS, []], metavar="deb|pipx|uv")
    parser.add_argument(
        "--base", type=Path, help="a Debian 12 by debootstrap, to copy in place of making one"
    )
    parser.add_argument("--deb", type=Path, help="a package that was built, to try in place of building one")
    args = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("chroot and mount need root")
    if args.base is None and shutil.which("debootstrap") is None:
        parser.error("there is no debootstrap here; apt-get install debootstrap, or name a root with --base")
    if "MUSICFS_CLEAN_ROOT" not in os.environ:
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        again = [sys.executable, "-m", "tests.packaging", *sys.argv[1:]]
        return subprocess.call([*apart, *again], env={**os.environ, "MUSICFS_CLEAN_ROOT": "1"}, cwd=ROOT)
    folder = Path(tempfile.mkdtemp(prefix="musicfs-roots-"))
    try:
        bench = Bench(folder, args.base, args.deb)
        for way in args.ways or WAYS:
            WAYS[way](bench)
            say(f"{way}: good")
    finally:
        # They would end with the namespaces; until then nothing of theirs may be taken for a root's own.
        for mount in reversed(host.mounts()):
            if folder in mount.mountpoint.parents:
                host.detach(mount.mountpoint, lazy=True)
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
