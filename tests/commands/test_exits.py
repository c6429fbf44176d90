"""The exit codes of failures."""

from __future__ import annotations

import pytest

from musicfs.commands.exits import code_for
from musicfs.config import TokenError
from musicfs.control import Declined, NotRunning
from musicfs.errors import (
    AccountBroken,
    BytesMissing,
    ConfigError,
    Misbehaved,
    MusicfsError,
    Refused,
    StoreFull,
    Throttled,
    TooSlow,
    Unreachable,
)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ConfigError("x"), 78),
        (TokenError("x"), 77),
        (Refused("x"), 77),
        (AccountBroken("x"), 77),
        (StoreFull("x"), 73),
        (NotRunning("x"), 69),
        (Unreachable("x"), 69),
        (TooSlow("x"), 69),
        (Throttled("x"), 75),
        (Misbehaved("x"), 75),
        (Declined("x"), 1),
        (BytesMissing("x"), 1),
    ],
)
def test_each_failure_has_its_code(failure: MusicfsError, code: int) -> None:
    """The table of the research notes, line by line."""
    assert code_for(failure) == code
