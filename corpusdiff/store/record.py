r"""Records: what one committed shard consists of.

A record is one header line and a compressed JSON body::

    corpusdiff-record 1 <sha256> <n_ok> <n_failed> <n_filtered> <seconds>\n

The sha256 covers the counts, the seconds and the body. The body holds ``rows`` (deterministic, with
``digest`` over them), ``objects`` (every Zarr object of the shard with its inner chunks) and ``run``
(where and when, in no digest).
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpusdiff.errors import StoreError

#: The header line is never longer.
HEADER_BYTES = 256

_MAGIC = b"corpusdiff-record 1 "


@dataclass(frozen=True)
class RecordHeader:
    """The counts of a shard. `seconds` is the audio of its ok rows."""

    n_ok: int
    n_failed: int
    n_filtered: int
    seconds: float

    @property
    def n_rows(self) -> int:
        """Rows of all outcomes."""
        return self.n_ok + self.n_failed + self.n_filtered


@dataclass(frozen=True)
class ObjectEntry:
    """One Zarr object that the shard consists of.

    Parameters
    ----------
    key : relative to OUT
    size, sha256 : of the whole object
    chunks : ``[index, n_bytes, crc32c]`` of each inner chunk, sizes with their checksum
    """

    key: str
    size: int
    sha256: str
    chunks: list[list[int]]


@dataclass(frozen=True)
class Record:
    """A committed shard.

    Parameters
    ----------
    plan : digest of the plan
    shard : index of the shard
    row : row of the audio arrays that holds it
    rows : one mapping per track, in order
    objects : the Zarr objects
    run : where and when; not compared
    """

    plan: str
    shard: int
    row: int
    rows: Sequence[Mapping[str, Any]]
    objects: Sequence[ObjectEntry]
    run: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """sha256 of the rows, in hexadecimal."""
        return rows_digest(self.rows)

    def header(self) -> RecordHeader:
        """The counts."""
        return count_rows(self.rows)

    def same_result(self, other: Record) -> bool:
        """Whether both hold the same rows and the same bytes of audio."""
        return self.digest == other.digest and list(self.objects) == list(other.objects)


def count_rows(rows: Sequence[Mapping[str, Any]]) -> RecordHeader:
    """How many rows have which outcome, and the seconds of the ok ones."""
    statuses = [row["status"] for row in rows]
    lengths = [row["n_samples"] / row["sr"] for row in rows if row["status"] == "ok"]
    return RecordHeader(
        n_ok=statuses.count("ok"),
        n_failed=statuses.count("failed"),
        n_filtered=statuses.count("filtered"),
        seconds=round(math.fsum(lengths), 6),
    )


def canonical_json(value: Any) -> bytes:
    """JSON of one spelling: sorted keys, no blanks, UTF-8. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def rows_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """sha256 of the rows' canonical JSON."""
    return hashlib.sha256(canonical_json(rows)).hexdigest()


def record_key(plan: str, shard: int) -> str:
    """Key of a shard's record."""
    return f"commits/{plan}/{shard:08d}"


def dump_record(record: Record) -> bytes:
    """The record's bytes."""
    objects = [[entry.key, entry.size, entry.sha256, entry.chunks] for entry in record.objects]
    body = {
        "plan": record.plan,
        "shard": record.shard,
        "row": record.row,
        "rows": record.rows,
        "digest": record.digest,
        "objects": objects,
        "run": record.run,
    }
    packed = zlib.compress(canonical_json(body), 6)
    counts = _counts(record.header())
    return _MAGIC + _digest(counts, packed) + b" " + counts + b"\n" + packed


def parse_header(data: bytes, key: str) -> RecordHeader:
    """The counts from the first 256 bytes, unchecked but for their form. Raises StoreError."""
    line, newline, _ = data[:HEADER_BYTES].partition(b"\n")
    words = line.removeprefix(_MAGIC).split(b" ")
    if not newline or not line.startswith(_MAGIC) or len(words) != 5:
        raise StoreError(f"{key}: damaged: not a record of this format")
    try:
        n_ok, n_failed, n_filtered = (int(word) for word in words[1:4])
        return RecordHeader(n_ok, n_failed, n_filtered, float(words[4]))
    except ValueError as error:
        raise StoreError(f"{key}: damaged: its counts cannot be read") from error


def parse_record(data: bytes, key: str) -> Record:
    """The record of `data`, every bit of it checked. Raises StoreError naming `key`."""
    header = parse_header(data, key)
    line, _, packed = data.partition(b"\n")
    digest, counts = line.removeprefix(_MAGIC).split(b" ", 1)
    if digest != _digest(counts, packed):
        raise StoreError(f"{key}: damaged: its sha256 does not fit")
    try:
        body = json.loads(zlib.decompress(packed))
        record = Record(
            plan=body["plan"],
            shard=body["shard"],
            row=body["row"],
            rows=body["rows"],
            objects=[ObjectEntry(*entry) for entry in body["objects"]],
            run=body["run"],
        )
    except (zlib.error, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{key}: damaged: its body cannot be read") from error
    if (record_key(record.plan, record.shard), record.digest, record.header()) != (
        key,
        body["digest"],
        header,
    ):
        raise StoreError(f"{key}: damaged: it is the record of another shard, or not what its header says")
    return record


def _counts(header: RecordHeader) -> bytes:
    return f"{header.n_ok} {header.n_failed} {header.n_filtered} {header.seconds!r}".encode()


def _digest(counts: bytes, packed: bytes) -> bytes:
    return hashlib.sha256(counts + b"\n" + packed).hexdigest().encode()
