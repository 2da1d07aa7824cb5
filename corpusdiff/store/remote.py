"""Objects in an object store (``s3://``, ``gs://``, ``az://``): one conditional PUT each.

An object store has no half-written objects, but most of its ways of writing overwrite. What is created here goes
up in a single PUT with ``If-None-Match: *`` (or the store's own form of it), never as a multipart upload, whose
completion overwrites silently. A PUT whose answer is lost may have been carried out: the next try then finds its own
object, and says False as for any other that is there; callers compare.
"""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, Literal
from urllib.parse import urlsplit

import obstore
from obstore import exceptions

from corpusdiff.errors import StoreError, StoreUnreachable, UsageError
from corpusdiff.store.clients import client, first_line, forked
from corpusdiff.store.local import Data
from corpusdiff.store.ranged import RangedFile

#: Schemes of stores that can create without overwriting.
SCHEMES = ("s3", "gs", "az", "abfs")

#: Requests that may be under way at once where many small objects are asked for.
CONCURRENCY = 32

#: Pauses before a request whose connection broke is made again.
_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

#: Keys in one request to delete: S3's limit.
_DELETED_AT_ONCE = 1000

#: S3's codes for a 409 that does not say that an object is there: two writers met, and one may try again.
_UNDECIDED = ("ConditionalRequestConflict", "OperationAborted")

_READ_BYTES = 1 << 20


class RemoteObjects:
    """Objects under a URL.

    Parameters
    ----------
    url : ``scheme://bucket/prefix``; credentials come from where the store's own tools take them

    Raises UsageError for a URL that names no bucket.
    """

    concurrency = CONCURRENCY
    gap_bytes = 1 << 18

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if not parts.netloc or parts.query or parts.fragment:
            raise UsageError(f"{url}: expected {parts.scheme}://BUCKET/PREFIX")
        self.location = url.rstrip("/")
        client(self.location)  # so that what is wrong with it is said now

    @property
    def _store(self) -> Any:
        """The client. Raises StoreError in a fork, where it would wait for threads that are not there."""
        if forked():
            raise StoreError(
                f"{self.location}: this process was forked from one that has connections, which no fork survives; "
                'start it by spawn or forkserver, as DataLoader(..., multiprocessing_context="spawn") does'
            )
        return client(self.location)

    def create(self, key: str, data: Data) -> bool:
        """Make the object by one conditional PUT."""
        try:
            self._put(_checked(key), _whole(data), "create")
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        return True

    def replace(self, key: str, data: Data) -> None:
        """Make or swap the object by one PUT."""
        self._put(_checked(key), _whole(data), "overwrite")

    def read(self, key: str) -> bytes:
        """The whole object."""
        with self._explained(key):
            return bytes(obstore.get(self._store, _checked(key)).bytes())

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """A range of the object."""
        if start < 0:
            length = self._length(key)
            start, size = max(length + start, 0), min(size, length)
        if size == 0:
            return b""
        with self._explained(key):
            try:
                # asked for as options, the range may end after the object
                return bytes(obstore.get(self._store, _checked(key), options={"range": (start, start + size)}).bytes())
            except exceptions.GenericError as error:
                if "416" in first_line(error):  # it begins there
                    return b""
                raise

    def read_part(self, key: str, start: int, size: int) -> bytes:
        """A range of the object; one request, from the end too where the store can do that."""
        if start >= 0:
            return self.read_range(key, start, size)
        with self._explained(key):
            try:
                return bytes(obstore.get(self._store, _checked(key), options={"range": {"suffix": -start}}).bytes())
            except exceptions.NotSupportedError:  # Azure
                return self.read_range(key, start, size)

    def borrow(self, key: str, start: int, size: int) -> memoryview:
        """A range of the object."""
        return memoryview(self.read_part(key, start, size))

    def open(self, key: str) -> BinaryIO:
        """The object as a file, read by ranges."""
        return io.BufferedReader(RangedFile(partial(self.read_range, key), self._length(key)), _READ_BYTES)

    def size(self, key: str) -> int | None:
        """Size in bytes."""
        try:
            return self._length(key)
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[str]:
        """Keys under a folder; after a page that broke off, on from its last key."""
        last = None
        for pause_s in (*_PAUSES_S, None):
            try:
                with self._explained(prefix):
                    for page in obstore.list(self._store, prefix=_checked(prefix) if prefix else None, offset=last):
                        for found in page:
                            last = found["path"]
                            yield last
                return
            except ConnectionError:
                if pause_s is None:
                    raise
                time.sleep(pause_s)

    def delete(self, key: str) -> None:
        """Remove the object."""
        try:
            self._insist(_checked(key), lambda: obstore.delete(self._store, key))
        except FileNotFoundError:
            return

    def sweep(self) -> int:
        """Nothing: no writer leaves anything unfinished."""
        return 0

    def delete_all(self, prefix: str) -> None:
        """Remove all keys under a folder, a page at a time."""
        keys = self.list(prefix)
        while page := list(islice(keys, _DELETED_AT_ONCE)):
            self._insist(prefix, partial(obstore.delete, self._store, page))

    def remove_empty(self) -> None:
        """Nothing: an empty folder of an object store is not there."""

    def free_bytes(self) -> int | None:
        """None: there is no end to an object store."""
        return None

    def probe(self, *, may_overwrite: bool = False) -> None:
        """Make sure that objects can be made, and that the second of two makers is told.

        Raises StoreError for a store that overwrites silently, unless the user knows: `may_overwrite`.
        """
        key = f".tmp/{uuid.uuid4().hex}"
        self.create(key, b"first")  # False where the first answer was lost: the key is ours alone
        try:
            safe = not self.create(key, b"second") and self.read(key) == b"first"
        finally:
            self.delete(key)
        if not safe and not may_overwrite:
            raise StoreError(
                f"{self.location}: this store overwrites an object although it was asked not to (If-None-Match), so "
                "two workers could spoil each other's shards. Use a store with conditional writes, a local OUT, or, if "
                "only one run at a time will ever write here, --store-overwrites"
            )

    def _put(self, key: str, data: bytes, mode: Literal["create", "overwrite"]) -> None:
        """One PUT."""
        self._insist(key, lambda: obstore.put(self._store, key, data, mode=mode, use_multipart=False))

    def _insist(self, key: str, request: Callable[[], object]) -> None:
        """Make a request that may be made twice, until it is answered: obstore gives up where a connection breaks."""
        for pause_s in (*_PAUSES_S, None):
            try:
                with self._explained(key, writing=True):
                    request()
                return
            except ConnectionError:
                if pause_s is None:
                    raise
                time.sleep(pause_s)

    def _length(self, key: str) -> int:
        with self._explained(key):
            return int(obstore.head(self._store, _checked(key))["size"])

    @contextmanager
    def _explained(self, key: str, *, writing: bool = False) -> Iterator[None]:
        where = f"{self.location}/{key}"
        try:
            yield
        except (FileNotFoundError, exceptions.NotFoundError) as error:
            if writing:
                raise StoreError(f"{where}: there is no such bucket or container: make it first") from error
            raise FileNotFoundError(where) from error
        except (PermissionError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise _refused(where, first_line(error)) from error
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
            if any(code in str(error) for code in _UNDECIDED):
                raise _unreachable(where, first_line(error)) from error
            raise
        except exceptions.BaseError as error:
            said = first_line(error)
            if "credential" in said.lower() or "169.254.169.254" in said:
                raise StoreError(f"{where}: no credentials ({said}): give them as the store's own tools do") from error
            if "status code: 403" in said or "status code: 401" in said:  # of a LIST
                raise _refused(where, said) from error
            raise _unreachable(where, said) from error


def _unreachable(where: str, said: str) -> StoreUnreachable:
    return StoreUnreachable(f"{where}: {said}. When the store answers again, give the same command again: it goes on")


def _refused(where: str, said: str) -> StoreError:
    return StoreError(f"{where}: not allowed ({said}): look at the credentials and rights of this machine")


def _whole(data: Data) -> bytes:
    return data if isinstance(data, bytes) else b"".join(data)


def _checked(key: str) -> str:
    if not key or key.startswith("/") or ".." in key.split("/"):
        raise ValueError(f"{key!r} is not a key: expected a relative path")
    return key
