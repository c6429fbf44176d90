"""Servers of our own that give a folder on: NFS-Ganesha and Python's http.server. Samba's is `shared` in
tests/mounted/test_library.py.

What must always be true: each listens on 127.0.0.1 only, and ends with its block.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mounted.mounting import run, until

_GANESHA = """
NFS_CORE_PARAM {{
    NFS_Port = {port}; Protocols = 4; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false;
}}
NFSv4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = {home}; }}
EXPORT {{
    Export_Id = 7; Path = {path}; Pseudo = /music; Access_Type = RO; Squash = None; SecType = sys;
    Attr_Expiration_Time = {kept};
    FSAL {{ Name = VFS; }}
}}
"""


@contextmanager
def nfs(path: Path, home: Path, kept: int = 0) -> Iterator[str]:
    """Export a folder by NFS 4; give a URL with `{}` where a path in it goes.

    Sizes and dates are kept for `kept` seconds; Ganesha by itself would keep them for 60.
    """
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (home / "conf").write_text(_GANESHA.format(port=port, home=home, path=path, kept=kept))
    words = ["ganesha.nfsd", "-F", "-f", f"{home}/conf", "-L", f"{home}/log", "-p", f"{home}/pid"]
    daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    url = f"nfs://127.0.0.1/music/{{}}?version=4&nfsport={port}"
    try:
        until(lambda: run(["nfs-ls", url.format("")]).returncode == 0)
        yield url
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(20)


@contextmanager
def http(path: Path, home: Path) -> Iterator[str]:
    """Serve a folder by `python -m http.server`; give its URL, without a slash at the end."""
    words = [sys.executable, "-um", "http.server", "--bind", "127.0.0.1", "--directory", str(path), "0"]
    with (home / "http.log").open("wb") as log:
        server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
    assert server.stdout is not None
    try:
        found = re.search(rb"port (\d+)", server.stdout.readline())
        assert found is not None
        yield f"http://127.0.0.1:{int(found[1])}"
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()
