"""`musicfs cache`: with a daemon over its socket, without one under the cache's own lock."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from musicfs.__main__ import main
from musicfs.commands import errand
from musicfs.core.spans import BLOCK
from musicfs.store import Kind, Store
from tests.commands.conftest import Serve


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "STEP", 0.0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a cache of two objects, one of them pinned, last used in 2023."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MUSICFS_CACHE_DIR", str(folder))
    monkeypatch.setenv("MUSICFS_KEEP_FREE", "0")
    with Store(folder, 1 << 30, 0, clock=lambda: 1_700_000_000.0) as store:
        for name in ("tempolor:a:wav", "tempolor:b:mp3"):
            entry = store.create(name, 0, Kind.RANGED, 2 * BLOCK, "etag")
            for block in range(2):
                entry.write(block, name.encode() * (BLOCK // len(name)) + bytes(BLOCK % len(name)))
            if name.endswith("wav"):
                entry.pin()
    for path in folder.rglob("*.map"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def flip(folder: Path) -> None:
    """Turn a byte of every object over."""
    for path in folder.rglob("*.data"):
        raw = bytearray(path.read_bytes())
        raw[BLOCK] ^= 1
        path.write_bytes(raw)


def test_info_without_a_daemon(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there, for a person and as JSON."""
    assert main(["cache", "info"]) == 0
    said = capsys.readouterr().out
    assert "10.0 GiB" in said
    assert said.index("mp3") < said.index("wav")
    assert main(["cache", "info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["objects"], len(told["forms"])) == (2, 2)
    assert told["pinned"] >= 2 * BLOCK


def test_verify_without_a_daemon(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 and "all good"; after damage 1 and what was dropped; then 0 again."""
    assert main(["cache", "verify"]) == 0
    assert capsys.readouterr().out == "2 objects checked, 4 blocks, 256.0 KiB\nall good\n"
    flip(cache)
    assert main(["cache", "verify"]) == 1
    said = capsys.readouterr().out
    assert "2 objects were bad, 2 blocks of them; they were dropped" in said
    assert "  tempolor:a:wav\n" in said
    assert "1 of them were pinned: run musicfs warm again" in said
    assert main(["cache", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blocks"] == 2


def test_prune_without_a_daemon(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pinned stays; what is not old enough stays; the rest goes."""
    assert main(["cache", "prune", "--older", "100000"]) == 0
    assert main(["cache", "prune", "--older", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("0 objects let go of")
    assert said[1].startswith("1 objects let go of")
    assert said[1].endswith("; 1 kept")


def test_somebody_has_the_lock(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon whose socket is not found still has its lock: one sentence, code 78."""
    with Store(cache, 1 << 30, 0, clock=lambda: 1_700_000_000.0):
        assert main(["cache", "verify"]) == 78
    assert "another musicfs already uses the cache folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--older", "x"), ("--older", "-1"), ("--older", "nan")])
def test_days_are_a_number(words: tuple[str, str], cache: Path) -> None:
    """Anything else is a usage error before anything goes."""
    with pytest.raises(SystemExit) as ended:
        main(["cache", "prune", *words])
    assert ended.value.code == 2


def test_older_is_a_word_for_prune(cache: Path) -> None:
    """Elsewhere it is refused and not ignored."""
    with pytest.raises(SystemExit) as ended:
        main(["cache", "verify", "--older", "3"])
    assert ended.value.code == 2


def test_with_a_daemon(serving: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It is asked, for the mount that is named, and followed to the end; a bad block is code 1."""
    asked: list[tuple[str, dict[str, Any]]] = []
    check: dict[str, Any] = {
        "objects": 2,
        "blocks": 9,
        "size": 100,
        "of": 100,
        "bad_objects": 1,
        "bad_blocks": 1,
        "bad_maps": 0,
        "bad_pinned": 0,
        "damaged": ["tempolor:a:wav"],
        "good": False,
    }

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        asked.append((verb, args))
        if verb != "errand":
            return {"id": verb}
        pruned = {"objects": 1, "freed": 2048, "kept": 3}
        found = check if args["id"] == "cache verify" else pruned
        return {"stage": "done", "failed": 0, "failures": [], **found}

    with serving(tmp_path / "mount", answer):
        assert main(["cache", "verify", "--json", str(tmp_path / "mount")]) == 1
        assert json.loads(capsys.readouterr().out) == check
        assert main(["cache", "prune", "--older", "2.5"]) == 0
        assert main(["cache", "info", str(tmp_path / "other")]) == 69
    assert [verb for verb, _ in asked] == ["cache verify", "errand", "cache prune", "errand"]
    assert asked[2][1] == {"older": 2.5}


def test_a_profile_s_own_daemon(
    cache: Path, serving: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--config means that profile's cache, whatever else is mounted: the file's folder, where none runs."""
    file = tmp_path / "studio.toml"
    file.write_text("deadline = 5\n")
    with serving(tmp_path / "mount", lambda verb, args: {"id": 1}):
        assert main(["cache", "info", "--json", "--config", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == 2
