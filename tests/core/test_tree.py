"""Laws of the tree: places, numbers, and names."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core import tree
from musicfs.core.inodes import ROOT
from musicfs.core.tree import Entry, File, Folder
from musicfs.model import Form, Song, SongRow

LAW = settings(max_examples=100, deadline=None)
MAIL = "ada@example.com"


def row(ident: str, birth: int, service: str = "flowmusic", name: str | None = None) -> SongRow:
    """Make a listed row."""
    song = Song(service, ident, f"user:1-{MAIL}-clip:{ident}", MAIL, f"Title {ident}")
    return SongRow(song=song, mtime_ns=birth, birth=birth, name=name)


births = st.lists(st.integers(1, 10**6), max_size=20, unique=True)
members = st.lists(
    st.lists(st.sampled_from(["a", "b", "drums.wav", "é"]), min_size=1, max_size=3).map("/".join),
    max_size=8,
    unique=True,
)


def rises(entries: list[Entry]) -> bool:
    """Say whether the places rise and no name repeats."""
    names = [entry.name for entry in entries]
    places = [entry.place for entry in entries]
    return all(one < other for one, other in pairwise(places)) and len(set(names)) == len(names)


@LAW
@given(births)
def test_places_rise_in_the_big_folders(born: list[int]) -> None:
    """However the rows come, `readdir` sees rising places, each a song's own birth."""
    rows = [row(f"s{birth}", birth, name=f"Song {birth}") for birth in born]
    for entries in (tree.flow_entries(rows), tree.job_entries(rows), tree.library_entries(rows)):
        assert rises(entries)
        assert [entry.place for entry in entries] == sorted(born)


@LAW
@given(births, st.data())
def test_a_song_that_leaves_moves_nobody(born: list[int], data: st.DataObject) -> None:
    """A listing that changes while it is read neither skips nor repeats: the others keep their places."""
    rows = [row(f"s{birth}", birth, name=f"Song {birth}") for birth in born]
    kept = [one for one in rows if data.draw(st.booleans())]
    before = {entry.name: entry.place for entry in tree.library_entries(rows)}
    assert all(before[entry.name] == entry.place for entry in tree.library_entries(kept))


def test_songs_without_a_name_are_not_in_the_library() -> None:
    """`library/` holds named songs only."""
    listed = tree.library_entries([row("one", 1), row("two", 2, name="Two")])
    assert [entry.name for entry in listed] == ["Two"]


def test_places_rise_in_every_small_folder() -> None:
    """A job's folder, a song's folder and a folder of stem clips have rising places and single names."""
    job = Folder(("tempolor", "x"), row("x", 1, "tempolor", "X"))
    song = Folder(("library", "X"), job.row)
    clips = [(row("aaaaaa1", 3), "drums"), (row("bbbbbb2", 5), "drums"), (row("cccccc3", 9), "bass")]
    assert rises(tree.root_entries())
    assert rises(tree.job_files(job))
    assert rises(tree.song_files(song, ("mp3", "wav", "stems"), stems=True))
    listed = tree.clip_stems(Folder(("library", "X", "stems"), job.row), clips)
    assert rises(listed)
    assert [entry.name for entry in listed] == ["drums.mp3", "drums [bbbbbb].mp3", "bass.mp3"]


@LAW
@given(members)
def test_an_archives_folders_show_each_member_once(names: list[str]) -> None:
    """Every level lists its own names once; walking all of them finds each member, at its own path."""
    # An archive may not hold both `a` and `a/b`; core.members sees to that.
    names = [one for one in names if not any(other.startswith(f"{one}/") for other in names)]
    owner = row("x", 1, "tempolor", "X")
    found: list[str] = []

    def walk(path: tree.Path, below: str) -> None:
        entries = tree.archive_entries(Folder(path, owner), below, names)
        assert rises(entries)
        for entry in entries:
            if isinstance(entry.node, Folder):
                assert entry.node.path == (*path, entry.name)
                walk(entry.node.path, f"{below}{entry.name}/")
            else:
                assert isinstance(entry.node, tuple)
                assert entry.node[1] == f"stems/{below}{entry.name}"
                found.append(f"{below}{entry.name}")

    walk(("library", "X", "stems"), "")
    assert sorted(found) == sorted(names)


def test_a_file_has_one_number_in_every_folder() -> None:
    """A song's form is the same inode wherever it is shown; other forms and versions are others."""
    one = row("x", 1, "tempolor", "X")
    again = row("x", 1, "tempolor", "X")
    assert File(one, Form.MP3, 0).inode == File(again, Form.MP3, 0, listed=False).inode
    assert File(one, Form.MP3, 0) == File(again, Form.MP3, 0)
    assert len({File(one, form, version).inode for form in ("mp3", "wav") for version in (0, 1)}) == 4


def test_numbers_outlive_a_remount() -> None:
    """An inode is a digest of what the thing is; these were written down once and must never change."""
    song = row("0f0e0d0c-0b0a-4908-8706-050403020100", 1)
    assert File(song, Form.MP3, 0).inode == 6956902608887652085
    assert tree.folder_inode(("library", "Harbour Lights")) == 3699726855344261073
    assert tree.folder_inode(()) == ROOT


@LAW
@given(st.lists(st.tuples(st.text("ab", max_size=3), st.sampled_from(["mp3", "wav"])), unique=True))
def test_numbers_are_unique(files: list[tuple[str, str]]) -> None:
    """No two files share a number, nor does a file with a folder."""
    numbers = {File(row(ident, 1), form, 0).inode for ident, form in files}
    folders = {tree.folder_inode((ident,)) for ident, _ in files}
    assert len(numbers) == len(files)
    assert not numbers & folders


def test_one_folder_under_two_paths_is_two() -> None:
    """A folder's number is its path's: the same `stems/` in `tempolor/` and `library/` differs."""
    owner = row("x", 1, "tempolor", "X")
    places = [("tempolor", "x", "stems"), ("library", "X", "stems")]
    assert len({Folder(path, owner).inode for path in places}) == 2


def test_link_counts_are_listed_names() -> None:
    """A file's link count is how often it is listed: both trees, one of them, or only asked for by name."""
    named, nameless, stem = row("n", 1, name="N"), row("p", 2), row("s", 3)
    stem.parent = "n"
    job = row("j", 4, "tempolor", "J")
    assert File(named, Form.MP3, 0).names == 2
    assert File(named, Form.WAV, 0).names == 1
    assert File(nameless, Form.MP3, 0).names == 1
    assert File(stem, Form.MP3, 0).names == 2
    assert File(job, "stems/drums.wav", 0).names == 2
    assert File(named, Form.MP3, 0, listed=False).names == 1


def test_no_name_holds_an_address() -> None:
    """No entry of any folder shows an e-mail address."""
    rows = [row("x", 1, name="X"), row("y", 2, "tempolor", "Y")]
    entries = tree.flow_entries(rows) + tree.job_entries(rows) + tree.library_entries(rows)
    assert not [entry.name for entry in entries if "@" in entry.name]


def shown(folder: Folder, entries: list[Entry]) -> set[tuple[tree.Path, str]]:
    """Give where a listing shows files."""
    return {(folder.path, entry.name) for entry in entries if isinstance(entry.node, tuple)}


@LAW
@given(members)
def test_every_name_of_a_file_is_known(names: list[str]) -> None:
    """Wherever a listing shows a file, its names say so: they are what the kernel is told to ask again."""
    job, clip = row("x", 1, "tempolor", "X"), row("y", 2, name="Y")
    for song, form in ((clip, Form.MP3), (clip, Form.M4A), (job, Form.MP3), (job, Form.WAV)):
        told = set(tree.names_of(song, form))
        places = [Folder(("library", song.name or ""), song), Folder(("tempolor", "x"), job)]
        listed = shown(places[0], tree.song_files(places[0], [form], stems=True))
        if song is job:
            listed |= {one for one in shown(places[1], tree.job_files(places[1])) if one[1].endswith(form)}
        elif form == Form.MP3:
            listed |= {(("flowmusic",), entry.name) for entry in tree.flow_entries([song])}
        assert listed <= told
    for member in names:
        below = member.rpartition("/")[0]
        for top in (("tempolor", "x"), ("library", "X")):
            folder = Folder((*top, tree.STEMS, *filter(None, below.split("/"))), job)
            listed = shown(folder, tree.archive_entries(folder, f"{below}/" if below else "", [member]))
            assert listed <= set(tree.names_of(job, f"{Form.STEMS}/{member}"))


def test_names_of_a_stem() -> None:
    """A stem clip is also told by both names that its song's `stems/` may give it."""
    song, stem = row("aaaaaaa", 1, name="Night"), row("bbbbbbb", 2)
    stem.song = Song("flowmusic", "bbbbbbb", "handle", MAIL, "Night - drums")
    told = tree.names_of(stem, Form.MP3, song)
    folder = ("library", "Night", "stems")
    assert {(folder, "drums.mp3"), (folder, "drums [bbbbbb].mp3")} <= set(told)
