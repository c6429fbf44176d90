"""The settings: one frozen struct, and where each of its values came from.

How it thinks: every origin (command line, environment, each TOML file) is a flat layer of key → value;
the first layer that has a key wins, but every layer is checked, so a mistake speaks even where it is
overridden. A value is read by its field's type; the type's description is also the end of the sentence
when it is wrong: `/etc/musicfs/config.toml: deadline must be a number of seconds above 0`. All mistakes are
told at once, a line each.

What must always be true: a value in `Settings` has been checked; paths are absolute (relative ones are
taken from the folder of the file that names them); URLs have no trailing slash. An error never repeats
the value, which might be a secret in the wrong place.
It refuses unknown keys, and environment names that look like a slip of one (`MUSICFS_CACHE_SIZ`); other
`MUSICFS_…` names belong to somebody else and are left alone.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from musicfs.config.places import SYSTEM_CONFIG, config_dir
from musicfs.errors import ConfigError

GIB = 1024**3
_CENTURY = 100 * 365 * 86_400
"""Seconds; keeps infinity and numbers that no timer takes out of the settings."""

SCANNERS = (
    # Thumbnailers: Tumbler (Xfce) and what GNOME, MATE and Cinnamon start for a picture of a song.
    "tumblerd",
    "ffmpegthumbnailer",
    "totem-video-thumbnailer",
    "gst-thumbnailer",
    "gst-audio-thumbnailer",
    "gst-video-thumbnailer",
    # Indexers: GNOME's Tracker (since 3.8 LocalSearch) and KDE's Baloo, each with its extractors.
    "tracker-extract",
    "tracker-extract-3",
    "tracker-miner-fs",
    "tracker-miner-fs-3",
    "localsearch-3",
    "localsearch-extractor-3",
    "baloo_file",
    "baloo_file_extractor",
    "baloo_filemetadata_temp_extractor",
    "recollindex",
    # The databases behind `locate`.
    "updatedb",
    "updatedb.plocate",
    "updatedb.mlocate",
    "plocate",
    "mlocate",
)

Seconds = Annotated[float, Meta(gt=0, le=_CENTURY, description="a number of seconds above 0")]
Wait = Annotated[float, Meta(ge=0, le=_CENTURY, description="a number of seconds, 0 or more")]
Size = Annotated[int, Meta(ge=0, le=2**60, description="a size in bytes, or with K, M or G, such as 10G")]
Url = Annotated[str, Meta(description="a URL")]
Place = Annotated[Path, Meta(description="a path")]
Switch = Annotated[bool, Meta(description="true or false")]
Number = Annotated[int, Meta(ge=0, lt=2**32 - 1, description="a number, 0 or more, of a user or group")]
Words = Annotated[tuple[str, ...], Meta(description="a list of words")]
Hidden = Annotated[str, Meta(pattern=r"^\.[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*\Z", max_length=60)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a user can decide, with the defaults."""

    api_url: Url = "https://api.useapi.net"
    """The API's origin, without `/v1`."""
    media_url: Url = "https://storage.googleapis.com/producer-app-public/clips"
    """The public bucket: holds `<uuid>.m4a` and `<uuid>.wav`."""
    cache_dir: Place | None = None
    """Where fetched bytes are kept; else a folder of the profile's own."""
    state_dir: Place | None = None
    """Where names, dates and sizes are kept; else a folder of the profile's own."""
    cache_size: Size = 10 * GIB
    """Room for fetched bytes."""
    keep_free: Size = GIB
    """What is left free on the cache's disk."""
    sizes: Annotated[Literal["estimate", "exact"], Meta(description="estimate or exact")] = "estimate"
    """Whether every size is asked for in `stat`, at the price of a link per TemPolor file."""
    listing_ttl: Wait = 60.0
    """Seconds a listing is fresh."""
    forget_after: Wait = 600.0
    """Seconds between the two complete passes that have to lack an entry before it leaves."""
    deadline: Seconds = 30.0
    """Seconds that a kernel request may wait for the network."""
    ca_file: Place | None = None
    """Certificates to trust; else the system's."""
    proxy: Switch = False
    """Whether to go through the proxy that HTTPS_PROXY or ALL_PROXY names."""
    allow_other: Switch = False
    """Whether other users are let in; needs user_allow_other in /etc/fuse.conf."""
    uid: Number | None = None
    """Whose the files are; else the mounting user's."""
    gid: Number | None = None
    """Which group's they are; else the mounting user's."""
    umask: Annotated[int, Meta(ge=0, le=0o777, description="octal permission bits, such as 022")] | None = (
        None
    )
    """What is taken off the modes 0644 and 0755."""
    xattrs: Switch = False
    """Whether files explain themselves in extended attributes: each `ls -l` then costs two requests more an
    entry, because where they exist the kernel asks for them (and for ACLs) every time."""
    scanners: Words = SCANNERS
    """Basenames of executables that start no download."""
    media_servers: Words = ()
    """Basenames of executables that may scan: of what is not cached they get head and tail."""
    media_budget: Size = GIB
    """Bytes that all of them together may have fetched in a day."""
    hints: Annotated[tuple[Hidden, ...], Meta(description="a list of names that begin with a dot")] = ()
    """Names of empty files at the top of the mount, by which indexers are told to keep out."""
    token_file: Place | None = None
    """Where the token is kept; else in the config folder."""
    token_command: Words | None = None
    """A program that prints the token, where there is no file."""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="debug, info, warning or error")
    ] = "info"
    """How much is said on stderr."""
    log_format: Annotated[Literal["text", "json"], Meta(description="text or json")] = "text"
    """How it is said."""


class Loaded(msgspec.Struct, frozen=True):
    """The settings, where each value came from, and the profile they make."""

    settings: Settings
    origins: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Key → origin as a person reads it: `default`, `MUSICFS_DEADLINE`, a file, `the command line`."""
    profile: str = "default"


class _Layer(msgspec.Struct, frozen=True):
    """One origin's values."""

    origin: str
    values: Mapping[str, object]
    folder: Path
    """What relative paths are relative to."""
    text: bool
    """True: every value came as text and is parsed; False: TOML's own types are insisted on."""


_TYPES: Mapping[str, Any] = get_type_hints(Settings, include_extras=True)


def load(flags: Mapping[str, str], environ: Mapping[str, str], config_file: Path | None) -> Loaded:
    """Layer flags, environment and files into checked settings; `flags` is what `-o` and options said."""
    found: dict[str, object] = {}
    origins = dict.fromkeys(_TYPES, "default")
    mistakes: list[str] = []
    for layer in _layers(flags, environ, config_file):
        for key, value in layer.values.items():
            origin = f"MUSICFS_{key.upper()}" if layer.origin == "the environment" else layer.origin
            try:
                read = _read(key, value, layer, origin)
            except ConfigError as mistake:
                mistakes.append(str(mistake))
                continue
            if key not in found:
                found[key], origins[key] = read, origin
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    profile = config_file.stem if config_file is not None else "default"
    return Loaded(msgspec.convert(found, Settings, dec_hook=_path), origins, profile)


def unknown(key: str, origin: str) -> ConfigError:
    """Say that a key is not a setting, and which one was perhaps meant."""
    near = difflib.get_close_matches(key, _TYPES, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return ConfigError(f"{origin}: '{key}' is not a setting{hint}")


def _layers(
    flags: Mapping[str, str], environ: Mapping[str, str], config_file: Path | None
) -> Iterator[_Layer]:
    yield _Layer("the command line", flags, Path.cwd(), text=True)
    yield _Layer("the environment", _from_environment(environ), Path.cwd(), text=True)
    if config_file is not None:
        yield _from_file(config_file.absolute(), required=True)
    for path in dict.fromkeys((config_dir(environ) / "config.toml", SYSTEM_CONFIG / "config.toml")):
        if config_file is None or path != config_file.absolute():
            yield _from_file(path, required=False)


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in environ.items():
        key = name.removeprefix("MUSICFS_").lower()
        if not name.startswith("MUSICFS_") or key == "token" or not value:
            continue  # an empty variable is an unset one, as compose files and units write it
        if key in _TYPES:
            values[key] = value
        elif difflib.get_close_matches(key, _TYPES, n=1, cutoff=0.85):
            raise unknown(key, name)
    return values


def _from_file(path: Path, *, required: bool) -> _Layer:
    """Read one TOML file; a missing one that nobody named is an empty layer."""
    values: dict[str, object] = {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as missing:
        if required:
            raise ConfigError(f"there is no config file {path}") from missing
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return _Layer(str(path), values, path.parent, text=False)


def _read(key: str, value: object, layer: _Layer, origin: str) -> object:
    """Turn one layer's value into what the field holds, or say what it has to be."""
    if key == "token":
        raise ConfigError(
            f"{origin}: the token is not a setting; put it into a file and name that in token_file"
        )
    if key not in _TYPES:
        raise unknown(key, origin)
    wanted = _TYPES[key]
    try:
        value = _READERS[key](value, layer) if key in _READERS else value
        return msgspec.convert(value, wanted, strict=not layer.text, dec_hook=_path)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {key} {error}") from error
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{origin}: {key} must be {_description(wanted)}") from error


def _description(wanted: Any) -> str:
    """Find the words that say what a field takes, also inside an optional one."""
    inner = getattr(wanted, "__metadata__", None)
    if inner is None:
        return next(_description(one) for one in wanted.__args__ if one is not type(None))
    return str(inner[0].description)


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    raise ValueError("not a path")


def _read_path(value: object, layer: _Layer) -> object:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("not a path")
    return layer.folder / Path(value).expanduser()


def _read_size(value: object, layer: _Layer) -> object:
    if not isinstance(value, str):
        return value
    parts = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*(?:([KMGT])(?:i?B)?|B)?\s*", value, re.IGNORECASE)
    if parts is None:
        raise ValueError("not a size")
    power = " KMGT".index((parts[2] or " ").upper())
    return int(float(parts[1]) * 1024**power)


def _read_umask(value: object, layer: _Layer) -> object:
    return int(value, 8) if isinstance(value, str) else value


def _read_names(value: object, layer: _Layer) -> object:
    if layer.text and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _read_command(value: object, layer: _Layer) -> object:
    words = shlex.split(value) if layer.text and isinstance(value, str) else value
    if not words or (
        isinstance(words, list) and not (words[0] and all("\0" not in str(each) for each in words))
    ):
        raise ValueError("no command that could be run")
    return words


def _read_url(value: object, layer: _Layer) -> object:
    """Check an origin: https, or plain http to this machine; never a user, a query or a fragment."""
    if not isinstance(value, str):
        return value
    if any(sign <= " " or sign == "\x7f" for sign in value.strip()):
        raise ConfigError("is not a URL")
    try:
        url = urlsplit(value.strip())
        host, _port = url.hostname, url.port
    except ValueError as error:
        raise ConfigError("is not a URL") from error
    if url.scheme not in ("http", "https") or not host:
        raise ConfigError("must be a URL that begins with https://")
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise ConfigError("must not hold a user name, a password, a query or a fragment")
    if url.scheme == "http" and not _is_loopback(host):
        raise ConfigError("may be plain http only for this machine (127.0.0.1, ::1, localhost); use https")
    return value.strip().rstrip("/")


def _read_api_url(value: object, layer: _Layer) -> object:
    url = _read_url(value, layer)
    if isinstance(url, str) and url.endswith("/v1"):
        raise ConfigError("must not end in /v1, which is added by itself")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


_READERS: Mapping[str, Callable[[object, _Layer], object]] = {
    "api_url": _read_api_url,
    "media_url": _read_url,
    "cache_dir": _read_path,
    "state_dir": _read_path,
    "ca_file": _read_path,
    "token_file": _read_path,
    "cache_size": _read_size,
    "keep_free": _read_size,
    "umask": _read_umask,
    "scanners": _read_names,
    "media_servers": _read_names,
    "hints": _read_names,
    "media_budget": _read_size,
    "token_command": _read_command,
}
