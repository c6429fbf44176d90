"""The token: found in one of four places, and never shown.

How it thinks: the first place that has one wins: systemd's credential, `token_file` (or the file that
`musicfs login` writes), `token_command`, `MUSICFS_TOKEN`. A place that is named but does not deliver is an
error and not a reason to try the next: the user meant that one. `store_token` is the one thing in this
room that writes: a new file of mode 0600 in the old one's place, so that no moment shows it to others.

What must always be true: the text leaves a `Token` only through `reveal`; no message here repeats any of
it, nor what a command printed. A token file that others can read is refused, as ssh refuses such a key.
It refuses the command line: what stands there is world-readable.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from musicfs.config.places import config_dir
from musicfs.config.settings import Settings
from musicfs.errors import ConfigError

COMMAND_LIMIT = 10.0
"""Seconds; a password manager may wait for a click, but a unit's start has a limit too."""

OTHERS = "$CREDENTIALS_DIRECTORY/token, token_command or MUSICFS_TOKEN"
"""The places beside the file."""


class TokenError(ConfigError):
    """There is no usable token; exit 77."""


class NoToken(TokenError):
    """No place has one."""

    remedy = "Run: musicfs login"


class Token:
    """The API token; shows itself as `***`."""

    __slots__ = ("_text", "origin")

    def __init__(self, text: str, origin: str = "the token") -> None:
        """Take the text without surrounding white space; `origin` names the place in an error."""
        text = text.strip()
        if not text:
            raise TokenError(f"{origin} is empty, and no token")
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise TokenError(f"{origin} holds a character that no token has; was more than the token copied?")
        self._text = text
        self.origin = origin
        """The place it was found in, as a person reads it."""

    def reveal(self) -> str:
        """Give the secret itself, for the one header that carries it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a token is not written anywhere")


def find_token(settings: Settings, environ: Mapping[str, str]) -> Token:
    """Find the token in the first place that has one; TokenError says where it was looked for."""
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        credential = Path(folder, "token")
        if os.path.exists(credential):
            return Token(_read(credential), f"the credential {credential}")
    path = token_path(settings, environ)
    if settings.token_file is not None or os.path.exists(path):
        return _from_file(path)
    if settings.token_command:
        return Token(_ask(settings.token_command), "what token_command printed")
    if "MUSICFS_TOKEN" in environ:
        return Token(environ["MUSICFS_TOKEN"], "MUSICFS_TOKEN")
    raise NoToken(f"there is no token in {path}, {OTHERS}")


def token_path(settings: Settings, environ: Mapping[str, str]) -> Path:
    """Say in which file the token is looked for, and where `musicfs login` puts it."""
    return settings.token_file or config_dir(environ) / "token"


def store_token(token: Token, path: Path) -> None:
    """Write the token to a file that only its owner can read, in place of what is there.

    Raises:
        TokenError: the file or its folder cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.write(file, f"{token.reveal()}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise TokenError(f"cannot write the token file {path}: {error.strerror}") from error


def _from_file(path: Path) -> Token:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise TokenError(f"cannot read the token file {path}: {error.strerror}") from error
    if mode & 0o077:
        raise TokenError(f"the token file {path} is open to other users; run: chmod 600 {path}")
    return Token(_read(path), f"the token file {path}")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise TokenError(f"cannot read the token file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # The decoding error quotes the bytes, so it is not kept as the cause.
        raise TokenError(f"the token file {path} does not hold plain text") from None


def _ask(command: tuple[str, ...]) -> str:
    """Run the user's command and take what it prints; its arguments are not repeated in errors."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=COMMAND_LIMIT, check=False)
    except OSError as error:
        raise TokenError(f"cannot run token_command ({command[0]}): {error.strerror}") from error
    except subprocess.TimeoutExpired:
        # The exception holds what was printed so far, so it is not kept as the cause.
        raise TokenError(f"token_command ({command[0]}) took longer than {COMMAND_LIMIT:.0f} s") from None
    if done.returncode != 0:
        raise TokenError(f"token_command ({command[0]}) ended with code {done.returncode}")
    return done.stdout.decode("utf-8", "replace")
