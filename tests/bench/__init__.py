"""The benchmark: musicfs and its peers, side by side, over wires of known length; `sh scripts/bench` runs it.

How it thinks: one origin (nginx, and the embedded API behind it) and three wires to it: none, a long one with
100 Mbit/s a connection, and one with 100 Mbit/s for all. A row is one kind of work: it has everybody do it,
round by round, and notes times, requests and bytes in the book; the book makes medians and ratios of them and
judges the goals.

    forwarder.c, link.py   the wires                     book.py               what was measured and wanted
    origin.py, library.py  nginx, the API, the music     report.py, chart.py   the table and the picture
    mounts.py, plain.py    those who are measured        person.py             who runs it, what root may do
    bench.py, rows/        the work                      __main__.py           the command

What must always be true: nobody is measured alone (rounds are interleaved), nothing measured is served from a
cache that the row does not speak of, and a row that fails says why and spoils no other.
"""
