"""A web server of a folder, with ranges and an index, that can be told to misbehave."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Web:
    """How the server behaves.

    Parameters
    ----------
    latency_s : before each answer, in seconds
    errors : share of requests answered with 503
    breaks : share of answers that break off half way
    ranges : whether it knows them
    sizes : whether it tells the size of a file
    forbidden : paths answered with 403
    """

    latency_s: float = 0.0
    errors: float = 0.0
    breaks: float = 0.0
    ranges: bool = True
    sizes: bool = True
    forbidden: tuple[str, ...] = ()


class WebServer:
    """Serves a folder on a free local port while the `with` lasts; `web` may be changed at any time.

    Attributes
    ----------
    requests : method, path and range of each request
    most : requests that were under way at once
    """

    def __init__(self, folder: Path, web: Web | None = None) -> None:
        self.web = web or Web()
        self.requests: list[tuple[str, str, str]] = []
        self.most = 0
        self._now = 0
        self._dice = random.Random(3)
        self._lock = threading.Lock()
        handler = partial(_Handler, directory=str(folder), server_of=self)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> WebServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def switch(self, **changes: Any) -> None:
        """Behave otherwise from now on."""
        self.web = replace(self.web, **changes)

    def struck(self, share: float) -> bool:
        """Whether the dice say so."""
        with self._lock:
            return self._dice.random() < share

    def counts(self) -> Counter[str]:
        """Requests by path."""
        return Counter(path for _, path, _ in self.requests)

    def began(self, request: tuple[str, str, str]) -> None:
        """One more request is under way."""
        with self._lock:
            self.requests.append(request)
            self._now += 1
            self.most = max(self.most, self._now)

    def ended(self) -> None:
        """One less."""
        with self._lock:
            self._now -= 1


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *given: Any, server_of: WebServer, **more: Any) -> None:
        self.of = server_of
        super().__init__(*given, **more)

    def log_message(self, *values: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def _answer(self, *, with_body: bool) -> None:
        self.of.began((self.command, self.path, self.headers.get("Range", "")))
        try:
            self._misbehave_or_send(with_body)
        finally:
            self.of.ended()

    def _misbehave_or_send(self, with_body: bool) -> None:
        web = self.of.web
        time.sleep(web.latency_s)
        path = Path(self.translate_path(self.path))
        if self.of.struck(web.errors):
            self._send(503, b"busy", with_body)
        elif self.path in web.forbidden:
            self._send(403, b"no", with_body)
        elif path.is_dir():
            listed = self.list_directory(path)
            assert isinstance(listed, io.BytesIO)
            self.wfile.write(listed.read() if with_body else b"")
        elif not path.is_file():
            self._send(404, b"none", with_body)
        else:
            self._file(path.read_bytes(), with_body)

    def _file(self, data: bytes, with_body: bool) -> None:
        web = self.of.web
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": etag, "Content-Type": "application/octet-stream"}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if web.ranges else None
        status = 200
        if found:
            start, stop = int(found[1]), int(found[2] or len(data) - 1) + 1
            if start >= len(data):
                self._send(416, b"", with_body)
                return
            headers["Content-Range"] = f"bytes {start}-{min(stop, len(data)) - 1}/{len(data)}"
            data, status = data[start:stop], 206
        self._send(status, data, with_body, headers, breaks=with_body and self.of.struck(web.breaks))

    def _send(
        self, status: int, data: bytes, with_body: bool, headers: dict[str, str] | None = None, breaks: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        chunked = status == 200 and not self.of.web.sizes
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(data)))))
        self.end_headers()
        if not with_body:
            return
        if chunked:
            data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self.wfile.write(data[: len(data) // 2] if breaks else data)
        if breaks:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise ConnectionResetError


@contextmanager
def nginx(folder: Path, work: Path) -> Iterator[str]:
    """The URL of a real nginx over a folder, its index on; what it writes lies in `work`."""
    with WebServer(work) as free:  # a port of the system's choice
        port = int(free.url.rpartition(":")[2])
    os.chmod(work, 0o755)  # noqa: PTH101
    (work / "nginx.conf").write_text(
        f"pid {work}/pid; error_log stderr; daemon off; worker_processes 1; user root;\n"
        f"events {{}} http {{ access_log off; client_body_temp_path {work}/b; proxy_temp_path {work}/p;\n"
        f"fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; gzip on; gzip_types *; }} }}\n"
    )
    program = shutil.which("nginx", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
    assert program is not None
    process = subprocess.Popen([program, "-c", work / "nginx.conf", "-p", work], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not (work / "pid").exists() and time.monotonic() < until:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
