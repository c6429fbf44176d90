"""The token: four places in their order, and silence about its text."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from musicfs.config import Settings, Token, TokenError, find_token, store_token, token_path

SECRET = "user:123-abcDEF"


def keep(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_places_are_asked_in_their_order(home: Path) -> None:
    """Credential, file, command, environment: taking the first away uncovers the next."""
    credential = keep(home / "credentials/token", "one\n", 0o440)
    named = keep(home / "named", "two")
    default = keep(home / ".config/musicfs/token", "three")
    environ = {"CREDENTIALS_DIRECTORY": str(credential.parent), "MUSICFS_TOKEN": "five", "HOME": str(home)}
    chosen = Settings(token_file=named, token_command=("echo", "four"))
    assert find_token(chosen, environ).reveal() == "one"
    credential.unlink()
    assert find_token(chosen, environ).reveal() == "two"
    chosen = Settings(token_command=("echo", "four"))
    assert find_token(chosen, environ).reveal() == "three"
    default.unlink()
    assert find_token(chosen, environ).reveal() == "four"
    assert find_token(Settings(), environ).reveal() == "five"
    del environ["MUSICFS_TOKEN"]
    with pytest.raises(TokenError, match=r"there is no token in .*CREDENTIALS_DIRECTORY.*MUSICFS_TOKEN"):
        find_token(Settings(), environ)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_open_to_others_is_refused(home: Path, mode: int) -> None:
    """As ssh does with keys; the message says what to run."""
    path = keep(home / "token", SECRET, mode)
    with pytest.raises(TokenError, match=f"chmod 600 {path}"):
        find_token(Settings(token_file=path), {})


def test_a_named_place_that_does_not_deliver_is_an_error(home: Path) -> None:
    """The next place is not tried: the user meant this one."""
    environ = {"MUSICFS_TOKEN": SECRET, "HOME": str(home)}
    with pytest.raises(TokenError, match="cannot read the token file"):
        find_token(Settings(token_file=home / "none"), environ)
    with pytest.raises(TokenError, match=r"token_command \(false\) ended with code 1"):
        find_token(Settings(token_command=("false", SECRET)), environ)
    with pytest.raises(TokenError, match="cannot run token_command"):
        find_token(Settings(token_command=("/nonexistent/program",)), environ)


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_token_is_none(home: Path, text: str) -> None:
    """An empty variable or file is an error that names it."""
    with pytest.raises(TokenError, match="MUSICFS_TOKEN is empty"):
        find_token(Settings(), {"MUSICFS_TOKEN": text, "HOME": str(home)})


def test_bytes_that_are_no_text_are_refused_without_being_shown(home: Path) -> None:
    """A binary file is named, its bytes are not."""
    path = home / "token"
    path.write_bytes(b"\xff\xfesecret")
    path.chmod(0o600)
    with pytest.raises(TokenError, match="does not hold plain text") as caught:
        find_token(Settings(token_file=path), {})
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", [f"{SECRET} {SECRET}", f"{SECRET}\n{SECRET}", "tökén", f"{SECRET}\x7f"])
def test_a_token_that_no_header_could_carry_is_refused(text: str) -> None:
    """Spaces, line breaks and other letters would break the request; the text is not repeated."""
    with pytest.raises(TokenError) as caught:
        Token(text)
    assert SECRET not in str(caught.value)


def test_a_token_never_shows_itself() -> None:
    """repr, str and format give stars, pickle gives nothing, reveal gives the text."""
    token = Token(f" {SECRET}\n")
    assert {repr(token), str(token), f"{token}", f"{token:>3}", repr([token])[1:-1]} == {"***"}
    with pytest.raises(TypeError):
        pickle.dumps(token)
    assert token.reveal() == SECRET


def test_the_origin_says_where_it_was_found(home: Path) -> None:
    """As a person reads it, for `config show` and `doctor`."""
    path = keep(home / ".config/musicfs/token", SECRET)
    assert find_token(Settings(), {"HOME": str(home)}).origin == f"the token file {path}"
    path.unlink()
    assert find_token(Settings(), {"MUSICFS_TOKEN": SECRET, "HOME": str(home)}).origin == "MUSICFS_TOKEN"


def test_a_stored_token_is_found_again(home: Path) -> None:
    """It is written 0600 in place of what was there, and nothing else is left in the folder."""
    path = token_path(Settings(), {"HOME": str(home)})
    keep(path, "old", 0o644)
    store_token(Token(SECRET), path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert find_token(Settings(), {"HOME": str(home)}).reveal() == SECRET
    assert list(path.parent.iterdir()) == [path]


def test_a_token_that_cannot_be_stored_leaves_the_old_one(home: Path) -> None:
    """A folder in the file's place is a TokenError, and no half file stays."""
    path = home / "token"
    path.mkdir()
    with pytest.raises(TokenError, match="cannot write the token file"):
        store_token(Token(SECRET), path)
    assert [one.name for one in home.iterdir()] == ["token"]
