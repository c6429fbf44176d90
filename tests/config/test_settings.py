"""Settings: precedence, types, and sentences for mistakes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.config import Settings, load
from musicfs.errors import ConfigError

pytestmark = pytest.mark.usefixtures("home")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_defaults_are_the_documented_ones() -> None:
    """With nothing said, every value is the default and says so."""
    loaded = load({}, {}, None)
    assert loaded.settings.api_url == "https://api.useapi.net"
    assert loaded.settings.cache_size == 10 * 1024**3
    assert loaded.settings.deadline == 30
    assert loaded.profile == "default"
    assert set(loaded.origins.values()) == {"default"}


def test_layers_win_in_their_order(tmp_path: Path, user_config: Path) -> None:
    """Command line, environment, --config, the user's file, the system's, default: the first wins."""
    system = write(
        tmp_path / "etc/config.toml", "deadline = 5\nlisting_ttl = 5\nforget_after = 5\nproxy = true"
    )
    write(user_config, "deadline = 4\nlisting_ttl = 4\nforget_after = 4\ncache_size = '4K'")
    mine = write(tmp_path / "work.toml", "deadline = 3\nlisting_ttl = 3\nforget_after = 3")
    environ = {**os.environ, "MUSICFS_DEADLINE": "2", "MUSICFS_LISTING_TTL": "2"}
    loaded = load({"deadline": "1"}, environ, mine)
    chosen = loaded.settings
    assert (chosen.deadline, chosen.listing_ttl, chosen.forget_after, chosen.cache_size) == (1, 2, 3, 4096)
    assert chosen.proxy is True
    assert chosen.sizes == "estimate"
    assert loaded.origins["deadline"] == "the command line"
    assert loaded.origins["listing_ttl"] == "MUSICFS_LISTING_TTL"
    assert loaded.origins["forget_after"] == str(mine)
    assert loaded.origins["cache_size"] == str(user_config)
    assert loaded.origins["proxy"] == str(system)
    assert loaded.origins["sizes"] == "default"


def test_profile_is_the_stem_of_the_named_file(tmp_path: Path) -> None:
    """--config work.toml makes the profile `work`."""
    assert load({}, {}, write(tmp_path / "work.toml", "")).profile == "work"


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("10K", 10240), ("1.5m", 3 << 19), ("10G", 10 << 30), ("2GiB", 2 << 30)],
)
def test_sizes_are_read_with_binary_letters(text: str, size: int) -> None:
    """K, M and G are powers of 1024."""
    assert load({"cache_size": text}, {}, None).settings.cache_size == size


@settings(max_examples=100)
@given(st.integers(0, 10**12), st.sampled_from(["", "K", "M", "G"]))
def test_a_size_in_words_is_the_size_in_bytes(count: int, letter: str) -> None:
    """Whatever whole number is written, it is read exactly."""
    wanted = count * 1024 ** " KMG".index(letter or " ")
    if wanted < 2**53:
        assert load({"cache_size": f"{count}{letter}"}, {}, None).settings.cache_size == wanted


def test_text_becomes_the_type_of_its_field(tmp_path: Path) -> None:
    """Environment and -o say everything as text; lists are cut at commas, commands as a shell would."""
    chosen = load(
        {"allow_other": "true", "umask": "022", "uid": "1000", "scanners": "tumblerd, baloo_file"},
        {
            "MUSICFS_TOKEN_COMMAND": "pass show 'my token'",
            "MUSICFS_CACHE_DIR": str(tmp_path),
            "MUSICFS_PROXY": "",
        },
        None,
    ).settings
    assert chosen.allow_other is True
    assert (chosen.umask, chosen.uid) == (0o022, 1000)
    assert chosen.scanners == ("tumblerd", "baloo_file")
    assert chosen.token_command == ("pass", "show", "my token")
    assert chosen.cache_dir == tmp_path
    assert chosen.proxy is False


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path, home: Path) -> None:
    """A relative path is taken from the file's folder, and ~ is the home."""
    mine = write(tmp_path / "work.toml", "token_file = 'secret'\ncache_dir = '~/cache'")
    chosen = load({}, {}, mine).settings
    assert chosen.token_file == tmp_path / "secret"
    assert chosen.cache_dir == home / "cache"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("maxsize = 3", r"'maxsize' is not a setting"),
        ("cache_sice = '3G'", r"'cache_sice' is not a setting; did you mean 'cache_size'\?"),
        ("deadline = 'soon'", r"deadline must be a number of seconds above 0"),
        ("deadline = 0", r"deadline must be a number of seconds above 0"),
        ("deadline = inf", r"deadline must be a number of seconds above 0"),
        ("deadline = true", r"deadline must be a number of seconds above 0"),
        ("proxy = 'yes'", r"proxy must be true or false"),
        ("sizes = 'guess'", r"sizes must be estimate or exact"),
        ("cache_size = '10X'", r"cache_size must be a size"),
        ("cache_size = -1", r"cache_size must be a size"),
        ("scanners = 'tumblerd'", r"scanners must be a list of words"),
        ("hints = ['trackerignore']", r"hints must be a list of names that begin with a dot"),
        ("hints = ['..']", r"hints must be a list of names that begin with a dot"),
        ("hints = ['.a/b']", r"hints must be a list of names that begin with a dot"),
        ("token_command = []", r"token_command must be a list of words"),
        ("uid = -1", r"uid must be a number"),
        ("umask = '8'", r"umask must be octal"),
        ("ca_file = 3", r"ca_file must be a path"),
        ("api_url = 3", r"api_url must be a URL"),
        ("token = 'user:1-abc'", r"the token is not a setting"),
        ("deadline = ", r"is not valid TOML"),
    ],
)
def test_a_mistake_names_file_key_and_reason(tmp_path: Path, text: str, sentence: str) -> None:
    """Every mistake is a ConfigError that begins with the file and never repeats a secret."""
    mine = write(tmp_path / "work.toml", text)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(mine))}.*{sentence}") as caught:
        load({}, {}, mine)
    assert "user:1-abc" not in str(caught.value)


def test_a_mistake_speaks_even_where_it_is_overridden(user_config: Path) -> None:
    """A wrong value in a lower layer is not hidden by a right one above it."""
    write(user_config, "deadline = 'x'")
    with pytest.raises(ConfigError, match="deadline"):
        load({"deadline": "3"}, os.environ, None)


def test_a_slip_in_a_variable_is_told_and_a_stranger_is_left_alone() -> None:
    """MUSICFS_CACHE_SIZ is an error, MUSICFS_BENCH_ROUNDS is somebody else's."""
    with pytest.raises(ConfigError, match=r"MUSICFS_CACHE_SIZ: .*did you mean 'cache_size'\?"):
        load({}, {"MUSICFS_CACHE_SIZ": "3"}, None)
    assert load({}, {"MUSICFS_BENCH_ROUNDS": "3", "MUSICFS_TOKEN": "x"}, None).settings.deadline == 30


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    """--config of a file that does not exist, or is a folder, is an error."""
    with pytest.raises(ConfigError, match="there is no config file"):
        load({}, {}, tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read the config file"):
        load({}, {}, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.net/",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:1",
        "http://localhost:80",
    ],
)
def test_urls_are_taken_without_their_last_slash(url: str) -> None:
    """https anywhere and plain http on this machine are good."""
    assert load({"api_url": url}, {}, None).settings.api_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.net",
        "http://127.0.0.1.example.net",
        "http://10.0.0.1",
        "ftp://localhost",
        "api.useapi.net",
        "https://user:pass@api.example.net",
        "https://api.example.net/?key=1",
        "https://api.example.net:port",
        "https://[::1",
        "https://api.useapi.net/v1",
    ],
)
def test_urls_that_would_leak_or_mislead_are_refused(url: str) -> None:
    """Plain http elsewhere, user names, queries, a doubled /v1 are refused without being repeated."""
    with pytest.raises(ConfigError, match=r"^MUSICFS_API_URL: api_url ") as caught:
        load({}, {"MUSICFS_API_URL": url}, None)
    assert url not in str(caught.value)


def test_the_real_environment_is_accepted() -> None:
    """Whatever else the process's environment holds does not matter."""
    assert load({}, os.environ, None).settings.sizes == "estimate"


@pytest.mark.parametrize("key", Settings.__struct_fields__)
def test_every_setting_is_checked_by_its_type(tmp_path: Path, key: str) -> None:
    """A table, a date and a list of lists fit no setting: each is told with file, key and what it must be."""
    for number, wrong in enumerate(("{ a = 1 }", "2026-01-01", "[[1]]", "-1")):
        mine = write(tmp_path / f"work-{number}.toml", f"{key} = {wrong}")
        with pytest.raises(ConfigError, match=rf"^{re.escape(str(mine))}: {key} (must|is not|may)"):
            load({}, {}, mine)


@settings(max_examples=150)
@given(st.sampled_from(Settings.__struct_fields__), st.data())
def test_a_slip_of_the_finger_is_told_with_the_nearest_key(key: str, data: st.DataObject) -> None:
    """A letter too few, too many or in its neighbour's place: the error names the setting that was meant."""
    place = data.draw(st.integers(0, len(key) - 2))
    slip = data.draw(
        st.sampled_from(
            (
                key[:place] + key[place + 1 :],
                key[:place] + key[place] + key[place:],
                key[:place] + key[place + 1] + key[place] + key[place + 2 :],
            )
        )
    )
    if slip in Settings.__struct_fields__:
        return
    with pytest.raises(ConfigError) as caught:
        load({slip: "1"}, {}, None)
    near = re.fullmatch(
        rf"the command line: '{slip}' is not a setting; did you mean '(\w+)'\?", str(caught.value)
    )
    assert near is not None
    assert near[1] == key or len(key) < 5


def test_all_mistakes_are_told_at_once(tmp_path: Path, user_config: Path) -> None:
    """Whoever mends a file mends it once: a line for each mistake in each place, in their order."""
    write(user_config, "proxy = 1")
    mine = write(tmp_path / "work.toml", "deadline = 0\ncache_sice = 3\nsizes = 'exact'")
    with pytest.raises(ConfigError) as caught:
        load({"uid": "4294967295"}, os.environ, mine)
    assert [line.partition(";")[0] for line in str(caught.value).splitlines()] == [
        "the command line: uid must be a number, 0 or more, of a user or group",
        f"{mine}: deadline must be a number of seconds above 0",
        f"{mine}: 'cache_sice' is not a setting",
        f"{user_config}: proxy must be true or false",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "uid = 4294967295",
        "cache_size = '2000000000G'",
        "token_command = ['']",
        'token_command = ["pass", "a\\u0000b"]',
        'api_url = "https://a\\u0000b.example"',
        "media_url = 'https://a b.example'",
    ],
)
def test_what_no_call_could_take_is_refused_here(tmp_path: Path, text: str) -> None:
    """A number, a command or a URL that would only break later is a mistake in the settings."""
    mine = write(tmp_path / "work.toml", text)
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(mine))}: {text.split()[0]} "):
        load({}, {}, mine)
