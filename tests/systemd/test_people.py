"""An ordinary user with the setuid fusermount3, on a machine as people have it: /dev/fuse is open to all."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from musicfs.demo import DEMO_TOKEN, Service
from tests.systemd.machine import LISTENER, ROOT, Machine

HOME = f"/home/{LISTENER}"
OTHER = 65_534
SUITE = ("tests/mounted/test_promises.py", "-k", "unmounts or killed or bytes or survive or only_get")
"""What such a user runs by default: what hangs on who mounts. `python -m tests.systemd` runs all."""


@pytest.fixture
def person(machine: Machine, config: str, service: Service) -> Iterator[Machine]:
    """Give the listener two configs and the token; unmount what is left at the end."""
    service.token = DEMO_TOKEN
    folder = f"{HOME}/.config/musicfs"
    for name in ("work", "play"):
        machine.write(f"{folder}/{name}.toml", config, owner=LISTENER)
        machine.done("mkdir", "-p", f"{HOME}/{name}", user=LISTENER)
    machine.write(f"{folder}/token", DEMO_TOKEN, 0o600, owner=LISTENER)
    yield machine
    for name in ("work", "play"):
        machine.run("fusermount3", "-uzq", f"{HOME}/{name}", user=LISTENER, session=True)
    machine.write("/etc/fuse.conf", "")


def mount(machine: Machine, name: str, *options: str) -> tuple[int, str]:
    """Mount a config behind, as the listener; code and stderr."""
    words = ["--daemon", "--config", f"{HOME}/.config/musicfs/{name}.toml", *options, f"{HOME}/{name}"]
    ended = machine.run("musicfs", "mount", *words, user=LISTENER, session=True)
    return ended.returncode, ended.stderr


def musicfs(machine: Machine, *words: str) -> tuple[int, str]:
    """Run another command as the listener; code and everything it said."""
    ended = machine.run("musicfs", *words, user=LISTENER, session=True)
    return ended.returncode, ended.stdout + ended.stderr


def test_two_configs_are_two_mounts(person: Machine) -> None:
    """Each has its own profile, cache and state; a command that could mean either asks which."""
    for name in ("work", "play"):
        assert mount(person, name)[0] == 0
    for name in ("work", "play"):
        listed = person.done("ls", f"{HOME}/{name}/library", user=LISTENER)
        assert {"Dawn", "Night Drive"} <= set(listed.split("\n"))
        source = person.done("findmnt", "-n", "-o", "SOURCE", f"{HOME}/{name}", user=LISTENER)
        assert source == f"musicfs:{name}\n"
        for kind in (".cache", ".local/state"):
            assert person.done("stat", "-c", "%a", f"{HOME}/{kind}/musicfs/{name}", user=LISTENER) == "700\n"
    assert musicfs(person, "status")[0] == 78
    assert "several are mounted" in musicfs(person, "status")[1]
    assert musicfs(person, "status", f"{HOME}/work")[0] == 0
    code, said = mount(person, "work")
    assert (code, "is mounted on" in said) == (78, True), said
    assert musicfs(person, "umount", f"{HOME}/work")[0] == 0
    assert "Dawn" in person.done("ls", f"{HOME}/play/library", user=LISTENER)


def test_others_are_let_in_when_root_allows_it(person: Machine) -> None:
    """`allow_other` wants a line in fuse.conf; without it nobody else sees the mount, not even root."""
    code, said = mount(person, "work", "-o", "allow_other")
    assert code == 77, said
    assert "user_allow_other" in said
    assert "Traceback" not in said
    assert mount(person, "work")[0] == 0
    person.done("chmod", "755", HOME)
    for user in (0, OTHER):
        assert person.run("ls", f"{HOME}/work", user=user).returncode != 0
    assert musicfs(person, "umount", f"{HOME}/work")[0] == 0
    person.write("/etc/fuse.conf", "user_allow_other\n")
    assert mount(person, "work", "-o", "allow_other")[0] == 0
    assert "Dawn" in person.done("ls", f"{HOME}/work/library", user=OTHER)


def test_owner_and_modes_are_what_was_asked_for(machine: Machine, person: Machine) -> None:
    """uid, gid and umask are shown, and the kernel keeps to them: with 077 the owner alone reads."""
    machine.write("/etc/musicfs/token", DEMO_TOKEN, 0o600)
    options = f"allow_other,uid={LISTENER},gid=7,umask=077"
    source = f"{HOME}/.config/musicfs/work.toml"
    machine.done("mkdir", "-p", "/srv/owned")
    machine.done("musicfs", "mount", "--daemon", "--config", source, "-o", options, "/srv/owned")
    try:
        song = "/srv/owned/library/Dawn/Dawn.mp3"
        told = machine.done("stat", "-c", "%u %g %a", "/srv/owned/library", song, user=LISTENER)
        assert told == f"{LISTENER} 7 700\n{LISTENER} 7 600\n"
        assert machine.run("cat", song, user=LISTENER).returncode == 0
        assert "Permission denied" in machine.run("cat", song, user=OTHER).stderr
    finally:
        machine.done("musicfs", "umount", "/srv/owned")


@pytest.mark.timeout(300)  # a dozen seconds of work, but a busy machine was seen to take two minutes
def test_the_suite_passes_for_an_ordinary_user(person: Machine) -> None:
    """Real mounts by fusermount3 keep the promises as root's do."""
    ended = suite(person, *SUITE)
    assert ended[0] == 0, ended[1]
    assert " passed" in ended[1]
    assert "skipped" not in ended[1], ended[1]


def suite(machine: Machine, *words: str, limit: float = 280.0) -> tuple[int, str]:
    """Run pytest as the listener, within the machine; code and what it said."""
    program = [
        *("env", f"--chdir={ROOT}", "PYTHONDONTWRITEBYTECODE=1", f"HYPOTHESIS_STORAGE_DIRECTORY={HOME}/h"),
        *(str(ROOT / ".venv/bin/pytest"), "-p", "no:cacheprovider", "--basetemp", f"{HOME}/t"),
    ]
    ended = machine.run(*program, *words, user=LISTENER, session=True, limit=limit)
    return ended.returncode, (ended.stdout + ended.stderr)[-6000:]


def test_the_user_is_ordinary(person: Machine) -> None:
    """The listener has no rights of root's, so that what is tried here is what people have."""
    assert person.run("cat", "/etc/shadow", user=LISTENER).returncode != 0
    assert os.stat(person.path("/usr/bin/fusermount3")).st_mode & 0o4000
