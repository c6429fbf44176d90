"""mount(8)'s dialect: what is understood, what is swallowed, what is refused, and the codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicfs.__main__ import from_mount, main
from musicfs.commands import exits, fstab, options


@pytest.mark.parametrize(
    ("program", "line", "found"),
    [
        ("/sbin/mount.musicfs", ["musicfs", "/mnt"], ["musicfs", "/mnt"]),
        ("mount.musicfs", [], []),
        ("/usr/bin/musicfs", ["mount.musicfs", "a.toml", "/mnt", "-f"], ["a.toml", "/mnt", "-f"]),
        ("musicfs", ["/etc/a.toml", "/mnt", "-o", "ro"], ["/etc/a.toml", "/mnt", "-o", "ro"]),
        ("musicfs", ["mount", "-o", "ro", "/mnt"], None),
        ("musicfs", ["staus"], None),
        ("musicfs", ["staus", "/mnt"], None),
        ("musicfs", ["-o", "ro", "/mnt"], None),
        ("musicfs", [], None),
    ],
)
def test_mount_is_known_by_its_name_or_its_line(
    program: str, line: list[str], found: list[str] | None
) -> None:
    """By the helper's name, or by `-o` behind two words of which the first is no command."""
    assert from_mount(program, line) == found


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be called as mount(8) calls, with a config file; where root would look for the machine's, look here."""
    monkeypatch.setattr(sys, "argv", ["/sbin/mount.musicfs"])
    monkeypatch.setattr("musicfs.config.places.SYSTEM_CONFIG", tmp_path)
    monkeypatch.setattr("musicfs.config.settings.SYSTEM_CONFIG", tmp_path)
    file = tmp_path / "studio.toml"
    file.write_text("deadline = 5\n")
    return file


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 1, "required: SOURCE, MOUNTPOINT"),
        (["{file}"], 1, "required: MOUNTPOINT"),
        (["{file}", "/mnt", "--daemon"], 1, "unrecognized arguments"),
        (["{file}", "/mnt", "-o", "token=user:1-x"], 1, "readable by everyone"),
        (["{file}", "/mnt", "-o", "cash_size=3G"], 1, "did you mean 'cache_size'?"),
        (["{file}", "/mnt", "-o", "deadline=soon"], 1, "deadline must be a number"),
        (["{file}", "/mnt", "-s", "-o", "deadline=soon"], 1, "deadline must be a number"),
        (["{file}", "/mnt", "-o", "setuid=joe"], 1, "fuse.musicfs only"),
        (["{file}", "/dev/fd/3", "-o", "ro"], 1, "musicfs.service"),
        (["{file}", "/mnt", "-N", "/proc/1/ns/mnt"], 1, "nsenter"),
        (["/nonexistent.toml", "/mnt", "-f"], 1, "there is no config file"),
        (["server:/music", "/mnt", "-f"], 1, "there is no config file"),
        (["music", "/mnt", "-f"], 1, "a config file, or the word musicfs"),
        (["{file}", "/mnt", "-o", "rw,_netdev"], 1, "there is no token"),
    ],
)
def test_mistakes_are_a_sentence_and_mounts_code(
    helper: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    """No traceback, nothing on stdout, and no token repeated."""
    with pytest.raises(SystemExit) as ended:
        sys.exit(main([word.format(file=helper) for word in words]))
    written = capsys.readouterr()
    assert (ended.value.code, written.out) == (code, "")
    assert said in written.err
    assert "Traceback" not in written.err
    assert "user:1-x" not in written.err


@pytest.mark.parametrize(
    "words",
    [
        ["{file}", "/mnt", "-f", "-v", "-o", "ro"],
        ["-o", "ro", "-f", "{file}", "/mnt", "-n"],
        ["{file}", "/mnt", "-s", "-f", "-o", "unheard_of=1,other"],
        ["musicfs", "/mnt", "-fnv", "-t", "fuse.musicfs"],
        ["none", "/mnt", "-rf"],
        ["{file}", "/mnt", "-wf", "-o", "user=joe,uhelper=udisks2,X-mount.mkdir,x-gvfs-hide,comment=music"],
        ["{file}", "/mnt", "-f", "-o", "auto,exec,suid,dev,async,lazytime,nosymfollow,default_permissions"],
    ],
)
def test_a_rehearsal_ends_well(helper: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """Every order and every word of mount(8)'s own is taken, and with `-s` a foreign one too."""
    assert main([word.format(file=helper) for word in words]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the machine's folders")
def test_root_mounts_for_the_machine(helper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME=/root, as mount.fuse3 says, does not make the mount root's own."""
    environ = {"HOME": "/root"}
    assert fstab.run([str(helper), "/mnt", "-f"], environ) == 0
    assert environ == {}


@given(st.dictionaries(st.sampled_from(["a", "b_c", "d"]), st.text()))
def test_what_is_kept_by_sloppiness_is_kept_exactly(found: dict[str, str]) -> None:
    """A value that is written out again is read as it was."""
    text = ",".join(f"{key}={fstab._quoted(value)}" for key, value in found.items())
    assert options.parse([text]) == found


def test_every_code_has_one_of_mounts() -> None:
    """systemd's and sysexits' codes become mount(8)'s (mount(8), EXIT STATUS)."""
    ours = [exits.DONE, exits.UNEXPECTED, exits.USAGE, exits.UNAVAILABLE, exits.CANT_CREATE]
    ours += [exits.TRY_LATER, exits.NO_PERMISSION, exits.CONFIG, exits.INTERRUPTED]
    assert [exits.for_mount(code) for code in ours] == [0, 2, 1, 32, 32, 32, 1, 1, 8]
