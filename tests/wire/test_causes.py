"""What a person is told when nobody could be connected to."""

from __future__ import annotations

import socket

import pytest
import trio

from musicfs.config import Settings, Token
from musicfs.errors import Unreachable
from musicfs.providers import useapi
from musicfs.wire import Wire
from musicfs.wire.decided import doors_as


async def failing(url: str) -> str:
    """Ask an API that is not there, and give the words of the failure."""
    doors = doors_as(Settings(api_url=url), Token("user:1-x"))
    with pytest.raises(Unreachable) as caught:
        await Wire(doors, 3.0, lambda: 0.0).converse(useapi.subscription())
    await doors.aclose()
    return str(caught.value)


def test_a_refused_connection_is_called_so() -> None:
    """Nobody listens on that port."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert trio.run(failing, url) == "the connection was refused"


def test_a_name_that_does_not_exist_is_called_so() -> None:
    """`.invalid` never resolves (RFC 2606)."""
    assert trio.run(failing, "https://musicfs.invalid") == "the server's name cannot be resolved"
