"""The frozen manifest."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.errors import ManifestError, StoreError
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.base import Track
from corpusdiff.manifests.frozen import ROW_GROUP, FrozenManifest, freeze


def some(n: int) -> Iterator[Track]:
    for i in range(n):
        yield Track(f"t{i}", f"d/t{i}.wav", fields={"n": i, "text": f"x{i}"}, size=i, version=str(i), header_sr=8000)


def test_round_trip_across_row_groups(tmp_path: Path) -> None:
    """Any stretch of rows comes back as it went in, across the borders of row groups."""
    n = 2 * ROW_GROUP + 5
    heard: list[int] = []
    info = freeze(some(n), tmp_path / "m.parquet", progress=heard.append)
    assert info.n_tracks == n == heard[-1]
    assert info.fields == {"n": "int", "text": "str"}
    expected = list(some(n))
    with FrozenManifest(tmp_path / "m.parquet") as frozen:
        assert len(frozen) == n
        assert list(frozen) == expected
        for start, stop in [
            (0, 1),
            (ROW_GROUP - 1, ROW_GROUP + 1),
            (ROW_GROUP, ROW_GROUP),
            (5, 2 * ROW_GROUP + 2),
            (n - 1, n + 9),
        ]:
            assert frozen.rows(start, stop) == expected[start:stop]


def test_equal_tracks_give_equal_bytes(tmp_path: Path) -> None:
    """The digest depends on the tracks only, not on the order of their fields."""
    one = freeze([Track("a", "a", fields={"x": 1, "y": 2})], tmp_path / "1")
    two = freeze([Track("a", "a", fields={"y": 2, "x": 1})], tmp_path / "2")
    other = freeze([Track("a", "a", fields={"x": 1, "y": 3})], tmp_path / "3")
    assert one.digest == two.digest != other.digest


def test_duplicates_are_refused_with_both_places(tmp_path: Path) -> None:
    """Two rows of one id are refused, naming both lines."""
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio_filepath": "a.wav"}\n\n{"audio_filepath": "b.wav"}\n{"audio_filepath": "a.wav"}\n')
    manifest = open_manifest(str(path))
    with pytest.raises(ManifestError, match=r'"a\.wav" is there twice: .*m\.jsonl:1 and .*m\.jsonl:4'):
        freeze(manifest.tracks(), tmp_path / "f", place=manifest.place)
    with pytest.raises(ManifestError, match="track 1 and track 3"):
        freeze(manifest.tracks(), tmp_path / "f")


def test_field_types_widen(tmp_path: Path) -> None:
    """A field is what all its values fit: int and float give float, anything else mixed gives json."""
    rows = [
        {"a": 1, "b": 1, "c": None, "d": True, "e": [1], "f": None, "g": 2**70},
        {"a": 2, "b": 0.5, "c": "x", "d": 1, "e": [2], "f": None, "g": 1},
    ]
    tracks = [Track(str(i), "p", fields=row) for i, row in enumerate(rows)]
    info = freeze(tracks, tmp_path / "f")
    assert info.fields == {"a": "int", "b": "float", "c": "str", "d": "json", "e": "json", "f": "str", "g": "json"}
    with FrozenManifest(tmp_path / "f") as frozen:
        assert list(frozen) == tracks


def test_lengths(tmp_path: Path) -> None:
    """A segment's duration, the header, a claimed duration, in this order; unknown is NaN."""
    tracks = [
        Track("0", "p", header_sr=100, header_samples=250),
        Track("1", "p", 1.0, 9.0, header_sr=100, header_samples=250),
        Track("2", "p", 1.0, 1.0, header_sr=100, header_samples=250),
        Track("3", "p", 9.0, header_sr=100, header_samples=250),
        Track("4", "p", 1.0, 4.0),
        Track("5", "p", fields={"duration": 3}),
        Track("6", "p", fields={"duration": "3.5"}),
        Track("7", "p", fields={"duration": "long"}),
        Track("8", "p", header_sr=0, header_samples=5),
        Track("9", "p"),
    ]
    freeze(tracks, tmp_path / "f")
    with FrozenManifest(tmp_path / "f") as frozen:
        found = frozen.lengths_s()
    expected = [2.5, 1.5, 1.0, 0.0, 4.0, 3.0, 3.5, math.nan, math.nan, math.nan]
    np.testing.assert_array_equal(found, expected)


def test_empty_and_damaged(tmp_path: Path) -> None:
    """No tracks is a manifest too; a file that is none is named."""
    assert freeze([], tmp_path / "f").n_tracks == 0
    with FrozenManifest(tmp_path / "f") as frozen:
        assert len(frozen) == 0
        assert frozen.rows(0, 5) == []
        assert frozen.lengths_s().shape == (0,)
    (tmp_path / "g").write_bytes(b"none")
    with pytest.raises(StoreError, match="frozen manifest"):
        FrozenManifest(tmp_path / "g")


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Freezing many rows keeps about eight bytes of each."""

    def peak(n: int) -> int:
        tracemalloc.start()
        freeze((Track(f"{i:09d}", "p") for i in range(n)), tmp_path / "f")
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(ROW_GROUP)
    extra = peak(9 * ROW_GROUP) - peak(2 * ROW_GROUP)
    assert extra < 40 * 7 * ROW_GROUP


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1), max_size=30))
def test_duplicates_as_a_set_would_find_them(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """Freezing succeeds exactly when a set of the ids has as many members."""
    path = tmp_path_factory.mktemp("frozen") / "f"
    tracks = [Track(name, "p") for name in names]
    if len(set(names)) < len(names):
        with pytest.raises(ManifestError, match="twice"):
            freeze(tracks, path)
    else:
        freeze(tracks, path)
        with FrozenManifest(path) as frozen:
            assert [track.id for track in frozen] == names
