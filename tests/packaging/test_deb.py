"""The Debian package's recipe, as far as it can be looked at without building it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from musicfs import __version__

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "packaging" / "debian"
MOUNTINFO = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:40 / /home/ada/My\040Music ro,nosuid,nodev shared:9 - fuse.musicfs musicfs:default ro,user_id=1000
41 21 0:41 / /srv/musicfs ro,nosuid,nodev - fuse.musicfs musicfs:default ro,user_id=0
42 21 0:42 / /mnt/other ro,nosuid,nodev - fuse.sshfs host: ro,user_id=0
"""


@pytest.fixture(scope="module")
def deb() -> ModuleType:
    """Load the builder, which is a program and no module of ours."""
    spec = importlib.util.spec_from_file_location("deb", ROOT / "packaging" / "deb.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_that_it_packs_is_here(deb: ModuleType) -> None:
    """Each file of the table is in this clone, and each goes to a place of its own."""
    assert [name for name in deb.PLACES if not (ROOT / name).is_file()] == []
    places = [place for place, _ in deb.PLACES.values()]
    assert len(set(places)) == len(places)


def test_the_version_is_read_from_its_one_place(
    deb: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is that of `musicfs --version`, and a version that comes before its release sorts before it."""
    assert deb.version() == __version__
    (tmp_path / "musicfs").mkdir()
    monkeypatch.setattr(deb, "ROOT", tmp_path)
    for written, sorted_as in (
        ("1.0", "1.0"),
        ("1.0rc1", "1.0~rc1"),
        ("1.0.dev3", "1.0~dev3"),
        ("1.2b2", "1.2~b2"),
    ):
        (tmp_path / "musicfs/__init__.py").write_text(f'__version__ = "{written}"\n')
        assert deb.version() == sorted_as


def test_the_version_stands_nowhere_else() -> None:
    """Neither the project file nor a page nor a script repeats it, so a release changes one line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "musicfs/__init__.py"
    said = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])")
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("scripts/*"), *ROOT.glob("systemd/*")]
    pages += [*ROOT.glob("packaging/*.py"), *DEBIAN.glob("*")]
    assert [path.name for path in pages if path.is_file() and said.search(path.read_text())] == []


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_the_scripts_of_its_life_are_good_shell(name: str) -> None:
    """dash reads each without a complaint, and a failure in one is not passed over."""
    done = subprocess.run(
        ["sh", "-n", DEBIAN / name], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nset -e\n" in (DEBIAN / name).read_text()


def lived(name: str, tmp_path: Path, *words: str) -> list[str]:
    """Run a script of the package where the machine is made up; what it said and called, line by line."""
    (tmp_path / "mountinfo").write_text(MOUNTINFO)
    text = (DEBIAN / name).read_text().replace("/proc/self/mountinfo", str(tmp_path / "mountinfo"))
    script = tmp_path / name
    script.write_text(text.replace("/run/systemd/system", str(tmp_path / "none")))
    for program in ("systemd-sysusers", "musicfs"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "called {program} $*"\n')
        (tmp_path / program).chmod(0o755)
    shell = shutil.which("dash") or "sh"
    done = subprocess.run(
        [shell, script, *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_removal_takes_every_mount_away(tmp_path: Path) -> None:
    """Each musicfs mount and no other, blanks in its name or not; an upgrade takes none."""
    said = lived("prerm", tmp_path, "remove")
    assert [line for line in said if line.startswith("called")] == [
        "called musicfs umount /home/ada/My Music",
        "called musicfs umount /srv/musicfs",
    ]
    assert lived("prerm", tmp_path, "upgrade", "0.2-1") == []


def test_an_upgrade_names_what_goes_on(tmp_path: Path) -> None:
    """Where an older version was, the mounts that still are of it are told; at first none are."""
    said = lived("postinst", tmp_path, "configure", "0.1-1")
    assert said[0] == "called systemd-sysusers musicfs.conf"
    assert "version 0.1-1" in said[1]
    assert len(said) == 4
    assert lived("postinst", tmp_path, "configure", "") == ["called systemd-sysusers musicfs.conf"]
