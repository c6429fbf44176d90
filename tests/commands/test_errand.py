"""Following an errand over a real control socket."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from musicfs import config, control
from musicfs.commands import errand
from tests.commands.conftest import Serve


class Seen:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int, str]] = []

    def show(self, done: int, of: int, words: str) -> None:
        """Remember."""
        self.shown.append((done, of, words))


def measure(reply: dict[str, Any]) -> tuple[int, int, str]:
    """Take the numbers out of an answer."""
    return reply["done"], 3, reply["stage"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "STEP", 0.0)


def socket(home: Path) -> Path:
    """Find the daemon that plays."""
    return control.find(config.runtime_dirs({"HOME": str(home)}), None).socket


def test_it_is_followed_to_its_end(serving: Serve, home: Path) -> None:
    """Each answer is drawn, and every failure is collected once, though they come in parts."""
    asked: list[dict[str, Any]] = []
    failures = [{"path": str(number), "error": "x"} for number in range(7)]

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        asked.append(args)
        done = min(len(asked), 3)
        stage = "done" if done == 3 else "running"
        part = failures[args["since"] :][:2]
        return {"stage": stage, "done": done, "failed": 7, "failures": part}

    seen = Seen()
    with serving(Path("/m"), answer):
        reply, got = errand.follow(socket(home), 5, measure, seen)
    assert (reply["stage"], got) == ("done", failures)
    assert [args["since"] for args in asked] == [0, 2, 4, 6]
    assert {args["id"] for args in asked} == {5}
    assert seen.shown[-1] == (3, 3, "done")


def test_ctrl_c_calls_it_off(serving: Serve, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon is told before the command ends."""
    verbs: list[tuple[str, Any]] = []

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        verbs.append((verb, args["id"]))
        return {"stage": "running", "done": 0, "failed": 0, "failures": []}

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with serving(Path("/m"), answer), pytest.raises(KeyboardInterrupt):
        errand.follow(socket(home), 5, measure, Seen())
    assert verbs == [("errand", 5), ("cancel", 5)]


def test_a_daemon_that_ended_is_a_sentence(serving: Serve, home: Path) -> None:
    """Its socket is gone: NotRunning, also where the errand should be called off."""
    with serving(Path("/m"), lambda verb, args: {}):
        path = socket(home)
    with pytest.raises(control.NotRunning):
        errand.follow(path, 5, measure, Seen())
