"""The origin: nginx hands out the bytes, the embedded API behind it hands out the links.

How it thinks: three hosts as in the world (API, CDN, bucket), each a port, plain and over TLS. Files lie
where the service's links point to; a Flow Music mp3, which the real API sends itself, is a file too, found
by the clip's id. Everything else under /v1 and /v2 goes on to the embedded service. nginx writes a line a
request, and from those lines the requests are counted.

What must always be true: it runs as whoever calls, on ports of 127.0.0.1, out of one folder, and ends with
its `with` block or with this process.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from musicfs.demo import Role, Service
from tests.loopback import running

HOSTS = (Role.API, Role.CDN, Role.BUCKET)
BUCKET = "/producer-app-public/clips"
_PATIENCE = 10.0  # seconds until nginx has to answer, and to be gone

_CONFIG = """
{user} daemon off; pid {run}/pid; worker_processes 1; error_log {run}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    types {{ audio/mpeg mp3; audio/mp4 m4a; audio/wav wav; application/zip zip; }}
    default_type application/octet-stream;
    client_body_temp_path {run}/body; proxy_temp_path {run}/proxy; fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi; scgi_temp_path {run}/scgi;
    sendfile on; tcp_nodelay on; keepalive_timeout 300s; keepalive_requests 1000000;
    log_format counted '$server_port $status $body_bytes_sent "$http_range" $request_method $uri';
    access_log {run}/access.log counted;
    map $arg_id $clip {{ default none; "~(?<last>[0-9a-f-]{{36}})$" $last; }}
    upstream service {{ server 127.0.0.1:{service}; keepalive 16; }}
    server {{
        {listens}
        ssl_certificate {run}/server.pem; ssl_certificate_key {run}/server.pem;
        root {files};
        autoindex on;
        location = /v1/flowmusic/music/download {{ default_type audio/mpeg; try_files /mp3/$clip.mp3 =404; }}
        location ~ ^/v[12]/ {{
            proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffers 16 64k; proxy_buffer_size 64k;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as nginx saw it."""

    port: int
    status: int
    sent: int
    """Body bytes handed to the socket: more than arrived, if the reader left early."""
    range: str
    path: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The running origin."""

    service: Service
    files: Path
    ports: tuple[int, ...]
    """Of the hosts in order, plain."""
    tls_ports: tuple[int, ...]
    ca_file: Path
    log: Path

    def mark(self) -> int:
        """Give a place in the log, to count from."""
        return self.log.stat().st_size

    def asked(self, since: int = 0) -> list[Asked]:
        """Give the requests that ended after a mark."""
        with self.log.open("rb") as log:
            log.seek(since)
            lines = log.read().decode("utf-8", "replace").splitlines()
        return [parse(line) for line in lines]


def parse(line: str) -> Asked:
    """Read one line of the log, in the format above."""
    place, _, rest = line.partition(' "')
    ranged, _, what = rest.partition('" ')
    port, status, sent = map(int, place.split())
    return Asked(port, status, sent, ranged, what.partition(" ")[2])


def _free_ports(count: int) -> list[int]:
    """Find ports that nobody has; nginx takes them a moment later."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def origin(folder: Path, service: Service) -> Iterator[Origin]:
    """Serve the files below `folder`/files, and the service's API, for as long as the block lasts."""
    run, files = folder / "nginx", folder / "files"
    run.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(run / "ca.pem"))
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
        str(run / "server.pem")
    )
    with running(service) as loop:
        ports = _free_ports(2 * len(HOSTS))
        plain, tls = ports[: len(HOSTS)], ports[len(HOSTS) :]
        listens = [f"listen 127.0.0.1:{port};" for port in plain]
        listens += [f"listen 127.0.0.1:{port} ssl;" for port in tls]
        config = _CONFIG.format(
            user="user root;"
            if os.geteuid() == 0
            else "",  # Its workers would else be nobody, who sees nothing.
            run=run,
            files=files,
            service=loop.api_url.rpartition(":")[2],
            listens=" ".join(listens),
        )
        (run / "nginx.conf").write_text(config)
        with _nginx(run, plain[0]):
            yield Origin(service, files, tuple(plain), tuple(tls), run / "ca.pem", run / "access.log")


@contextmanager
def _nginx(run: Path, port: int) -> Iterator[None]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") or "nginx"
    with (run / "said").open("wb") as said:
        process = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "TERM",
                program,
                "-p",
                run,
                "-e",
                run / "error.log",
                "-c",
                run / "nginx.conf",
            ],
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + _PATIENCE
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"nginx did not start: {(run / 'said').read_text(errors='replace')}")
            time.sleep(0.02)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
