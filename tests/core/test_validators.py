"""Whether two answers speak of the same bytes: the rule, by hand and by law."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.validators import agree, better

marks = st.sampled_from(["", 'etag "a"', 'etag "b"', "size 5", "size 6", "date Mon size 5", "sha256 00"])


@settings(max_examples=100, deadline=None)
@given(marks, marks)
def test_agreement_goes_both_ways(one: str, other: str) -> None:
    """Who is compared with whom makes no difference, and everything agrees with itself."""
    assert agree(one, other) == agree(other, one)
    assert agree(one, one)


@pytest.mark.parametrize(
    ("known", "heard", "same"),
    [
        ('etag "a"', 'etag "a"', True),
        ('etag "a"', 'etag "b"', False),
        ("x-goog-generation 1", "x-goog-generation 2", False),
        ("date Mon, 01 Jan size 5", "date Tue, 02 Jan size 5", False),
        ('etag "a"', "size 5", True),
        ("", 'etag "a"', True),
        ('etag "a"', "", True),
    ],
)
def test_validators_of_one_kind_decide(known: str, heard: str, same: bool) -> None:
    """Two of one kind must be equal; of different kinds, or none, they say nothing about each other."""
    assert agree(known, heard) is same


@settings(max_examples=100, deadline=None)
@given(marks, marks)
def test_the_better_is_never_given_up(one: str, other: str) -> None:
    """Of two validators at most one is better, nothing is better than itself, and anything than nothing."""
    assert not (better(one, other) and better(other, one))
    assert better("", one) is bool(one)


def test_an_etag_beats_a_date_and_that_a_length() -> None:
    """What names the bytes themselves is the strongest."""
    ranked = ["", "size 5", "date Mon size 5", 'etag "a"']
    assert all(better(low, high) for at, low in enumerate(ranked) for high in ranked[at + 1 :])
