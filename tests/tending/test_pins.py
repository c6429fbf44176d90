"""Pins and claims, over a real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.spans import BLOCK
from musicfs.errors import TooSlow
from musicfs.model import Key
from musicfs.store import Entry, Kind, Store
from musicfs.tending.pins import NotKept, Pins, PinsFull

LIMIT = 40 * BLOCK


def key(number: int) -> Key:
    """Name an object."""
    return Key("tempolor", f"{number}", "wav")


def fill(store: Store, number: int, blocks: int) -> Entry:
    """Bring an object."""
    entry = store.find(str(key(number)), 1) or store.create(
        str(key(number)), 1, Kind.RANGED, blocks * BLOCK, ""
    )
    for block in range(blocks):
        entry.write(block, bytes(BLOCK))
    return entry


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    """Give a cache of forty blocks."""
    with Store(tmp_path / "small", LIMIT, 0, clock=lambda: 4e9) as store:
        yield store


def test_what_succeeds_stays_pinned(small: Store) -> None:
    """A claim that ends well leaves its object pinned, also in the next life of the store."""
    pins = Pins(small)
    entry = fill(small, 1, 4)
    with pins.claimed(key(1), 1, 4 * BLOCK) as claim:
        assert claim.pin() is entry
    assert entry.pinned
    small.close()
    small.open()
    assert list(Pins(small).held()) == [str(key(1))]


def test_what_fails_is_not_pinned(small: Store) -> None:
    """A claim that fails takes its pin back, unless the object was pinned before it."""
    pins = Pins(small)
    for before in (False, True):
        entry = fill(small, 1, 4)
        if before:
            entry.pin()
        failing = pins.claimed(key(1), 1, 4 * BLOCK)
        failing.__enter__().pin()
        failing.__exit__(TooSlow, TooSlow("no answer"), None)
        assert entry.pinned is before


def test_one_of_two_is_enough(small: Store) -> None:
    """Two stems of one archive: one failed, in either order of their ends, and the archive stays pinned."""
    pins = Pins(small)
    for first_fails in (True, False):
        entry = fill(small, int(first_fails), 2)
        with ExitStack() as stack:
            failing = pins.claimed(key(int(first_fails)), 1, 2 * BLOCK)
            failing.__enter__().pin()
            good = stack.enter_context(ExitStack())
            good.enter_context(pins.claimed(key(int(first_fails)), 1, 2 * BLOCK)).pin()
            if not first_fails:
                good.close()
            failing.__exit__(TooSlow, TooSlow("no answer"), None)
        assert entry.pinned


def test_what_is_not_here_cannot_be_pinned(small: Store) -> None:
    """It is said so, in a sentence with a remedy."""
    with pytest.raises(NotKept) as failed, Pins(small).claimed(key(9), 1, BLOCK) as claim:
        claim.pin()
    assert failed.value.remedy


def test_claims_at_a_time_share_half_the_cache(small: Store) -> None:
    """Three claims of seven blocks do not fit into twenty: the third is refused before a byte is fetched;
    once one has ended, unpinned, there is room again."""
    pins = Pins(small)
    with pins.claimed(key(1), 1, 7 * BLOCK):
        with (
            pins.claimed(key(2), 1, 7 * BLOCK),
            pytest.raises(PinsFull, match=r"half of the cache \(1 MiB\)"),
            pins.claimed(key(3), 1, 7 * BLOCK),
        ):
            pass
        with pins.claimed(key(3), 1, 7 * BLOCK):
            pass


def test_what_is_pinned_and_whole_may_always_be_warmed_again(small: Store) -> None:
    """Though the pinned take up all of their half."""
    pins = Pins(small)
    with pins.claimed(key(1), 1, 18 * BLOCK) as claim:
        fill(small, 1, 18)
        claim.pin()
    with pytest.raises(PinsFull), pins.claimed(key(2), 1, 4 * BLOCK):
        pass
    with pins.claimed(key(1), 1, 18 * BLOCK) as claim:
        claim.pin()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 12), st.booleans(), st.booleans()), max_size=12))
def test_law_of_half(steps: list[tuple[int, int, bool, bool]]) -> None:
    """Whatever is claimed, brought, failed and held open at a time: pinned objects never take more than half
    of the cache, and exactly those are pinned of which some claim ended well."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "c", LIMIT, 0, clock=lambda: 4e9) as store:
        pins, good = Pins(store), set()
        with ExitStack() as still_open:
            for number, blocks, fails, stays in steps:
                with ExitStack() as stack:
                    try:
                        claim = stack.enter_context(pins.claimed(key(number), 1, blocks * BLOCK))
                        entry = store.find(str(key(number)), 1)
                        known = blocks if entry is None else -(-(entry.size or 0) // BLOCK)
                        if entry is None:
                            entry = store.create(str(key(number)), 1, Kind.RANGED, blocks * BLOCK, "")
                        claim.pin()
                        fill(store, number, known)
                        if fails:
                            raise TooSlow("no answer")
                        good.add(str(key(number)))
                        if stays:
                            still_open.push(stack.pop_all())
                    except (TooSlow, PinsFull):
                        pass
                assert store.pinned <= store.limit // 2
        assert good <= set(pins.held())
