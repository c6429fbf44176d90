"""The rows of the issue's table, in its order."""

from __future__ import annotations

from tests.bench.book import Row
from tests.bench.rows import copying, folders, process, reading, stems, wav

ROWS: tuple[Row, ...] = (
    *wav.ROWS,
    *reading.ROWS,
    *folders.ROWS,
    *copying.ROWS,
    *stems.ROWS,
    *process.ROWS,
    folders.ASKED,
)
