"""Parsers and odd inputs, a short turn; the long one is `python -m tests.faults --fuzz 1000000`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.fuzz import PARSERS, SLOW, fuzz
from tests.figures import FAULTS

SHORT = 2000
FOUND = {
    "ids": [
        b"user:1234-tempolor:100200300-job:9f8\xd5\xffd6c5b4a",
        b"user:1234-\xff@example.com-clip:0f0e0d0c-0b0a-4908-8706-050403020100",
    ],
    "auth_key": [b'{"url":"https://cdn.example.net/a.wav?auth_key=' + b"9" * 400 + b'","remainSeconds":0}'],
}
"""What once broke a parser."""


@pytest.mark.parametrize(("name", "data"), [(name, data) for name in FOUND for data in FOUND[name]])
def test_what_once_broke(name: str, data: bytes) -> None:
    """An input that was found to break a parser breaks it no more."""
    PARSERS[name][0](data)


@pytest.mark.parametrize("name", PARSERS)
def test_mutated(name: str) -> None:
    """Well-formed inputs taken apart give a sound value or the failure that the parser names, at once."""
    assert fuzz(name, SHORT, seed=3) < SLOW
    FAULTS["inputs parsed"] += SHORT


@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes(name: str) -> None:
    """Any bytes at all do, too."""
    law, seeds = PARSERS[name]

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=300) | st.tuples(st.sampled_from(seeds), st.binary(max_size=20)).map(b"".join))
    def holds(data: bytes) -> None:
        law(data)

    holds()
