"""`musicfs why`: the path as text, the daemon's answer as a paragraph."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from musicfs.__main__ import main
from musicfs.commands.why import paragraph
from tests.commands.conftest import Serve
from tests.sleeper import sleeper


def test_a_paragraph_says_all_that_is_known() -> None:
    """State, detail, failure and remedy, each a sentence."""
    reply = {
        "path": "x",
        "what": "a song of Flow Music",
        "state": "not cached",
        "detail": "Its size is an estimate.",
        "failure": "the link was refused",
        "remedy": "Check the token.",
    }
    assert paragraph("/m/x", reply) == (
        "/m/x: a song of Flow Music, not cached. Its size is an estimate. "
        "Last failure: the link was refused. Check the token."
    )
    more = {"pinned": True, "size": 3072, "exact": True, "source": "comes from x", "failed_ago": 61.0}
    assert paragraph("/m/x", {**reply, **more, "again": "It is tried again"}) == (
        "/m/x: a song of Flow Music, not cached, pinned. 3.0 KiB (exact). It comes from x. "
        "Last failure, 1 min 1 s ago: the link was refused. It is tried again. Check the token."
    )


def test_what_is_missing_is_left_out() -> None:
    """An empty reply is still a sentence."""
    assert paragraph("/m/x", {}) == "/m/x: nothing is known about it."
    assert paragraph("/m/x", {"what": "a folder", "failure": None}) == "/m/x: a folder."


def test_a_path_elsewhere_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path in no musicfs is named on stderr."""
    assert main(["why", str(tmp_path)]) == 2
    assert f"{tmp_path} is not in a mounted musicfs" in capsys.readouterr().err


@pytest.mark.mounted
def test_the_daemon_is_asked_with_the_path_inside_its_mount(
    tmp_path: Path, serving: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even when the mount itself does not answer, as it is never touched."""
    mountpoint = tmp_path / "mount"

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        return {"what": f"{verb} {args['path']!r}"}

    with sleeper(mountpoint) as process, serving(mountpoint, answer):
        process.send_signal(signal.SIGSTOP)
        code = main(["why", f"{mountpoint}/flowmusic/a b.mp3", "/proc", str(mountpoint)])
        assert main(["why", "--json", str(mountpoint)]) == 0
    assert code == 2
    said = capsys.readouterr()
    assert said.out == (
        f"{mountpoint}/flowmusic/a b.mp3: why 'flowmusic/a b.mp3'.\n\n{mountpoint}: why ''.\n"
        '{"what": "why \'\'"}\n'
    )
    assert "/proc is not in" in said.err
