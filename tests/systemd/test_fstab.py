"""fstab and mount(8) as a machine has them: the helper, the lines of docs/systemd.md, and their units."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import DEMO_TOKEN, Service
from tests.systemd.machine import LISTENER, ROOT, Machine

GENERATOR = Path("/lib/systemd/system-generators/systemd-fstab-generator")
LINES = re.search(r"```fstab\n(.*?)```", (ROOT / "docs/systemd.md").read_text(), re.DOTALL)
NOBODY = 65_534
PLACES = ("/srv/music", "/srv/studio", "/srv/third")


@pytest.fixture
def fstab(machine: Machine, config: str, service: Service) -> Iterator[Machine]:
    """Give the machine the helper, and the lines of the page."""
    service.token = DEMO_TOKEN
    assert LINES is not None
    machine.write("/etc/fstab", LINES[1])
    machine.write("/etc/musicfs/config.toml", config)
    machine.write("/etc/musicfs/studio.toml", config)
    machine.write("/etc/musicfs/token", DEMO_TOKEN, 0o600)
    machine.write("/usr/sbin/mount.musicfs", (ROOT / "packaging/mount.musicfs").read_text(), 0o755)
    machine.done("mkdir", "-p", *PLACES)
    machine.done("systemctl", "daemon-reload")
    yield machine
    for place in PLACES:
        machine.run("umount", "-l", place)
    machine.write("/etc/fstab", "")
    machine.done("systemctl", "daemon-reload")


def kind(machine: Machine, place: str) -> str:
    """Give type and options of what is mounted there; empty if nothing is."""
    return machine.run("findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", place).stdout


def test_both_lines_mount_for_everybody(fstab: Machine) -> None:
    """By the helper and by mount.fuse3, with the machine's folders, read-only, and gone after umount."""
    for place, profile, source in (
        ("/srv/music", "default", "musicfs"),
        ("/srv/studio", "studio", "/etc/musicfs/studio.toml"),
    ):
        fstab.done("mount", place)
        told = kind(fstab, place)
        assert f"fuse.musicfs {source} " in " ".join(told.split())
        for option in ("ro", "nosuid", "nodev", "allow_other"):
            assert option in re.split(r"[,\s]", told)
        listed = fstab.done("ls", f"{place}/library", user=NOBODY).split("\n")
        assert {"Dawn", "Night Drive"} <= set(listed)
        assert fstab.path(f"/var/cache/musicfs/{profile}").is_dir()
        assert f"{place}\n" in fstab.done("musicfs", "status", place)
    for place in PLACES[:2]:
        fstab.done("umount", place)
        assert kind(fstab, place) == ""


def test_all_at_once(fstab: Machine) -> None:
    """`mount -a` mounts what is not `noauto`, and a second time nothing."""
    fstab.done("mount", "-a")
    fstab.done("mount", "-a")
    assert kind(fstab, "/srv/music").count("musicfs") == 2  # its type and its source, once each
    assert kind(fstab, "/srv/studio") == ""


def test_systemd_mounts_the_line(fstab: Machine) -> None:
    """The .mount unit that systemd makes of a line starts, is read, and stops."""
    fstab.done("systemctl", "start", "srv-music.mount")
    assert "Dawn" in fstab.done("ls", "/srv/music/library", user=NOBODY)
    fstab.done("systemctl", "stop", "srv-music.mount")
    assert kind(fstab, "/srv/music") == ""


@pytest.mark.parametrize("type_", ["musicfs", "fuse.musicfs"])
def test_mount_says_what_is_wrong(fstab: Machine, type_: str) -> None:
    """With mount(8)'s codes, on its stderr, and with nothing mounted; with a rehearsal nothing is either."""
    source, place = "/etc/musicfs/studio.toml", "/srv/third"

    def tried(*words: str) -> tuple[int, str]:
        ended = fstab.run("mount", "-t", type_, *words)
        assert kind(fstab, place) == ""
        return ended.returncode, ended.stderr

    for words, said in (
        ((source, place, "-o", "token=user:1-x"), "readable by everyone"),
        ((source, place, "-o", "cash_size=3G"), "did you mean 'cache_size'?"),
        (("/etc/musicfs/none.toml", place), "there is no config file"),
    ):
        code, told = tried(*words)
        assert (code, said in told) == (1, True), told
        assert "user:1-x" not in told
    fstab.path("/etc/musicfs/token").unlink()
    assert tried(source, place)[0] == 1
    # mount.fuse3 itself knows no rehearsal.
    assert tried("-f", source, place)[0] == (0 if type_ == "musicfs" else 1)


def test_options_are_settings(fstab: Machine) -> None:
    """The fourth field beats the file; mount(8)'s own words do no harm; -s forgives the rest."""
    options = "cache_size=20M,umask=077,uid=7,gid=8,noatime,exec,user,x-gvfs-hide,_netdev,comment=mine"
    fstab.done("mount", "-t", "musicfs", "/etc/musicfs/studio.toml", "/srv/third", "-o", options)
    fstab.until(lambda: "musicfs.mount: mounted on /srv/third\n" in fstab.journal())
    told = fstab.done("stat", "-c", "%u %g %a", "/srv/third")
    assert told == "7 8 700\n"
    assert fstab.done("stat", "-f", "-c", "%b", "/srv/third") == "5120\n"
    fstab.done("umount", "/srv/third")
    fstab.done("mount", "-s", "-t", "musicfs", "/etc/musicfs/studio.toml", "/srv/third", "-o", "unheard=of")
    assert "fuse.musicfs" in kind(fstab, "/srv/third")


def test_what_lies_in_the_folder_is_covered(fstab: Machine) -> None:
    """As by every type of mount(8), with a warning; and it is there again afterwards."""
    fstab.write("/srv/third/mine.wav", "mine")
    tried = fstab.run("mount", "-t", "musicfs", "/etc/musicfs/studio.toml", "/srv/third")
    assert (tried.returncode, "is hidden until it is unmounted" in tried.stderr) == (0, True), tried.stderr
    assert "mine.wav" not in fstab.done("ls", "/srv/third")
    fstab.done("umount", "/srv/third")
    assert fstab.done("ls", "/srv/third") == "mine.wav\n"
    fstab.done("rm", "/srv/third/mine.wav")


def test_a_mount_can_be_somebodys(fstab: Machine) -> None:
    """With `setuid=` and fuse.musicfs the daemon is that user's; with `user` the user mounts alone."""
    settings = fstab.path("/etc/musicfs/studio.toml").read_text()
    home = f"/home/{LISTENER}"
    fstab.write("/etc/musicfs/studio.toml", f'{settings}token_file = "{home}/mine"\n')
    fstab.write(f"{home}/mine", DEMO_TOKEN, 0o600, owner=LISTENER)
    fstab.done("chown", str(LISTENER), "/srv/third")
    source, place = "/etc/musicfs/studio.toml", "/srv/third"
    fstab.done("mount", "-t", "fuse.musicfs", source, place, "-o", "setuid=listener")
    assert f"user_id={LISTENER}" in kind(fstab, place)
    assert "Dawn" in fstab.done("ls", f"{place}/library", user=LISTENER)
    fstab.done("umount", place)
    fstab.write("/etc/fstab", f"{source} {place} musicfs user,noauto 0 0\n")
    mounted = fstab.run("mount", place, user=LISTENER, session=True)
    assert (mounted.returncode, mounted.stdout, mounted.stderr) == (0, "", "")
    assert f"user_id={LISTENER}" in kind(fstab, place)
    assert fstab.run("umount", place, user=LISTENER, session=True).returncode == 0
    assert kind(fstab, place) == ""


@pytest.mark.skipif(not GENERATOR.exists(), reason="systemd-fstab-generator is not on this machine")
def test_the_lines_become_units(tmp_path: Path) -> None:
    """systemd's generator makes a mount of each line, for the network, and an automount where it is asked."""
    assert LINES is not None
    (tmp_path / "fstab").write_text(LINES[1])
    folders = [tmp_path / name for name in ("normal", "early", "late")]
    for folder in folders:
        folder.mkdir()
    done = subprocess.run(
        [GENERATOR, *folders],
        env={**os.environ, "SYSTEMD_FSTAB": str(tmp_path / "fstab"), "SYSTEMD_LOG_TARGET": "console"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    music = (folders[0] / "srv-music.mount").read_text()
    assert "\nType=musicfs\n" in music
    assert "\nWhat=musicfs\n" in music
    assert (folders[0] / "remote-fs.target.wants/srv-music.mount").is_symlink()
    studio = (folders[0] / "srv-studio.mount").read_text()
    assert "\nType=fuse.musicfs\n" in studio
    assert "\nWhat=/etc/musicfs/studio.toml\n" in studio
    assert "\nWhere=/srv/studio\n" in (folders[0] / "srv-studio.automount").read_text()
    assert not (folders[0] / "srv-music.automount").exists()
