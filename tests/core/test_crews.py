"""Who copies with several hands and what is foretold: laws over hands and orders, and who is none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.copying import MOST, PAUSE
from musicfs.core.crews import CONVINCED, HANDS, SILENCE, Crews
from tests.core.test_copying import SONG, Line, whole

FILES = 40


def crews(*orders: Sequence[int]) -> Crews[int]:
    """Watch over a folder that has these orders, the last of them dear."""
    lines = [Line(tuple(order)) for order in orders or (range(FILES), range(FILES)[::-1], ())]
    return Crews(lambda file: [lines[:-1], lines[-1:]])


class Hands:
    """A process with several hands that take files from a queue, or each from a queue of its own."""

    def __init__(self, watch: Crews[int], queues: Sequence[Sequence[int]], who: int = 1) -> None:
        self.watch, self.who, self.now = watch, who, 0.0
        shared = {id(queue): iter(queue) for queue in queues}
        self._queues: list[Iterator[int]] = [shared[id(queue)] for queue in queues]
        self.holds: list[int | None] = [None] * len(queues)
        self.opened: list[int] = []
        self.told: list[Sequence[int] | None] = []
        for hand in range(len(queues)):
            self.open(hand)

    def open(self, hand: int) -> None:
        """Have a hand open its next file."""
        file = self.holds[hand] = next(self._queues[hand], None)
        if file is not None:
            self.told.append(self.watch.opened(self.who, file, self.now))
            self.opened.append(file)

    def read(self, hand: int) -> None:
        """Have a hand read its file whole and open the next."""
        file = self.holds[hand]
        if file is not None:
            self.watch.read(self.who, file, whole(self.now), self.now)
            self.open(hand)

    def round(self, times: int = 1) -> Hands:
        """Have each hand read a file, one after the other."""
        for _ in range(times):
            for hand in range(len(self.holds)):
                self.read(hand)
        return self


def queue(files: Sequence[int], hands: int) -> list[Sequence[int]]:
    """Let all hands take from one queue."""
    return [files] * hands


def strides(files: Sequence[int], hands: int) -> list[Sequence[int]]:
    """Let each hand take every so manyth file."""
    return [files[hand::hands] for hand in range(hands)]


def at_work(hands: int = 4) -> Hands:
    """Give a crew that has been told one file and has opened that."""
    crew = Hands(crews(), queue(range(FILES), hands))
    while not crew.told[-1]:
        crew.round()
    return crew


Deal = Callable[[Sequence[int], int], list[Sequence[int]]]
DEALS = st.sampled_from([queue, strides])


@settings(max_examples=200)
@given(DEALS, st.integers(2, HANDS), st.permutations(range(24)), st.lists(st.integers(0, 7), max_size=150))
def test_what_is_foretold_comes(deal: Deal, hands: int, order: list[int], turns: list[int]) -> None:
    """However the hands take turns, over a queue or in strides, what is foretold is the first file of the
    order that nobody has opened, and no other is until that is."""
    crew = Hands(crews(order, range(24), ()), deal(order, hands))
    for turn in turns:
        crew.read(turn % hands)
    told = None
    for number, following in enumerate(crew.told, 1):
        opened = crew.opened[:number]
        told = None if told in opened else told
        assert told is None or not following
        if following:
            assert len(following) == 1
            told = following[0]
            assert told == next(file for file in order if file not in opened)


@given(DEALS, st.integers(2, HANDS), st.permutations(range(30)))
def test_hands_in_turn_are_told_each_next_file(deal: Deal, hands: int, order: list[int]) -> None:
    """Eight files read whole, and with each open the file behind it is told, to the folder's end."""
    crew = Hands(crews(order, ()), deal(order, hands)).round(30)
    assert crew.opened == order
    for at, told in enumerate(crew.told):
        # Each open but the first ones follows a file that was read whole.
        if at - hands + 1 < CONVINCED:
            assert told is None
        else:
            assert list(told or ()) == (order[at + 1 : at + 2])


@settings(max_examples=200)
@given(st.integers(1, 12), st.permutations(range(FILES)), st.lists(st.integers(0, 11), max_size=60))
def test_nothing_without_a_run(hands: int, files: list[int], turns: list[int]) -> None:
    """Whoever opens whatever: where a file is told, the nine before it were opened, and it was not."""
    crew = Hands(crews(), queue(files, hands))
    for turn in turns:
        crew.read(turn % hands)
    for number, following in enumerate(crew.told, 1):
        for told in following or ():
            opened = set(crew.opened[:number])
            assert told not in opened
            forward, backward = range(told - 9, told), range(told + 1, told + 10)
            assert opened >= set(forward) or opened >= set(backward)


@given(st.integers(2, HANDS), st.integers(2, 5), st.sampled_from([1, -1]))
def test_files_left_out(hands: int, step: int, way: int) -> None:
    """Who takes every second file, or fewer, is told nothing."""
    files = range(0, FILES * step, step)[::way]
    order = range(FILES * step)
    crew = Hands(crews(order, order[::-1], ()), queue(files, hands)).round(FILES)
    assert not any(crew.told)


def test_one_hand_is_no_crew() -> None:
    """One file after the other is a copier's, not a crew's."""
    assert not any(Hands(crews(), queue(range(FILES), 1)).round(FILES).told)
    walked = False

    def ways(file: int) -> list[list[Line]]:
        nonlocal walked
        walked = True
        return [[Line(tuple(range(FILES)))], []]

    Hands(Crews(ways), queue(range(FILES), 1)).round(FILES)
    assert not walked
    Hands(Crews(ways), queue(range(FILES), 2)).round(FILES)
    assert walked


def test_the_last_hand_is_alone() -> None:
    """Once only one hand goes on, nothing is told: what one file after the other means, copiers know."""
    crew = at_work(2)
    assert crew.holds[1] is not None
    crew.watch.read(crew.who, crew.holds[1], whole(), 0.0)
    before = len(crew.told)
    for _ in range(10):
        crew.read(0)
    assert not any(crew.told[before:])


def test_a_ninth_hand() -> None:
    """Whoever has more than eight files under way is parallel by himself."""
    assert not any(Hands(crews(), queue(range(FILES), HANDS + 1)).round(5).told)
    crew = at_work(HANDS)
    crew.holds += [None]
    crew._queues += crew._queues[:1]
    crew.open(HANDS)
    assert crew.told[-1] is None
    assert crew.who not in crew.watch


def test_one_at_a_time() -> None:
    """As long as what was told is not opened nothing more is, and who left it out is told nothing at all."""
    crew = Hands(crews(), queue([file for file in range(FILES) if file != 12], 4)).round(9)
    assert [list(told) for told in crew.told if told] == [[12]]


def test_a_step_elsewhere_is_forgotten_at_once() -> None:
    """A jump, or a file opened again, ends a crew; it takes eight more files to be believed."""
    for files in ((30,), (4,), (0,)):
        crew = at_work()
        assert crew.watch.opened(crew.who, files[0], crew.now) is None
        assert crew.who not in crew.watch
        before = len(crew.told)
        crew.round(3)
        assert not any(crew.told[before : before + 7])


def test_read_in_part() -> None:
    """A file closed before its end ends a crew."""
    crew = at_work()
    assert crew.watch.left(crew.who)
    assert not crew.watch.left(crew.who)
    before = len(crew.told)
    crew.round(1)
    assert not any(crew.told[before:])


def test_read_as_it_plays() -> None:
    """A file read whole as slowly as it plays ends a crew."""
    crew = at_work()
    assert crew.holds[0] is not None
    crew.watch.read(crew.who, crew.holds[0], whole(crew.now - SONG * 0.6), crew.now)
    assert crew.who not in crew.watch


def test_a_pause_ends_it() -> None:
    """A hand that waits between two files ends a crew; hands that are busy may take their time."""
    crew = at_work()
    crew.now += 100.0
    assert crew.watch.tidy(crew.now) == []
    crew.round()
    assert crew.told[-1]
    assert crew.holds[0] is not None
    crew.watch.read(crew.who, crew.holds[0], whole(crew.now), crew.now)
    assert crew.watch.tidy(crew.now + PAUSE) == []
    crew.now += PAUSE + 0.1
    crew.open(0)
    assert crew.told[-1] is None
    assert crew.who not in crew.watch
    crew = at_work()
    crew.watch.read(crew.who, crew.opened[-1], whole(crew.now), crew.now)
    assert crew.watch.tidy(crew.now + PAUSE + 0.1) == [crew.who]


def test_who_is_not_heard_of_is_forgotten() -> None:
    """A process whose files never end is not kept in mind for ever."""
    crew = at_work()
    assert crew.watch.tidy(crew.now + SILENCE) == []
    assert crew.watch.tidy(crew.now + SILENCE + 1) == [crew.who]


def test_a_cached_file_tells_nothing() -> None:
    """A file whose bytes the kernel had is stepped over, neither for nor against."""
    crew = at_work()
    for _ in range(4):
        assert crew.holds[0] is not None
        crew.watch.passed(crew.who, crew.holds[0], crew.now)
        crew.open(0)
        assert list(crew.told[-1] or ()) == [crew.opened[-1] + 1]
    crew = Hands(crews(), queue(range(FILES), 4))
    crew.watch.read(crew.who, 0, whole(), 0.0)
    for _ in range(8):
        crew.open(0)
        assert crew.holds[0] is not None
        crew.watch.passed(crew.who, crew.holds[0], crew.now)
    assert not any(crew.told)


def test_disagreeing_orders_tell_nothing() -> None:
    """While two orders fit, only what both have next is told: nothing as long as one lacks a file."""
    files = tuple(range(FILES))
    crew = Hands(crews(files, (*files[:13], 99, *files[13:]), ()), queue(files, 4)).round(FILES)
    assert [told[0] for told in crew.told if told] == [12, *range(22, FILES)]


def test_dear_orders_are_tried_last() -> None:
    """Where a cheap order fits, the dear one is not asked; where none does, it is."""

    class Dear:
        def after(self, file: int, count: int) -> Sequence[int]:
            raise AssertionError("asked")

    watch: Crews[int] = Crews(lambda file: [[Line(tuple(range(FILES)))], [Dear()]])
    assert any(Hands(watch, queue(range(FILES), 4)).round(5).told)
    assert any(Hands(crews(range(FILES)[::2], range(FILES)), queue(range(FILES), 4)).round(5).told)


def test_the_lowest_comes_late() -> None:
    """The hand that has the first file may be the last to open it."""
    files = [3, 1, 2, 0, *range(4, FILES)]
    crew = Hands(crews(), queue(files, 4)).round(4)
    assert [told[0] for told in crew.told if told] == list(range(12, 21))


def test_each_process_for_itself() -> None:
    """Two crews in one folder are two; what one does is nothing to the other."""
    watch = crews()
    one, other = Hands(watch, queue(range(20), 2), 1), Hands(watch, queue(range(20, FILES), 2), 2)
    for _ in range(6):
        one.round()
        other.round()
    assert list(one.told[-1] or ()) == [one.opened[-1] + 1]
    assert list(other.told[-1] or ()) == [other.opened[-1] + 1]


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("orp"), st.integers(0, FILES - 1)), max_size=300))
def test_bounded_memory(steps: list[tuple[str, int]]) -> None:
    """Whatever a process does, some files of it are kept in mind, and of a thousand the latest few."""
    watch = crews()
    for step, file in steps:
        if step == "o":
            watch.opened(1, file, 0.0)
        elif step == "r":
            watch.read(1, file, whole(size=1), 0.0)
        else:
            watch.passed(1, file, 0.0)
        for crew in watch._crews.values():
            assert len(crew.opened) <= CONVINCED + 2 * HANDS
            assert len(crew.busy) <= HANDS
            assert len(crew.free) <= HANDS
    for who in range(1000):
        watch.read(who, 0, whole(), 0.0)
    assert len(watch) == MOST
    assert 999 in watch


@pytest.mark.parametrize("slow", range(4))
def test_a_long_file_holds_nobody_up(slow: int) -> None:
    """While one hand reads for long, the others are told on, and when it is done the crew is still one."""
    crew = Hands(crews(), queue(range(FILES), 4))
    crew.round(3)
    for _ in range(5):
        for hand in range(4):
            if hand != slow:
                crew.read(hand)
    crew.read(slow)
    assert list(crew.told[-1] or ()) == [crew.opened[-1] + 1]
