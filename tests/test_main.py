"""The front door: help, codes, and what happens to a mistake of our own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from musicfs import __main__ as front
from musicfs import __version__
from musicfs.errors import StoreFull


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "musicfs", *args], capture_output=True, text=True, check=False
    )


def test_version_and_help_come_from_the_front_door() -> None:
    """--version gives the version, --help names every verb."""
    assert run("--version").stdout == f"musicfs {__version__}\n"
    said = run("--help").stdout
    for verb in ("mount", "demo", "umount", "status", "why", "warm", "cache", "forget"):
        assert verb in said


def test_bad_arguments_are_code_2() -> None:
    """No verb, an unknown one, and a missing argument are argparse's 2."""
    for args in ((), ("fly",), ("mount",)):
        done = run(*args)
        assert done.returncode == 2
        assert done.stdout == ""


def test_a_misspelt_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, code 2, not the list of all."""
    assert front.main(["staus"]) == 2
    assert capsys.readouterr().err == "musicfs: there is no command 'staus'; did you mean status?\n"
    assert front.main(["x"]) == 2
    assert "musicfs --help lists them" in capsys.readouterr().err


def test_help_loads_neither_trio_nor_pyfuse3() -> None:
    """The front door stays quick."""
    program = (
        "import sys, musicfs.__main__; print(sorted({'trio', 'pyfuse3', 'httpx', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_verb_is_loaded_alone() -> None:
    """`mount` does not load the other verbs, nor the demo, an HTTP stack or TLS before it has mounted."""
    program = (
        "import sys; from musicfs import __main__ as front; front.parser(['mount', '/x']); "
        "import musicfs.mount; "
        "print(sorted(name for name in sys.modules if name.startswith(("
        "'musicfs.commands.', 'musicfs.demo', 'httpcore', 'rich'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    named = {name for name in done.stdout.strip("[]\n").replace("'", "").split(", ") if name}
    assert named == {
        f"musicfs.commands.{name}"
        for name in ("exits", "logs", "mount", "options", "page", "sentence", "start")
    }


def fails(failure: BaseException) -> Any:
    """Make a verb that fails in one way."""

    def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
        raise failure

    class Verb:
        @staticmethod
        def add(verbs: Any) -> None:
            verbs.add_parser("demo").set_defaults(run=run)

    return Verb


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (StoreFull("no room in /c"), 73, "musicfs: no room in /c; free some disk space or raise the cache"),
        (ExceptionGroup("n", [ExceptionGroup("m", [StoreFull("no room")])]), 73, "musicfs: no room; free"),
        (StoreFull("at https://x?auth_key=1-abc"), 73, "auth_key=***"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_failures_end_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: BaseException,
    code: int,
    said: str,
) -> None:
    """Ours, also wrapped by nurseries, and Ctrl-C."""
    monkeypatch.setattr(front, "verbs_for", lambda argv: [fails(failure)])
    assert front.main(["demo"]) == code
    written = capsys.readouterr()
    assert written.out == ""
    assert said in written.err
    assert "Traceback" not in written.err


@pytest.mark.expected_log("CRITICAL musicfs: stopped by a mistake in musicfs itself")
def test_any_other_failure_is_logged_and_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours is not swallowed."""
    monkeypatch.setattr(front, "verbs_for", lambda argv: [fails(ZeroDivisionError("x"))])
    assert front.main(["demo"]) == 1


def test_a_closed_pipe_is_no_failure() -> None:
    """`musicfs … | head` ends quietly."""
    code = "import musicfs.__main__ as front; from tests.test_main import talkative; talkative(front)"
    program = f"{sys.executable} -c '{code}'"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} | head -1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def talkative(front: Any) -> None:
    """Run a verb that prints more than any pipe holds."""

    def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
        for _ in range(100_000):
            print("line")
        return 0

    class Verb:
        @staticmethod
        def add(verbs: Any) -> None:
            verbs.add_parser("demo").set_defaults(run=run)

    front.verbs_for = lambda argv: [Verb]
    sys.exit(front.main(["demo"]))
