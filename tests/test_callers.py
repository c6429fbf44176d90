"""Who is asking: by the executable, through exec, upgrade, death and other users."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.callers import Callers

NOBODY = 65534  # the user and group id that owns nothing


def program(folder: Path, name: str, mode: int = 0o755) -> Path:
    """Give `cat` under another name: it lives until its standard input ends."""
    path = folder / name
    shutil.copy(shutil.which("cat") or "/bin/cat", path)
    path.chmod(mode)
    return path


@contextlib.contextmanager
def started(*words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for as long as the block lasts; it has become itself when Popen returns."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Write a line to a program."""
    assert process.stdin is not None
    process.stdin.write(line)


def hear(process: subprocess.Popen[bytes]) -> bytes:
    """Read a line from a program."""
    assert process.stdout is not None
    return process.stdout.readline()


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Look with the eyes of another user, if we are root; else we are no more than a user anyway."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_real_program_is_known_by_its_executable(tmp_path: Path) -> None:
    """A copy of `cat` called tumblerd is tumblerd, and a scanner if the list says so."""
    with started(program(tmp_path, "tumblerd")) as process:
        assert Callers({"tumblerd"}).name(process.pid) == "tumblerd"
        assert Callers({"tumblerd"}).is_scanner(process.pid)
        assert not Callers({"baloo_file"}).is_scanner(process.pid)


def test_a_thread_is_its_program() -> None:
    """The id of a thread that is not the first leads to the same executable and the same process."""
    ready, done, ids = threading.Event(), threading.Event(), []

    def wait() -> None:
        ids.append(threading.get_native_id())
        ready.set()
        done.wait(60)

    thread = threading.Thread(target=wait)
    thread.start()
    assert ready.wait(60)
    callers = Callers(())
    names = callers.name(ids[0]), callers.name(os.getpid())
    processes = callers.process(ids[0]), callers.process(os.getpid())
    done.set()
    thread.join()
    assert ids[0] != os.getpid()
    assert names[0] == names[1] == os.path.basename(os.readlink("/proc/self/exe"))
    assert processes == (os.getpid(), os.getpid())


def test_a_vanished_process_is_nobody_and_no_scanner() -> None:
    """Neither an ended process nor 0, a caller outside our PID namespace, is ever a scanner."""
    process = subprocess.Popen(["true"])
    process.wait()
    callers = Callers({"true", "?"})
    assert callers.name(process.pid) == "?"
    assert callers.name(0) == "?"
    assert callers.process(process.pid) == process.pid
    assert callers.process(0) == 0
    assert not callers.is_scanner(process.pid)
    assert not callers.is_scanner(0)


def test_an_exec_is_noticed_though_id_and_comm_stay(tmp_path: Path) -> None:
    """A wrapper called tumblerd is its shell until it becomes the real tumblerd, in the same process."""
    inside = tmp_path / "inside"
    inside.mkdir()
    wrapper = tmp_path / "tumblerd"
    wrapper.write_text(f'#!/bin/sh\necho shell\nread -r go\nexec "{program(inside, "tumblerd")}"\n')
    wrapper.chmod(0o755)
    callers = Callers({"tumblerd"})
    with started(wrapper) as process:
        assert hear(process) == b"shell\n"
        assert callers.name(process.pid) == os.path.basename(os.path.realpath("/bin/sh"))
        assert not callers.is_scanner(process.pid)
        say(process, b"go\nhere\n")
        assert hear(process) == b"here\n"
        assert callers.is_scanner(process.pid)


def test_a_script_is_its_interpreter(tmp_path: Path) -> None:
    """A Python script called tumblerd is python: its name is nowhere but in its arguments."""
    script = tmp_path / "tumblerd"
    script.write_text(f"#!{sys.executable}\nprint('here', flush=True)\ninput()\n")
    script.chmod(0o755)
    with started(script) as process:
        assert hear(process) == b"here\n"
        assert Callers(()).name(process.pid) == os.path.basename(os.path.realpath(sys.executable))


def test_an_upgraded_program_keeps_its_name(tmp_path: Path) -> None:
    """A running program whose file was replaced, as by a package upgrade, is who it was."""
    path = program(tmp_path, "tumblerd")
    with started(path) as process:
        program(tmp_path, "tumblerd.dpkg-new").rename(path)
        assert os.readlink(f"/proc/{process.pid}/exe").endswith(" (deleted)")
        assert Callers({"tumblerd"}).is_scanner(process.pid)


def test_a_program_that_is_not_ours_to_look_at_goes_by_its_command_line(tmp_path: Path) -> None:
    """Where the exe link is refused, the name that the program was started by is its name."""
    # A program that may be run but not read hides its exe from its own user too.
    with started(program(tmp_path, "updatedb.plocate", 0o111)) as process, as_nobody():
        with pytest.raises(PermissionError):
            os.readlink(f"/proc/{process.pid}/exe")
        assert Callers({"updatedb.plocate"}).is_scanner(process.pid)
        assert not Callers({"tumblerd"}).is_scanner(process.pid)


@pytest.mark.parametrize("said", [b"", b"Name:\tcp\n", b"Name:\tcp\nTgid:", b"Name:\tcp\nTgid:\tmany\n"])
def test_a_status_that_tells_no_process(said: bytes, tmp_path: Path) -> None:
    """Where the kernel tells no process, a thread stands for itself."""
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "status").write_bytes(said)
    assert Callers((), tmp_path).process(7) == 7


def test_a_program_that_hides_everything_is_nobody(tmp_path: Path) -> None:
    """Where neither link nor command line can be read, it is `?`."""
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "exe").symlink_to("/usr/bin/tumblerd")
    folder.chmod(0)
    with as_nobody():
        assert Callers({"tumblerd"}, tmp_path).name(7) == "?"
    folder.chmod(0o755)


def test_a_media_server_is_known_by_its_executable(tmp_path: Path) -> None:
    """A program that is named in the settings is a media server and no scanner; without a name none is."""
    with started(program(tmp_path, "navidrome")) as process:
        callers = Callers((), media_servers=("navidrome", "mpd"))
        assert callers.is_media_server(process.pid)
        assert not callers.is_scanner(process.pid)
        assert not Callers(("navidrome",)).is_media_server(process.pid)
        assert not callers.is_media_server(os.getpid())
