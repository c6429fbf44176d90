"""Laws of the reading positions."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.readahead import EAGER, FIRST, LARGEST, MOST, NEAR, TAIL, Cursors
from musicfs.core.spans import BLOCK, align, clip, joined
from musicfs.model import Span

LAW = settings(max_examples=150, deadline=None)

KIB, MIB = 1024, 1024 * 1024
SIZE = 200 * MIB + 12345

reads = st.lists(
    st.tuples(st.integers(0, 30 * MIB), st.integers(0, MIB)).map(lambda read: Span(read[0], sum(read))),
    max_size=40,
)


def sequence(cursors: Cursors, start: int, stop: int, step: int = 128 * KIB, size: int = SIZE) -> list[Span]:
    """Read on from `start` to `stop` and collect the answers."""
    return [cursors.note(Span(place, min(place + step, stop)), size) for place in range(start, stop, step)]


@LAW
@given(reads, st.integers(0, 32 * MIB))
def test_the_answer_covers_the_read_in_whole_blocks_inside_the_file(spans: list[Span], size: int) -> None:
    """Whatever was read before, the answer holds the read, is aligned, and lies inside the file."""
    cursors = Cursors()
    for span in spans:
        answer, inside = cursors.note(span, size), clip(span, size)
        assert answer.start <= inside.start
        assert answer.stop >= inside.stop
        assert answer == (align(answer, size) if inside.length else inside)


@LAW
@given(reads)
def test_never_more_than_the_largest_window_beyond_what_was_read(spans: list[Span]) -> None:
    """No answer reaches further than 8 MiB (and its last block) beyond the furthest byte read so far."""
    cursors, furthest = Cursors(), 0
    for span in spans:
        furthest = max(furthest, span.stop)
        assert cursors.note(span, SIZE).stop <= furthest + LARGEST + BLOCK


@LAW
@given(st.lists(st.integers(1, 1500), max_size=60, unique=True), st.randoms(use_true_random=False))
def test_random_reads_fetch_nothing_else(places: list[int], shuffled: random.Random) -> None:
    """Aligned 64 KiB reads that touch no other get their own block exactly."""
    shuffled.shuffle(places)
    cursors = Cursors()
    for place in places:
        read = Span(2 * place * BLOCK, (2 * place + 1) * BLOCK)
        assert cursors.note(read, SIZE) == read


@LAW
@given(st.integers(1, 64 * MIB), st.sampled_from([4 * KIB, 16 * KIB, 128 * KIB, 256 * KIB, MIB]))
def test_sequential_reading_asks_for_the_file_once(size: int, step: int) -> None:
    """Read from end to end, the recommendations make up the file, and grow in few steps that double."""
    cursors, edges = Cursors(), [0]
    size = min(size, step * 600)
    for answer in sequence(cursors, 0, size, step, size):
        assert answer.stop >= edges[-1]
        if answer.stop > edges[-1]:
            edges.append(answer.stop)
    assert edges[-1] == size
    # Five doublings lead from 256 KiB to 8 MiB; from there each step is at least half of that.
    assert len(edges) - 1 <= 7 + size // (LARGEST // 2)


def test_the_first_windows_double() -> None:
    """A file read from its start in small reads is recommended 256 KiB, then 512 KiB, 1 MiB and so on up to
    8 MiB."""
    edges: list[int] = []
    for answer in sequence(Cursors(), 0, 40 * MIB, 64 * KIB):
        if not edges or answer.stop > edges[-1]:
            edges.append(answer.stop)
    steps = [two - one for one, two in zip([0, *edges], edges, strict=False)]
    assert steps[:6] == [
        256 * KIB,
        (64 + 512) * KIB,  # the read that leaves the first window is on top
        MIB,
        2 * MIB,
        4 * MIB,
        6 * MIB,
    ]  # the last is cut to 8 MiB ahead
    assert max(steps) <= LARGEST


@LAW
@given(st.integers(1, MIB), st.integers(1, 64 * MIB))
def test_a_large_first_read_has_a_second_window_at_once(length: int, size: int) -> None:
    """Who begins with 128 KiB or more is recommended 512 KiB, who begins with less 256 KiB, if the file has
    as much."""
    least = 2 * FIRST if min(length, size) >= EAGER else FIRST
    wise = Span(0, min(max(length, least), size))
    assert Cursors().note(Span(0, length), size) == align(wise, size)


@LAW
@given(st.integers(0, 100 * MIB), st.integers(3, 200), st.sampled_from([16 * KIB, 128 * KIB, 256 * KIB]))
def test_the_pipeline_stays_half_a_window_ahead(start: int, count: int, step: int) -> None:
    """From the second read of a sequence on, the answer runs ahead of the reader by half a window or more."""
    cursors, read = Cursors(), 0
    for answer in sequence(cursors, start, start + count * step, step)[1:]:
        read += step
        if start == 0 and read + step <= FIRST:
            continue  # That much the kernel asks for when a program only looks at the head.
        assert answer.stop - (start + read + step) >= min(FIRST, 2 * read) // 2 - BLOCK


@LAW
@given(st.integers(1, EAGER - 1), st.lists(st.integers(1, 4), max_size=4))
def test_a_look_at_the_head_costs_the_first_window(first: int, sizes: list[int]) -> None:
    """In whatever pieces the first 256 KiB are read, of which the first is not a large one, nothing beyond
    them is recommended."""
    ends = {min(first + sum(sizes[: n + 1]) * 32 * KIB, FIRST) for n in range(len(sizes))}
    edges = sorted({0, first, FIRST, *ends})
    pieces = [Span(one, two) for one, two in pairwise(edges)]
    cursors = Cursors()
    assert max(cursors.note(piece, SIZE).stop for piece in pieces) == FIRST


@LAW
@given(st.integers(0, 50), st.integers(2, 4), st.randoms(use_true_random=False))
def test_out_of_order_pieces_are_still_sequential(begin: int, width: int, shuffled: random.Random) -> None:
    """Pieces that arrive two to four at a time in any order reach the largest window all the same."""
    step, cursors, place, ahead = 128 * KIB, Cursors(), begin * MIB, 0
    for _ in range(200 // width):
        batch = [Span(place + n * step, place + (n + 1) * step) for n in range(width)]
        shuffled.shuffle(batch)
        place += width * step
        ahead = max(cursors.note(span, SIZE).stop for span in batch) - place
    assert ahead >= LARGEST // 2


def test_a_head_read_out_of_order_is_a_head() -> None:
    """As measured: (0, 256K), (512K, 256K), (256K, 256K) is one reader, and the third read widens it."""
    cursors = Cursors()
    assert cursors.note(Span(0, 256 * KIB), SIZE) == Span(0, 512 * KIB)
    assert cursors.note(Span(512 * KIB, 768 * KIB), SIZE) == Span(512 * KIB, 768 * KIB)
    assert cursors.note(Span(256 * KIB, 512 * KIB), SIZE) == Span(256 * KIB, 768 * KIB + MIB)


def test_a_seek_starts_small() -> None:
    """A jump gets its own blocks, and only the read that follows it opens a window of 256 KiB."""
    cursors = Cursors()
    sequence(cursors, 0, 20 * MIB)
    far = 100 * MIB
    assert cursors.note(Span(far, far + BLOCK), SIZE) == Span(far, far + BLOCK)
    assert cursors.note(Span(far + BLOCK, far + 2 * BLOCK), SIZE).stop == far + 2 * BLOCK + FIRST


def test_a_jump_back_is_a_seek() -> None:
    """Going back by more than the kernel's disorder starts small too, and leaves the other reader alone."""
    cursors = Cursors()
    ahead = sequence(cursors, 0, 20 * MIB)[-1].stop
    back = Span(5 * MIB, 5 * MIB + BLOCK)
    assert cursors.note(back, SIZE) == back
    assert cursors.note(Span(20 * MIB, 20 * MIB + BLOCK), SIZE).stop >= ahead


@LAW
@given(st.integers(0, TAIL - 1), st.integers(1, TAIL))
def test_a_tail_read_disturbs_nobody(distance: int, length: int) -> None:
    """Reads of the last 256 KiB get their own blocks and change no later answer."""
    plain, probed = Cursors(), Cursors()
    for place in range(0, 4 * MIB, 128 * KIB):
        tail = Span(SIZE - 1 - distance, min(SIZE, SIZE - 1 - distance + length))
        for again in range(3):
            shifted = Span(tail.start + again, tail.stop)
            assert probed.note(shifted, SIZE) == align(shifted, SIZE)
        read = Span(place, place + 128 * KIB)
        assert probed.note(read, SIZE) == plain.note(read, SIZE)


def test_reading_the_tail_piece_by_piece_makes_no_window() -> None:
    """Tail reads that follow each other get their own blocks each: a probe for tags is no sequence."""
    cursors, size = Cursors(), 100 * MIB
    for place in range(size - TAIL, size, BLOCK):
        read = Span(place, place + BLOCK)
        assert cursors.note(read, size) == read


def test_several_readers_have_a_window_each() -> None:
    """As many readers as are remembered, taking turns, all reach the largest window."""
    cursors, step = Cursors(), 256 * KIB
    starts = [reader * 24 * MIB for reader in range(MOST)]
    for turn in range(80):
        for start in starts:
            answer = cursors.note(Span(start + turn * step, start + (turn + 1) * step), SIZE)
            assert turn < 79 or answer.stop - (start + 80 * step) >= LARGEST // 2


def test_scattered_reads_do_not_push_a_player_out() -> None:
    """However many single reads lie between a player's reads, its window stays."""
    cursors, step = Cursors(), 128 * KIB
    sequence(cursors, 0, 20 * MIB)
    for turn in range(5):
        for jump in range(3 * MOST):
            cursors.note(Span(60 * MIB + jump * 2 * BLOCK, 60 * MIB + (jump * 2 + 1) * BLOCK), SIZE)
        place = 20 * MIB + turn * step
        assert cursors.note(Span(place, place + step), SIZE).stop - place >= LARGEST // 2


def test_the_least_recently_used_reader_goes_first() -> None:
    """One reader too many costs the one that was silent longest its window, and nobody else."""
    cursors = Cursors()
    for reader in range(MOST + 1):
        sequence(cursors, reader * 20 * MIB, reader * 20 * MIB + MIB)
    kept = Span(20 * MIB + MIB, 20 * MIB + MIB + BLOCK)
    assert cursors.note(kept, SIZE).stop > kept.stop
    gone = Span(MIB, MIB + BLOCK)
    assert cursors.note(gone, SIZE) == gone


def test_a_hole_left_by_the_page_cache_keeps_the_window() -> None:
    """Reading on behind a stretch that the kernel had, the reader gets its window back at the second read."""
    cursors = Cursors()
    sequence(cursors, 0, 20 * MIB)
    beyond = 20 * MIB + NEAR // 2
    cursors.note(Span(beyond, beyond + 128 * KIB), SIZE)
    answer = cursors.note(Span(beyond + 128 * KIB, beyond + 256 * KIB), SIZE)
    assert answer.stop - (beyond + 256 * KIB) >= LARGEST // 2


def test_reading_again_what_was_read_asks_for_no_more() -> None:
    """A thumbnailer that opens the head sixty times is recommended the same 256 KiB sixty times."""
    cursors = Cursors()
    assert {cursors.note(Span(0, 64 * KIB), SIZE) for _ in range(60)} == {Span(0, FIRST)}


def test_forgetting_starts_over() -> None:
    """After `forget` a read in the middle is a seek again."""
    cursors = Cursors()
    sequence(cursors, 0, 4 * MIB)
    cursors.forget()
    read = Span(4 * MIB, 4 * MIB + BLOCK)
    assert cursors.note(read, SIZE) == read
    assert repr(cursors) == f"<Cursors [{4 * MIB},{4 * MIB + BLOCK}) to {4 * MIB + BLOCK}>"


def test_answers_of_one_sequence_join_to_one_span() -> None:
    """From the middle of a file, the answers of a sequence leave no hole behind the reader."""
    answers = sequence(Cursors(), 3 * MIB, 30 * MIB)
    assert joined(answers) == [Span(3 * MIB, answers[-1].stop)]


@LAW
@given(st.integers(FIRST // BLOCK, 16), st.lists(st.integers(1, 8), min_size=1, max_size=20))
def test_a_known_look_costs_what_it_is(blocks: int, steps: list[int]) -> None:
    """Who is known to look at so much of the head is recommended that and no more, in whatever steps he reads
    it; a read beyond is given a window as any reader's is."""
    look, cursors, place = blocks * BLOCK, Cursors(), 0
    for step in steps:
        read = Span(place, min(place + step * 16 * KIB, look))
        assert read.length == 0 or cursors.note(read, SIZE, look) == Span(read.start // BLOCK * BLOCK, look)
        place = read.stop
    cursors.note(Span(place, look), SIZE, look)
    assert cursors.note(Span(look, look + BLOCK), SIZE, look).stop >= look + FIRST
