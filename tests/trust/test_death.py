"""Twenty deaths; a thousand are one command: `python -m tests.trust.death --times 1000`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.figures import TRUST
from tests.trust.death import run

DEATHS = 20


@pytest.mark.timeout(240)
def test_twenty_deaths(tmp_path: Path) -> None:
    """After each of twenty kills at random moments, under readers, sick servers, eviction and refreshes:
    every byte right, the limit kept, whole objects whole and served unasked, names, inodes and times the
    same."""
    book = run(tmp_path, DEATHS, seed=1)
    assert book.deaths >= DEATHS
    assert book.checked >= 5 * DEATHS // 2
    assert book.kept_whole > 0
    assert book.worst_restart < 20
    TRUST["deaths"] += book.deaths
    TRUST["objects that stayed whole"] += book.kept_whole
