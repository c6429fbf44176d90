"""What a user sees of each program when a song cannot be had: the tables of docs/programs.md, and no hang.

How it thinks: a program that runs longer than `ENDS` seconds is a hang; the deadline is 3 s here. All
programs that are tried in this run go at the same songs side by side, as they would at a bad hour: all of
them at an mp3, and in an ordinary run a few at every other form.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo import Cut, Fault, Request, Role, wav_of
from musicfs.demo.faults import black_hole, xml_error
from tests.clients.conftest import EVERYTHING, ORDINARY
from tests.clients.refusals import REFUSALS, TAKEN, Refusal
from tests.clients.saying import FOLDERS, PROGRAMS, table, tried, words
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import ACCOUNT, Stage, Twin, stage
from tests.clients.work import MIB, work
from tests.mounted.failing import STRANGER
from tests.mounted.mounting import done, run

DEADLINE = 3  # seconds a request may wait
ENDS = 50.0  # seconds until any program has ended, whatever happens: on a quiet machine 4 to 15
HERE = [name for name, (_, needs) in PROGRAMS.items() if EVERYTHING or needs in ORDINARY]
CERTAIN = [name for name in HERE if name in ("cat", "cp", "dd", "sha256sum", "tar", "rsync", "python")]
"""Programs that read all of a file and tell by their exit code if they could not."""
WALKERS = [name for name, (_, needs) in FOLDERS.items() if EVERYTHING or needs in ORDINARY]
"""Programs that go through folders."""
FEW = HERE if EVERYTHING else [name for name in HERE if name in ("cp", "rsync", "ffprobe")]
"""Programs that are tried on every form of a song; on its mp3 all are."""
COVERS = 24  # songs with a cover: one for each program, and some
LONG = pytest.mark.long
WARNED = (" WARNING ",)
"""What the log may say here; an error of our own it may not."""


@contextmanager
def staged(sound: Sound, home: Path, **settings: Any) -> Iterator[Stage]:
    """Set a stage without a wire, whose log may warn of what it likes."""
    with stage(home, sound, rtt=0, deadline=DEADLINE, listing_ttl=3600, covers=COVERS, **settings) as scene:
        scene.mount.expect(*WARNED)
        yield scene


@pytest.fixture(scope="module")
def shared(sound: Sound, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set one stage for all that concerns a few songs."""
    with staged(sound, tmp_path_factory.mktemp("ill")) as scene:
        yield scene


@pytest.fixture
def ill(shared: Stage) -> Iterator[Stage]:
    """Lend it to one test, and have the services well again afterwards."""
    shared.mount.expect(*WARNED)
    yield shared
    shared.service.clear()


def fits(name: str, twins: Mapping[str, Twin]) -> None:
    """See every program say of songs, by form, what the page has it say of an errno."""
    rows, text = table("What it says"), words()[name]
    assert set(rows) == set(PROGRAMS)
    pairs = [
        (program, twin.there) for form, twin in twins.items() for program in (HERE if form == "mp3" else FEW)
    ]
    ran = zip(pairs, tried(pairs, limit=ENDS), strict=True)
    misfits = [(path, rows[program].misfit(each, path, text)) for (program, path), each in ran]
    assert not any(misfit for _, misfit in misfits), "\n".join(f"{path}: {it}" for path, it in misfits if it)


def fits_folder(name: str, folder: Twin) -> None:
    """See every program that goes through folders say of stems what the page has it say of an errno."""
    rows, text = table("What it says of a folder"), words()[name]
    assert set(rows) == set(FOLDERS)
    stems = folder.there / "stems"
    # More than four who wait for the same answer are told to come back (EBUSY).
    ran = tried([(program, stems) for program in WALKERS], ENDS, FOLDERS, most=3)
    misfits = [rows[program].misfit(each, stems, text) for program, each in zip(WALKERS, ran, strict=True)]
    assert not any(misfits), "\n".join(filter(None, misfits))


def of_each_form(scene: Stage) -> dict[str, Twin]:
    """Take a song of every form."""
    return {form: take(scene) for form, take in TAKEN.items()}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused(name: str, ill: Stage) -> None:
    """Programs say what docs/programs.md has them say of a song that is refused, whatever its form."""
    twins = {form: TAKEN[form](ill) for form in REFUSALS[name]}
    for form, twin in twins.items():
        REFUSALS[name][form].befalls(ill, twin)
    fits(name, twins)


@pytest.mark.parametrize("name", REFUSALS)
def test_stems_refused(name: str, ill: Stage) -> None:
    """Programs that list or copy a folder whose stems are refused say what docs/programs.md has them say, and
    the song beside them is whole."""
    folder = ill.folder()
    ill.service.fail(REFUSALS[name]["mp3"].answer, kind="mint", form="stems", path=folder.ident)
    fits_folder(name, folder)
    song = ["sha256sum", "song.wav"]
    assert work(song, folder.there / "song.wav") == work(song, folder.here / "song.wav")


@pytest.mark.parametrize("form", ["m4a", "cover"])
def test_public_forms_are_never_denied(form: str, ill: Stage) -> None:
    """A 403 for what is public says that it is not there: EIO of a listed song, and no word of permission."""
    twin = TAKEN[form](ill)
    Refusal(xml_error(403, "AccessDenied"), Role.BUCKET).befalls(ill, twin)
    fits("EIO", {form: twin})


def test_no_such_song(ill: Stage) -> None:
    """Programs say "No such file or directory" of a name that is not there, whatever its form, and fail."""
    rows, text = table("What it says"), words()["ENOENT"]
    told = [name for name in HERE if "…" in rows[name].says and name not in ("rclone", "zip")]
    pairs = [(name, ill.mount.path / "flowmusic" / f"{STRANGER}.mp3") for name in told]
    beside = {form: TAKEN[form](ill).there for form in ("m4a", "wav", "stem", "cover")}
    for form, path in beside.items():
        pairs += [(name, path.with_name(f"nothing.{form}")) for name in FEW if name in told]
    for (name, path), ran in zip(pairs, tried(pairs, limit=ENDS), strict=True):
        assert text in ran.said + ran.complained, (name, path)
        assert ran.code in rows[name].codes, (name, path)


def test_gone_at_open(ill: Stage) -> None:
    """A clip that is asked for by its full id is looked for when it is opened: where there is none, programs
    say "No such file or directory" then, and rsync that it has vanished."""
    flow, rows, text = ill.mount.path / "flowmusic", table("What it says"), words()["ENOENT"]
    told = [name for name in HERE if "…" in rows[name].says]
    path = flow / f"user:1-flowmusic:{ACCOUNT}-clip:{STRANGER}.mp3"
    for name, ran in zip(told, tried([(name, path) for name in told], limit=ENDS), strict=True):
        wanted = "file has vanished" if name == "rsync" else text.lower()
        assert wanted in f"{ran.said}{ran.complained}".lower(), name
        assert ran.code in ({24} if name == "rsync" else rows[name].codes), name


def test_silence(sound: Sound, tmp_path: Path) -> None:
    """Programs say "Connection timed out" of a service that says nothing, and all of them end."""
    with staged(sound, tmp_path) as scene:
        twins, folder = of_each_form(scene), scene.folder()
        scene.service.fail(black_hole())
        fits("ETIMEDOUT", twins)
        fits_folder("ETIMEDOUT", folder)


def test_no_network(sound: Sound, tmp_path: Path) -> None:
    """Programs say "No route to host" where nobody can be reached."""
    with staged(sound, tmp_path) as scene:
        twins, folder = of_each_form(scene), scene.folder()
        scene.mount.loop.stop()
        fits("EHOSTUNREACH", twins)
        fits_folder("EHOSTUNREACH", folder)


def test_no_room(sound: Sound, tmp_path: Path) -> None:
    """Programs say "No space left on device" of a song that must be kept whole and finds no room; what comes
    in parts is read all the same."""
    with staged(sound, tmp_path, keep_free="100000G") as scene:
        twins = of_each_form(scene)
        fits("ENOSPC", {form: twins.pop(form) for form in ("mp3", "inflated")})
        for form, twin in twins.items():
            command = ["cat", "{name}"]
            assert work(command, twin.there) == work(command, twin.here), form


WRITES = (
    ["touch", "new"],
    ["mkdir", "new"],
    ["rm", "./{name}"],
    ["mv", "./{name}", "new"],
    ["cp", "./{name}", "new"],
    ["ln", "./{name}", "new"],
    ["chmod", "600", "./{name}"],
    ["truncate", "--size=0", "./{name}"],
    ["sh", "-c", "echo > new"],
    ["sed", "-i", "s/a/b/", "./{name}"],
)


@pytest.mark.parametrize("form", TAKEN)
def test_changes(form: str, ill: Stage) -> None:
    """Every program that would change something says "Read-only file system" and fails."""
    twin = TAKEN[form](ill)
    for command in WRITES:
        ran = work(command, twin.there)
        assert words()["EROFS"] in ran.complained, (command, ran)
        assert ran.code != 0
    assert twin.there.read_bytes() == twin.here.read_bytes()


def remake(scene: Stage, twin: Twin) -> None:
    """Have the service make a song's wav anew."""
    song = scene.service.flow.clip(twin.ident) or scene.service.tempolor.job(twin.ident)
    assert song is not None
    song.assets["wav"], song.modified = wav_of(SECONDS, "anew"), time.time()


@pytest.mark.parametrize("take", [Stage.wav, Stage.titled_wav], ids=["by link", "public"])
def test_other_bytes(take: Callable[[Stage], Twin], ill: Stage) -> None:
    """A program in the middle of a song that the service has anew is told "Stale file handle"."""
    twin = take(ill)
    with subprocess.Popen(["cat", twin.there], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.read(1)
        remake(ill, twin)
        _, said = program.communicate(timeout=ENDS)
    assert said.decode().endswith(f": {words()['ESTALE']}\n")
    assert program.returncode == 1


def break_at(scene: Stage, twin: Twin, offset: int, role: Role) -> None:
    """Have no byte of a ranged song come that lies a request's length or more beyond an offset.

    The answer is one that nobody asks for twice: a read that met good bytes first, and then failures that are
    tried again, may come to its deadline in the midst of a try (ETIMEDOUT).
    """
    scene.service.twist(role=role, path=twin.ident, cut=Cut(offset))

    def beyond(request: Request) -> bool:
        first = request.headers.get("range", "").removeprefix("bytes=").partition("-")[0]
        return twin.ident in request.path and first.isdigit() and int(first) >= offset

    scene.service.faults.append(Fault(beyond, xml_error(400, "InvalidRequest")))


BREAKS = {"wav": (Role.CDN, MIB), "stem": (Role.CDN, MIB), "m4a": (Role.BUCKET, MIB // 2)}
"""Where a form comes from, and how far. The stem is its archive's first: its bytes begin where that does."""


@pytest.mark.parametrize("form", ["wav", *(pytest.param(form, marks=LONG) for form in ("stem", "m4a"))])
def test_breaks_in_the_middle(form: str, ill: Stage) -> None:
    """Programs make of a song whose rest never comes what docs/programs.md says: an error, a part, or
    both."""
    twin = TAKEN[form](ill)
    role, offset = BREAKS[form]
    break_at(ill, twin, offset, role)
    rows = table("What it makes of a song that breaks in the middle")
    assert set(rows) <= set(PROGRAMS)
    # An m4a's index is at its end, so who looks for it finds nothing.
    programs = [name for name in (CERTAIN if form == "m4a" else HERE) if name in rows]
    ran = tried([(name, twin.there) for name in programs], limit=ENDS)
    misfits = [
        rows[name].misfit(each, twin.there, words()["EIO"]) for name, each in zip(programs, ran, strict=True)
    ]
    assert not any(misfits), "\n".join(filter(None, misfits))


@pytest.mark.parametrize(
    "form", ["wav", *(pytest.param(form, marks=LONG) for form in TAKEN if form not in ("wav", "cover"))]
)
def test_cable_pulled(form: str, sound: Sound, tmp_path: Path) -> None:
    """With the cable pulled in the middle of its song every program ends, those that read all of it with an
    error; what is cached plays on and is listed."""
    with stage(tmp_path, sound, rate=1_000_000, covers=COVERS, deadline=DEADLINE, listing_ttl=3600) as scene:
        scene.mount.expect(*WARNED)
        cached = scene.stem()
        done(["cat", cached.there])
        programs = HERE if EVERYTHING else CERTAIN  # as many as go side by side
        pairs = [(name, TAKEN[form](scene).there) for name in programs]
        began = time.monotonic()
        with scene.pulled(after=1.0):
            ran = dict(zip(programs, tried(pairs, limit=ENDS), strict=True))
            assert work(["cat", "{name}"], cached.there) == work(["cat", "{name}"], cached.here)
            assert run(["ls", "-l", scene.mount.path / "tempolor"]).returncode == 0
        assert time.monotonic() - began < 3 * ENDS
        assert {name: ran[name].code for name in CERTAIN if not ran[name].code} == {}
