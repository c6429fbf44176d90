"""The manners of every test: an undeclared warning is a failure, and leaked resources speak at once.

A test that means to provoke a warning says so, with the `expected_log("pattern")` marker or by calling the
`expected_log` fixture; a declared record that never came is a failure too.
"""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import figures

# Laws are about values, not about time: by itself hypothesis gives an example 0.2 s, and calls one that took
# longer once, because the machine stood still for a moment, a failure.
settings.register_profile("musicfs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("musicfs")


class Recorder(logging.Handler):
    """Keeps what the house logs at WARNING and above, and knows what was declared."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.expected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record as a line."""
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    def surprises(self) -> list[str]:
        """Say which lines were not declared."""
        return [line for line in self.lines if not any(re.search(one, line) for one in self.expected)]

    def silences(self) -> list[str]:
        """Say which declared patterns no line has."""
        return [one for one in self.expected if not any(re.search(one, line) for line in self.lines)]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "expected_log(pattern): the test provokes this warning")


def pytest_collection_finish() -> None:
    """Take what the imports made out of the collector's sight: a collection per test is then quick."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what was counted, if this is one of several workers."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = figures.handed_over()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker counted; one that crashed has nothing to say."""
    if theirs := getattr(node, "workeroutput", {}).get("figures"):
        figures.take(theirs)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was done."""
    for line in figures.lines():
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="module")
def _settled() -> Iterator[None]:
    """Do the same with what a module of tests has left for good: two minutes of collecting in all."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """Fail a test that logs an undeclared warning, and collect what it leaks."""
    recorder = Recorder()
    recorder.expected += [mark.args[0] for mark in request.node.iter_markers("expected_log")]
    logger = logging.getLogger("musicfs")
    logger.addHandler(recorder)
    yield recorder
    logger.removeHandler(recorder)
    gc.collect()
    assert not recorder.surprises(), "unexpected in the log; declare it with expected_log or mend it"
    assert not recorder.silences(), "declared with expected_log, but not logged"


@pytest.fixture
def expected_log(_recorder: Recorder) -> Callable[[str], None]:
    """Declare a warning from within a test."""
    return _recorder.expected.append
