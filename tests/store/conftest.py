"""An S3 server for the tests of objects, and a proxy before it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from servers import BUCKET, Proxy, S3Server

from corpusdiff.store.objects import Objects, open_objects


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    """An S3 server."""
    with S3Server() as server:
        yield server


@pytest.fixture
def credentials(monkeypatch):
    """Sets the environment of S3, whose rest is empty."""

    def use(env):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def bucket(server, credentials) -> str:
    """A URL of its own for each test."""
    credentials(server.env)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/out"


@pytest.fixture
def proxy(server, credentials):
    """A proxy before the server, which the store goes through."""
    with Proxy(server.port, seed=7) as proxy:
        credentials(proxy.env)
        yield proxy


@pytest.fixture
def through(proxy) -> Objects:
    """Objects behind the proxy."""
    return open_objects(f"s3://{BUCKET}/{uuid.uuid4().hex}/out")
