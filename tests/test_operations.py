"""The number that goes along with the work."""

from __future__ import annotations

import contextlib
import contextvars
import logging

import pytest
import trio

from musicfs import operations
from musicfs.operations import Asking, Operation


def test_a_block_has_the_next_number_and_nothing_is_left_behind() -> None:
    """Within the block it is the current one, a block inside has its own, and afterwards there is none."""
    assert operations.current() is None
    with Operation("open", 7) as outer:
        assert operations.current() is outer
        with Operation("read", 8) as inner:
            assert operations.current() is inner
        assert operations.current() is outer
    assert operations.current() is None
    assert inner.number > outer.number
    assert str(outer) == f"open {outer.number}"


@pytest.mark.trio
async def test_what_the_work_starts_belongs_to_it() -> None:
    """A task and a thread that were started within the block know the operation; no others do."""
    found: dict[str, Operation | None] = {}

    async def look(name: str) -> None:
        found[name] = operations.current()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look, "before")
        with Operation("read") as operation:
            nursery.start_soon(look, "job")
            found["thread"] = await trio.to_thread.run_sync(operations.current)
        nursery.start_soon(look, "after")
    assert found == {"before": None, "job": operation, "thread": operation, "after": None}


def test_whoever_waits_is_noticed() -> None:
    """Somebody waits as long as a block has not ended, also where one that began later has."""
    operations.LAST.clear()
    assert not operations.under_way()
    with Operation("opendir"):
        with Operation("getattr"):
            assert operations.under_way()
        assert operations.under_way()
    assert not operations.under_way()


@pytest.mark.trio
async def test_an_end_is_remembered_with_what_came_of_it() -> None:
    """A block that broke is told by its failure, one under way as such."""
    operation = Operation("lookup")
    with contextlib.suppress(FileNotFoundError), operation:
        assert operation.told().startswith("under way for ")
        raise FileNotFoundError("No such file")
    assert operation.told().startswith("No such file after ")
    assert operation in operations.LAST
    operation = Operation("read")
    with trio.CancelScope() as scope, operation:
        scope.cancel()
        await trio.sleep_forever()
    assert operation.told().startswith("Cancelled after ")
    with Operation("getattr") as good:
        pass
    assert good.told().startswith("done after ")


def test_only_the_last_ones_are_kept() -> None:
    """However many there were, the memory is bounded, eldest first."""
    made = [Operation("getattr") for _ in range(operations.KEPT + 10)]
    for operation in made:
        with operation:
            pass
    assert list(operations.LAST) == made[10:]


def test_a_request_upstream_is_counted_for_who_needs_it() -> None:
    """It knows the operation, tells its kind, origin and part, and how it ended."""
    with Operation("read") as operation, Asking("range", "https://cdn.example:443", "bytes=0-9") as asking:
        asking.outcome = "206"
    assert (operation.asked, asking.operation) == (1, operation)
    assert str(asking) == "range https://cdn.example:443 bytes=0-9"
    assert asking.told().startswith("206 after ")
    with Asking("page", "https://api.example:443") as nobodys:
        pass
    assert nobodys.operation is None
    assert operations.ASKED[-1] is nobodys


def test_a_line_a_thing_is_said_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """One for the operation and one for each request upstream; none at info."""
    for level, count in ((logging.DEBUG, 2), (logging.INFO, 0)):
        caplog.clear()
        with (
            caplog.at_level(level, "musicfs.operations"),
            Operation("read"),
            Asking("range", "https://a:443"),
        ):
            pass
        assert len(caplog.messages) == count


def test_a_block_that_is_left_elsewhere_ends_quietly() -> None:
    """A coroutine that was given up is closed by whoever collects it, outside the task that it was of."""
    operation = Operation("read")
    contextvars.copy_context().run(operation.__enter__)
    operation.__exit__(None, None, None)
    assert operation.told().startswith("done after ")
    assert operations.current() is None


def test_a_context_tells_its_operation() -> None:
    """A task's context is asked from outside; anything else tells none."""
    with Operation("read") as operation:
        context = contextvars.copy_context()
    assert operations.of(context) is operation
    assert operations.of(contextvars.Context()) is None
    assert operations.of(None) is None
