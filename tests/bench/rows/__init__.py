"""The rows of the issue's table, in its order."""

from __future__ import annotations

from tests.bench.book import Row
from tests.bench.rows import copying, folders, reading, wav

ROWS: tuple[Row, ...] = (*wav.ROWS, *reading.ROWS, *folders.ROWS, *copying.ROWS, folders.ASKED)
