"""Which folder holds what, and what each thing is called.

How it thinks: a folder is its path, a file is an asset of a version; both have a number that is a digest,
the same after every remount. A folder's entries are a pure function of the rows it is made of. Each entry
has a place: its song's birth, or its place among a song's forms; `readdir` goes by places, so a listing
that changes while it is read neither skips nor repeats.

What must always be true: places rise within a folder; names are what was given once and never a URL or id
with an e-mail address; a file's number is the same in every folder that shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from musicfs.core.census import stem_of
from musicfs.core.inodes import ROOT, inode_of
from musicfs.model import NOTHING, Form, Known, SongRow

TOP = ("flowmusic", "tempolor", "library")
STEMS = "stems"
Path = tuple[str, ...]


# Without `gc`: nothing here leads back to itself, and of entries and files there are tens of thousands.


class Folder(msgspec.Struct, frozen=True, gc=False):
    """A folder, by its path; `row` is the song it belongs to, if any."""

    path: Path
    row: SongRow | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def inode(self) -> int:
        """Its number: its path's digest."""
        return folder_inode(self.path)


class File(msgspec.Struct, frozen=True, gc=False):
    """A file: a song's form of one version. `listed` is False where only its name was asked for."""

    row: SongRow
    form: str
    version: int
    listed: bool = True
    inode: int = 0
    """Its number, made here: the digest of key and version, wherever it is shown; every `stat` needs it."""

    def __post_init__(self) -> None:
        song = self.row.song
        number = inode_of("file", song.service, song.ident, self.form, str(self.version))
        msgspec.structs.force_setattr(self, "inode", number)

    @property
    def _identity(self) -> tuple[str, str, str, int]:
        return self.row.song.service, self.row.song.ident, self.form, self.version

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def names(self) -> int:
        """How many listed names it has (`st_nlink`)."""
        row, form = self.row, self.form
        if not self.listed or not (row.name or row.parent):
            return 1
        twice = form == Form.MP3 or (row.song.service == "tempolor" and not form.startswith(Form.COVER))
        return 2 if twice else 1


class Written(msgspec.Struct, frozen=True, gc=False):
    """A small file that is written here, of what listings tell: lyrics, `info.json`, a playlist."""

    folder: Path
    name: str
    version: int
    """The digest of its bytes."""
    size: int
    """Its length in bytes."""
    mtime_ns: int
    row: SongRow | None = None
    """The song it is about; None is all of them."""

    @property
    def _identity(self) -> tuple[Path, str, int, int]:
        return self.folder, self.name, self.version, self.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Written) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def inode(self) -> int:
        """Its number: that of its path and its bytes."""
        return inode_of("written", *self.folder, self.name, str(self.version))

    @property
    def listed(self) -> bool:
        """Whether its song is."""
        return self.row is None or self.row.listed


Node = Folder | File | Written


class Entry(msgspec.Struct, gc=False):
    """A name in a folder, and its place in it."""

    place: int
    name: str
    node: Node | tuple[SongRow, str]
    """A folder or what is written, or a file: its (row, form), and once it was shown, itself in the version
    it had then."""
    known: Known = NOTHING
    """What the ledger said of a file when it had taken `noted` notes; -1 = it was not asked."""
    noted: int = -1


def folder_inode(path: Path) -> int:
    """Give a folder's number."""
    return inode_of("folder", *path) if path else ROOT


def root_entries() -> list[Entry]:
    """List the mount's top."""
    return [Entry(place, name, Folder((name,))) for place, name in enumerate(TOP, 1)]


def flow_entries(rows: Iterable[SongRow]) -> list[Entry]:
    """List `flowmusic/`: one mp3 per clip."""
    found = [Entry(row.birth, f"{row.song.ident}.mp3", (row, Form.MP3)) for row in rows]
    return sorted(found, key=lambda entry: entry.place)


def job_entries(rows: Iterable[SongRow]) -> list[Entry]:
    """List `tempolor/`: one folder per job."""
    found = [Entry(row.birth, row.song.ident, Folder(("tempolor", row.song.ident), row)) for row in rows]
    return sorted(found, key=lambda entry: entry.place)


def library_entries(rows: Iterable[SongRow]) -> list[Entry]:
    """List `library/`: one folder per song that has a name."""
    found = [
        Entry(row.birth, row.name, Folder(("library", row.name), row)) for row in rows if row.name is not None
    ]
    return sorted(found, key=lambda entry: entry.place)


def job_files(folder: Folder) -> list[Entry]:
    """List a TemPolor job's folder."""
    assert folder.row is not None
    return [
        Entry(1, "song.mp3", (folder.row, Form.MP3)),
        Entry(2, "song.wav", (folder.row, Form.WAV)),
        Entry(3, STEMS, Folder((*folder.path, STEMS), folder.row)),
    ]


def song_files(
    folder: Folder, forms: Sequence[str], stems: bool, written: Sequence[Written] = ()
) -> list[Entry]:
    """List a song's folder in `library/`: its forms, its stems if it has any, and what is written of it."""
    row = folder.row
    assert row is not None
    shown = [form for form in forms if form != Form.STEMS]
    found = [Entry(place, called(row, form), (row, form)) for place, form in enumerate(shown, 1)]
    if stems:
        found.append(Entry(len(found) + 1, STEMS, Folder((*folder.path, STEMS), row)))
    return found + [Entry(place, one.name, one) for place, one in enumerate(written, len(found) + 1)]


def called(row: SongRow, form: str) -> str:
    """Give the name of a song's form in its folder in `library/`: the song's own, but for its cover."""
    return f"cover.{form.rpartition('.')[2]}" if form.startswith(Form.COVER) else f"{row.name}.{form}"


def clip_stems(folder: Folder, stems: Sequence[tuple[SongRow, str]]) -> list[Entry]:
    """List a Flow Music song's stems; `stems` are (clip, stem's name), eldest first."""
    taken: set[str] = set()
    found: list[Entry] = []
    for row, stem in stems:
        name = stem if stem not in taken else f"{stem} [{row.song.ident[:6]}]"
        taken.add(stem)
        found.append(Entry(row.birth, f"{name}.mp3", (row, Form.MP3)))
    return found


def names_of(row: SongRow, form: str, parent: SongRow | None = None) -> list[tuple[Path, str]]:
    """Give every folder and name that may show a song's form; `parent` is the song that it is a stem of."""
    song, (_, slash, member) = row.song, form.partition("/")
    if song.service == "flowmusic":
        found: list[tuple[Path, str]] = [
            (("flowmusic",), f"{ident}.{form}") for ident in (song.ident, song.handle)
        ]
        homes: list[Path] = []
    else:
        found, homes = [], [("tempolor", ident) for ident in (song.ident, song.handle)]
    if slash:
        homes += [("library", row.name)] if row.name is not None else []
        *below, name = member.split("/")
        return [((*home, STEMS, *below), name) for home in homes]
    if form.startswith(Form.COVER):
        found = []
    else:
        found += [(home, f"song.{form}") for home in homes]
    if row.name is not None:
        found.append((("library", row.name), called(row, form)))
    if parent is not None and parent.name is not None:
        found += [(("library", parent.name, STEMS), name) for name in _stem_names(row)]
    return found


def _stem_names(row: SongRow) -> tuple[str, str]:
    """Give both names that a stem clip may have, alone of its kind and not."""
    stem = (stem_of(row.song.title) or ("", "stem"))[1]
    return f"{stem}.mp3", f"{stem} [{row.song.ident[:6]}].mp3"


def archive_entries(folder: Folder, below: str, members: Sequence[str]) -> list[Entry]:
    """List one level of a stems archive: `below` is "" or a sub-folder ending in "/"."""
    assert folder.row is not None
    found: list[Entry] = []
    folders: set[str] = set()
    for place, member in enumerate(members, 1):
        if not member.startswith(below):
            continue
        name, slash, _ = member[len(below) :].partition("/")
        if not slash:
            found.append(Entry(place, name, (folder.row, f"{Form.STEMS}/{member}")))
        elif name not in folders:
            folders.add(name)
            found.append(Entry(place, name, Folder((*folder.path, name), folder.row)))
    return found


def title(node: Node) -> str:
    """Name a node by where a person sees it: in `library/`, if it has a name there."""
    if isinstance(node, Folder):
        return "/".join(node.path) or "/"
    if isinstance(node, Written):
        return "/".join((*node.folder, node.name))
    row, form = node.row, node.form
    if row.name is None:
        return f"{row.song.service}/{row.song.ident}/{form}"
    return f"library/{row.name}/" + (form if form.startswith(f"{Form.STEMS}/") else called(row, form))
