"""Records hold what they were given, and any change to one is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.errors import StoreError
from corpusdiff.store.record import (
    HEADER_BYTES,
    ObjectEntry,
    Record,
    canonical_json,
    dump_record,
    parse_header,
    parse_record,
    record_key,
)

ROW = {"id": "a", "status": "ok", "n_samples": 8000, "sr": 16000, "metrics": {"snr_db": None}, "texts": {}}
RECORD = Record(
    plan="d" * 64,
    shard=7,
    row=7,
    rows=[ROW, {**ROW, "id": "é\n", "status": "failed"}, {**ROW, "id": "c", "status": "filtered"}],
    objects=[ObjectEntry("data.zarr/audio/x/c/7/0/0", 10, "e" * 64, [[0, 6, 123]])],
    run={"host": "here", "cpu_s": 1.5},
)
KEY = record_key("d" * 64, 7)


def test_round_trip():
    """A record comes back as it was, with its counts in the first 256 bytes."""
    data = dump_record(RECORD)
    assert parse_record(data, KEY) == RECORD
    header = parse_header(data[:HEADER_BYTES], KEY)
    assert (header.n_ok, header.n_failed, header.n_filtered, header.n_rows) == (1, 1, 1, 3)
    assert header.seconds == 0.5


@given(bit=st.integers(0, 8 * len(dump_record(RECORD)) - 1))
def test_any_flip_is_found(bit):
    """Any single flipped bit, in the header or the body, is found and the key is named."""
    damaged = bytearray(dump_record(RECORD))
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StoreError, match=KEY):
        parse_record(bytes(damaged), KEY)


@given(length=st.integers(0, len(dump_record(RECORD)) - 1))
def test_any_truncation_is_found(length):
    """A record cut anywhere is found."""
    with pytest.raises(StoreError, match=KEY):
        parse_record(dump_record(RECORD)[:length], KEY)


def test_a_record_in_another_ones_place_is_found():
    """A sound record under another shard's key is refused."""
    with pytest.raises(StoreError, match="another shard"):
        parse_record(dump_record(RECORD), record_key("d" * 64, 8))


def test_the_run_is_in_no_comparison():
    """Two records of other machines and times hold the same result; other rows or bytes do not."""
    other_run = Record(**{**vars(RECORD), "run": {"host": "there"}})
    other_rows = Record(**{**vars(RECORD), "rows": [ROW]})
    other_audio = Record(**{**vars(RECORD), "objects": []})
    assert RECORD.same_result(other_run)
    assert not RECORD.same_result(other_rows)
    assert not RECORD.same_result(other_audio)


def test_canonical_json_has_one_spelling():
    """Order does not matter, and what JSON lacks is refused."""
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json([float("nan")])
