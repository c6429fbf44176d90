"""The log: one line a thing, to stderr, with the secrets taken out.

How it thinks: rooms log through `logging`; this file alone decides the shape. Under systemd a line begins
with its priority (`<4>`) and has no time, because the journal has both; elsewhere it begins with the time.
A line about work that somebody asked for ends with the operation's verb and number (`[read 417]`). A program
that tries a broken file again and again is a line a minute.

What must always be true: every line of the process passes the filter on the one root handler, tracebacks
included. The filter is the last net: the rooms do not write secrets, but a foreign exception may quote a
URL.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from math import inf
from typing import TextIO

from cachetools import LRUCache

from musicfs import operations

_SECRETS = (
    (re.compile(r"\bBearer\s+[^\s\"',;]+", re.IGNORECASE), "Bearer ***"),
    (re.compile(r"\buser:\d+-[^\s\"',]*"), "***"),
    (re.compile(r"\b(auth_key|X-Goog-Signature|X-Goog-Credential)=[^\s&\"'>]*", re.IGNORECASE), r"\1=***"),
    (re.compile(r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), "***@***"),
)

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""syslog's numbers, as sd-daemon(3) reads them."""

_MINUTE = 60.0  # seconds: a player that tries a file four times a second wrote 240 lines in them
_REMEMBERED = 256  # warnings; what is pushed out is written again


def scrub(text: str) -> str:
    """Take tokens, signatures and e-mail addresses out of a text."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class Scrubber(logging.Filter):
    """Scrubs a record's message, traceback and stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; it always passes."""
        record.msg, record.args = scrub(_message(record)), None
        if record.exc_info:
            record.exc_text = scrub(record.exc_text or logging.Formatter().formatException(record.exc_info))
        if record.stack_info:
            record.stack_info = scrub(record.stack_info)
        return True


class Repeats(logging.Filter):
    """Holds back what a program's request warned of less than a minute ago; the next line says how often.

    What a person asked for (a reload, a start) is always said.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: LRUCache[tuple[str, str], tuple[float, int]] = LRUCache(_REMEMBERED)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is news; what it says has been put together before."""
        if record.levelno < logging.WARNING or record.exc_info or operations.current() is None:
            return True
        line = record.name, record.msg
        at, held = self._written.get(line, (-inf, 0))
        # A clock that was set back holds nothing back.
        if 0 <= record.created - at < _MINUTE:
            self._written[line] = at, held + 1
            return False
        self._written[line] = record.created, 0
        if held:
            record.msg += f" (and {held} times since the line before)"
        return True


def _message(record: logging.LogRecord) -> str:
    """Put a record's arguments into its message; a slip in a format string must not end a request."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} (its arguments do not fit)"


class TextFormatter(logging.Formatter):
    """Writes a record for people, and behind its message the operation it belongs to."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the message, without a traceback."""
        operation = operations.current()
        return super().formatMessage(record) + (f" [{operation}]" if operation else "")


class JournalFormatter(TextFormatter):
    """Marks each line with its priority, for the journal."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record's lines, each with the mark."""
        mark = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return mark + super().format(record).replace("\n", f"\n{mark}")


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time (seconds since the epoch), level, logger, message, and any operation and traceback."""
        entry: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if operation := operations.current():
            entry |= {"operation": operation.number, "request": operation.verb}
        if record.exc_text:
            entry["exception"] = record.exc_text
        return json.dumps(entry)


def set_up(level: str, shape: str, environ: Mapping[str, str], stream: TextIO) -> None:
    """Send every log line of the process to `stream` (stderr), from `level` on, as `text` or `json`."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(Scrubber())
    handler.addFilter(Repeats())
    handler.setFormatter(_formatter(shape, environ, stream))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("httpx", "httpcore"):
        # They log each request's URL at INFO, and ours are signed.
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


def _formatter(shape: str, environ: Mapping[str, str], stream: TextIO) -> logging.Formatter:
    if shape == "json":
        return JsonFormatter()
    if _is_journal(environ, stream):
        return JournalFormatter("%(name)s: %(message)s")
    return TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def _is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Say whether the stream is the very one that systemd connected to the journal."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
