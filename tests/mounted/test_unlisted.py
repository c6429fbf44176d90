"""Names that no listing shows, and files that have several names."""

from __future__ import annotations

import os
from pathlib import Path

from musicfs.demo import Clip, Service
from tests.mounted.mounting import (
    digest,
    done,
    mounted,
    sha256,
)
from tests.mounted.picture import stock


def test_names_that_resolve_unlisted(service: Service, tmp_path: Path) -> None:
    """Longer names resolve without being listed: full clip id, jobid, full job_id, .m4a and .wav; a
    bare uuid that no listing showed is ENOENT."""
    clip, later = service.add_clip("ada@example.com", "One"), service.add_clip("ben+x@example.org", "Two")
    job, flow = service.add_job("100", "Three"), service.flow
    made = flow.add_job("ada@example.com", clip, later)
    with mounted(service, tmp_path) as mount:
        top = mount.path / "flowmusic"
        listed = mount.listed("flowmusic"), mount.listed("tempolor")
        hidden = service.add_clip("ada@example.com", "Never listed")
        assert sha256(top / f"{flow.handle(clip)}.mp3") == digest(clip.assets["mp3"])
        assert sha256(top / f"{flow.handle(later)}.wav") == digest(later.assets["wav"])
        assert sha256(top / f"{flow.handle(hidden)}.mp3") == digest(hidden.assets["mp3"])
        assert sha256(top / f"{flow.handle(made)}.mp3") == digest(clip.assets["mp3"])
        for form in ("m4a", "wav"):
            assert sha256(top / f"{clip.uuid}.{form}") == digest(clip.assets[form])
            assert sha256(top / f"{flow.handle(made)}.{form}") == digest(clip.assets[form])
        folder = mount.path / "tempolor" / service.tempolor.handle(job)
        assert sorted(os.listdir(folder)) == ["song.mp3", "song.wav", "stems"]
        assert sha256(folder / "song.wav") == digest(job.assets["wav"])
        assert not (top / f"{hidden.uuid}.mp3").exists()
        assert not (top / f"{clip.uuid}.flac").exists()
        assert not (top / f"{clip.uuid}").exists()
        assert (mount.listed("flowmusic"), mount.listed("tempolor")) == listed
        assert os.stat(top / f"{flow.handle(clip)}.mp3").st_ino == os.stat(top / f"{clip.uuid}.mp3").st_ino


def test_one_inode_wherever_it_is_shown(service: Service, tmp_path: Path) -> None:
    """A file is one inode wherever it is shown, `st_nlink` is the number of its listed names, modes are
    0644 and 0755, and `st_blocks` is set."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        mp3 = mount.path / "flowmusic" / f"{service.flow.clips[0].uuid}.mp3"
        shown = mount.path / "library" / "Song 0" / "Song 0.mp3"
        mount.listed("library")  # its name comes when both services have been listed
        one, other = os.stat(mp3), os.stat(shown)
        assert one.st_ino == other.st_ino
        assert one.st_nlink == 2
        assert one.st_mode == 0o100644
        assert one.st_blocks == -(-one.st_size // 512)
        folder = os.stat(mp3.parent)
        assert (folder.st_mode, folder.st_nlink) == (0o040755, 1)
        copied = done(["du", "--apparent-size", "-b", mp3, shown]).splitlines()
        assert len(copied) == 1


def test_stem_clips(service: Service, tmp_path: Path) -> None:
    """Flow Music's stem clips are plain in flowmusic/ and in their song's `stems/` in library/."""
    song: Clip = service.add_clip("ada@example.com", "Night Drive")
    stems = service.flow.add_stems(song)
    with mounted(service, tmp_path) as mount:
        assert len(mount.listed("flowmusic")) == 5
        assert mount.songs() == {"Night Drive"}
        assert mount.listed("library", "Night Drive", "stems") == {
            f"{name}.mp3" for name in ("drums", "bass", "vocals", "other")
        }
        drums = mount.path / "library" / "Night Drive" / "stems" / "drums.mp3"
        assert sha256(drums) == digest(stems[0].assets["mp3"])
