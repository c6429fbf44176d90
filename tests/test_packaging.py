"""The man page and the completions: made from the parser, in step with it, and they work in real shells."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PACKAGING = Path(__file__).parent.parent / "packaging"
BASH = """
source {script}
COMP_WORDS=({words}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_musicfs
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program, in English."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def test_they_are_in_step_with_the_parser() -> None:
    """What is committed is what the parser makes now; else: python packaging/build.py."""
    done = run(sys.executable, PACKAGING / "build.py", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def offered(words: str, cwd: Path) -> set[str]:
    """Ask a real bash what may follow."""
    script = BASH.format(script=PACKAGING / "completions/musicfs.bash", words=words)
    done = run("bash", "--norc", "-uc", script, cwd=cwd)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_offers_what_may_follow(tmp_path: Path) -> None:
    """Verbs, verbs below verbs, options, values of options, folders and files; each where it belongs."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.toml").touch()
    assert offered("musicfs wa", tmp_path) == {"warm"}
    assert {"status", "doctor", "--version"} <= offered("musicfs ''", tmp_path)
    assert {"info", "verify", "prune"} <= offered("musicfs cache ''", tmp_path)
    assert offered("musicfs cache prune --o", tmp_path) == {"--older"}
    assert offered("musicfs mount --log-level d", tmp_path) == {"debug"}
    assert offered("musicfs mount --log-format ''", tmp_path) == {"text", "json"}
    assert offered("musicfs mount -o cache_s", tmp_path) == {"cache_size="}
    assert offered("musicfs mount --config ''", tmp_path) == {"folder", "file.toml"}
    assert offered("musicfs mount ''", tmp_path) == {"folder"}
    assert offered("musicfs why f", tmp_path) == {"folder", "file.toml"}
    assert offered("musicfs why --j", tmp_path) == {"--json"}


def test_the_page_is_good_roff() -> None:
    """groff has no complaint, and every verb and setting is in it."""
    done = run("groff", "-man", "-Tutf8", "-ww", PACKAGING / "musicfs.1")
    assert done.stderr == ""
    plain = re.sub(".\b", "", done.stdout)
    for word in ("musicfs cache verify", "MUSICFS_", "deadline", "77", "SETTINGS"):
        assert word in plain
