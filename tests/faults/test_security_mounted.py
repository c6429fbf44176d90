"""Who may look where: other users, names that a service makes up, links into the user's network, secrets."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musicfs.demo import DEMO_TOKEN, Member, Service, archive_of, wav_of_size
from musicfs.demo.faults import JSON, body
from tests.faults.gauges import settle
from tests.mounted.mounting import Mount, mounted, until
from tests.trust.witness import attempt

pytestmark = pytest.mark.timeout(120)
NOBODY = 65_534
SECRETS = (DEMO_TOKEN, "auth_key=", "X-Goog-Signature", "Bearer ", "ada@example.com")
EVIL = ("../../escape.wav", "/etc/evil.wav", "..", "a/../../b.wav", "CON:x.wav", "new\nline.wav", "‮gnp.wav")


ELSEWHERE = (
    *(
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://10.0.0.1/",
        "//10.0.0.1/x",
        "javascript:1",
        "",
    ),
    *("https://10.0.0.1/x", "https://192.168.1.1/x", "https://172.16.0.1/x", "https://169.254.169.254/x"),
    *("https://[fe80::1]/x", "https://[fc00::1]/x", "https://[::ffff:10.0.0.1]/x", "https://0.0.0.0/x"),
    *(
        "https://100.64.0.1/x",
        "https://2130706433.10.0.0.1/x",
        "http://93.184.216.34/x",
        "https://[::]/x",
    ),
    "https://user:secret@127.0.0.1/x",
)
"""Links that a service may name and nobody here follows."""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Give a folder that other users could enter, were what is in it not closed."""
    folder = Path(tempfile.mkdtemp(prefix="musicfs-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def hostile(home: Path) -> Iterator[tuple[Service, Mount]]:
    """Mount a service that names things as it should not; the log is as talkative as it can be."""
    service = Service(clock=time.time)
    for number, name in enumerate((*EVIL, "." * 300, "x" * 5000, "nul\0byte")):
        service.add_clip("ada@example.com", name, 3.0)
        job = service.add_job("100", name, 3.0, wav=wav_of_size(100_044, number))
        members = [Member(evil, b"RIFF" + bytes(60)) for evil in (*EVIL, "good.wav")]
        job.assets["stems"] = archive_of(members)
    for number in range(len(ELSEWHERE)):
        service.add_job("100", f"Job {number}", 3.0, wav=wav_of_size(1000, number))
    with mounted(service, home, deadline=4, log_level="debug") as mount:
        yield service, mount.list_all()


@pytest.fixture(autouse=True)
def _loud(hostile: tuple[Service, Mount]) -> None:
    """Declare what such a service gives cause to say."""
    hostile[1].expect("WARNING")


def as_nobody(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a program as another user."""
    return subprocess.run(
        command,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        timeout=20,
        check=False,
        cwd="/",
    )


root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@root
def test_another_user_sees_nothing(hostile: tuple[Service, Mount]) -> None:
    """Without `allow_other` another user cannot even list the mount."""
    _, mount = hostile
    assert b"Permission denied" in as_nobody("ls", mount.path).stderr
    assert as_nobody("cat", next((mount.path / "flowmusic").iterdir())).stdout == b""


@root
@pytest.mark.parametrize("name", ["cache", "state", "run"])
def test_folders_are_closed(hostile: tuple[Service, Mount], name: str) -> None:
    """Cache, state and the folder of sockets are closed to other users, and so is every file in them."""
    _, mount = hostile
    folder = mount.home / name
    assert as_nobody("ls", folder).returncode != 0
    for path in [folder, *folder.rglob("*")]:
        assert as_nobody("cat", path).returncode != 0, path
        if path.is_file() and name != "run":
            assert path.stat().st_mode & 0o077 == 0, path


@root
def test_the_socket_is_closed(hostile: tuple[Service, Mount]) -> None:
    """Another user cannot talk to the daemon."""
    _, mount = hostile
    sockets = [path for path in (mount.home / "run").rglob("*") if path.is_socket()]
    assert sockets
    assert all(as_nobody("test", "-w", path).returncode != 0 for path in sockets)


def test_names_stay_in_the_tree(hostile: tuple[Service, Mount]) -> None:
    """Whatever a service calls its songs and members: one name in its folder, no file elsewhere."""
    service, mount = hostile
    outside = {path.name for path in mount.home.iterdir()}
    seen = 0
    for folder, folders, files in os.walk(mount.path):
        for name in [*folders, *files]:
            assert name not in ("", ".", "..")
            assert not re.search(r"[\x00-\x1f/:‮]", name), name
            assert len(os.fsencode(name)) <= 255
            assert Path(folder, name).resolve().is_relative_to(mount.path.resolve())
            seen += 1
        for name in files:
            if "stems" in folder:
                attempt(Path(folder, name))
    assert seen > 3 * len(EVIL)
    assert "good.wav" in mount.listed("tempolor", service.tempolor.jobs[0].item, "stems")
    assert {path.name for path in mount.home.iterdir()} == outside
    kept = [path for path in (mount.home / "cache" / "objects").rglob("*") if path.is_file()]
    assert kept
    assert all(re.fullmatch(r"[0-9a-f]{40}\.(data|map|pass|pin)", path.name) for path in kept)


def test_links_that_point_elsewhere(hostile: tuple[Service, Mount]) -> None:
    """A link to another scheme, a private range or a name for one is refused."""
    service, mount = hostile
    for url, job in zip(ELSEWHERE, reversed(service.tempolor.jobs), strict=False):
        path = mount.path / "tempolor" / job.item / "song.wav"
        fault = service.fail(body(f'{{"url":"{url}","remainSeconds":100}}'.encode(), JSON), kind="mint")
        assert attempt(path) in ("EIO", "EHOSTUNREACH", "EACCES"), url
        service.faults.remove(fault)
    until(lambda: isinstance(attempt(path), bytes))


def test_redirects_into_the_network(hostile: tuple[Service, Mount]) -> None:
    """A redirect to a private address is refused too, and one that is followed carries no token."""
    service, mount = hostile
    job = service.tempolor.jobs[2]
    path = mount.path / "tempolor" / job.item / "song.wav"
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        heard: list[bytes] = []
        stranger.settimeout(3)
        listener = threading.Thread(target=_listen, args=(stranger, heard), daemon=True)
        listener.start()
        twist = service.twist(kind="range", redirect=f"http://127.0.0.1:{stranger.getsockname()[1]}/x")
        attempt(path)
        service.twists.remove(twist)
    twist = service.twist(kind="range", redirect="http://10.0.0.1/x")
    time.sleep(1.1)
    assert attempt(path) in ("EIO", "EHOSTUNREACH", "EACCES")
    service.twists.remove(twist)
    listener.join(20)
    assert heard
    assert not any(secret.encode() in data for data in heard for secret in SECRETS)
    assert not any(b"authorization" in data.lower() for data in heard)


def _listen(stranger: socket.socket, heard: list[bytes]) -> None:
    try:
        while True:
            peer, _ = stranger.accept()
            with peer:
                heard.append(peer.recv(65_536))
                peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    except OSError:
        pass


def _text(path: Path, look: Callable[[Path], bytes | str]) -> str:
    """Read what the running daemon has there; nothing if it has closed or removed it since it was listed."""
    try:
        found = look(path)
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return found if isinstance(found, str) else found.decode("latin-1")


def test_no_secret_is_anywhere(hostile: tuple[Service, Mount]) -> None:
    """After all that no file, log line, command's answer or `/proc` entry of the daemon holds a secret."""
    _, mount = hostile
    settle(mount)
    words = (["status", "--json", str(mount.path)], ["doctor"], ["cache", "info", "--json", str(mount.path)])
    told = [mount.ask(*one) for one in words]
    texts = {"the log": mount.log, "the commands": "".join(one.stdout + one.stderr for one in told)}
    for name in ("cmdline", "comm", "status", "mountinfo", "mounts", "maps", "stack", "wchan", "cgroup"):
        try:
            texts[name] = Path(f"/proc/{mount.pid}/{name}").read_bytes().decode("latin-1")
        except OSError:
            continue
    for task in Path(f"/proc/{mount.pid}/task").iterdir():
        texts[f"task {task.name}"] = _text(task / "comm", Path.read_bytes)
    for one in Path(f"/proc/{mount.pid}/fd").iterdir():
        texts[f"descriptor {one.name}"] = _text(one, os.readlink)
    for path in mount.home.rglob("*"):
        if mount.path not in path.parents and mount.home / "state" not in path.parents and path.is_file():
            texts[str(path)] = str(path.relative_to(mount.home)) + _text(path, Path.read_bytes)
    found = [(where, secret) for where, text in texts.items() for secret in SECRETS if secret in text]
    assert not found
    assert "DEBUG" in mount.log
