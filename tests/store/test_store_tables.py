"""The tables say what the records say, open without us, and are the same bytes every time."""

from __future__ import annotations

import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_maker import FLAC, PCM, STREAM, Clip, commit_clips, contents, make_corpus, make_generation

from corpusdiff.errors import StoreError
from corpusdiff.metrics import COLUMNS, TEXT_COLUMNS
from corpusdiff.store import columns as columns_module
from corpusdiff.store import finalise as finalise_module
from corpusdiff.store.columns import CHUNK_ROWS, MISSING, Column, decode_column, encode_column
from corpusdiff.store.finalise import finalise, is_final, write_table_chunk
from corpusdiff.store.generations import Superseded, read_plans
from corpusdiff.store.objects import open_objects
from corpusdiff.store.read import open as open_corpus
from corpusdiff.store.schema import TABLES_KEY, corpus_columns, parse_schema
from corpusdiff.store.verify import verify

SHARDS = [
    [Clip("a/1", 5000, fields={"text": "naïve", "take": 2, "ok": True, "x": 1.5, "tags": ["p"], "id": "own"})],
    [Clip("b/1", 0, status="failed"), Clip("b/2", 300)],
]


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_text_chunks_are_what_zarr_writes(tmp_path_factory, values):
    """Texts of any kind have the bytes that Zarr would write, and come back."""
    folder = tmp_path_factory.mktemp("text")
    column = Column("x", "string", "track", "x")
    (folder / "ours").mkdir()
    (folder / "ours" / "zarr.json").write_bytes(column.metadata(CHUNK_ROWS))
    array = zarr.open_array(folder / "ours", mode="r+").with_config({"write_empty_chunks": True})
    array[:] = np.array([*values, *[""] * (CHUNK_ROWS - len(values))], object)
    data = encode_column(values, "string")
    assert (folder / "ours" / "c" / "0").read_bytes() == data
    assert decode_column(data, "string")[: len(values)].tolist() == values


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_number_chunks_are_what_zarr_writes(tmp_path, dtype):
    """Numbers have the bytes that Zarr would write, fill included."""
    column = Column("x", dtype, "track", "x")
    (tmp_path / "zarr.json").write_bytes(column.metadata(3))
    array = zarr.open_array(tmp_path, mode="r+")
    array[:] = np.array([1, 2, 3], dtype)
    assert (tmp_path / "c" / "0").read_bytes() == encode_column([1, 2, 3], dtype)
    assert array.fill_value == 0 or np.isnan(array.fill_value)


def test_columns_of_a_corpus(tmp_path):
    """Ours come first, then metrics, texts, further outputs and the manifest's, renamed where they clash."""
    plan = make_generation(tmp_path, SHARDS, [FLAC, STREAM])
    columns = {column.name: column.dtype for column in corpus_columns([plan])}
    assert list(columns)[:17] == [
        "id", "path", "array", "row", "offset", "size", "n_samples", "sr", "n_channels",
        "status", "error", "reason", "rule", "parent", "start_s", "delay", COLUMNS[0].name,
    ]  # fmt: skip
    assert all(columns[column.name] == "float32" for column in COLUMNS)
    assert all(columns[name] == "string" for name in TEXT_COLUMNS)
    assert [name for name in columns if name.startswith("opus24_")] == [
        "opus24_array", "opus24_offset", "opus24_size", "opus24_delay",
    ]  # fmt: skip
    assert {"field_id", "text", "take", "x", "ok", "tags"} <= set(columns)


def test_awkward_field_names_get_names_of_their_own(tmp_path):
    """Names that Zarr cannot take, and those of ours, are renamed without ever colliding."""
    fields = {
        "a/b": "1",
        "a_b": "2",
        "field_a_b": "3",
        "": "4",
        "__x": "5",
        "status": "6",
        "field_status": "7",
    }
    make_corpus(tmp_path, [[Clip("t", 10, fields=fields)]])
    item = open_corpus(str(tmp_path))[0]
    assert item.fields == fields
    names = [column.name for column in item.corpus.columns]
    assert len(set(names)) == len(names)
    assert item.status == "ok"


def test_values_and_types_without_our_package(tmp_path):
    """xarray and pandas open the tables without a warning and see the records' values."""
    make_corpus(tmp_path, SHARDS, [FLAC, PCM])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = xarray.open_zarr(tmp_path / "data.zarr" / "tracks", consolidated=False).load()
        frame = table.to_dataframe()
    assert dict(table.sizes) == {"track": 3}
    assert frame["id"].tolist() == ["a/1", "b/1", "b/2"]
    assert frame["status"].tolist() == ["ok", "failed", "ok"]
    assert frame["take"].tolist() == [2, MISSING, MISSING]
    assert frame["row"].tolist() == [0, -1, 1]
    assert frame["pcm_array"].tolist() == ["pcm_16000hz_1ch", "", "pcm_16000hz_1ch"]
    assert table["duration_s"].dtype == np.float32
    assert np.isnan(frame["duration_s"][1])


def test_every_column_is_checked_by_crc32c(tmp_path):
    """crc32c is the last codec of every column, and chunks are of 65 536 rows."""
    make_corpus(tmp_path, SHARDS, [FLAC, PCM])
    metadata = list((tmp_path / "data.zarr" / "tracks").glob("*/zarr.json"))
    assert len(metadata) > 20
    for path in metadata:
        document = json.loads(path.read_text())
        assert document["codecs"][-1] == {"name": "crc32c"}
        assert document["chunk_grid"]["configuration"]["chunk_shape"] == [65536]
        assert document["data_type"] in {"string", "int64", "float32", "float64"}
        assert document["dimension_names"] == ["track"]


def test_order_of_commits_leaves_no_trace(tmp_path):
    """Shards committed in another order, elsewhere, by tasks in threads, give the same bytes."""
    make_corpus(tmp_path / "a", SHARDS, [FLAC, STREAM])
    plan = make_generation(tmp_path / "elsewhere" / "b", SHARDS, [FLAC, STREAM])
    objects = open_objects(str(tmp_path / "elsewhere" / "b"))
    for shard in (1, 0):
        commit_clips(objects, plan, shard, SHARDS[shard])
    with ThreadPoolExecutor(4) as pool:
        finalise(objects, [plan], pool.map)
    assert contents(tmp_path / "elsewhere" / "b", "data.zarr") == contents(tmp_path / "a", "data.zarr")


def test_chunks_cut_shards_anywhere(tmp_path, monkeypatch):
    """Rows keep their order over chunk borders, whatever shards the borders fall into."""
    monkeypatch.setattr(finalise_module, "CHUNK_ROWS", 4)
    monkeypatch.setattr(columns_module, "CHUNK_ROWS", 4)
    monkeypatch.setattr("corpusdiff.store.schema.CHUNK_ROWS", 4)
    monkeypatch.setattr("corpusdiff.store.tracks.CHUNK_ROWS", 4)
    shards = [[Clip(f"{shard}/{i}", 10) for i in range(n)] for shard, n in enumerate((3, 1, 6, 1))]
    make_corpus(tmp_path, shards)
    corpus = open_corpus(str(tmp_path))
    ids = [clip.id for clips in shards for clip in clips]
    assert [item.id for item in corpus] == ids
    assert zarr.open_array(tmp_path / "data.zarr" / "tracks" / "id", mode="r")[:].tolist() == ids
    assert corpus.by_id("2/5").index == 9
    assert len(corpus.table()) == 11
    assert verify(str(tmp_path)).ok


def test_unfinished_shards_stop_finalise(tmp_path):
    """Tables are only written of whole plans; the error names the first shard that is missing."""
    plan = make_generation(tmp_path, SHARDS)
    objects = open_objects(str(tmp_path))
    commit_clips(objects, plan, 0, SHARDS[0])
    with pytest.raises(StoreError, match=r"1 of 2 shards are not committed \(first: 1\)"):
        finalise(objects, [plan])


def test_finalise_again_does_nothing_unless_damaged(tmp_path):
    """Tables that are there and whole are left alone; damaged ones are written anew."""
    plan = make_corpus(tmp_path, SHARDS)
    objects = open_objects(str(tmp_path))
    before = contents(tmp_path, "data.zarr")
    assert not finalise(objects, [plan]).written
    objects.replace("data.zarr/tracks/id/c/0", b"damaged")
    objects.delete("data.zarr/tracks/sr/zarr.json")
    assert finalise(objects, [plan]).written
    assert contents(tmp_path, "data.zarr") == before


def test_tables_are_whole_or_absent(tmp_path, monkeypatch):
    """While finalise writes, or when it dies, the group is absent, and the corpus says so."""
    plan = make_generation(tmp_path, SHARDS)
    objects = open_objects(str(tmp_path))
    for shard, clips in enumerate(SHARDS):
        commit_clips(objects, plan, shard, clips)

    def dies(work, tasks):
        work(tasks[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finalise(objects, [plan], dies)
    assert objects.size(TABLES_KEY) is None
    assert not is_final(objects, [plan])
    with pytest.raises(StoreError, match="not finished; run the same command again"):
        open_corpus(str(tmp_path))
    finalise(objects, [plan])
    assert is_final(objects, [plan])


def test_a_later_generation_supersedes(tmp_path):
    """Rows of a later manifest replace the earlier ones of their id or parent; the rest stay."""
    first = [[Clip("a", 100), Clip("b#0", 50, parent="b"), Clip("b#1", 60, parent="b")], [Clip("c", 200)]]
    second = [[Clip("b#0", 70, parent="b", seed=1), Clip("d", 300)]]
    make_corpus(tmp_path, first)
    make_corpus(tmp_path, second, generation=1)
    objects = open_objects(str(tmp_path))
    final = finalise(objects, read_plans(objects))
    assert (final.n_ok, final.n_failed, final.n_rows, final.written) == (4, 0, 4, False)
    corpus = open_corpus(str(tmp_path))
    assert [item.id for item in corpus] == ["a", "c", "b#0", "d"]
    for item, clip in zip(corpus, [first[0][0], first[1][0], *second[0]], strict=True):
        assert np.array_equal(item.audio, clip.samples / np.float32(32768))
    assert corpus.by_id("b#0")["array"] == "flac_16000hz_1ch_g1"
    report = verify(str(tmp_path))
    assert report.ok
    assert (report.n_shards, report.n_rows) == (3, 6)


def test_the_earlier_tables_stay_until_the_next(tmp_path):
    """While a second generation is under way, the first one's tables can be read and verified."""
    make_corpus(tmp_path, SHARDS)
    make_generation(tmp_path, [[Clip("b/1", 100)]], generation=1)
    assert len(open_corpus(str(tmp_path))) == 3
    report = verify(str(tmp_path))
    assert report.ok
    assert report.pending == 1
    assert not is_final(open_objects(str(tmp_path)), read_plans(open_objects(str(tmp_path))))


@given(ids=st.sets(st.text(max_size=8)), asked=st.text(max_size=8))
def test_superseded_is_a_set(ids, asked):
    """Membership by hash equals membership."""
    superseded = Superseded(ids - {""})
    for row_id in [*ids, asked]:
        assert ({"id": row_id, "parent": None} in superseded) == (row_id in ids and row_id != "")


def test_nothing_of_the_machine_is_in_the_tables(tmp_path):
    """Group attributes hold the format, jobs and columns, with no path, host or time."""
    plan = make_corpus(tmp_path, SHARDS)
    objects = open_objects(str(tmp_path))
    data = objects.read(TABLES_KEY)
    schema = parse_schema(data)
    assert schema.jobs == (plan.job_digest,)
    for secret in (str(tmp_path), plan.source, plan.digest, "host"):
        assert secret.encode() not in b"".join(contents(tmp_path, "data.zarr").values())


def test_a_task_needs_nothing_but_itself(tmp_path):
    """A table task is small and picklable, and can be run by a worker that has only OUT."""
    import pickle

    plan = make_corpus(tmp_path, SHARDS)
    objects = open_objects(str(tmp_path))
    counts = finalise_module.count_shards(objects, [plan])
    _, tasks = finalise_module.plan_tables(objects.location, [plan], counts)
    before = contents(tmp_path, "data.zarr")
    assert write_table_chunk(pickle.loads(pickle.dumps(tasks[0]))) == 3
    assert contents(tmp_path, "data.zarr") == before
