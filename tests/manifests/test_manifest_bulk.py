"""Parquet manifests as tables: the same tracks, the same bytes, as row by row."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.frozen import ROW_GROUP, FrozenManifest, freeze
from corpusdiff.manifests.frozen_rows import Rows
from corpusdiff.manifests.table import ParquetManifest

PATHS = [
    "a.wav",
    "d/b.wav",
    "/x/y.wav",
    "ä/ö.flac",
    "d/.h.wav",
    "./c.wav",
    "d/../e.wav",
    "d//f.wav",
    "g/",
    " .wav",
    "a\u00a0b.wav",
]
PLAIN = ["a.wav", "d/b.wav", "ä/ö.flac", "with space.wav", "(c).wav"]
TEXTS = ["", "x", 'say "no"', "back\\slash", "tab\tnewline\n", "zero\x00", "del\x7f", "語", "{", '"duration":9,']
FLOATS = [0.0, -0.0, 1.0, 0.1, 1e16, 1e22, 1e-5, 5e-324, 1.7e308, 123456789.123, float("nan"), -3.0]


def written(folder: Path, table: pa.Table) -> ParquetManifest:
    """A manifest of a table, its rows where the tests want them."""
    path = folder / "m.parquet"
    pq.write_table(table, path)
    return ParquetManifest(str(path))


def frozen_both_ways(manifest: ParquetManifest, folder: Path, limit: int | None = None) -> None:
    """Freeze it row by row and in tables: the same error, or the same bytes and the same lengths."""
    try:
        tracks = list(islice(manifest.tracks(), limit))
    except ManifestError as error:
        with pytest.raises(ManifestError) as raised:
            list(manifest.batches(limit))
        assert str(raised.value) == str(error)  # noqa: PT017  # what the rows say one by one
        return
    tables = list(manifest.batches(limit))
    assert [track for rows in tables for track in rows.tracks()] == tracks
    if len({track.id for track in tracks}) < len(tracks):
        return
    assert freeze(tracks, folder / "one") == freeze(tables, folder / "two")
    with FrozenManifest(folder / "two") as frozen:
        np.testing.assert_array_equal(frozen.lengths_s(), [slow_length(track) for track in tracks])
        assert frozen.formats() == {(track.header_sr, track.header_channels) for track in tracks}


def slow_length(track):
    """What a track without a header claims to last, the obvious way."""
    if track.duration_s is not None:
        return track.duration_s
    try:
        seconds = float(track.fields.get("duration"))
    except (TypeError, ValueError, OverflowError):
        return np.nan
    return max(seconds - track.offset_s, 0.0) if 0 <= seconds < np.inf else np.nan


def column(values, kind):
    """Lists of a length, nulls among them or not."""
    return st.one_of(
        st.lists(st.sampled_from(values), min_size=4, max_size=4),
        st.lists(st.sampled_from([*values, None]), min_size=4, max_size=4),
        st.just([None] * 4),
    ).map(lambda items: pa.array(items, kind))


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {"path": st.one_of(column(PLAIN, pa.string()), column(PLAIN, pa.large_string()), column(PATHS, pa.string()))},
        optional={
            "id": st.one_of(
                column(["a", "b b", "", "c\u2028"], pa.string()),
                st.permutations(range(4)).map(pa.array),
                st.permutations(["k", "l", "m", "ñ"]).map(pa.array),
                column([True], pa.bool_()),
            ),
            "offset": st.one_of(
                column(FLOATS[:6], pa.float64()), column([1.5], pa.float32()), column(["1.5", ""], pa.string())
            ),
            "start": column([0, 3], pa.int32()),
            "duration": st.one_of(
                column(FLOATS, pa.float64()), column([0.1, 7.0], pa.float32()), column([1, 5], pa.int64())
            ),
            "channel": st.one_of(
                column([0, 1], pa.int64()), column([0.0, 1.5, -1.0], pa.float64()), column(["1"], pa.string())
            ),
            "text": st.one_of(
                column(TEXTS, pa.string()), column(TEXTS, pa.string()).map(lambda a: a.dictionary_encode())
            ),
            "z": st.one_of(
                column([True, False], pa.bool_()),
                column([2**64 - 1, 1], pa.uint64()),
                column([-(2**63), 5], pa.int64()),
                column(
                    [{"duration": 1.0, "b": [1]}], pa.struct([("duration", pa.float64()), ("b", pa.list_(pa.int64()))])
                ),
                column([Decimal("1.50")], pa.decimal128(5, 2)),
                column([b"x"], pa.binary()),
                column([0.1], pa.float16()),
            ),
            'a b"c': column([1], pa.int8()),
        },
    ),
    st.sampled_from([None, None, 1, 3]),
)
def test_tables_are_the_rows(tmp_path_factory: pytest.TempPathFactory, columns, limit) -> None:
    """Whatever the columns hold, both ways give equal tracks, equal bytes and equal lengths, or one error."""
    folder = tmp_path_factory.mktemp("bulk")
    frozen_both_ways(written(folder, pa.table(columns)), folder, limit)


def test_absolute_paths_lose_the_root(tmp_path: Path) -> None:
    """What lies below the manifest's folder is named from there, without looking at the disk."""
    listed = [f"{tmp_path}/a.wav", f"{tmp_path}x/b.wav", "/c.wav", "d.wav"]
    manifest = written(tmp_path, pa.table({"path": listed}))
    manifest.allow = ("/",)
    rows = next(manifest.batches())
    assert rows.table["path"].to_pylist() == ["a.wav", f"{tmp_path}x/b.wav", "/c.wav", "d.wav"]
    frozen_both_ways(manifest, tmp_path)


def test_odd_rows_do_not_move_the_borders_of_row_groups(tmp_path: Path) -> None:
    """Tables of any sizes, tracks among them, make the bytes that single tracks make."""
    n = 3 * ROW_GROUP + 17
    table = pa.table({"path": [f"{i}.wav" for i in range(n)], "duration": np.linspace(0, 9, n), "n": range(n)})
    manifest = written(tmp_path, table)
    tracks = list(manifest.tracks())
    rows = next(manifest.batches())
    pieces = [rows.slice(0, 5), *tracks[5:20], rows.slice(20, ROW_GROUP), *tracks[20 + ROW_GROUP : n - 1]]
    pieces.append(Rows.of(tracks[n - 1 :]))
    assert freeze(tracks, tmp_path / "one") == freeze(pieces, tmp_path / "two")


def test_no_rows_are_refused(tmp_path: Path) -> None:
    """As row by row."""
    frozen_both_ways(written(tmp_path, pa.table({"path": pa.array([], pa.string())})), tmp_path)
    with pytest.raises(ManifestError, match="no path"):
        list(written(tmp_path, pa.table({"a": [1]})).batches())
