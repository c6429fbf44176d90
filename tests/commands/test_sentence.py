"""A failure as a person reads it: thing, cause, remedy, in one sentence."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from musicfs import errors
from musicfs.__main__ import main
from musicfs.commands import sentence
from musicfs.errors import MusicfsError, NoSuchEntry, StoreFull
from tests.sleeper import sleeper


def test_the_three_are_joined() -> None:
    """Whichever are there, once each, with no full stop in the middle and no secret."""
    assert sentence.joined("/m/x", "it is slow.", "Try again.") == "/m/x: it is slow; try again"
    assert sentence.joined("", "It ended.", "") == "It ended"
    assert "ada@" not in sentence.joined("ada@example.com", "gone", "")


@pytest.mark.parametrize(
    "kind",
    [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MusicfsError)],
)
def test_every_remedy_reads_well_inside_a_sentence(kind: type[MusicfsError]) -> None:
    """One sentence each, so that it may follow a semicolon: no full stop before its end."""
    assert kind.remedy == "" or kind.remedy.endswith(".")
    assert ". " not in kind.remedy


def test_a_failure_without_words_is_its_name() -> None:
    """There is always a cause."""
    assert sentence.of(NoSuchEntry()).startswith("NoSuchEntry; check the name")
    assert sentence.of(StoreFull("full"), "/c") == "/c: full; free some disk space or raise the cache size"


@pytest.mark.mounted
@pytest.mark.parametrize("words", [("status",), ("why", "{}/x"), ("warm", "{}/x"), ("cache", "info", "{}")])
def test_a_dead_mount_is_said_once_with_its_remedy(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever command meets it: the daemon is dead, the command that clears it, code 69."""
    mountpoint = tmp_path / "mount"
    with sleeper(mountpoint) as process:
        process.kill()
        process.wait()
        name = (
            ["status", str(mountpoint)]
            if words == ("status",)
            else [word.format(mountpoint) for word in words]
        )
        assert main(name) == 69
    said = capsys.readouterr().err
    assert said == f"musicfs: the daemon of {mountpoint} is dead; run: musicfs umount {mountpoint}\n"
