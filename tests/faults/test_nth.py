"""Some n in each run of the tests, by turns over the doors; every n by `python -m tests.faults --nth`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.faults.nth import DOORS, live
from tests.world import LOOSE_ENDS

_EVERY = {"disk EIO": 9, "disk ENOSPC": 11, "clock a day on": 9, "clock a day back": 9}
"""Of the doors that are used hundreds of times a day, one call in so many fails here."""


@LOOSE_ENDS
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", DOORS)
def test_every_call_fails_once(
    name: str, caplog: pytest.LogCaptureFixture, expected_log: Callable[[str], None]
) -> None:
    """Whichever call fails: right bytes or an error with a name, and all well later, also after a restart."""
    calls = live(DOORS[name], None)
    assert calls > 20
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]
    if name.startswith(("disk", "index")):
        expected_log("^(WARNING|ERROR)")
    for at in range(0, calls, _EVERY.get(name, 2)):
        live(DOORS[name], at)
    assert not [line for line in caplog.records if line.exc_info], "something broke that has no name"
