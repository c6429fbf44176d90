"""The day in the life, on a small library: each hour costs what it must and no more."""

from __future__ import annotations

import re
from pathlib import Path

from tests.bench.day import AWAKE, TTL, Day, live, table


def test_a_small_day(tmp_path: Path) -> None:
    """All is fetched once, by whoever comes first; the night's second copy and what is played again
    cost nothing; a refresh costs a few listings."""
    day = Day(5, tmp_path, refreshes=2)
    live(day)
    names = [name for name, _ in day.bills]
    first, browsed, played, again, scanned, rescanned, copied, recopied, refreshed, full = (
        bill for _, bill in day.bills
    )
    assert first.requests["listings"] == first.requests.total()
    for bill in (browsed, again, rescanned, recopied):
        assert bill.requests["links"] == bill.requests["mp3s made"] == 0
    assert again.requests.total() == recopied.requests.total() == 0
    assert (played.requests["links"], played.requests["mp3s made"]) == (1, 1)
    # Four clips' mp3 and one job's mp3, wav and stems: each link and each mp3 once, whoever came first.
    assert sum(bill.requests["mp3s made"] for bill in (played, scanned, copied)) == 4
    assert sum(bill.requests["links"] for bill in (played, scanned, copied)) == 3
    assert 0 < refreshed.requests["listings"] <= AWAKE * 3600 / TTL * 8
    assert refreshed.requests["listings"] == refreshed.requests.total()
    assert full.requests["listings"] == 24 * first.requests["listings"]
    lines = table(day).splitlines()
    assert len(lines) == 2 + len(names) + 1
    assert all(re.fullmatch(r"\|( [^|]+ \|)( [\d,.]+ \|){5}", line) for line in lines[2:])
