"""Laws of looks: what is foretold of the next file, and on what evidence."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.looks import AGREED, DEEPEST, LONGEST, MOST, NOTHING, Ends, Looks, pieces
from musicfs.core.readahead import FIRST
from musicfs.core.spans import BLOCK, align, blocks_of
from musicfs.model import Span

LAW = settings(max_examples=150, deadline=None)

KIB, MIB = 1024, 1024 * 1024
SIZE = 30 * MIB + 4321
PROBE = (Span(0, 64 * KIB), Span(64 * KIB, 192 * KIB), Span(192 * KIB, 320 * KIB), Span(320 * KIB, 448 * KIB))
"""What the kernel asks for where ffprobe looks at an mp3 (performance.md)."""
TABLE = (Span(0, 64 * KIB), Span(SIZE - 205 * KIB, SIZE - 77 * KIB), Span(SIZE - 77 * KIB, SIZE))
"""The same of an m4a whose table comes last."""

offsets = st.integers(0, 2 * MIB) | st.integers(SIZE - MIB, SIZE)
looked = st.lists(
    st.tuples(offsets, st.integers(1, 512 * KIB)).map(lambda read: Span(read[0], sum(read))), max_size=6
)


def shown(looks: Looks, *reads: Span, size: int = SIZE, who: str = "ffprobe") -> Ends:
    """Have somebody look at a file, and say what was foretold of that."""
    look = looks.begin(who)
    for read in reads:
        look.note(read, size)
    look.over(size)
    return look.foretold


def foretold(looks: Looks, who: str = "ffprobe") -> Ends:
    """Say what is foretold of the next file."""
    return looks.begin(who).foretold


def ends(reads: list[Span]) -> Ends:
    """Say how far reads go from a file's beginning and end without a hole, the slow way."""
    head, tail = 0, SIZE
    for _ in reads:
        head = max([head, *(read.stop for read in reads if read.start <= head)])
        tail = min([tail, *(read.start for read in reads if align(read, SIZE).stop >= tail)])
    return Ends(min(head, SIZE), SIZE - tail)


@LAW
@given(st.lists(looked, max_size=8))
def test_never_more_than_every_one_of_the_last_files_was_asked_for(files: list[list[Span]]) -> None:
    """Whatever was read, what is foretold lies within what was asked for of each of the last files."""
    looks, touched = Looks(), []
    for reads in files:
        shown(looks, *reads)
        touched += [reads] if any(read.start < SIZE for read in reads) else []
    head, tail = foretold(looks)
    assert head <= DEEPEST
    assert tail <= LONGEST
    if head or tail:
        assert len(touched) >= AGREED
        assert all(head <= ends(reads).head and tail <= ends(reads).tail for reads in touched[-AGREED:])


@LAW
@given(st.permutations(PROBE), st.permutations(TABLE))
def test_what_was_done_twice_is_foretold(probe: list[Span], table: list[Span]) -> None:
    """Two equal looks foretell a third, in whatever order the kernel's requests come; one does not."""
    looks = Looks()
    assert shown(looks, *PROBE) == NOTHING
    assert shown(looks, *probe) == NOTHING
    assert shown(looks, *PROBE) == Ends(448 * KIB, 0)
    assert [shown(looks, *table, who="mpv") for _ in range(3)] == [
        NOTHING,
        NOTHING,
        Ends(64 * KIB, 205 * KIB),
    ]


@LAW
@given(looked, st.integers(0, SIZE - 1))
def test_who_goes_beyond_is_forgotten_at_once(reads: list[Span], place: int) -> None:
    """A file that is read further than a look goes ends what is foretold before it is closed, and so does
    one that is read in its middle."""
    looks = Looks()
    for _ in range(AGREED):
        shown(looks, *PROBE)
    reader = looks.begin("ffprobe")
    for start in range(0, DEEPEST + BLOCK, BLOCK):
        reader.note(Span(start, start + BLOCK), SIZE)
    assert foretold(looks) == NOTHING
    for read in reads:
        reader.note(read, SIZE)
    reader.over(SIZE)
    assert shown(looks, *PROBE) == NOTHING
    assert shown(looks, *PROBE) == NOTHING
    assert foretold(looks) == Ends(448 * KIB, 0)
    middle = Span(max(place, MIB), min(max(place, MIB) + 1, SIZE - MIB))
    if middle.length > 0:
        shown(looks, *PROBE, middle)
        assert foretold(looks) == NOTHING


def test_the_least_of_the_last_is_foretold() -> None:
    """Where two looks differ the next is thought to be the lesser, at either end."""
    looks = Looks()
    shown(looks, *PROBE)
    shown(looks, *PROBE[:3])
    assert foretold(looks) == Ends(320 * KIB, 0)
    shown(looks, *TABLE)
    assert foretold(looks) == NOTHING
    shown(looks, TABLE[0], Span(SIZE - 20 * KIB, SIZE))
    assert foretold(looks) == Ends(64 * KIB, 20 * KIB)


@LAW
@given(st.integers(1, FIRST))
def test_what_a_first_request_brings_is_not_foretold(head: int) -> None:
    """Looks at no more than 256 KiB of a beginning leave everything as it is."""
    looks = Looks()
    for _ in range(AGREED + 1):
        assert shown(looks, Span(0, head)) == NOTHING


def test_what_tells_nothing_changes_nothing() -> None:
    """A file whose bytes the kernel had, and one as short as a look, leave what is foretold as it is."""
    looks = Looks()
    for _ in range(AGREED):
        shown(looks, *PROBE)
    shown(looks)
    shown(looks, Span(0, 128 * KIB), Span(128 * KIB, 256 * KIB), size=200 * KIB)
    assert foretold(looks) == Ends(448 * KIB, 0)


def test_a_look_that_did_not_come_is_no_more_foretold() -> None:
    """A file of which something was fetched and nothing read ends it."""
    looks = Looks()
    for _ in range(AGREED):
        shown(looks, *PROBE)
    vain = looks.begin("ffprobe")
    vain.begun = True
    vain.over(SIZE)
    assert foretold(looks) == NOTHING


def test_nobody_tells_of_another() -> None:
    """What one program does to one kind of file is foretold of that alone."""
    looks = Looks()
    for _ in range(AGREED):
        shown(looks, *PROBE, who="ffprobe, mp3")
    assert foretold(looks, "ffprobe, wav") == foretold(looks, "mpv, mp3") == NOTHING
    assert foretold(looks, "ffprobe, mp3") == Ends(448 * KIB, 0)


def test_memory_is_bounded() -> None:
    """However many programs look, the latest are remembered, and no more."""
    looks = Looks()
    for _ in range(AGREED):
        for number in range(3 * MOST):
            shown(looks, *PROBE, who=str(number))
    assert len(looks) == MOST
    shown(looks, *PROBE, who=str(3 * MOST - 1))
    assert foretold(looks, "0") == NOTHING


@LAW
@given(st.integers(0, DEEPEST), st.integers(0, LONGEST), st.integers(0, 3 * MIB))
def test_pieces_are_whole_blocks_of_the_ends(head: int, tail: int, size: int) -> None:
    """What is fetched are the blocks of both ends, each once, inside the file and in at most three pieces."""
    cut = pieces(Ends(head, tail), size)
    assert len(cut) <= 3
    assert all(piece == align(piece, size) and piece.length > 0 for piece in cut)
    blocks = [block for piece in cut for block in blocks_of(piece)]
    wanted = {*blocks_of(Span(0, min(head, size))), *blocks_of(Span(max(size - tail, 0), size))}
    assert sorted(blocks) == sorted(wanted)


@LAW
@given(st.integers(FIRST + 1, DEEPEST))
def test_a_long_head_comes_in_two_halves(head: int) -> None:
    """More than a first request brings is cut in the middle, give or take a block."""
    one, two = pieces(Ends(head, 0), SIZE)
    assert one.start == 0
    assert one.stop == two.start
    assert one.length <= two.length <= one.length + 2 * BLOCK


@LAW
@given(st.randoms(use_true_random=False))
def test_what_is_told_is_not_told_again(chance: random.Random) -> None:
    """A look that was spoilt counts once, whatever is read after that."""
    looks = Looks()
    look = looks.begin("ffprobe")
    look.spoil()
    for _ in range(20):
        start = chance.randrange(SIZE)
        look.note(Span(start, start + BLOCK), SIZE)
    look.over(SIZE)
    for _ in range(AGREED):
        shown(looks, *PROBE)
    assert foretold(looks) == Ends(448 * KIB, 0)
