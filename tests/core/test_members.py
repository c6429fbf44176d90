"""What of a hostile archive may be shown, and why the rest may not."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.members import LOCAL_HEADER, Choice, Directory, Entry, Method
from musicfs.core.naming import flaw, fold

LAW = settings(max_examples=150, deadline=None)

LIMIT = 1 << 40
MIB = 1 << 20


def entry(name: str = "drums.wav", at: int = 0, **changes: Any) -> Entry:
    """Make an ordinary stored entry of 100 bytes, changed as asked."""
    plain = Entry(name.encode(), 0x800, 0, 7, 100, 100, at * 1000, False)
    return msgspec.structs.replace(plain, **changes)


def chosen(*entries: Entry, limit: int = LIMIT) -> Directory:
    """Weigh entries one after the other."""
    choice = Choice(limit)
    for one in entries:
        choice.weigh(one)
    return choice.made(0)


def names(directory: Directory) -> list[str]:
    """List the names shown."""
    return [member.name for member in directory.members]


@pytest.mark.parametrize(
    "name",
    [
        "../drums.wav",
        "a/../b.wav",
        "/etc/passwd",
        "a//b",
        "./a",
        "a\\b.wav",
        "C:a.wav",
        "a\0b",
        "a\nb",
        "a\x1b[2Jb",
        "what?.wav",
        ".hidden",
        "-rf",
        " lead",
        "trail ",
        "trail.",
        "dir./a",
        "gpj\u202e.wav",
        "x" * 252 + ".wav",
        "__MACOSX/._drums.wav",
        "deep/__macosx/x",
        "a/" * 8 + "x",
        "",
    ],
)
def test_bad_names_are_left_out(name: str) -> None:
    """A name that could leave the folder, fool a person or fail on a disk is left out, the others stay."""
    directory = chosen(entry(name), entry("good.wav", 1))
    assert names(directory) == ["good.wav"]
    assert len(directory.left_out) == 1


@pytest.mark.parametrize(
    "name", ["drums.wav", "sub/dir/x.wav", "aux.wav", "ドラム.wav", "a b (1).mp3", "x" * 251 + ".wav"]
)
def test_good_names_stay_as_they_are(name: str) -> None:
    """An ordinary name, in folders or not, is shown letter for letter."""
    assert names(chosen(entry(name))) == [name]


def test_names_are_utf8_by_flag_else_cp437() -> None:
    """The flag decides how a name is read, and a name that breaks its promise is left out."""
    assert names(chosen(entry(name=b"caf\x82.wav".decode("latin-1"), flags=0))) != ["café.wav"]
    old = msgspec.structs.replace(entry(), name=b"caf\x82.wav", flags=0)
    assert names(chosen(old)) == ["café.wav"]
    assert chosen(msgspec.structs.replace(old, flags=0x800)).members == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flags": 0x801}, "encrypted"),
        ({"flags": 0x840}, "encrypted"),
        ({"method": 9}, "unknown method 9"),
        ({"method": 93}, "unknown method 93"),
        ({"size": 101}, "contradict"),
        ({"wrong": True}, "contradict"),
        ({"method": 8, "size": 2 * MIB, "packed": 2000}, "bomb"),
        ({"method": 8, "size": 2 * MIB, "packed": 0}, "bomb"),
        ({"size": (4 << 30) + 1, "packed": (4 << 30) + 1}, "4 GiB"),
        ({"header": LIMIT - LOCAL_HEADER - 99}, "outside"),
        ({"header": LIMIT + 1}, "outside"),
    ],
)
def test_members_that_cannot_be_unpacked_safely_are_left_out(changes: dict[str, int], reason: str) -> None:
    """Each way in which a member's bytes are unusable leaves it out, and the reason says which."""
    directory = chosen(entry("bad.wav", **changes), entry("good.wav", 1))
    assert names(directory) == ["good.wav"]
    assert [name for name, _ in directory.left_out] == ["bad.wav"]
    assert reason in directory.left_out[0][1]


def test_silence_is_no_bomb() -> None:
    """A silent stem, which deflate packs a thousand to one, is shown."""
    small = entry("silence.wav", method=8, size=MIB, packed=1100)
    large = entry("quiet.wav", 5, method=8, size=20 * MIB, packed=20_500)
    assert names(chosen(small, large)) == ["silence.wav", "quiet.wav"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.wav", "a.wav"),
        ("a.wav", "A.WAV"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("A/b/c", "a/B"),
    ],
)
def test_of_two_that_want_one_name_the_first_stays(first: str, second: str) -> None:
    """Duplicates by case or accent, and a file that is also a folder, leave the second out."""
    assert names(chosen(entry(first), entry(second, 1))) == [first]


def test_of_two_that_overlap_the_first_stays() -> None:
    """Members that share bytes, as in a quoted-overlap bomb, leave only the first of them."""
    directory = chosen(
        entry("a", header=1000), entry("b", header=1129), entry("c", header=900), entry("d", header=1000)
    )
    assert names(directory) == ["a"]
    assert {why for _, why in directory.left_out} == {"it overlaps another member"}
    assert names(chosen(entry("a", header=1000), entry("b", header=1130), entry("c", header=870))) == [
        "a",
        "b",
        "c",
    ]


def test_the_number_of_members_and_of_reasons_is_bounded() -> None:
    """256 members are shown, 256 reasons are given, and the rest is one line."""
    directory = chosen(*(entry(f"{number}.wav", number) for number in range(1000)))
    assert len(directory.members) == 256
    assert len(directory.left_out) == 257
    assert directory.left_out[-1] == ("…", "and 488 more")


def test_the_sum_of_sizes_is_bounded() -> None:
    """Members are shown up to 4 GiB in all; a later one that still fits is shown too."""
    gib = 1 << 30
    several = [entry(f"{n}", header=n * 8 * gib, size=3 * gib, packed=3 * gib) for n in range(2)]
    assert names(chosen(*several, entry("small", header=20 * gib))) == ["0", "small"]


def test_what_is_said_of_a_name_is_printable_and_short() -> None:
    """A name left out is named without controls, without an address sign, and at no great length."""
    shown = chosen(entry("..\x1b\u202esome@one" + "x" * 500)).left_out[0][0]
    assert shown.isprintable()
    assert "@" not in shown
    assert len(shown) == 100


def test_members_carry_what_the_entry_says() -> None:
    """A member's method, place, sizes and checksum are the entry's."""
    (member,) = chosen(entry("a", 3, method=8, size=200)).members
    assert (member.method, member.header, member.packed, member.size, member.crc) == (
        Method.DEFLATED,
        3000,
        100,
        200,
        7,
    )


@LAW
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "A", "a/b", "b", "b/c/d", "..", "c:", "é", "e\u0301"])
            | st.text(max_size=6),
            st.integers(0, 3000),
            st.integers(0, 400),
        ),
        max_size=20,
    )
)
def test_what_is_shown_can_live_together(wild: list[tuple[str, int, int]]) -> None:
    """The members of any archive have valid, different names, no file is a folder, and no two overlap."""
    directory = chosen(
        *(
            Entry(name.encode("utf-8", "replace"), 0x800, 0, 0, size, size, at, False)
            for name, at, size in wild
        ),
        limit=2500,
    )
    folded = [fold(name) for name in names(directory)]
    assert len(set(folded)) == len(folded)
    assert not any(other.startswith(name + "/") for name in folded for other in folded)
    assert all(flaw(part) is None for name in names(directory) for part in name.split("/"))
    ranges = sorted((m.header, m.header + LOCAL_HEADER + m.packed) for m in directory.members)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(ranges))
    assert all(stop <= 2500 for _, stop in ranges)
    assert len(directory.members) + len(directory.left_out) == len(wild)
