"""An HTTP proxy that misbehaves in front of an object store, as networks and stores do."""

from __future__ import annotations

import http.client
import random
import socket
import socketserver
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, NoReturn

XML = [("Content-Type", "application/xml")]

#: Longest wait for the server behind, in seconds.
PATIENCE_S = 120.0


def environment(port: int) -> dict[str, str]:
    """The usual variables of S3 for a server on a local port."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }


def error_body(code: str) -> bytes:
    """An error as S3 words it."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()


@dataclass(frozen=True)
class Faults:
    """What the proxy does to requests; shares are probabilities per request, drawn one after another.

    Parameters
    ----------
    latency_s : delay before each request goes on, in seconds
    errors : share answered with 500, 503 or 503 SlowDown in place of being passed on
    hang : share that gets no answer at all; the connection stays open
    tear : share of PUTs cut by a connection reset after half of the body
    lose : share of PUTs that are carried out and then answered by a reset or, every other time, with 500
    truncate : share of GETs whose answer breaks off half way
    conflict : share of conditional PUTs answered with 409, as S3 may when two writers meet
    stale_lists : LIST requests get the oldest answer that the proxy has seen to the same question
    forgetful : `If-None-Match` is taken out, so that the store overwrites silently
    forbid : every request is answered with 403 AccessDenied
    down : every connection is reset
    """

    latency_s: float = 0.0
    errors: float = 0.0
    hang: float = 0.0
    tear: float = 0.0
    lose: float = 0.0
    truncate: float = 0.0
    conflict: float = 0.0
    stale_lists: bool = False
    forgetful: bool = False
    forbid: bool = False
    down: bool = False


class Proxy:
    """An HTTP proxy to a local port whose faults can be switched at any time; use it in a `with`.

    Parameters
    ----------
    port : of the S3 server
    faults : those at the start
    seed : of the dice
    """

    def __init__(self, port: int, faults: Faults | None = None, *, seed: int = 0) -> None:
        self.upstream = port
        self.faults = faults or Faults()
        self.injected: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self.lists: dict[str, Answer] = {}
        self._dice = random.Random(seed)
        self._lock = threading.Lock()

    def __enter__(self) -> Proxy:
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.close_all()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The proxy's own port."""
        return int(self._server.server_address[1])

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to go through the proxy."""
        return environment(self.port)

    def switch(self, **faults: Any) -> None:
        """Change some of the faults from now on."""
        self.faults = replace(self.faults, **faults)

    @contextmanager
    def with_faults(self, **faults: Any) -> Iterator[None]:
        """Change some of the faults for a block."""
        before = self.faults
        self.switch(**faults)
        try:
            yield
        finally:
            self.faults = before

    def struck(self, fault: str, share: float) -> bool:
        """Whether the dice say that a fault befalls this request; it is counted."""
        with self._lock:
            hit = share > 0 and self._dice.random() < share
            self.injected[fault] += hit
            return hit

    def note(self, method: str, path: str) -> None:
        """Remember a request."""
        with self._lock:
            self.requests.append((method, path))

    def listed(self, question: str, answer: Answer) -> None:
        """Remember the first answer to a LIST."""
        with self._lock:
            self.lists.setdefault(question, answer)


@dataclass(frozen=True)
class Answer:
    """An answer of the server."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Server(socketserver.ThreadingTCPServer):
    """Threads that end with their connections, which `close_all` closes."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed leaves a broken connection: that is what it is for."""
        if not isinstance(sys.exception(), OSError | http.client.HTTPException):
            super().handle_error(request, client_address)

    def close_all(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # gone already


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, and its connection to the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    proxy: ClassVar[Proxy]

    def log_message(self, *values: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self._server = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=PATIENCE_S)

    def finish(self) -> None:
        self._server.close()
        super().finish()

    def _pass(self) -> None:
        proxy, faults = self.proxy, self.proxy.faults
        proxy.note(self.command, self.path)
        time.sleep(faults.latency_s)
        length = int(self.headers.get("Content-Length") or 0)
        if faults.down or (self.command == "PUT" and proxy.struck("tear", faults.tear)):
            self.rfile.read(length // 2)
            self._reset()
        body = self.rfile.read(length)
        if proxy.struck("hang", faults.hang):
            self.connection.recv(1)  # until the client loses its patience
            self._reset()
        if faults.forbid:
            self._answer(Answer(403, XML, error_body("AccessDenied")))
        elif "If-None-Match" in self.headers and proxy.struck("conflict", faults.conflict):
            self._answer(Answer(409, XML, error_body("ConditionalRequestConflict")))
        elif proxy.struck("errors", faults.errors):
            self._answer(an_error(len(proxy.requests)))
        else:
            self._carry_out(body)

    def _carry_out(self, body: bytes) -> None:
        proxy, faults = self.proxy, self.proxy.faults
        answer = self._ask(body)
        if self.command == "PUT" and proxy.struck("lose", faults.lose):
            if proxy.injected["lose"] % 2:
                self._reset()
            answer = an_error(0)
        cut = self.command == "GET" and proxy.struck("truncate", faults.truncate)
        self._answer(answer, answer.body[: len(answer.body) // 2] if cut else None)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    def _ask(self, body: bytes) -> Answer:
        """Of the server, or of the memory of LISTs."""
        proxy = self.proxy
        is_list = self.command == "GET" and ("list-type=" in self.path or "prefix=" in self.path)
        if is_list and proxy.faults.stale_lists and self.path in proxy.lists:
            proxy.struck("stale", 1.0)
            return proxy.lists[self.path]
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        if proxy.faults.forgetful:
            headers = {name: value for name, value in headers.items() if name.lower() != "if-none-match"}
        self._server.request(self.command, self.path, body or None, headers)
        if self._server.sock is not None:
            self._server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found = self._server.getresponse()
        dropped = {"connection", "transfer-encoding"}
        kept = [(name, value) for name, value in found.getheaders() if name.lower() not in dropped]
        answer = Answer(found.status, kept, found.read())
        if is_list:
            proxy.listed(self.path, answer)
        return answer

    def _answer(self, answer: Answer, body: bytes | None = None) -> None:
        """Send an answer, or only as much of its body as is given, and then a reset."""
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in answer.headers):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":  # whose answers have no body
            self.wfile.write(answer.body if body is None else body)
        self.wfile.flush()
        if body is not None:
            self._reset()

    def _reset(self) -> NoReturn:
        """End the connection by RST, without an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise ConnectionResetError


def an_error(number: int) -> Answer:
    """One of S3's ways to say that it cannot."""
    status, code = ((500, "InternalError"), (503, "ServiceUnavailable"), (503, "SlowDown"))[number % 3]
    return Answer(status, XML, error_body(code))
