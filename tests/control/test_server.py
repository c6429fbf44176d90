"""The control socket as a daemon serves it: real sockets, bad clients, bounded patience."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from musicfs.control import Declined, NotRunning, ask
from musicfs.control.server import CLIENTS, LINE, PATIENCE, by_verb, serve
from musicfs.errors import NoSuchEntry, StoreError, Throttled

pytestmark = pytest.mark.trio


async def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
    """Play the house."""
    if verb == "fail":
        raise Throttled("the service asks for fewer requests")
    if verb == "break":
        raise ZeroDivisionError
    if verb == "hang":
        await trio.sleep_forever()
    return {"verb": verb, **args}


@pytest.fixture
async def path(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Path]:
    """Serve on a socket in a folder that does not exist yet."""
    socket_path = tmp_path / "run/control.sock"
    await nursery.start(serve, socket_path, answer)
    yield socket_path
    nursery.cancel_scope.cancel()


async def connect(path: Path) -> trio.SocketStream:
    return await trio.open_unix_socket(str(path))


async def talk(stream: trio.SocketStream, line: bytes) -> dict[str, Any]:
    """Send one line and read one reply; an empty object means that the server hung up."""
    await stream.send_all(line + b"\n")
    return await hear(stream)


async def hear(stream: trio.SocketStream) -> dict[str, Any]:
    data = bytearray()
    with trio.fail_after(3 * PATIENCE):
        while not data.endswith(b"\n"):
            chunk = await stream.receive_some()
            if not chunk:
                return {}
            data += chunk
    reply: dict[str, Any] = json.loads(data)
    return reply


async def test_a_question_is_answered(path: Path) -> None:
    """ask gives what the house answered, arguments and odd bytes included."""
    reply = await trio.to_thread.run_sync(lambda: ask(path, "why", path="a\udcff/ö"))
    assert reply == {"verb": "why", "path": "a\udcff/ö"}


async def test_only_the_owner_can_connect(path: Path) -> None:
    """The socket is 0600 in a folder of 0700."""
    modes = [(await trio.Path(one).stat()).st_mode & 0o777 for one in (path, path.parent)]
    assert modes == [0o600, 0o700]


async def test_a_connection_carries_several_requests(path: Path) -> None:
    """Two lines at once get two replies in order."""
    async with await connect(path) as stream:
        assert await talk(stream, b'{"verb": "a"}') == {"reply": {"verb": "a"}}
        assert await talk(stream, b'{"verb": "b", "args": {"x": 1}}') == {"reply": {"verb": "b", "x": 1}}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b"3",
        b"{}",
        b'{"verb": 3}',
        b'{"verb": "a", "args": 3}',
        b"\xff",
        b"[" * 60_000,
    ],
)
async def test_nonsense_is_called_so(path: Path, line: bytes) -> None:
    """Whatever is not a request gets an error, and the next request an answer."""
    async with await connect(path) as stream:
        assert await talk(stream, line) == {"error": "that is not a request"}
        assert await talk(stream, b'{"verb": "a"}') == {"reply": {"verb": "a"}}


async def test_a_failure_of_the_house_is_a_sentence(path: Path) -> None:
    """Our own failures are repeated in words."""
    with pytest.raises(Declined, match="fewer requests"):
        await trio.to_thread.run_sync(ask, path, "fail")


async def test_a_mistake_in_an_answer_is_logged_and_survived(
    path: Path, expected_log: Callable[[str], None]
) -> None:
    """Any other exception is written whole to the log, and the server goes on."""
    expected_log("ERROR musicfs.control: could not answer 'break'")
    async with await connect(path) as stream:
        assert "its log says why" in (await talk(stream, b'{"verb": "break"}'))["error"]
        assert await talk(stream, b'{"verb": "a"}') == {"reply": {"verb": "a"}}


async def test_a_line_without_an_end_is_cut_off(path: Path) -> None:
    """More than 64 KiB without a newline ends the connection."""
    async with await connect(path) as stream:
        # The server may hang up before it has read all of it.
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"x" * (LINE + 1))
            assert await hear(stream) == {}
    async with await connect(path) as stream:
        assert await talk(stream, b'{"verb": "a"}') == {"reply": {"verb": "a"}}


async def test_the_seventeenth_client_is_sent_away(path: Path) -> None:
    """16 are served at a time; when one leaves there is room again."""
    held = [await connect(path) for _ in range(CLIENTS)]
    for stream in held:
        assert await talk(stream, b'{"verb": "a"}')
    async with await connect(path) as late:
        assert "try again" in (await hear(late))["error"]
    for stream in held:
        await stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    async with await connect(path) as stream:
        assert await talk(stream, b'{"verb": "a"}') == {"reply": {"verb": "a"}}


async def test_a_silent_client_is_dropped(path: Path, autojump_clock: MockClock) -> None:
    """After 10 s without a whole line the server hangs up."""
    async with await connect(path) as stream:
        await stream.send_all(b'{"verb"')
        began = trio.current_time()
        assert await hear(stream) == {}
        assert trio.current_time() - began <= PATIENCE + 1


async def test_an_answer_that_does_not_come_is_an_error(path: Path, autojump_clock: MockClock) -> None:
    """After 10 s the client is told, and the daemon is free."""
    async with await connect(path) as stream:
        assert "no answer within 10 s" in (await talk(stream, b'{"verb": "hang"}'))["error"]


async def test_a_left_socket_is_replaced_and_ours_removed(tmp_path: Path, nursery: trio.Nursery) -> None:
    """A killed daemon's socket does not stop the next; at the end none is left."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(NotRunning):
        ask(path, "a")
    async with trio.open_nursery() as house:
        await house.start(serve, path, answer)
        assert await trio.to_thread.run_sync(ask, path, "a") == {"verb": "a"}
        house.cancel_scope.cancel()
    assert not path.exists()


async def test_a_path_too_long_for_an_address_works(tmp_path: Path, nursery: trio.Nursery) -> None:
    """108 bytes are the kernel's limit, not ours."""
    path = tmp_path / ("long" * 30) / "control.sock"
    await nursery.start(serve, path, answer)
    assert await trio.to_thread.run_sync(ask, path, "a") == {"verb": "a"}
    nursery.cancel_scope.cancel()


async def test_a_place_that_cannot_be_had_is_a_store_error(tmp_path: Path) -> None:
    """A file where the folder should be is told in words."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make the control socket"):
        await serve(tmp_path / "file/control.sock", answer)


async def test_a_table_of_verbs_is_one_answer() -> None:
    """Each verb gets its arguments; one that is not in the table is refused in a sentence."""

    async def echo(args: dict[str, Any]) -> dict[str, Any]:
        return {"told": args}

    answered = by_verb({"echo": echo})
    assert await answered("echo", {"a": 1}) == {"told": {"a": 1}}
    with pytest.raises(NoSuchEntry, match="the daemon knows no verb 'warm'"):
        await answered("warm", {})
