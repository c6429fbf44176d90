"""h11's buffer without its copies: what h11's own gives, and what is not copied."""

from __future__ import annotations

import h11
import pytest
from h11 import _connection
from h11._receivebuffer import ReceiveBuffer
from hypothesis import given, settings
from hypothesis import strategies as some

from musicfs.wire import received
from musicfs.wire.received import Received
from tests.world import pattern

PIECES = some.binary(max_size=12) | some.sampled_from(
    [b"\r\n", b"\n\r\n", b"a: b\r\n\r\n", b"\r\n\r\n", b"\x16"]
)
STEPS = some.lists(
    some.tuples(some.just("came"), PIECES.map(bytes) | PIECES.map(bytearray))
    | some.tuples(some.just("at most"), some.integers(1, 24))
    | some.tuples(some.sampled_from(["line", "lines", "nonsense", "all", "length", "any"]), some.none()),
    max_size=24,
)


def step(buffer: ReceiveBuffer, verb: str, what: object) -> object:
    """Do one thing to a buffer and give what it answered, in a form that can be compared."""
    match verb:
        case "came":
            assert isinstance(what, bytes | bytearray)
            buffer += what
            return None
        case "at most":
            assert isinstance(what, int)
            got = buffer.maybe_extract_at_most(what)
            return got if got is None else bytes(got)
        case "line":
            return buffer.maybe_extract_next_line()
        case "lines":
            return buffer.maybe_extract_lines()
        case "nonsense":
            return buffer.is_next_line_obviously_invalid_request_line()
        case "all":
            return bytes(buffer)
        case "length":
            return len(buffer)
        case _:
            return bool(buffer)


@settings(max_examples=200)
@given(STEPS)
def test_a_row_of_steps_has_the_answers_of_h11s_own_buffer(steps: list[tuple[str, object]]) -> None:
    """Whatever comes and is asked for in whatever order, the answers are those of h11's own buffer."""
    ours, theirs = Received(), ReceiveBuffer()
    for verb, what in steps:
        assert step(ours, verb, what) == step(theirs, verb, what)
    assert bytes(ours) == bytes(theirs)


def test_a_piece_taken_whole_is_the_object_that_came() -> None:
    """A body's piece comes out as the very object that was put in: nothing was copied."""
    buffer, piece = Received(), pattern(262_144)
    buffer += piece
    assert buffer.maybe_extract_at_most(1_000_000) is piece
    assert not buffer


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have h11 use the buffer, and what it had before again afterwards."""
    monkeypatch.setattr(_connection, "ReceiveBuffer", ReceiveBuffer)
    assert received.install()
    assert vars(_connection)["ReceiveBuffer"] is Received


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("length", [1, 7, 16_384, 500_000])
def test_two_answers_on_one_connection_come_out_whole(length: int) -> None:
    """h11 reads two answers, cut into pieces of any length, as they were sent."""
    body = pattern(300_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    connection = h11.Connection(h11.CLIENT)
    for _ in range(2):
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "cdn.example.net")]))
        connection.send(h11.EndOfMessage())
        got = bytearray()
        for at in range(0, len(answer), length):
            connection.receive_data(answer[at : at + length])
            while isinstance(event := connection.next_event(), h11.Response | h11.Data):
                got += event.data if isinstance(event, h11.Data) else b""
        assert bytes(got) == body
        connection.start_next_cycle()


def test_another_release_of_h11_keeps_its_own_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that the buffer was not written for is left alone."""
    monkeypatch.setattr(_connection, "ReceiveBuffer", ReceiveBuffer)
    monkeypatch.setattr(received, "__version__", "0.17.0")
    assert not received.install()
    assert vars(_connection)["ReceiveBuffer"] is ReceiveBuffer
