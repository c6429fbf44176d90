"""Laws of a playlist: every song once, newest first, and no title breaks a line."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.naming import Names
from musicfs.core.playlists import playlist
from musicfs.model import Song, SongRow

LAW = settings(max_examples=150, deadline=None)
MAIL = "ada@example.com"

titles = st.lists(
    st.none()
    | st.text(max_size=20)
    | st.sampled_from(["#1 hit", "Same", "a\nb", "x\u2028y", "#EXTM3U", "..", "All.m3u8"]),
    max_size=12,
)


def rows(given_titles: list[str | None]) -> list[SongRow]:
    """Make songs with these titles, the first the eldest, named as the catalog names them."""
    names = Names()
    made: list[SongRow] = []
    for number, title in enumerate(given_titles, 1):
        ident = f"{number:06x}-song"
        one = Song("flowmusic", ident, f"user:1-{MAIL}-clip:{ident}", MAIL, title, 10.0 + number)
        made.append(SongRow(song=one, birth=number, mtime_ns=number, name=names.take(title, ident)))
    return made


@LAW
@given(titles)
def test_every_song_is_there_once_and_the_newest_is_first(given_titles: list[str | None]) -> None:
    """A comment line and a path a song; the paths lead to the mp3s, in the order of their age."""
    songs = rows(given_titles)
    lines = playlist(songs).decode().splitlines()
    assert lines[0] == "#EXTM3U"
    assert len(lines) == 1 + 2 * len(songs)
    for song, comment, path in zip(reversed(songs), lines[1::2], lines[2::2], strict=True):
        assert comment.startswith(f"#EXTINF:{round(song.song.duration or 0)},")
        assert path.removeprefix("./") == f"{song.name}/{song.name}.mp3"
        assert not path.startswith(("#", "/"))
        assert "\\" not in path
    assert MAIL not in "".join(lines)


def test_takes_are_told_apart() -> None:
    """Songs of one title carry their folders' marks in what a player shows."""
    text = playlist(rows(["Night Drive", "Night Drive"])).decode()
    assert "#EXTINF:11,Night Drive\n" in text
    assert "#EXTINF:12,Night Drive [000002]\n" in text


def test_an_unknown_duration_is_said_to_be_unknown() -> None:
    """Players read -1 as a length that is not known; nothing is guessed."""
    one = SongRow(song=Song("tempolor", "a1", ""), birth=1, mtime_ns=1, name="A")
    assert playlist([one]) == b"#EXTM3U\n#EXTINF:-1,A\nA/A.mp3\n"


def test_songs_without_a_folder_are_left_out() -> None:
    """A stem and a song that has no name yet are in no playlist."""
    assert playlist([SongRow(song=Song("tempolor", "a1", ""), birth=1, mtime_ns=1)]) == b"#EXTM3U\n"
