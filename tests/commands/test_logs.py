"""The log's shape, and the net under it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from pathlib import Path

import pytest

from musicfs.commands.logs import Repeats, scrub, set_up
from musicfs.operations import Operation

SECRETS = [
    "Authorization: Bearer user:123-abcDEF456",
    "using user:123-abcDEF456 today",
    "https://x/y.mp3?auth_key=1700-0-0-abcdef&b=1",
    "https://x/y?X-Goog-Credential=me%40proj.example.com&X-Goog-Signature=abcdef0123",
    "job j0101-user:123-email:jane.doe+x@mail.example.org-bot:flow",
    "jane.doe%40mail.example.org",
]
TELLTALES = ("abcdef", "abcDEF", "jane", "mail.example", "proj.example")


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_taken_out(text: str) -> None:
    """Tokens, signatures and addresses leave no trace of themselves."""
    assert not any(telltale in scrub(text) for telltale in TELLTALES)


def test_the_rest_of_a_line_stays() -> None:
    """Paths, numbers and other parameters are not touched."""
    text = "GET https://cdn.example/clips/0b1c.m4a?x=1 206 flowmusic:0b1c:mp3 [0,1024) user: 3 @ 4"
    assert scrub(text) == text
    assert scrub("a?auth_key=1-2&b=1") == "a?auth_key=***&b=1"


@pytest.mark.parametrize("shape", ["text", "json"])
def test_message_arguments_and_traceback_are_scrubbed(shape: str) -> None:
    """The filter works on the finished line, wherever the secret came from."""
    stream = io.StringIO()
    set_up("info", shape, {}, stream)
    try:
        raise ValueError(SECRETS[2])
    except ValueError:
        logging.getLogger("elsewhere").exception("asked %s", SECRETS[0], stack_info=True)
    written = stream.getvalue()
    assert "ValueError" in written
    assert not any(telltale in written for telltale in TELLTALES)


def test_text_is_one_line_with_time_level_and_logger() -> None:
    """A person can read it."""
    stream = io.StringIO()
    set_up("info", "text", {}, stream)
    logging.getLogger("musicfs.x").info("mounted %s", "/m")
    logging.getLogger("musicfs.x").debug("not said")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO musicfs.x: mounted /m\n", stream.getvalue()
    )


def test_json_is_one_object_a_line() -> None:
    """A program can read it."""
    stream = io.StringIO()
    set_up("debug", "json", {}, stream)
    logging.getLogger("musicfs.x").debug("two\nlines")
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["logger"], entry["message"]) == ("debug", "musicfs.x", "two\nlines")
    assert stream.getvalue().count("\n") == 1


def test_under_systemd_every_line_begins_with_its_priority(tmp_path: Path) -> None:
    """Only when the stream is the journal's own; then without a time."""
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        set_up("info", "text", {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, stream)
        logging.getLogger("elsewhere").warning("one\ntwo")
        set_up("info", "text", {"JOURNAL_STREAM": "1:1"}, stream)
        logging.getLogger("elsewhere").warning("three")
        stream.seek(0)
        lines = stream.read().splitlines()
    assert lines[:2] == ["<4>elsewhere: one", "<4>two"]
    assert lines[2].endswith("WARNING elsewhere: three")
    assert not lines[2].startswith("<")


def test_a_slip_in_a_format_string_is_still_a_line() -> None:
    """A message whose arguments do not fit is written, not raised."""
    stream = io.StringIO()
    set_up("info", "text", {}, stream)
    logging.getLogger("elsewhere").info("a %d", "b")
    assert "its arguments do not fit" in stream.getvalue()


def test_httpx_does_not_log_each_url() -> None:
    """Its INFO lines hold signed URLs, so they are off even at debug."""
    set_up("debug", "text", {}, io.StringIO())
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert not logging.getLogger("httpcore").isEnabledFor(logging.INFO)


def test_a_line_ends_with_the_operation_it_belongs_to() -> None:
    """For people as verb and number behind the message, for programs in fields of their own."""
    said, read = io.StringIO(), io.StringIO()
    with Operation("read") as operation:
        set_up("info", "text", {}, said)
        logging.getLogger("musicfs.x").info("asked")
        set_up("info", "json", {}, read)
        logging.getLogger("musicfs.x").info("asked")
    logging.getLogger("musicfs.x").info("of nobody")
    assert said.getvalue().endswith(f"INFO musicfs.x: asked [read {operation.number}]\n")
    first, second = (json.loads(line) for line in read.getvalue().splitlines())
    assert (first["operation"], first["request"]) == (operation.number, "read")
    assert "operation" not in second


def test_a_warning_is_written_once_a_minute() -> None:
    """What requests warn of again and again is one line a minute, which says how often; other lines, other
    loggers, what is no warning, has a traceback or is of no request are all written, also when the clock is
    set back."""
    repeats, written = Repeats(), []

    def say(at: float, name: str, level: int, text: str, failure: Exception | None = None) -> None:
        told = (type(failure), failure, None) if failure else None
        record = logging.LogRecord(name, level, __file__, 1, text, (), told)
        record.created = at
        if repeats.filter(record):
            written.append(f"{name} {record.getMessage()}")

    with Operation("read"):
        for second in range(3):
            say(second, "x", logging.WARNING, "cannot read a")
            say(second, "x", logging.ERROR, "cannot read b")
            say(second, "y", logging.WARNING, "cannot read a")
            say(second, "x", logging.INFO, "mounted")
            say(second, "x", logging.ERROR, "broke", ValueError())
    assert sorted(written) == ["x broke"] * 3 + ["x cannot read a", "x cannot read b"] + ["x mounted"] * 3 + [
        "y cannot read a"
    ]
    written.clear()
    with Operation("read"):
        say(61, "x", logging.WARNING, "cannot read a")
        say(-3600, "x", logging.WARNING, "cannot read a")
    say(-3600, "x", logging.WARNING, "cannot read a")
    assert written == ["x cannot read a (and 2 times since the line before)", *["x cannot read a"] * 2]
