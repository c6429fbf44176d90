"""A slab is lent to one answer at a time, and nobody's answer changes under him."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from musicfs.slab import Slab

LENGTH = 4096


@given(st.lists(st.tuples(st.lists(st.binary(max_size=900), min_size=1, max_size=6), st.booleans())))
def test_answers_are_what_they_were_made_of_for_as_long_as_they_are_held(
    answers: list[tuple[list[bytes], bool]],
) -> None:
    """Each answer equals its pieces, and goes on to while it is held, whatever is answered meanwhile."""
    slab = Slab(LENGTH)
    held = []
    for pieces, kept in answers:
        answer = slab.joined(pieces)
        assert bytes(answer) == b"".join(pieces)
        if kept:
            held.append((answer, b"".join(pieces)))
        del answer
        assert all(bytes(one) == expected for one, expected in held)


def test_a_slab_is_lent_again_only_when_nobody_looks_at_it() -> None:
    """What is lent is refused to the next while it, or a part of it, is held; then it is lent again."""
    slab = Slab(LENGTH)
    answer = slab.lend(LENGTH)
    assert answer is not None
    part = answer[5:9]
    del answer
    assert slab.lend(1) is None
    del part
    assert slab.lend(1) is not None


def test_what_is_too_long_for_a_slab_comes_from_the_heap() -> None:
    """An answer longer than the slab is whole all the same."""
    slab = Slab(LENGTH)
    assert slab.lend(LENGTH + 1) is None
    assert slab.joined([b"a" * LENGTH, b"b"]) == b"a" * LENGTH + b"b"
