"""verify names every object that is not as it was written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from store_maker import FLAC, PCM, STREAM, Clip, commit_clips, contents, make_corpus, make_generation

from corpusdiff.errors import StoreError
from corpusdiff.store.generations import read_plans
from corpusdiff.store.objects import open_objects
from corpusdiff.store.verify import verify

SHARDS = [
    [Clip("a/1", 5000, fields={"text": "hello"}), Clip("a/2", 100, silent=True)],
    [Clip("b/1", 0, status="failed"), Clip("b/2", 9000)],
]
PLACES = ("plan", "commits", "data.zarr")


@pytest.fixture
def corpus(tmp_path):
    """A small finished corpus of two generations."""
    make_corpus(tmp_path, SHARDS, [FLAC, PCM, STREAM])
    make_corpus(tmp_path, [[Clip("b/1", 400)]], [FLAC, PCM, STREAM], generation=1)
    return tmp_path


def test_a_sound_corpus_is_ok(corpus):
    """Nothing is said of a sound corpus, and what is there is counted."""
    report = verify(str(corpus))
    assert report.ok
    assert (report.problems, report.orphans, report.pending, report.finalised) == ((), (), 0, True)
    assert (report.n_shards, report.n_rows, report.n_objects) == (3, 5, 11)
    assert report.summary() == "3 shards, 5 rows, 11 audio objects; nothing is wrong"
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_200_random_flips_are_named(corpus):
    """Each of 200 random single-bit flips anywhere is found, and its object named."""
    objects = open_objects(str(corpus))
    files = contents(corpus, *PLACES)
    keys = list(files)
    rng = np.random.default_rng(int.from_bytes(np.random.bytes(4), "little"))
    for key in [*keys[:5], *rng.choice(keys, 195)]:
        path = objects.root / key
        bit = int(rng.integers(8 * len(files[key])))
        damaged = bytearray(files[key])
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found = {problem.key for problem in verify(str(corpus)).problems}
        path.write_bytes(files[key])
        assert key in found, f"bit {bit} of {key}"
        assert found <= {key} or key.startswith(("plan/", "commits/"))
    assert verify(str(corpus)).ok


def test_every_deleted_object_is_named(corpus):
    """Whatever single object is deleted, it is named."""
    objects = open_objects(str(corpus))
    for key, data in contents(corpus, *PLACES).items():
        objects.delete(key)
        assert key in {problem.key for problem in verify(str(corpus)).problems}
        objects.replace(key, data)


def test_every_truncated_object_is_named(corpus):
    """Whatever single object is cut, to nothing or by a byte in turn, it is named."""
    for number, (key, data) in enumerate(contents(corpus, *PLACES).items()):
        (corpus / key).write_bytes(data[: number % 2 * (len(data) - 1)])
        assert key in {problem.key for problem in verify(str(corpus)).problems}
        (corpus / key).write_bytes(data)


@pytest.mark.parametrize(
    "key",
    [
        "plan/notes.txt",
        "plan/0000/extra",
        "commits/x",
        "commits/abc/00000000",
        "data.zarr/x",
        "data.zarr/audio/x",
        "data.zarr/audio/other/zarr.json",
        "data.zarr/audio/flac_16000hz_1ch/x",
        "data.zarr/audio/flac_16000hz_1ch/c/0/0/00",
        "data.zarr/audio/flac_16000hz_1ch/c/99/0/0",
        "data.zarr/audio/opus24_16000hz_1ch/c/5/0/0",
        "data.zarr/audio/flac_16000hz_1ch/c/0/0/5",
        "data.zarr/tracks/x/zarr.json",
        "data.zarr/tracks/id/c/1",
    ],
)
def test_foreign_objects_are_named(corpus, key):
    """A key that no plan or record calls for is named."""
    path = corpus / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    assert [problem.key for problem in verify(str(corpus)).problems] == [key]


def test_swapped_objects_are_named(corpus):
    """Two sound objects in each other's place are both named."""
    one = corpus / "data.zarr/audio/flac_16000hz_1ch/c/0/0/0"
    two = corpus / "data.zarr/audio/flac_16000hz_1ch/c/1/0/0"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    found = {problem.key for problem in verify(str(corpus)).problems}
    assert found == {path.relative_to(corpus).as_posix() for path in (one, two)}


def test_the_damaged_chunk_is_said(tmp_path):
    """Damage inside an object is told by inner chunk, in its index as such."""
    make_corpus(tmp_path, [[Clip("a", 9000)]], [FLAC])
    path = tmp_path / "data.zarr/audio/flac_16000hz_1ch/c/0/0/0"
    good = path.read_bytes()
    for place, part in ((10, "inner chunk 0"), (len(good) - 10, "its index")):
        damaged = bytearray(good)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        (problem,) = verify(str(tmp_path)).problems
        assert part in problem.what


def test_an_unfinished_corpus_is_not_wrong(tmp_path):
    """Shards that are still to do are pending; what is there is checked."""
    plan = make_generation(tmp_path, SHARDS, [FLAC])
    assert verify(str(tmp_path)).pending == 2
    objects = open_objects(str(tmp_path))
    commit_clips(objects, plan, 0, SHARDS[0])
    report = verify(str(tmp_path))
    assert report.ok
    assert (report.pending, report.finalised, report.n_objects) == (1, False, 1)
    commit_clips(objects, plan, 1, SHARDS[1])
    (problem,) = verify(str(tmp_path)).problems
    assert problem.key == "data.zarr/tracks/zarr.json"


def test_gc_deletes_orphans_and_nothing_else(tmp_path):
    """Objects of a shard without record and left-over temporary files go; all else stays."""
    make_generation(tmp_path, SHARDS, [FLAC])
    objects = open_objects(str(tmp_path))
    (plan,) = read_plans(objects)
    commit_clips(objects, plan, 0, SHARDS[0])
    before = contents(tmp_path, *PLACES)
    commit_clips(objects, plan, 1, SHARDS[1])
    objects.delete(f"commits/{plan.digest}/00000001")
    (tmp_path / ".tmp" / "abandoned").write_bytes(b"x")
    report = verify(str(tmp_path), gc=True)
    assert report.ok
    assert report.orphans == tuple(f"data.zarr/audio/flac_16000hz_1ch/c/1/0/{i}" for i in range(2))
    assert report.deleted == 3
    assert "3 orphans and temporary files deleted" in report.summary()
    assert contents(tmp_path, *PLACES) == before


def test_left_overs_of_stopped_writers_are_orphans(tmp_path):
    """An array nobody came to use, and a manifest that was never planned, are no problems."""
    make_generation(tmp_path, SHARDS, [FLAC])
    objects = open_objects(str(tmp_path))
    (plan,) = read_plans(objects)
    commit_clips(objects, plan, 0, [Clip("a/1", 50, sr=44100), Clip("a/2", 100)])
    objects.delete(f"commits/{plan.digest}/00000000")
    objects.create("plan/0001/manifest.parquet", b"whatever")
    report = verify(str(tmp_path))
    assert report.ok
    assert set(report.orphans) == {
        "plan/0001/manifest.parquet",
        "data.zarr/audio/flac_16000hz_1ch/c/0/0/0",
        "data.zarr/audio/flac_44100hz_1ch/c/0/0/0",
    }
    (tmp_path / "data.zarr/audio/flac_44100hz_1ch/zarr.json").write_bytes(b"{}")
    assert "data.zarr/audio/flac_44100hz_1ch/zarr.json" in {p.key for p in verify(str(tmp_path)).problems}


def test_gc_deletes_nothing_while_a_record_is_damaged(corpus):
    """The objects of a shard whose record is damaged, or whose plan is, are not taken for orphans."""
    for key in (next(iter(contents(corpus, "commits"))), "plan/0000/plan.json"):
        good = (corpus / key).read_bytes()
        before = contents(corpus, "data.zarr")
        (corpus / key).write_bytes(good[:-1])
        report = verify(str(corpus), gc=True)
        assert (report.deleted, report.orphans) == (0, ())
        assert contents(corpus, "data.zarr") == before
        (corpus / key).write_bytes(good)


def test_gc_removes_sound_where_silence_belongs(tmp_path):
    """An object in a committed row that its record does not name is a problem until gc removes it."""
    make_corpus(tmp_path, [[Clip("a", 100, silent=True)], [Clip("b", 100)]], [FLAC])
    folder = tmp_path / "data.zarr/audio/flac_16000hz_1ch/c"
    (folder / "0" / "0").mkdir(parents=True)
    (folder / "0" / "0" / "0").write_bytes((folder / "1" / "0" / "0").read_bytes())
    report = verify(str(tmp_path), gc=True)
    assert "instead of silence" in report.problems[0].what
    assert verify(str(tmp_path)).ok


def test_lost_tracks_are_named(tmp_path):
    """A record with fewer rows than its shard has tracks is named, however sound."""
    plan = make_generation(tmp_path, SHARDS, [FLAC])
    objects = open_objects(str(tmp_path))
    commit_clips(objects, plan, 0, SHARDS[0][:1])
    (problem,) = verify(str(tmp_path)).problems
    assert problem.key == f"commits/{plan.digest}/00000000"
    assert "1 of 2 have no outcome" in problem.what


def test_no_corpus(tmp_path):
    """A folder without a corpus is an error, not a sound corpus."""
    with pytest.raises(StoreError, match="no corpus here"):
        verify(str(tmp_path))
