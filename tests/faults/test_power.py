"""The power is lost forty times; a thousand times by `python -m tests.faults --power 1000`."""

from __future__ import annotations

import pytest

from tests.faults.power import live
from tests.world import LOOSE_ENDS


@LOOSE_ENDS
@pytest.mark.timeout(240)
@pytest.mark.expected_log("^WARNING")
def test_loss_of_power() -> None:
    """What was committed stays, what was not is all there or not at all; the cache: right bytes or none."""
    live(20, seed=2)
