"""Who is asking: by the executable, through exec, death and reuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

from musicfs.callers import Callers


def stat_line(comm: str, start: int) -> str:
    return f"7 ({comm}) S " + " ".join(["0"] * 18) + f" {start} " + " ".join(["0"] * 30)


def fake_proc(root: Path, tid: int, comm: str, start: int, exe: str) -> Path:
    folder = root / str(tid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text(stat_line(comm, start))
    (folder / "exe").unlink(missing_ok=True)
    (folder / "exe").symlink_to(exe)
    return folder


def test_a_real_program_is_known_by_its_executable(tmp_path: Path) -> None:
    """A copy of `sleep` called tumblerd is tumblerd, and a scanner if the list says so."""
    program = tmp_path / "tumblerd"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            assert Callers({"tumblerd"}).name(process.pid) == "tumblerd"
            assert Callers({"tumblerd"}).is_scanner(process.pid)
            assert not Callers({"baloo_file"}).is_scanner(process.pid)
        finally:
            process.kill()


def test_a_thread_is_its_program() -> None:
    """The id of a thread that is not the first leads to the same executable."""
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
    done.set()
    thread.join()
    assert ids[0] != os.getpid()
    assert names[0] == names[1] == os.path.basename(os.readlink("/proc/self/exe"))


def test_a_vanished_process_is_nobody_and_no_scanner() -> None:
    """Neither an ended process nor the kernel's own id 0 is a scanner, even if `?` is on the list."""
    process = subprocess.Popen(["true"])
    process.wait()
    callers = Callers({"true"})
    assert callers.name(process.pid) == "?"
    assert callers.name(0) == "?"
    assert not callers.is_scanner(process.pid)


def test_a_known_caller_costs_no_second_look_at_its_executable(tmp_path: Path) -> None:
    """Once known, the exe link is not read again: it may even be gone."""
    folder = fake_proc(tmp_path, 7, "pool-x", 100, "/usr/bin/cp")
    callers = Callers((), tmp_path)
    assert callers.name(7) == "cp"
    (folder / "exe").unlink()
    assert callers.name(7) == "cp"


def test_an_id_used_again_and_an_exec_are_noticed(tmp_path: Path) -> None:
    """Another start time or another comm is another program."""
    callers = Callers((), tmp_path)
    fake_proc(tmp_path, 7, "bash", 100, "/bin/bash")
    assert callers.name(7) == "bash"
    fake_proc(tmp_path, 7, "cp", 100, "/bin/cp")
    assert callers.name(7) == "cp"
    fake_proc(tmp_path, 7, "cp", 200, "/opt/other")
    assert callers.name(7) == "other"


def test_brackets_and_spaces_in_a_comm_do_not_confuse(tmp_path: Path) -> None:
    """A thread may call itself `) S 1 (`."""
    callers = Callers((), tmp_path)
    fake_proc(tmp_path, 7, ") S 1 (", 100, "/bin/a")
    assert callers.name(7) == "a"
    fake_proc(tmp_path, 7, ") S 1 (", 101, "/bin/b")
    assert callers.name(7) == "b"


def test_an_upgraded_program_keeps_its_name(tmp_path: Path) -> None:
    """The kernel marks a replaced file as deleted; the mark is not part of the name."""
    fake_proc(tmp_path, 7, "t", 1, "/usr/lib/tumblerd (deleted)")
    assert Callers({"tumblerd"}, tmp_path).is_scanner(7)


def test_a_line_of_another_shape_is_nobody(tmp_path: Path) -> None:
    """An odd stat line gives `?` and no exception."""
    folder = fake_proc(tmp_path, 7, "t", 1, "/bin/t")
    (folder / "stat").write_text("nonsense")
    assert Callers((), tmp_path).name(7) == "?"
