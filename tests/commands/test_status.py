"""`musicfs status` against a real control socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from musicfs import host
from musicfs.__main__ import main
from tests.commands.conftest import Serve
from tests.sleeper import sleeper

REPLY: dict[str, Any] = {
    "version": "0.1.0",
    "mountpoint": "/m",
    "pid": 7,
    "uptime": 3700,
    "services": [
        {
            "service": "flowmusic",
            "name": "Flow Music",
            "songs": 12,
            "accounts": [
                {"name": "account 1", "songs": 9, "state": "ok", "listed_ago": 90, "error": None},
                {"name": "account 2", "songs": 3, "state": "broken", "listed_ago": None}
                | {"error": "it is in an error state (596)", "remedy": "Add it again."},
                {"name": "not linked", "songs": 2, "state": "gone", "error": "it is not named"},
            ],
            "listed_ago": 30,
        },
        {"service": "tempolor", "songs": 0, "accounts": [], "listed_ago": None},
    ],
    "cache": {"used": 3 << 20, "limit": 10 << 30, "pinned": 0, "objects": 4, "hit_rate": 0.83, "read": 2048},
    "transfers": [
        {
            "key": "a:b",
            "path": "library/Tide/Tide.mp3",
            "done": 1024,
            "size": 4096,
            "rate": 2048,
            "waiting": 2,
        }
        | {"programs": ["cp", "vlc"]},
        {"key": "flowmusic:a:mp3", "done": 1024, "size": None, "rate": None, "waiting": 0},
    ],
    "upstream": {
        "kinds": {"list": 2, "mint": 1},
        "bytes": 5000,
        "today": {"day": "2026-11-21", "kinds": {"list": 9}, "bytes": 7000, "scanned": 2048},
        "hosts": {
            "api.useapi.net:443": {"down_for": 12.0, "quiet_for": {}},
            "cdn:443": {"down_for": None, "quiet_for": {"range": 70.0}},
            "well:443": {"down_for": None, "quiet_for": {}},
        },
    },
    "first_byte": {
        "cached": {"files": 3, "median": 0.0011, "p99": 0.0123},
        "fetched": {"files": 0, "median": None, "p99": None},
    },
    "errors": [{"ago": 5, "path": "tempolor/x", "error": "the link was refused", "times": 3}],
    "refused": {"tumblerd": 2, "updatedb": 1},
    "scanners_refused": 3,
}


def test_status_is_readable(serving: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything the daemon says has its line."""
    with serving(Path("/m"), lambda verb, args: REPLY):
        assert main(["status"]) == 0
    said = capsys.readouterr().out
    for part in (
        "1 h 1 min",
        "3.0 MiB of 10.0 GiB in 4 objects",
        "83 % of 2.0 KiB read were of files in the cache",
        "cached 1.1 ms, p99 12.3 ms (of 3)\n",
        "2 list, 1 mint; 4.9 KiB fetched since the start",
        "asked today  9 list; 6.8 KiB fetched",
        "api.useapi.net:443 does not answer, left alone for 12 s; cdn:443 wants quiet for 1 min 10 s\n",
        "3 requests of indexers and media servers: 2 of tumblerd, 1 of updatedb",
        "scanned      2.0 KiB today by media servers",
        "Flow Music              12             30 s ago\n",
        "account 1   9      ok      1 min 30 s ago\n",
        "account 2   3      broken  not since the start  it is in an error state (596); add it again\n",
        "not linked  2      gone                         it is not named\n",
        "library/Tide/Tide.mp3  cp, vlc  1.0 KiB  4.0 KiB  2.0 KiB",
        "flowmusic:a:mp3        ahead    1.0 KiB  ?",
        "the link was refused (3 times)",
    ):
        assert part in said, part


def test_json_is_the_daemon_s_own(serving: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints the reply as it came, for the named mountpoint."""
    with serving(Path("/m"), lambda verb, args: {"asked": verb, **REPLY}):
        assert main(["status", "--json", "/m"]) == 0
    assert json.loads(capsys.readouterr().out) == {"asked": "status", **REPLY}


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"services": None, "cache": 3, "errors": ["plain"]},
        {"services": [{}], "transfers": [{}], "upstream": {}},
        {"cache": {"hit_rate": "x"}, "first_byte": {"cached": {"files": 1}}, "upstream": {"hosts": {"a": 1}}},
    ],
)
def test_missing_keys_are_borne(serving: Serve, reply: dict[str, Any]) -> None:
    """An older or newer daemon's status prints what it can."""
    with serving(Path("/m"), lambda verb, args: reply):
        assert main(["status"]) == 0


def test_without_a_daemon_the_code_is_69(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence and what to do, no traceback."""
    monkeypatch.setattr(host, "mounts", list)  # other tests may be mounting on this machine
    assert main(["status"]) == 69
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "musicfs: no musicfs daemon is running; start it with: musicfs mount MOUNTPOINT\n"
    assert "Traceback" not in said.err


@pytest.mark.mounted
def test_a_dead_daemon_s_mount_is_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mount is there and nobody answers: status says which command clears it."""
    mountpoint = tmp_path / "mount"
    with sleeper(mountpoint) as process:
        process.kill()
        process.wait()
        assert main(["status", str(mountpoint)]) == 69
    assert f"is dead; run: musicfs umount {mountpoint}" in capsys.readouterr().err
