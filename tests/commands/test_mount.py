"""`musicfs mount` before anything is mounted: each mistake is one sentence and its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from musicfs.__main__ import main


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["-o", "cach-size=3G"], 78, "'cach_size' is not a setting; did you mean 'cache_size'?"),
        (["-o", "token=user:1-x"], 78, "readable by everyone"),
        (["-o", "deadline=soon"], 78, "the command line: deadline must be a number of seconds"),
        (["--log-level", "loud"], 78, "log_level must be debug, info, warning or error"),
        (["--log-format", "xml", "-o", "log_format=json"], 78, "log_format must be text or json"),
        (["--config", "/nonexistent/file.toml"], 78, "there is no config file"),
        (["-o", "_netdev,nofail,ro"], 77, "there is no token"),
    ],
)
def test_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, sentence: str
) -> None:
    """Settings first, then the token; no traceback."""
    assert main(["mount", *options, str(tmp_path)]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert "user:1-x" not in said.err


def test_a_missing_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a token, the next thing that can be wrong is the mountpoint."""
    monkeypatch.setenv("MUSICFS_TOKEN", "user:1-x")
    assert main(["mount", str(tmp_path / "none")]) == 78
    assert "make it first: mkdir -p" in capsys.readouterr().err
