"""Laws of the numbers and of the register."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.inodes import ROOT, Register, inode_of

LAW = settings(max_examples=150, deadline=None)

parts = st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1, max_size=4)


@LAW
@given(parts)
def test_a_number_is_stable_and_allowed(identity: list[str]) -> None:
    """A number depends on the identity alone, fits 63 bits, and is never 0 or the root's."""
    number = inode_of(*identity)
    assert number == inode_of(*identity)
    assert ROOT < number < 1 << 63


@LAW
@given(parts, parts)
def test_different_identities_have_different_numbers(one: list[str], two: list[str]) -> None:
    """Two identities share a number only if they are the same, however their parts are cut."""
    assert (inode_of(*one) == inode_of(*two)) == (one == two)


def test_a_known_number_never_changes() -> None:
    """The digest is part of what users' backups rely on, so this number is written down here."""
    assert inode_of("flowmusic", "a", "mp3") == 7352065604442508310


def test_a_separator_inside_a_part_is_refused() -> None:
    """A NUL in a part could make two identities one, so it is an error."""
    with pytest.raises(ValueError):
        inode_of("a\0b")


def test_names_that_are_not_unicode_still_get_a_number() -> None:
    """A lone surrogate, as undecodable bytes become, is numbered like any other name."""
    assert inode_of("\udcff") != inode_of("\udcfe")


@LAW
@given(st.lists(st.tuples(st.booleans(), st.integers(2, 5), st.integers(1, 4))))
def test_the_register_counts_as_the_kernel_does(events: list[tuple[bool, int, int]]) -> None:
    """A thing is held exactly while it was remembered more often than forgotten; counts never go negative."""
    register: Register[str] = Register()
    counts: dict[int, int] = {}
    for remembering, number, times in events:
        before = counts.get(number, 0)
        if remembering:
            register.remember(number, f"thing {number}", times)
            counts[number] = before + times
        else:
            went = register.forget(number, times)
            counts[number] = max(0, before - times)
            assert went == (before > 0 and counts[number] == 0)
        for known in range(2, 6):
            assert register.get(known) == (f"thing {known}" if counts.get(known) else None)
    assert len(register) == sum(1 for count in counts.values() if count)


def test_one_number_for_two_things_is_an_error() -> None:
    """A clash is loud, and the first thing stays."""
    register: Register[str] = Register()
    register.remember(7, "one")
    with pytest.raises(RuntimeError):
        register.remember(7, "two")
    assert register.get(7) == "one"


def test_a_forgotten_number_may_mean_something_else() -> None:
    """Once the kernel has let go of a number, it can be given to another thing."""
    register: Register[str] = Register()
    register.remember(7, "one", 2)
    assert not register.forget(7)
    assert register.forget(7)
    register.remember(7, "two")
    assert register.get(7) == "two"
    assert repr(register) == "<Register 1 held>"
