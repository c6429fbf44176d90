"""From the kernel's question to the request upstream: one number, in a log that programs can read."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo import Service
from tests.mounted.mounting import SECRETS, Mount, mounted, sha256, until


@pytest.fixture
def traced(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount one song, with a log that says everything as JSON."""
    clip = service.add_clip("ada@example.org", "Night Drive")
    with mounted(service, tmp_path, log_level="debug", log_format="json") as mount:
        until(lambda: f"{clip.uuid}.mp3" in mount.listed("flowmusic"))
        sha256(mount.path / "flowmusic" / f"{clip.uuid}.mp3")
        yield mount


def entries(mount: Mount) -> list[dict[str, Any]]:
    """Read the log as far as it is written, to the end of a line; a line that is no JSON object fails."""
    return [json.loads(line) for line in mount.log.rpartition("\n")[0].splitlines()]


def test_a_request_upstream_bears_the_number_of_the_kernels(traced: Mount) -> None:
    """The song's bytes were asked for by the `open` that needed them, and both lines say so."""
    found = [one for one in entries(traced) if one["message"].startswith("asked mp3 ")]
    assert len(found) == 1
    number = found[0]["operation"]
    answered = [
        one
        for one in entries(traced)
        if one.get("operation") == number and one["message"].startswith("done after ")
    ]
    assert [(one["logger"], one["request"]) for one in answered] == [("musicfs.operations", "open")]
    assert found[0]["request"] == "open"


def test_the_signal_tells_what_was_done(traced: Mount) -> None:
    """SIGUSR1 writes tasks, operations with their songs, and requests, without secrets; the mount goes on."""
    traced.ask("status", str(traced.path))
    os.statvfs(traced.path)
    os.kill(traced.pid, signal.SIGUSR1)
    until(lambda: "eldest first" in traced.log)
    until(lambda: [one for one in entries(traced) if one["message"].startswith("asked mp3 ")][1:])
    told = [one["message"] for one in entries(traced) if one["logger"] == "musicfs.dump"]
    assert any(re.match(r"operation open \d+ \(flowmusic/\S+/mp3\): done after ", line) for line in told)
    assert any(
        re.match(r"operation control status \d+ \(on the control socket\): done", line) for line in told
    )
    assert any(re.match(r"operation statfs \d+ \(the whole mount\): done", line) for line in told)
    assert any(line.startswith("task musicfs.dump.serve at ") for line in told)
    assert not [secret for secret in SECRETS if secret in "\n".join(told)]
    assert traced.listed("flowmusic")
