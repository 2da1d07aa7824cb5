"""What README.md and the docstrings show of other libraries works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from readme_blocks import blocks

import corpusdiff
from corpusdiff.examples import tones

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def shown(of: str) -> str:
    """The block of README.md that shows something."""
    (block,) = [block for block in blocks(README) if of in block.text and block.language == "text"]
    return block.text


def test_pytorch_as_the_readme_shows_it(tmp_path, monkeypatch):
    """The block runs, and both loaders give each track once."""
    pytest.importorskip("torch")
    (tmp_path / "corpus").symlink_to(tones().location)
    monkeypatch.chdir(tmp_path)
    names = {"corpusdiff": corpusdiff}
    exec(shown("DataLoader"), names)
    everything = sorted(item.id for item in tones())
    assert sorted(track for batch in names["batches"] for track in batch["id"]) == everything
    assert sorted(example["id"] for example in names["stream"]) == everything


def test_polars_as_the_readme_shows_it():
    """Every column and row."""
    polars = pytest.importorskip("polars")
    line = shown("polars").splitlines()[0]
    frame = eval(line, {"polars": polars, "corpus": tones()})
    assert frame.columns == tones().table().column_names
    assert frame["id"].to_list() == [item.id for item in tones()]
    assert np.array_equal(frame["snr_db"].to_numpy(), tones().column("snr_db"), equal_nan=True)


def test_duckdb_as_the_readme_shows_it():
    """A query on the Arrow table, which it finds by its name."""
    duckdb = pytest.importorskip("duckdb")
    tracks = tones().table()
    line = shown("duckdb").splitlines()[1]
    found = eval(line, {"duckdb": duckdb, "tracks": tracks}).fetchall()
    assert {rule for rule, _ in found} == set(tracks["rule"].to_pylist())


def test_pandas_and_xarray():
    """The table as a frame, with types and nulls kept, and Zarr's own view of it."""
    pytest.importorskip("pandas")
    xarray = pytest.importorskip("xarray")
    corpus = tones()
    frame = corpus.table().to_pandas()
    assert frame["id"].tolist() == [item.id for item in corpus]
    assert frame["snr_db"].dtype == np.float32
    there = xarray.open_zarr(f"{corpus.location}/data.zarr/tracks", chunks=None, consolidated=False)
    assert np.array_equal(there["snr_db"].values, frame["snr_db"], equal_nan=True)
