"""`python -m tests.bench`: run the rows, print the table, write the figures.

    python -m tests.bench [--rounds N] [--quick] [--only ROW[,ROW…]] [--list] [--out FOLDER] [--docs]
                           [--stay-root] [--dir FOLDER]

How it thinks: started by root it goes on as an ordinary user and stays behind for what only root may do
(`person.py`). Rows run one after the other; one that fails leaves its reason on its page, and the next
begins.

What must always be true: the folder it worked in, every process and every mount are gone at the end, on
Ctrl-C too; the exit code is 0 if every row that was asked for could be measured, whatever the verdicts.
"""

from __future__ import annotations

import argparse
import compileall
import getpass
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import musicfs
from tests.bench import chart, person, report
from tests.bench.bench import Bench
from tests.bench.book import Page, Row
from tests.bench.rows import ROWS

_DOCS = Path(__file__).parents[2] / "docs"
_INTERRUPTED = 130
_LINE = 500  # characters of a failure that the table has room for


def main(words: Sequence[str]) -> int:
    """Measure, and give the exit code."""
    options = _parser().parse_args(words)
    if options.list:
        print("\n".join(f"{row.key:14}{row.work}" for row in ROWS))
        return 0
    told = os.environ.get("MUSICFS_BENCH_FOLDER")
    if told is None:
        # An ordinary user may not write beside the sources, and would compile them, and the libraries, at
        # every start: 0.2 s each, as uv compiles nothing.
        for sources in (Path(musicfs.__file__).parent, sysconfig.get_path("purelib")):
            compileall.compile_dir(sources, quiet=2)
    folder = Path(told or tempfile.mkdtemp(prefix="musicfs-bench-", dir=options.dir))
    try:
        if told is None and os.geteuid() == 0 and not options.stay_root:
            code = person.go_on_as_user(words, folder)
            if code is not None:
                _bring_out(folder, options)
                return code
            print("no ordinary user can run this Python here; going on as root", file=sys.stderr)
        return _run(options, folder)
    finally:
        if told is None:
            person.leave_nothing(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _run(options: argparse.Namespace, folder: Path) -> int:
    # The steward ignores SIGINT, and we came from there; at either, what was measured so far is still told.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rounds = options.rounds or (1 if options.quick else 5)
    steward = person.steward_of(os.environ)
    alone, _, only = (options.only or "").rpartition(":")
    rows = [row for row in ROWS if not only or row.key in only.split(",")]
    pages: dict[str, Page] = {}
    code = 0
    with ExitStack() as stack:
        bench = Bench(folder / "run", rounds, options.quick, steward, stack, alone == "us")
        try:
            for row in rows:
                pages[row.key] = _measure(bench, row)
        except KeyboardInterrupt:
            code = _INTERRUPTED
    about = report.surroundings(rounds, getpass.getuser(), steward.present or os.geteuid() == 0)
    text = report.markdown(rows, pages, about)
    print(text)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    (out / "bench.md").write_text(text + "\n")
    (out / "bench.svg").write_text(chart.draw(pages))
    report.write_json(pages, about, out / "bench.json")
    if "MUSICFS_BENCH_FOLDER" not in os.environ:
        _bring_out(folder, options)
    return code or int(any(page.failures for page in pages.values()))


def _measure(bench: Bench, row: Row) -> Page:
    """Measure one row; what goes wrong is part of its page."""
    page, began = Page(), time.monotonic()
    if row.needs_root and not bench.steward.present:
        page.left_out = "it needs root at hand"
        return page
    try:
        row.measure(bench, page)
    except (OSError, LookupError, RuntimeError, ValueError, subprocess.SubprocessError) as failed:
        page.failures.append(_why(failed))
    print(
        f"{row.key}: {time.monotonic() - began:.0f} s {'; '.join(page.failures)}", file=sys.stderr, flush=True
    )
    return page


def _why(failed: Exception) -> str:
    """Say in a line what went wrong; of a program, its name and its last words."""
    text = f"{type(failed).__name__}: {failed}"
    if isinstance(failed, subprocess.CalledProcessError):
        text = f"{failed.cmd[0]} ended with {failed.returncode}: {failed.stderr or ''}"
    words = " ".join(" ".join([text, *getattr(failed, "__notes__", ())]).replace("|", "/").split())
    return words if len(words) <= _LINE else f"{words[: _LINE // 2]} … {words[-_LINE // 2 :]}"


def _bring_out(folder: Path, options: argparse.Namespace) -> None:
    """Put the results where they were wanted, as whoever called."""
    made = folder / "out"
    if options.out is not None and made.exists():
        shutil.copytree(made, options.out, dirs_exist_ok=True)
    if options.docs and made.exists():
        shutil.copyfile(made / "bench.svg", _DOCS / "performance.svg")
        page = _DOCS / "performance.md"
        page.write_text(report.into(page.read_text("utf-8"), (made / "bench.md").read_text("utf-8")), "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sh scripts/bench", description="Measure musicfs beside its peers.")
    parser.add_argument("--rounds", type=int, help="how often (5; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="once, and without the slowest peer")
    parser.add_argument(
        "--only", help="rows to measure, with commas between; us:ROWS leaves out the slower peers"
    )
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--out", type=Path, help="folder for bench.md, bench.json and the chart")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md and .svg anew")
    parser.add_argument("--dir", default="/var/tmp", help="where to work; 2 GB, on a disk (/var/tmp)")
    parser.add_argument("--stay-root", action="store_true", help="do not go on as an ordinary user")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
