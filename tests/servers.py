"""An S3 server with conditional puts, in a process of its own; the proxy before it is in s3_proxy."""

from __future__ import annotations

import http.client
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from s3_proxy import PATIENCE_S, Faults, Proxy, environment, error_body

__all__ = ["BUCKET", "Faults", "Proxy", "S3Server", "race"]

BUCKET = "bucket"

#: Enough for moto to see that S3 is meant.
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


class S3Server:
    """moto's S3 in a process of its own, on a free port, with one bucket; use it in a `with`.

    moto checks no signatures, and looks for an object and stores it in two steps, which here are one (see `serve`).
    Its objects lie in that process's memory: `stop` forgets them.
    """

    def __enter__(self) -> S3Server:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "moto's server did not start: is moto[server] installed?"
        self.port = int(line)
        self.make_bucket(BUCKET)
        return self

    def __exit__(self, *reason: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to use the server."""
        return environment(self.port)

    def make_bucket(self, name: str) -> None:
        """Another bucket."""
        assert self.request("PUT", f"/{name}") == 200

    def request(self, method: str, path: str, body: bytes = b"") -> int:
        """Send one request, past every proxy; the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {"Authorization": SIGNED})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()


def race(n: int, write: Callable[[int], object]) -> list[int]:
    """Call `write(number)` in `n` threads at once; the numbers for which it was true."""
    start = threading.Barrier(n)
    won: list[int] = []
    wrong: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            if write(number):
                won.append(number)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    return won


def serve() -> None:
    """Run moto on a free port, print it, and end with the parent process.

    S3 answers 400 to a body that ends too early and lets exactly one of two racing `If-None-Match: *` win. moto
    stores the half and may let both: hence the bodies are read and counted here, and writes go one at a time.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    moto: Callable[..., Iterable[bytes]] = DomainDispatcherApplication(create_backend_app)
    writing = threading.Lock()

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in {"PUT", "POST", "DELETE"}:
            return moto(environ, start_response)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        if len(body) < length:
            start_response("400 Bad Request", [("Content-Type", "application/xml"), ("Connection", "close")])
            return [error_body("IncompleteBody")]
        environ["wsgi.input"] = io.BytesIO(body)
        with writing:
            return list(moto(environ, start_response))

    class Handler(MotoRequestHandler):
        disable_nagle_algorithm = True

        def log_request(self, *values: object) -> None:
            pass

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(server.port, flush=True)
    server.serve_forever()


def _end_with_parent() -> None:
    """Standard input ends when the parent does."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve()
