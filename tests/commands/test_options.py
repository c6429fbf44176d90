"""The grammar of -o, as fstab writes it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.commands import options
from musicfs.commands.options import MOUNT_WORDS, parse
from musicfs.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("proxy", {"proxy": "true"}),
        ("cache_size=10G,deadline=5", {"cache_size": "10G", "deadline": "5"}),
        ("cache-size=10G", {"cache_size": "10G"}),
        ("a=x=y", {"a": "x=y"}),
        ('scanners="a,b",uid=1', {"scanners": "a,b", "uid": "1"}),
        ("'scanners=a,b',uid=1", {"scanners": "a,b", "uid": "1"}),
        (r"cache_dir=/a\,b,uid=1", {"cache_dir": "/a,b", "uid": "1"}),
        (r"cache_dir=C:\music", {"cache_dir": r"C:\music"}),
        (r"cache_dir=it\'s", {"cache_dir": "it's"}),
        ("cache_dir=", {"cache_dir": ""}),
        ("deadline=1,deadline=2", {"deadline": "2"}),
        ("_netdev,nofail,x-systemd.automount,ro,nosuid,user,dev,suid,uid=0,", {"uid": "0"}),
    ],
)
def test_examples(text: str, wanted: dict[str, str]) -> None:
    """Commas separate, quotes and backslashes protect, mount(8)'s own words are swallowed."""
    assert parse([text]) == wanted


@pytest.mark.parametrize(
    ("texts", "covers"),
    [
        ([], False),
        (["uid=1", "ro,nonempty,uid=2"], True),
        (["nonempty=no"], False),
        (['scanners="a,nonempty"'], False),
    ],
)
def test_the_word_for_a_folder_that_is_not_empty(texts: list[str], covers: bool) -> None:
    """`nonempty` by itself, as mount.fuse knows it; within a value it is none."""
    assert options.covers(texts) is covers


def test_several_o_add_up() -> None:
    """The later of two equal keys wins."""
    assert parse(["uid=1,gid=2", "uid=3"]) == {"uid": "3", "gid": "2"}


@pytest.mark.parametrize("text", ["token=user:1-secret", "uid=1,token=user:1-secret", "token"])
def test_a_token_is_refused(text: str) -> None:
    """It would be readable by everyone; the message does not repeat it."""
    with pytest.raises(ConfigError, match="readable by everyone") as caught:
        parse([text])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["a='b", 'a="b,c', "=3"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    """An open quote and a value without a name are errors, not guesses."""
    with pytest.raises(ConfigError):
        parse([text])


_keys = st.from_regex(r"[a-z][a-z_]{0,10}", fullmatch=True).filter(lambda key: key != "token")


@settings(max_examples=150)
@given(st.dictionaries(_keys.filter(lambda key: key not in MOUNT_WORDS), st.text(min_size=0)))
def test_whatever_is_escaped_arrives(wanted: dict[str, str]) -> None:
    """Commas, quotes and backslashes in values survive a writer that escapes them."""

    def escape(value: str) -> str:
        return "".join("\\" + letter if letter in "\\,'\"" else letter for letter in value)

    assert parse([",".join(f"{key}={escape(value)}" for key, value in wanted.items())]) == wanted


@settings(max_examples=150)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a ConfigError comes out."""
    try:
        parse([text])
    except ConfigError:
        pass
