"""Players, probes, taggers and converters: what they render and tell is what they do from a local disk.

How it thinks: a player's sound goes into a file, so that what was heard can be compared byte for byte.
Seeking goes to 80 %. A Flow Music mp3 is made anew each time and has no parts to ask for, so
whoever opens one has it whole; an m4a (its `moov` at the end), a wav and a stored stem come in parts; a
deflated stem is inflated from its first byte.
"""

from __future__ import annotations

import pytest

from tests.clients.stage import Stage, Twin
from tests.clients.work import KIB, MIB, agrees, whole

PROBED = ("ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "{name}")
SEEK = ("ffmpeg", "-v", "error", "-ss", "48", "-i", "{name}", "-t", "2", "-f", "s16le", "{out}/pcm")
MPV = ("mpv", "--no-config", "--really-quiet", "--no-video", "--ao=pcm", "--ao-pcm-file={out}/heard.wav")
# VLC refuses to be root, so it is nobody in a namespace of its own.
VLC = ("unshare", "--user", "cvlc", "--quiet", "-I", "dummy", "--no-video", "--play-and-exit")
VLC_PCM = "#transcode{vcodec=none,acodec=s16l}:std{access=file,mux=wav,dst={out}/heard.wav}"
VLC_SEEK = (
    *("sh", "-ec", '"$@"; tail -c 1000000 {out}/heard.wav > {out}/end; rm {out}/heard.wav', "sh"),
    *(*VLC, "--start-time=48", "--sout", VLC_PCM, "{name}"),
)
"""The last six seconds: where it begins differs by a frame from run to run, on any disk."""
SYSTEM = "/usr/bin/python3"  # which has Debian's modules
TAGS = """
import sys, mutagen
song = mutagen.File(sys.argv[1])
print(song.info.length, song.info.bitrate, sorted((song.tags or {}).items()))
"""
SAMPLES = """
import hashlib, sys, soundfile
song = soundfile.SoundFile(sys.argv[1])
print(song.frames, song.samplerate, song.channels)
song.seek(song.frames * 4 // 5)
print(hashlib.sha256(song.read(song.samplerate, "int16").tobytes()).hexdigest())
"""

TASKS: dict[str, tuple[str, tuple[str, ...], int, tuple[str, ...]]] = {
    # What, the song's form, the words, the budget (0: the whole file), the programs that are needed.
    "ffprobe mp3": ("mp3", PROBED, 0, ("ffprobe",)),
    "ffprobe m4a": ("m4a", PROBED, MIB, ("ffprobe",)),
    # ffprobe 7 reads 0.85 MB of a wav, 5 and 6 read 0.26 (strace).
    "ffprobe wav": ("wav", PROBED, 3 * MIB, ("ffprobe",)),
    "ffmpeg seek mp3": ("mp3", SEEK, 0, ("ffmpeg",)),
    "ffmpeg seek m4a": ("m4a", SEEK, 0, ("ffmpeg",)),
    "ffmpeg seek wav": ("wav", SEEK, 6 * MIB, ("ffmpeg",)),
    "ffmpeg m4a to flac": (
        "m4a",
        ("ffmpeg", "-v", "error", "-i", "{name}", "-bitexact", "{out}/a.flac"),
        0,
        ("ffmpeg",),
    ),
    "ffmpeg wav to mp3": (
        "wav",
        ("ffmpeg", "-v", "error", "-i", "{name}", "-bitexact", "{out}/a.mp3"),
        0,
        ("ffmpeg",),
    ),
    "soxi": ("wav", ("sox", "--info", "{name}"), MIB, ("sox",)),
    "sox": ("wav", ("sox", "{name}", "{out}/a.wav", "trim", "48", "2"), 4 * MIB, ("sox",)),
    "ffprobe stem": ("stem", PROBED, 2 * MIB, ("ffprobe",)),
    "ffmpeg inflated stem": (
        "inflated",
        ("ffmpeg", "-v", "error", "-i", "{name}", "-bitexact", "{out}/a.flac"),
        0,
        ("ffmpeg",),
    ),
    "sox stem": ("stem", ("sox", "{name}", "{out}/a.wav", "trim", "8", "2"), 2 * MIB, ("sox",)),
    "mediainfo stem": ("stem", ("mediainfo", "{name}"), 0, ("mediainfo",)),
    "soundfile inflated stem": ("inflated", (SYSTEM, "-c", SAMPLES, "{name}"), 0, ("mid3v2",)),
    "mutagen stem": ("stem", (SYSTEM, "-c", TAGS, "{name}"), 0, ("mid3v2",)),
    "mpv stem": ("stem", (*MPV, "{name}"), 0, ("mpv",)),
    "vlc inflated stem": ("inflated", (*VLC, "--sout", VLC_PCM, "{name}"), 0, ("cvlc",)),
    "sox mp3": ("mp3", ("sox", "{name}", "-D", "{out}/a.wav"), 0, ("sox",)),
    "mediainfo mp3": ("mp3", ("mediainfo", "{name}"), 0, ("mediainfo",)),
    "mediainfo m4a": ("m4a", ("mediainfo", "{name}"), MIB, ("mediainfo",)),
    "mediainfo wav": ("wav", ("mediainfo", "{name}"), 7 * MIB, ("mediainfo",)),
    "mutagen mp3": ("mp3", (SYSTEM, "-c", TAGS, "{name}"), 0, ("mid3v2",)),
    "mutagen m4a": ("m4a", (SYSTEM, "-c", TAGS, "{name}"), MIB, ("mid3v2",)),
    "soundfile mp3": ("mp3", (SYSTEM, "-c", SAMPLES, "{name}"), 0, ("mid3v2",)),
    "soundfile wav": ("wav", (SYSTEM, "-c", SAMPLES, "{name}"), 4 * MIB, ("mid3v2",)),
    "mpv wav": ("wav", (*MPV, "{name}"), 0, ("mpv",)),
    "mpv m4a": ("m4a", (*MPV, "{name}"), 0, ("mpv",)),
    "mpv seek mp3": ("mp3", (*MPV, "--start=80%", "--length=2", "{name}"), 0, ("mpv",)),
    "mpv seek m4a": ("m4a", (*MPV, "--start=80%", "--length=2", "{name}"), 0, ("mpv",)),
    "mpv seek wav": ("wav", (*MPV, "--start=80%", "--length=2", "{name}"), 6 * MIB, ("mpv",)),
    "vlc wav": ("wav", (*VLC, "--sout", VLC_PCM, "{name}"), 0, ("cvlc",)),
    "vlc mp3": ("mp3", (*VLC, "--sout", VLC_PCM, "{name}"), 0, ("cvlc",)),
    "vlc seek m4a": ("m4a", VLC_SEEK, 0, ("cvlc",)),
    "vlc seek wav": ("wav", VLC_SEEK, 6 * MIB, ("cvlc",)),
}
LONG = {"ffmpeg wav to mp3", "ffmpeg seek m4a", "ffprobe mp3", "ffprobe stem"}
"""Done in the long form only, because others show nearly the same."""


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(key, marks=(pytest.mark.needs(*task[3]), *((pytest.mark.long,) if key in LONG else ())))
        for key, task in TASKS.items()
    ],
)
def test_media(what: str, scene: Stage) -> None:
    """A media program tells and renders from the mount what it does from a local disk, within its budget."""
    form, words, budget, _ = TASKS[what]
    twin: Twin = getattr(scene, form)()
    # The end of an archive, with its directory, is fetched first, and belongs to nobody's stem.
    directory = 128 * KIB if form in ("stem", "inflated") else 0
    agrees(scene, twin, words, budget or whole(twin) + directory)
