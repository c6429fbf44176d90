"""Ardour, mostly without its window: sessions whose regions lie in place on a mount.

How it thinks: `ardour7-lua` is Ardour's engine with a prompt. It makes a session with one stereo track; the
region, embedded in place as "Import … Embed" does it, is written into the session's file, because embedding
is the one step that only the window offers. Then the engine opens the session, plays, locates and exports
on a sound card that is not there. It may fall over at its end, after its work, so its last words count and
not its exit code; on a busy machine also before, whatever disk the song is on, and is then started again.
Peaks are made for the window's sake only: `show` opens it, with the sound card chosen beforehand in the
settings.

What must always be true: nothing waits without a limit; what Ardour writes goes to the session's folder.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.daw_work import Working, working
from tests.clients.desktop_session import Desk

RATE = 44_100
_SUPERCLOCK = 282_240_000  # Ardour's ticks a second, in which a session's file counts
_TRIES = 4  # on a machine four times as busy as it can be one export in twelve ended in "double free"
LIMIT = 120.0  # seconds; a minute of sound takes 3 on a quiet machine
EXPORTED = "exported"

_ENGINE = """AudioEngine:set_backend("None (Dummy)", "", "")
AudioEngine:set_sample_rate(44100)
"""
_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<Ardour><Config><Option name="hide-dummy-backend" value="0"/>
<Option name="try-autostart-engine" value="1"/></Config>
<Extra><AudioMIDISetup><EngineStates><State backend="None (Dummy)" driver="Normal Speed" device="Silence"
 input-device="" output-device="" sample-rate="44100" buffer-size="1024" n-periods="0" input-latency="0"
 output-latency="0" input-channels="0" output-channels="0" active="1" use-buffered-io="0"
 midi-option="No MIDI I/O" lru="1"><MIDIDevices/></State></EngineStates></AudioMIDISetup></Extra></Ardour>
"""
_MAKE = """local s = create_session("{folder}", "{name}", 44100)
local max = ARDOUR.PresentationInfo.max_order
local tracks = s:new_audio_track(2, 2, nil, 1, "song", max, ARDOUR.TrackMode.Normal, true)
local output = tracks:front():output()
for _ = 1, 300 do
    if output:nth(0):connected() and output:nth(1):connected() then break end
    ARDOUR.LuaAPI.usleep(100000)
end
s:save_state("")
print("made")
io.stdout:flush()
quit()
"""
_OPEN = """local s = load_session("{folder}", "{name}")
assert(s, "no session")
"""
_EXPORT = """local export = s:simple_export()
export:set_folder("{out}")
export:set_name("{name}")
export:set_range(0, {samples})
assert(export:run_export())
print("exported")
io.stdout:flush()
quit()
"""
_PLAY = """local UI = ARDOUR.TransportRequestSource.TRS_UI
local function went(from)
    for _ = 1, {looks} do
        ARDOUR.LuaAPI.usleep(500000)
        if s:transport_sample() > from + {enough} then break end
    end
    return s:transport_sample() - from
end
local here = s:transport_sample()
s:request_roll(UI)
print("played", went(here))
s:request_locate({place}, false, ARDOUR.LocateTransportDisposition.MustRoll, UI)
print("located", went({place}))
io.stdout:flush()
s:request_stop(false, false, UI)
ARDOUR.LuaAPI.usleep(200000)
quit()
"""
_LOOKS = 80  # half a second each: a locate into what never comes waits for one deadline
_TIMES = 'start="a0" length="a{length}@a0" sync-position="a0" ancestral-start="a0" ancestral-length="a0@a0"'
_SHAPE = 'fade-in-active="0" fade-out-active="0" default-fade-in="0" default-fade-out="0" scale-amplitude="1"'
_REGION = (
    f'<Region name="song" id="{{id}}" type="audio" whole-file="{{whole}}" external="1" opaque="1" {_TIMES} '
    f'{_SHAPE} muted="0" locked="0" stretch="1" shift="1" layering-index="0" channels="2" '
    'source-0="1000" source-1="1001" master-source-0="1000" master-source-1="1001"/>'
)
_SOURCE = (
    '<Source name="{path}" origin="{path}" type="audio" flags="" id="{id}" channel="{channel}" gain="1"/>'
)


@dataclass(frozen=True, slots=True)
class Session:
    """A session with one track and one region."""

    folder: Path
    seconds: float

    def export(self, out: Path) -> bytes:
        """Export all of it and give the samples."""
        return self._do(_OPEN + _EXPORT, EXPORTED, **self._whole(out)).samples

    @contextmanager
    def exporting(self, out: Path) -> Iterator[Working]:
        """Begin to export all of it. It is done when it says `EXPORTED`."""
        with self._begun(_OPEN + _EXPORT, **self._whole(out)) as work:
            yield work

    def _whole(self, out: Path) -> dict[str, object]:
        out.mkdir(exist_ok=True)
        return {"out": out, "samples": int(self.seconds * RATE)}

    def play(self, place: float) -> dict[str, int]:
        """Play a second from the start, then one from a place (seconds); give how many samples each went on,
        which are fewer where it does not in time."""
        values = {"place": int(place * RATE), "enough": RATE, "looks": _LOOKS}
        said = self._do(_OPEN + _PLAY, "located", **values).said
        return {word: int(count) for word, count in re.findall(r"(played|located)\s+(-?\d+)", said)}

    @property
    def peaks(self) -> list[bytes]:
        """The peaks made so far, one file a channel; their names tell where the song is."""
        return sorted(path.read_bytes() for path in (self.folder / "peaks").glob("*.peak"))

    def show(self, desk: Desk) -> None:
        """Open it in Ardour's window, and wait for that."""
        self.open(desk)
        desk.window(f"^{self.folder.name} - Ardour$", 90)

    def open(self, desk: Desk) -> None:
        """Start Ardour's window with it; it may not open."""
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, desk.user.pw_uid, desk.user.pw_gid)
        desk.write(desk.config / "ardour7" / "config", _SETTINGS)
        desk.write(desk.config / "ardour7" / ".a7", "")  # or it would ask what a newcomer wants
        desk.start("ardour", "-a", "-n", self.folder / f"{self.folder.name}.ardour")

    def _do(self, script: str, last: str, **values: object) -> Working:
        """Have Ardour's engine run a script until it says its last word."""
        for _ in range(_TRIES):
            if script is _MAKE:
                shutil.rmtree(self.folder, ignore_errors=True)
            with self._begun(script, **values) as work:
                work.end(LIMIT)
            if last in work.said or not work.fell:
                break
        assert last in work.said, work.said
        return work

    @contextmanager
    def _begun(self, script: str, **values: object) -> Iterator[Working]:
        """Have Ardour's engine run a script, in the home that the session's folder is in."""
        home, name = self.folder.parent, self.folder.name
        file = home / f"{name}.lua"
        file.write_text(_ENGINE + script.format(folder=self.folder, name=name, **values))
        words = ("sh", "-c", 'exec ardour7-lua < "$0"', file)
        with working(words, home, Path(f"{values.get('out')}") / f"{name}.wav") as work:
            yield work


def embedded(folder: Path, path: Path, seconds: float) -> Session:
    """Make a session in a folder that does not exist yet, with a stereo file in place as its region."""
    folder.parent.mkdir(exist_ok=True)
    session = Session(folder, seconds)
    session._do(_MAKE, "made")
    file = folder / f"{folder.name}.ardour"
    text = file.read_text()
    assert '<Connection other="Master/' in text, "the track is not connected, and would be silent"
    length = int(seconds * _SUPERCLOCK)
    sources = "".join(_SOURCE.format(path=path, id=1000 + channel, channel=channel) for channel in (0, 1))
    region = _REGION.format(id=2000, whole=1, length=length)
    played = _REGION.format(id=2001, whole=0, length=length)
    text = text.replace("<Sources/>", f"<Sources>{sources}</Sources>")
    text = text.replace("<Regions/>", f"<Regions>{region}</Regions>")
    text = re.sub(r"(<Playlist [^>]*)/>", rf"\1>{played}</Playlist>", text, count=1)
    file.write_text(re.sub(r'id-counter="\d+"', 'id-counter="9000"', text))
    return session
