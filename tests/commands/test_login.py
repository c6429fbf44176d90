"""`musicfs login`: asked without echo, tried, kept 0600; and what is not kept."""

from __future__ import annotations

import io
import os
import pty
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.__main__ import main
from musicfs.config import Settings, find_token
from musicfs.demo import DEMO_TOKEN, Service
from musicfs.demo.faults import json_error
from tests.commands.conftest import Serve
from tests.loopback import Loopback, running


@pytest.fixture
def service() -> Service:
    """Give an empty service."""
    return Service(clock=time.time)


@pytest.fixture
def loop(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """Serve it, as the settings' API."""
    with running(service) as loop:
        monkeypatch.setenv("MUSICFS_API_URL", loop.api_url)
        yield loop


def piped(text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command with a token on its standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return main(["login"])


def kept(home: Path) -> Path:
    """Name the file it is kept in."""
    return home / ".config/musicfs/token"


def test_a_good_token_is_kept_for_its_owner_alone(
    home: Path, loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried with one question, written 0600 in a folder 0700, found by a mount, and never printed;
    also where a file open to others stood."""
    for _ in range(2):
        assert piped(f"{DEMO_TOKEN}\n", monkeypatch) == 0
        assert stat.S_IMODE(kept(home).stat().st_mode) == 0o600
        kept(home).chmod(0o644)
    assert stat.S_IMODE(kept(home).parent.stat().st_mode) == 0o700
    assert [path.name for path in kept(home).parent.iterdir()] == ["token"]
    kept(home).chmod(0o600)
    assert find_token(Settings(), os.environ).reveal() == DEMO_TOKEN
    said = capsys.readouterr()
    assert said.out.startswith(f"The token is kept in {kept(home)}.")
    assert DEMO_TOKEN not in said.out + said.err


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("user:9-other\n", 77, "the token was refused (401)"),
        ("\n", 77, "no token was given"),
        ("user:1 two\n", 77, "was more than the token copied?"),
    ],
)
def test_a_bad_token_is_not_kept(
    text: str,
    code: int,
    said: str,
    home: Path,
    loop: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Refused, empty or broken: one sentence, nothing written, what was there stays."""
    kept(home).parent.mkdir(parents=True)
    kept(home).write_text("the old one")
    assert piped(text, monkeypatch) == code
    error = capsys.readouterr().err
    assert said in error
    assert text.strip() == "" or text.strip() not in error
    assert kept(home).read_text() == "the old one"


def test_what_cannot_be_tried_is_not_kept(
    home: Path, loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the network down it is code 69 and nothing is written."""
    loop.stop()
    assert piped(DEMO_TOKEN, monkeypatch) == 69
    assert "Traceback" not in capsys.readouterr().err
    assert not kept(home).exists()


def test_a_lapsed_subscription_does_not_lose_the_token(
    home: Path,
    service: Service,
    loop: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The token is good, so it is kept, and the subscription is named."""
    service.knobs.subscription_expired = True
    assert piped(DEMO_TOKEN, monkeypatch) == 0
    assert "the subscription has lapsed" in capsys.readouterr().err
    assert kept(home).exists()


def test_an_api_without_an_account_page(
    home: Path, service: Service, loop: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that does not know the page cannot refuse the token."""
    service.fail(json_error(404), kind="account")
    assert piped(DEMO_TOKEN, monkeypatch) == 0
    assert kept(home).exists()


def test_token_file_is_where_it_goes(
    tmp_path: Path, home: Path, loop: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile's own token_file is written, the common one is not."""
    (tmp_path / "work.toml").write_text('token_file = "secrets/work"\n')
    monkeypatch.setattr(sys, "stdin", io.StringIO(DEMO_TOKEN))
    assert main(["login", "--config", str(tmp_path / "work.toml")]) == 0
    assert (tmp_path / "secrets/work").read_text().strip() == DEMO_TOKEN
    assert not kept(home).exists()


def test_a_file_that_cannot_be_written_is_named(
    home: Path, loop: Loopback, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder in the file's place: one sentence with the path."""
    kept(home).mkdir(parents=True)
    assert piped(DEMO_TOKEN, monkeypatch) == 77
    assert f"cannot write the token file {kept(home)}" in capsys.readouterr().err


def test_a_running_mount_keeps_its_old_token(
    loop: Loopback, serving: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the user is told."""
    with serving(Path("/m"), lambda verb, args: {}):
        assert piped(DEMO_TOKEN, monkeypatch) == 0
    assert "the mount on /m takes the token when it is started again" in capsys.readouterr().err


def test_a_terminal_shows_nothing_of_it(home: Path, loop: Loopback) -> None:
    """On a real terminal the prompt is shown and what is typed is not."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "musicfs", "login"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = b""
        while b"not shown" not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, DEMO_TOKEN.encode() + b"\n")
        try:
            while piece := os.read(ours, 4096):
                seen += piece
        except OSError:
            pass  # the end of a terminal
        assert process.wait(30) == 0, seen
    os.close(ours)
    assert DEMO_TOKEN.encode() not in seen
    assert b"The token is kept in" in seen
    assert kept(home).read_text().strip() == DEMO_TOKEN
