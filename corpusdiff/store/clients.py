"""Clients of object stores: one for each URL and process."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from obstore import exceptions
from obstore.store import from_url

from corpusdiff.errors import UsageError

#: What one request may take: a whole object of at most 128 MB goes up in one.
_TIMEOUT_S = 120

#: How long answers like 500, 503 and "slow down" are tried again, with growing pauses.
_RETRY_S = 180

_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL")


class _Made:
    """The process that has clients."""

    pid: int | None = None


def forked() -> bool:
    """Whether this process is a fork of the one that has clients."""
    return _Made.pid not in {None, os.getpid()}


@lru_cache(maxsize=16)
def client(url: str) -> Any:
    """The store's client, one for each URL and process: it keeps its connections."""
    if _Made.pid is None:
        _Made.pid = os.getpid()
    scheme = urlsplit(url).scheme
    options: dict[str, Any] = {}
    if scheme == "s3":
        if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
            options["region"] = "us-east-1"
        options["credential_provider"] = _profile_of_boto()
    plain = any(os.environ.get(name, "").startswith("http:") for name in _ENDPOINTS)
    try:
        return from_url(
            url,
            client_options={"timeout": f"{_TIMEOUT_S}s", "connect_timeout": "15s", "allow_http": plain},
            retry_config={"max_retries": 12, "retry_timeout": timedelta(seconds=_RETRY_S)},
            **options,
        )
    except (exceptions.BaseError, ValueError) as error:
        raise UsageError(f"{url}: {first_line(error)}") from error


def _profile_of_boto() -> Any:
    """Credentials as boto3 finds them (profiles, SSO), where the environment has none and boto3 is installed."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or not os.environ.get("AWS_PROFILE"):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise UsageError(
            "AWS_PROFILE needs boto3 (pip install boto3), or give AWS_ACCESS_KEY_ID and its secret"
        ) from None
    return Boto3CredentialProvider()


def first_line(error: Exception) -> str:
    """What an error says first."""
    return f"{error}".strip().splitlines()[0][:300]
