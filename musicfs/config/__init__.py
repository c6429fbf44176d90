"""What the user decided, checked once, then frozen: settings, folders, and the token.

How it thinks: `settings` layers flags, environment and TOML files into one `Settings`; `places` says
where cache, state, socket and lock of a profile live; `secret` finds the token, which is not a setting
because it must never stand on a command line or be printed, and keeps what `musicfs login` was given.
Nothing is read after the start but for a reload, and then all of it.

What must always be true: whatever is wrong is a ConfigError of one sentence with the origin and the key.
It refuses unknown keys, secrets in URLs, and unencrypted services on other machines.
"""

from musicfs.config.places import Paths, find_paths, runtime_dirs
from musicfs.config.secret import NoToken, Token, TokenError, find_token, store_token, token_path
from musicfs.config.settings import Loaded, Settings, load

__all__ = [
    "Loaded",
    "NoToken",
    "Paths",
    "Settings",
    "Token",
    "TokenError",
    "find_paths",
    "find_token",
    "load",
    "runtime_dirs",
    "store_token",
    "token_path",
]
