"""`musicfs warm`: paths as text, one errand a mount, a sentence for each failure."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.__main__ import main
from musicfs.commands import errand
from musicfs.commands.warm import LINE, explained, split, summary
from musicfs.control.server import LINE as TAKEN
from tests.commands.conftest import Serve
from tests.sleeper import sleeper

DONE: dict[str, Any] = {
    "stage": "done",
    "failed": 0,
    "failures": [],
    "files": 2,
    "files_done": 2,
    "size": 2048,
    "done": 2048,
    "fetched": 1024,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "STEP", 0.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=0, max_size=40).map(lambda text: text * 60), max_size=60))
def test_law_of_parts(paths: list[str]) -> None:
    """Put together the parts are the paths in their order; a request of any part fits into the daemon's line
    unless a single path does not; there is always a part."""
    parts = list(split(paths))
    assert [path for part in parts for path in part] == paths
    assert parts
    for part in parts:
        request = {"verb": "warm", "args": {"paths": part, "unpin": False, "more": False, "id": 10**9}}
        assert len(json.dumps(request)) < TAKEN or len(part) == 1
    assert all(len(json.dumps(one + other[:1])) > LINE for one, other in pairwise(parts))


def test_the_longest_path_fits() -> None:
    """4 KiB of bytes that are not text, sixfold in JSON, still fit into a line."""
    path = os.fsdecode(b"\xff" * 4096)
    assert len(json.dumps({"verb": "warm", "args": {"paths": [path], "unpin": False, "more": True}})) < TAKEN


def test_a_failure_is_a_sentence() -> None:
    """Where, what, and what to do; each as far as it is known."""
    known = {"path": "a/b.mp3", "error": "no answer", "remedy": "Try again."}
    assert explained(Path("/m"), known) == "musicfs: /m/a/b.mp3: no answer; try again"
    assert explained(Path("/m"), {"path": "", "error": "It ended."}) == "musicfs: It ended"


def test_the_summary_counts() -> None:
    """All, some, or one."""
    assert summary(DONE) == "2 files here, checked and pinned: 2.0 KiB, 1.0 KiB of it fetched now"
    assert summary({**DONE, "files_done": 1}).startswith("1 of 2 files here")
    assert summary({**DONE, "files": 1, "files_done": 1}).startswith("1 file here")
    absent = "; 1 listed form does not exist at the service"
    assert summary({**DONE, "absent": 1}) == summary(DONE) + absent
    assert summary({**DONE, "absent": 3}).endswith("; 3 listed forms do not exist at the service")


def test_a_path_elsewhere_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path in no musicfs is named on stderr, code 2."""
    assert main(["warm", str(tmp_path)]) == 2
    assert f"{tmp_path} is not in a mounted musicfs" in capsys.readouterr().err


@pytest.mark.mounted
def test_the_daemon_is_asked_and_the_mount_never_touched(
    tmp_path: Path, serving: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a mount that does not answer: paths go over as text inside it, patterns too; --unpin is passed on;
    a failure makes the code 1."""
    mountpoint, asked = tmp_path / "mount", []

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        asked.append((verb, args))
        if verb == "warm":
            return {"id": 3}
        failures = [{"path": "a", "error": "no answer", "remedy": ""}] if len(asked) > 3 else []
        return {**DONE, "failed": len(failures), "failures": failures}

    with sleeper(mountpoint) as process, serving(mountpoint, answer):
        process.send_signal(signal.SIGSTOP)
        assert main(["warm", f"{mountpoint}/library/Ti*", str(mountpoint)]) == 0
        assert main(["warm", "--unpin", f"{mountpoint}/a"]) == 1
    assert asked[0] == ("warm", {"paths": ["library/Ti*", ""], "unpin": False, "more": False})
    assert asked[2] == ("warm", {"paths": ["a"], "unpin": True, "more": False})
    said = capsys.readouterr()
    assert said.out.splitlines() == [summary(DONE), "2 files let go of: they stay until room is needed"]
    assert f"musicfs: {mountpoint}/a: no answer\n" in said.err


@pytest.mark.mounted
def test_a_long_row_is_one_errand(tmp_path: Path, serving: Serve) -> None:
    """Parts after the first carry its number, and all but the last say that more comes."""
    mountpoint, asked = tmp_path / "mount", []

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        asked.append(args)
        return {"id": 3} if verb == "warm" else DONE

    with sleeper(mountpoint), serving(mountpoint, answer):
        assert main(["warm", *(f"{mountpoint}/{'x' * 200}{number}" for number in range(600))]) == 0
    parts = [args for args in asked if "paths" in args]
    assert len(parts) == 3
    assert [(part.get("id"), part["more"]) for part in parts] == [(None, True), (3, True), (3, False)]
    assert sum(len(part["paths"]) for part in parts) == 600
