"""A short form of the random mixes; the long one is `python -m tests.faults --mixes 10000`."""

from __future__ import annotations

from tests.faults.mixes import campaign, drawn, told
from tests.faults.servers import CASES, GONE


def test_mixes() -> None:
    """Whatever mix of faults, readers and ends there is: exact bytes or a true errno, in time, and healed."""
    wrong = campaign(range(12))
    assert not wrong, "\n".join(told(mix) for mix in wrong)


def test_a_number_is_a_mix() -> None:
    """The same number is the same mix for ever, and a thousand of them hold every fault."""
    assert drawn(7) == drawn(7)
    laid = {case.name for seed in range(1000) for case, _, _ in drawn(seed).faults}
    assert laid == {case.name for case in CASES if not case.errors & GONE}
