"""`musicfs forget`: an account or a path, a count, and no name printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from musicfs.__main__ import main
from musicfs.commands.forget import is_account
from musicfs.errors import StillListed
from tests.commands.conftest import Serve
from tests.sleeper import sleeper

ACCOUNT = "ada@example.com"


@pytest.mark.parametrize(
    ("text", "account"),
    [
        (ACCOUNT, True),
        ("100200300", True),
        ("library/Tide @ night", False),
        ("/m/tempolor/123456", False),
        ("./123456", False),
        ("Tide", False),
    ],
)
def test_what_is_an_account(text: str, account: bool) -> None:
    """An e-mail address or a row of digits; with a slash it is a path."""
    assert is_account(text) is account


def test_an_account(serving: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """The only daemon is asked, or the named one; how many went is all that is printed."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        asked.append((verb, args))
        return {"songs": len(asked)}

    with serving(Path("/m"), answer):
        assert main(["forget", ACCOUNT]) == 0
        assert main(["forget", "100", "/m"]) == 0
        assert main(["forget", "100", "/n"]) == 69
    assert asked == [("forget", {"account": ACCOUNT}), ("forget", {"account": "100"})]
    said = capsys.readouterr()
    assert said.out == "1 song let go of\n2 songs let go of\n"
    assert ACCOUNT not in said.err


def test_what_is_still_listed_is_one_sentence(serving: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Code 1, the daemon's own words, nothing on stdout."""

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        raise StillListed("the service still lists this song; delete it there")

    with serving(Path("/m"), answer):
        assert main(["forget", ACCOUNT]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "musicfs: the service still lists this song; delete it there\n")


def test_neither_account_nor_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path in no musicfs is refused in a sentence."""
    assert main(["forget", str(tmp_path)]) == 78
    assert "neither an account nor in a mounted musicfs" in capsys.readouterr().err


@pytest.mark.mounted
def test_a_path(tmp_path: Path, serving: Serve) -> None:
    """Goes over as text inside its mount."""
    mountpoint, asked = tmp_path / "mount", []

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        asked.append(args)
        return {"songs": 1}

    with sleeper(mountpoint), serving(mountpoint, answer):
        assert main(["forget", f"{mountpoint}/library/Tide"]) == 0
    assert asked == [{"path": "library/Tide"}]


@pytest.mark.mounted
def test_a_path_that_stays_is_named(
    tmp_path: Path, serving: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """The song that the service still lists is named as it was typed, then the cause and what to do."""
    mountpoint = tmp_path / "mount"

    def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        raise StillListed("the service still lists this song; delete it there")

    with sleeper(mountpoint), serving(mountpoint, answer):
        assert main(["forget", f"{mountpoint}/library/Tide"]) == 1
    said = capsys.readouterr().err
    assert said == f"musicfs: {mountpoint}/library/Tide: the service still lists this song; delete it there\n"
