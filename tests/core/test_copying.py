"""Who is a copier and what is foretold: laws over orders, and each way of not copying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicfs.core.copying import AHEAD, CONVINCED, MOST, PAUSE, Copiers, Reading
from musicfs.model import Span

SIZE = 4_000_000
PIECE = 131_072
SONG = 200.0  # seconds it plays


@dataclass(frozen=True)
class Line:
    """A constant order of files."""

    files: tuple[int, ...]

    def after(self, file: int, count: int) -> Sequence[int]:
        """Give the next ones."""
        at = self.files.index(file) + 1 if file in self.files else len(self.files)
        return self.files[at : at + count]


def copiers(*orders: Sequence[int]) -> Copiers[int]:
    """Watch over a folder that has these orders, the last of them dear."""
    lines = [Line(tuple(order)) for order in orders]
    return Copiers(lambda file: [lines[:-1], lines[-1:]])


def whole(now: float = 0.0, size: int = SIZE, plays: float | None = SONG) -> Reading:
    """Read a file whole, at once."""
    reading = Reading(size, now, plays)
    for start in range(0, size, PIECE):
        reading.note(Span(start, start + PIECE))
    assert reading.whole
    return reading


def copied(watch: Copiers[int], files: Sequence[int], who: int = 1) -> list[Sequence[int]]:
    """Read files whole, one after the other, and give what was foretold at each open."""
    told = []
    for now, file in enumerate(files):
        told.append(watch.opened(who, file))
        watch.read(who, file, whole(float(now)), float(now))
    return told


ORDERS = st.permutations(range(9))


@given(st.lists(ORDERS, min_size=1, max_size=4), st.data())
def test_what_is_foretold_comes(orders: list[list[int]], data: st.DataObject) -> None:
    """Whichever constant order a program follows, nothing is foretold that it does not open next."""
    order = data.draw(st.sampled_from(orders))
    for file, told in zip(order, copied(copiers(*orders, ()), order), strict=True):
        at = order.index(file) + 1
        assert set(told) <= set(order[at : at + AHEAD])


@given(ORDERS)
def test_a_lone_order_is_foretold_from_the_third_file(order: list[int]) -> None:
    """Two files read whole and a third opened: from there on the two next ones are told, to the end."""
    for at, told in enumerate(copied(copiers(order), order)):
        assert list(told) == (order[at + 1 : at + 1 + AHEAD] if at >= CONVINCED else [])


@given(st.lists(st.integers(0, 8), max_size=40))
def test_never_more_than_two(files: list[int]) -> None:
    """However a program jumps about, at most two files are told, and none that it has open."""
    watch = copiers(range(9), range(8, -1, -1))
    for file, told in zip(files, copied(watch, files), strict=True):
        assert len(told) <= AHEAD
        assert file not in told


def test_disagreeing_orders_tell_nothing() -> None:
    """While two orders fit, only what both have next is told."""
    assert list(copied(copiers((0, 1, 2, 3, 4), (0, 1, 2, 4, 5), (9,)), (0, 1, 2))[-1]) == [4]
    assert list(copied(copiers((0, 1, 2, 3), (0, 1, 2, 5), (9,)), (0, 1, 2))[-1]) == []


def test_dear_orders_are_tried_last() -> None:
    """Where a cheap order fits, the dear one is not asked."""

    class Dear:
        def after(self, file: int, count: int) -> Sequence[int]:
            raise AssertionError("asked")

    watch: Copiers[int] = Copiers(lambda file: [[Line(tuple(range(5)))], [Dear()]])
    assert list(copied(watch, (0, 1, 2))[-1]) == [3, 4]


@pytest.mark.parametrize("files", [(0, 2, 3), (0, 1, 3, 4), (0, 1, 1, 2), (0, 0, 0, 0), (2, 1, 0, 3)])
def test_a_jump_ends_it(files: Sequence[int]) -> None:
    """A file left out, read again or opened against the order is no copy, and its followers begin anew."""
    assert not any(copied(copiers(range(9)), files))


def test_read_in_part() -> None:
    """A file closed before its end ends the copy, and it takes two more to be believed again."""
    watch = copiers(range(9))
    copied(watch, (0, 1, 2))
    assert list(watch.opened(1, 3)) == [4, 5]
    assert watch.left(1)
    assert not watch.left(1)
    assert not any(copied(watch, (4, 5)))
    assert list(watch.opened(1, 6)) == [7, 8]


def test_opened_before_the_last_was_read() -> None:
    """A program that opens the next file while it reads one is not followed."""
    watch = copiers(range(9))
    copied(watch, (0, 1, 2))
    watch.opened(1, 3)
    assert not watch.opened(1, 4)
    assert 1 not in watch


def test_a_pause_ends_it() -> None:
    """Who waits between two files is a person; who is in the middle of one may take his time."""
    watch = copiers(range(9))
    copied(watch, (0, 1))
    assert watch.tidy(1.0 + PAUSE) == []
    assert watch.tidy(1.1 + PAUSE) == [1]
    copied(watch, (0, 1))
    watch.opened(1, 2)
    assert watch.tidy(1000.0) == []


def test_a_player_is_no_copier() -> None:
    """Files read whole as slowly as they play make no copy."""
    watch = copiers(range(9))
    for file in range(6):
        now = file * SONG
        assert not watch.opened(1, file)
        watch.read(1, file, whole(now - SONG * 0.6), now)
        assert not watch


def test_a_cached_file_tells_nothing() -> None:
    """A file whose bytes the kernel had is stepped over, neither for nor against."""
    watch = copiers(range(9))
    copied(watch, (0, 1))
    assert list(watch.opened(1, 2)) == [3, 4]
    watch.passed(1, 3.0)
    assert list(watch.opened(1, 3)) == [4, 5]


def test_each_process_for_itself() -> None:
    """Two programs in one folder are two copies; what one does is nothing to the other."""
    watch = copiers(range(9))
    copied(watch, (0, 1), who=1)
    copied(watch, (4, 5), who=2)
    assert not watch.opened(3, 2)
    assert list(watch.opened(2, 6)) == [7, 8]
    assert list(watch.opened(1, 2)) == [3, 4]


def test_bounded_memory() -> None:
    """Of a thousand processes, the latest few are kept in mind."""
    watch = copiers(range(9))
    for who in range(1000):
        watch.read(who, 0, whole(), 0.0)
    assert len(watch) == MOST
    assert 999 in watch


# How a file is read -------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.lists(st.integers(1, 3), max_size=40))
def test_swapped_requests_are_straight(pieces: int, swaps: list[int]) -> None:
    """The kernel's requests may come in pairs the wrong way round: the file is still whole, told once."""
    starts = [piece * PIECE for piece in range(pieces)]
    at = 1
    for swap in swaps:
        if at + 1 < len(starts) and swap == 2:
            starts[at], starts[at + 1] = starts[at + 1], starts[at]
        at += 2
    reading = Reading(pieces * PIECE - 100, 0.0, None)
    assert [reading.note(Span(start, start + PIECE)) for start in starts].count(True) == 1
    assert reading.whole


@given(st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, PIECE)), max_size=60))
def test_whole_means_every_byte(reads: list[tuple[int, int]]) -> None:
    """A file counts as read whole only if its reads cover it."""
    reading, seen = Reading(SIZE // 8, 0.0, None), set[int]()
    for start, length in reads:
        reading.note(Span(start, start + length))
        seen.update(range(start // 1000, (start + length) // 1000 + 1))
    assert not reading.whole or seen >= set(range(SIZE // 8 // 1000))


def test_a_tail_read_is_a_jump() -> None:
    """Head, then tail, as taggers and probers read, is not from the first byte to the last."""
    reading = Reading(SIZE, 0.0, None)
    reading.note(Span(0, 2 * PIECE))
    reading.note(Span(SIZE - 4096, SIZE))
    for start in range(0, SIZE, PIECE):
        assert not reading.note(Span(start, start + PIECE))
    assert not reading.whole
    assert not reading.untouched


def test_unknown_length_of_play() -> None:
    """Where the listing tells no duration, the densest mp3 sets the pace."""
    assert whole(size=4_000_000, plays=None).brisk(49.0)
    assert not whole(size=4_000_000, plays=None).brisk(51.0)
