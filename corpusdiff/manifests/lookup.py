"""Texts by key for manifests of many files, on disk: a table of ten million takes as little memory as one of ten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from corpusdiff.errors import CorpusdiffError

#: Pages of the table that are kept in memory, in KiB.
_CACHE_KIB = 16384


class Lookup:
    """Any number of texts for each key, in the order in which they came; a context manager.

    SQLite keeps them in a file without a name in ``SQLITE_TMPDIR`` or ``TMPDIR``, which goes with the process, once
    they no longer fit into 16 MiB.

    Parameters
    ----------
    pairs : key and text, read once

    Raises CorpusdiffError where there is no room for them.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._last: tuple[str, list[str]] | None = None
        try:
            for setting in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", f"cache_size=-{_CACHE_KIB}"):
                self._db.execute(f"PRAGMA {setting}")
            with _explained():
                self._db.execute("BEGIN")
                self._db.execute("CREATE TABLE pairs (key TEXT, value TEXT)")
                self._n = self._db.executemany("INSERT INTO pairs VALUES (?, ?)", pairs).rowcount
                self._db.execute("CREATE INDEX keys ON pairs (key)")  # sorted at once, whatever their order
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Lookup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return max(0, self._n)

    def close(self) -> None:
        """Delete the table."""
        self._db.close()

    def all(self, key: str) -> list[str]:
        """The texts of a key; [] where it has none."""
        if self._last is None or self._last[0] != key:
            with _explained():
                rows = self._db.execute("SELECT value FROM pairs WHERE key = ? ORDER BY rowid", (key,)).fetchall()
            self._last = key, [row[0] for row in rows]
        return self._last[1]

    def repeated(self) -> str | None:
        """A key that is there twice; None where each is there once."""
        return self._one("SELECT key FROM pairs GROUP BY key HAVING COUNT(*) > 1 LIMIT 1")

    def other_than(self, keys: Iterable[str]) -> str | None:
        """A key of the table that is none of these; None where there is none."""
        with _explained():
            self._db.execute("CREATE TABLE IF NOT EXISTS others (key TEXT PRIMARY KEY)")
            self._db.executemany("INSERT OR IGNORE INTO others VALUES (?)", ((key,) for key in keys))
        return self._one("SELECT key FROM pairs WHERE key NOT IN (SELECT key FROM others) ORDER BY rowid LIMIT 1")

    def _one(self, query: str) -> str | None:
        with _explained():
            found = self._db.execute(query).fetchone()
        return None if found is None else str(found[0])


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CorpusdiffError(
            f"a manifest is sorted on disk, and that failed ({error}): free some space for temporary files, or set "
            "TMPDIR to another folder"
        ) from error
