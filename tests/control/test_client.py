"""Asking when nobody answers, or answers nonsense."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from musicfs.control import Declined, NotRunning, ask


@pytest.fixture
def answers(tmp_path: Path) -> Callable[[bytes], Path]:
    """Serve one connection with fixed bytes, whatever is asked."""

    def serve(reply: bytes) -> Path:
        path = tmp_path / "socket"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(1)

        def once() -> None:
            with listener, listener.accept()[0] as client, client.makefile("rb") as stream:
                stream.readline()
                client.sendall(reply)

        threading.Thread(target=once, daemon=True).start()
        return path

    return serve


def test_nobody_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    """A missing socket and a file that is none are NotRunning."""
    with pytest.raises(NotRunning, match="no musicfs daemon answers at"):
        ask(tmp_path / "none", "status")
    (tmp_path / "file").touch()
    with pytest.raises(NotRunning, match="no musicfs daemon answers at"):
        ask(tmp_path / "file", "status")


@pytest.mark.parametrize("reply", [b"", b"\n", b"nonsense\n", b"[]\n", b"3\n"])
def test_an_answer_that_is_none_is_not_running(answers: Callable[[bytes], Path], reply: bytes) -> None:
    """A closed connection and nonsense are no daemon of ours."""
    with pytest.raises(NotRunning):
        ask(answers(reply), "status")


def test_a_refusal_is_repeated_in_the_daemon_s_words(answers: Callable[[bytes], Path]) -> None:
    """An error reply becomes Declined."""
    with pytest.raises(Declined, match="not today"):
        ask(answers(b'{"error": "not today"}\n'), "status")


def test_a_reply_is_the_object_inside(answers: Callable[[bytes], Path]) -> None:
    """The envelope is taken off."""
    assert ask(answers(b'{"reply": {"pid": 3}}\n'), "status") == {"pid": 3}
