"""The memory of versions, lengths, absences and directories, on a real state database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from musicfs.core.zipdir import Directory, ZipDirectory
from musicfs.demo import zip_of
from musicfs.errors import StoreError
from musicfs.ledger import Ledger
from musicfs.model import Key, Known
from musicfs.state import State
from tests.world import NOW, pattern

KEY = Key("tempolor", "0123abcd", "wav")
STEMS = Key("tempolor", "0123abcd", "stems")
OTHER = Key("tempolor", "89abcdef", "wav")
DAY = 86_400.0


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Give the moment."""
        return self.now


class Life:
    """A ledger that can be begun again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.clock = folder, Clock()
        self.begin()

    def begin(self) -> None:
        """Open the database and read it."""
        self.state = State(self._folder)
        self.state.open()
        self.ledger = Ledger(self.state, self.clock)

    async def restart(self) -> None:
        """Write what is unwritten, and begin again."""
        await self.ledger.flush()
        self.state.close()
        self.begin()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A ledger on a fresh database."""
    made = Life(tmp_path / "state")
    yield made
    made.state.close()


def a_directory() -> Directory:
    """Read the directory of a small archive."""
    data = zip_of({"drums.wav": pattern(1000), "sub/bass.wav": pattern(2000)})
    parser = ZipDirectory(len(data))
    while (need := parser.need()) is not None:
        parser.feed(need, data[need.start : need.stop])
    return parser.result


@pytest.mark.trio
async def test_what_is_noted_is_known_at_once_and_for_ever(life: Life) -> None:
    """A note is answered from that moment on, and after a restart."""
    assert life.ledger.known(KEY) == Known()
    known = Known(3, 12_345, 'etag "a"', True)
    life.ledger.note(KEY, Known(1, 5))
    life.ledger.note(KEY, known)
    assert life.ledger.known(KEY) == known
    await life.restart()
    assert life.ledger.known(KEY) == known


@pytest.mark.trio
async def test_notes_are_written_behind(life: Life) -> None:
    """A task of the house's writes what was noted, without being asked."""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.ledger.write_behind)
            life.ledger.note(KEY, Known(1, 5))
            life.ledger.missed(KEY)
            while not (life.state.files() and life.state.missing()):
                await trio.lowlevel.checkpoint()
            life.ledger.note(KEY, Known(2, 6))
            while life.state.files()[str(KEY)].version != 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_directory_is_kept_for_ever(life: Life) -> None:
    """An archive's directory and its version come back whole; a later one takes its place."""
    assert life.ledger.directory(STEMS) is None
    directory = a_directory()
    life.ledger.keep_directory(STEMS, 2, directory)
    assert life.ledger.directory(STEMS) == (2, directory)
    await life.restart()
    assert life.ledger.directory(STEMS) == (2, directory)
    life.ledger.keep_directory(STEMS, 3, Directory((), ()))
    await life.restart()
    assert life.ledger.directory(STEMS) == (3, Directory((), ()))


@pytest.mark.trio
async def test_two_404s_a_day_apart_hide_a_form_for_a_week(life: Life) -> None:
    """One 404 hides nothing, nor do many of one day; two a day apart do, until a week after the last."""
    for hours in (0, 1, 23):
        life.clock.now = NOW + hours * 3600
        life.ledger.missed(KEY)
        assert not life.ledger.hidden(KEY)
    life.clock.now = NOW + DAY
    life.ledger.missed(KEY)
    assert life.ledger.hidden(KEY)
    await life.restart()
    assert life.ledger.hidden(KEY)
    life.clock.now = NOW + 8 * DAY - 1
    assert life.ledger.hidden(KEY)
    life.clock.now = NOW + 8 * DAY
    assert not life.ledger.hidden(KEY)
    life.ledger.missed(KEY)
    assert life.ledger.hidden(KEY)


@pytest.mark.trio
async def test_a_form_that_is_found_is_shown_again(life: Life) -> None:
    """Bytes after all, and the 404s are forgotten, over a restart too."""
    life.ledger.missed(KEY)
    life.clock.now += DAY
    life.ledger.missed(KEY)
    await life.ledger.flush()
    life.ledger.found(KEY)
    assert not life.ledger.hidden(KEY)
    await life.restart()
    life.ledger.missed(KEY)
    assert not life.ledger.hidden(KEY)


@pytest.mark.trio
async def test_a_clock_that_was_set_back_hides_nothing_for_ever(life: Life) -> None:
    """404s from the future do not hide a form before their time, nor for longer than a week."""
    life.clock.now = NOW + 100 * DAY
    life.ledger.missed(KEY)
    life.clock.now = NOW
    life.ledger.missed(KEY)
    assert not life.ledger.hidden(KEY)


@pytest.mark.trio
async def test_the_last_404_is_known_over_a_restart(life: Life) -> None:
    """When bytes last answered 404 is told until they are found, also by the next life."""
    assert life.ledger.refused(STEMS) is None
    for _ in range(2):
        life.clock.now += DAY
        life.ledger.missed(STEMS)
        await life.restart()
        assert life.ledger.refused(STEMS) == life.clock.now
    life.ledger.found(STEMS)
    await life.restart()
    assert life.ledger.refused(STEMS) is None


class SickState(State):
    """A state database whose disk may be sick."""

    sick = True

    async def _replace(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if self.sick:
            raise StoreError("the disk is sick")
        await super()._replace(table, rows)


@pytest.mark.expected_log("could not be written down")
@pytest.mark.trio
async def test_what_a_sick_disk_refuses_is_written_when_it_is_well(tmp_path: Path) -> None:
    """What cannot be written is said, is known for this life all the same, and is written with what comes
    next, which wins."""
    with SickState(tmp_path / "state") as state:
        ledger, clock = Ledger(state, Clock()), Clock()
        ledger.note(KEY, Known(1, 5))
        ledger.note(STEMS, Known(1, 7))
        ledger.keep_directory(STEMS, 1, a_directory())
        ledger.missed(OTHER)
        await ledger.flush()
        assert ledger.known(KEY) == Known(1, 5)
        state.sick = False
        ledger.note(KEY, Known(2, 6))
        await ledger.flush()
    with State(tmp_path / "state") as state:
        ledger = Ledger(state, clock)
        assert (ledger.known(KEY), ledger.known(STEMS)) == (Known(2, 6), Known(1, 7))
        assert ledger.directory(STEMS) == (1, a_directory())
        clock.now = NOW + DAY
        ledger.missed(OTHER)
        assert ledger.hidden(OTHER)


class SlowState(State):
    """A state database that is at work for as long as somebody waits for it."""

    slow = True

    async def _replace(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if self.slow:
            await trio.sleep_forever()
        await super()._replace(table, rows)


@pytest.mark.trio
async def test_what_was_being_written_at_the_end_is_written(tmp_path: Path) -> None:
    """A life that ends while notes are being written loses none: the last flush writes them."""
    with SlowState(tmp_path / "state") as state:
        ledger = Ledger(state, Clock())
        ledger.note(KEY, Known(1, 5))
        ledger.keep_directory(STEMS, 1, a_directory())
        ledger.missed(OTHER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledger.write_behind)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        state.slow = False
        await ledger.flush()
    with State(tmp_path / "state") as state:
        ledger = Ledger(state, Clock())
        assert ledger.known(KEY) == Known(1, 5)
        assert ledger.directory(STEMS) == (1, a_directory())
        assert ledger.refused(OTHER) == NOW
