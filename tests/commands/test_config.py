"""`musicfs config show`: values as a config file takes them, their origins, and no secret."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from musicfs.__main__ import main

SECRET = "hunter2"


def test_every_setting_has_its_value_and_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Command line, environment, file and default, each named; sizes and times as one writes them; folders
    that nobody set are those that a mount would use."""
    file = tmp_path / "work.toml"
    file.write_text('keep_free = "512M"\numask = "027"\nallow_other = true\n')
    monkeypatch.setenv("MUSICFS_DEADLINE", "12.5")
    assert main(["config", "show", "--json", "--config", str(file), "-o", "cache_size=3G"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["profile"] == "work"
    settings = {key: (one["value"], one["origin"]) for key, one in told["settings"].items()}
    assert settings["cache_size"] == ("3G", "the command line")
    assert settings["deadline"] == ("12.5", "MUSICFS_DEADLINE")
    assert settings["keep_free"] == ("512M", str(file))
    assert settings["umask"] == ('"027"', str(file))
    assert settings["allow_other"] == ("true", str(file))
    assert settings["listing_ttl"] == ("60", "default")
    assert settings["media_budget"] == ("1G", "default")
    for key, end in {
        "cache_dir": "/musicfs/work",
        "state_dir": "/musicfs/work",
        "token_file": "/token",
    }.items():
        value, origin = settings[key]
        assert (value.startswith("/"), value.endswith(end), origin) == (True, True, "default")
    assert tomllib.loads(f"umask = {settings['umask'][0]}") == {"umask": "027"}


def test_secrets_are_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the token only the place is said, of token_command only the program."""
    monkeypatch.setenv("MUSICFS_TOKEN", f"user:1-{SECRET}")
    assert main(["config", "show"]) == 0
    said = capsys.readouterr().out
    assert SECRET not in said
    assert said.splitlines()[-1].split() == ["token", "(hidden)", "MUSICFS_TOKEN"]
    monkeypatch.setenv("MUSICFS_TOKEN_COMMAND", f"false --password {SECRET}")
    assert main(["config", "show"]) == 0
    said = capsys.readouterr().out
    assert SECRET not in said
    assert "false …" in said


def test_no_token_is_said_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Showing the settings is no failure where there is no token yet."""
    assert main(["config", "show"]) == 0
    assert "there is none; run: musicfs login" in capsys.readouterr().out


def test_bad_settings_are_the_same_failure_as_at_a_mount(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt key: code 78 and the nearest one."""
    assert main(["config", "show", "-o", "cache_siz=1G"]) == 78
    assert "did you mean 'cache_size'?" in capsys.readouterr().err
