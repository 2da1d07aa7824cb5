"""Any number of writers, killed at any moment, leave one whole shard."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from store_maker import (
    FLAC,
    PCM,
    SR,
    STREAM,
    Clip,
    commit_clips,
    contents,
    make_corpus,
    make_generation,
    spooled,
    start_committer,
)

from corpusdiff.errors import StoreError
from corpusdiff.store.commit import commit_shard, committed, is_committed
from corpusdiff.store.finalise import finalise
from corpusdiff.store.generations import read_plans, read_record
from corpusdiff.store.layout import ATTEMPTS
from corpusdiff.store.objects import open_objects
from corpusdiff.store.verify import verify

SHARDS = [
    [Clip("a/1", 5000), Clip("a/2", 100, silent=True), Clip("a/3", 9000)],
    [Clip("b/1", 20_000), Clip("b/2", 0, status="failed"), Clip("b/3", 4096)],
]
OUTPUTS = (FLAC, PCM, STREAM)


def test_zarr_reads_every_track_where_its_row_says(tmp_path):
    """``audio[row, :, offset:offset+size]`` is the track, for FLAC and PCM, silence included."""
    make_corpus(tmp_path, SHARDS, OUTPUTS)
    objects = open_objects(str(tmp_path))
    (plan,) = read_plans(objects)
    group = zarr.open_group(tmp_path / "data.zarr" / "audio", mode="r")
    for shard, clips in enumerate(SHARDS):
        rows = read_record(objects, plan, shard).rows
        assert [row["id"] for row in rows] == [clip.id for clip in clips]
        for row, clip in zip(rows, clips, strict=True):
            for output in row["outputs"]:
                start, stop = output["offset"], output["offset"] + output["size"]
                if output["name"] == "opus24":
                    assert group[output["array"]][output["row"], start:stop].tobytes() == clip.stream
                else:
                    assert start % plan.chunk == 0
                    assert np.array_equal(group[output["array"]][output["row"], :, start:stop], clip.samples)


def test_pcm_needs_nothing_of_ours(tmp_path):
    """A PCM array opens with zarr in a process that cannot import this package."""
    make_corpus(tmp_path, SHARDS, [PCM])
    code = (
        "import sys; sys.modules['corpusdiff'] = None; import warnings; warnings.simplefilter('error');"
        "import zarr;"
        f"a = zarr.open_array({str(tmp_path / 'data.zarr/audio/pcm_16000hz_1ch')!r}, mode='r');"
        "print(a[0, 0, :5000].sum())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(SHARDS[0][0].samples.sum())


def test_a_row_of_many_objects(tmp_path):
    """A track longer than one object continues in the next, through Zarr and in the record."""
    long = Clip("long", 40 * 4096 + 17)
    plan = make_corpus(tmp_path, [[Clip(f"{i}", 10) for i in range(4)], [long]], [FLAC])
    objects = open_objects(str(tmp_path))
    assert len(read_record(objects, plan, 1).objects) > 1
    array = zarr.open_array(tmp_path / "data.zarr" / "audio" / "flac_16000hz_1ch", mode="r")
    assert np.array_equal(array[1, :, : long.n], long.samples)


def test_committing_again_is_a_duplicate(tmp_path):
    """A second equal commit changes no byte and says that it was a duplicate."""
    plan = make_generation(tmp_path, SHARDS, OUTPUTS)
    objects = open_objects(str(tmp_path))
    first = commit_clips(objects, plan, 0, SHARDS[0])
    before = contents(tmp_path, "")
    again = commit_clips(objects, plan, 0, SHARDS[0])
    assert (first.attempt, first.duplicate, first.differing) == (0, False, False)
    assert (again.attempt, again.duplicate, again.differing) == (0, True, False)
    assert again.header == first.header
    assert contents(tmp_path, "") == before


def test_an_existing_record_wins(tmp_path):
    """Another result for a committed shard is counted as differing and changes nothing."""
    plan = make_generation(tmp_path, SHARDS, OUTPUTS)
    objects = open_objects(str(tmp_path))
    commit_clips(objects, plan, 0, SHARDS[0])
    before = contents(tmp_path, "")
    for other in (
        [Clip("a/1", 5000, seed=1), *SHARDS[0][1:]],
        [Clip("a/1", 0, status="failed"), *SHARDS[0][1:]],
    ):
        report = commit_clips(objects, plan, 0, other)
        assert (report.duplicate, report.differing) == (False, True)
    assert contents(tmp_path, "") == before


def test_objects_of_a_killed_twin_are_adopted_only_when_equal(tmp_path):
    """Equal left-overs keep the row; others push the whole shard to its next row, and stay as orphans."""
    plan = make_generation(tmp_path, SHARDS, [FLAC])
    objects = open_objects(str(tmp_path))
    record = f"commits/{plan.digest}/00000000"
    commit_clips(objects, plan, 0, SHARDS[0])
    objects.delete(record)
    assert commit_clips(objects, plan, 0, SHARDS[0]).attempt == 0
    objects.delete(record)
    other = [Clip("a/1", 5000, seed=1), *SHARDS[0][1:]]
    assert commit_clips(objects, plan, 0, other).attempt == 1
    assert read_record(objects, plan, 0).row == 1 * plan.n_shards + 0
    commit_clips(objects, plan, 1, SHARDS[1])
    finalise(objects, [plan])
    report = verify(str(tmp_path))
    assert report.ok
    assert report.orphans == ("data.zarr/audio/flac_16000hz_1ch/c/0/0/0",)
    assert verify(str(tmp_path), gc=True).deleted == 1
    assert verify(str(tmp_path)).orphans == ()


def test_an_object_where_ours_is_silent_is_not_adopted(tmp_path):
    """A row in which a twin left audio where this writer has none is not used."""
    plan = make_generation(tmp_path, [[Clip("a", 100, silent=True)]], [FLAC])
    objects = open_objects(str(tmp_path))
    commit_clips(objects, plan, 0, [Clip("a", 100)])
    objects.delete(f"commits/{plan.digest}/00000000")
    assert commit_clips(objects, plan, 0, [Clip("a", 100, silent=True)]).attempt == 1


def test_attempt_rows_run_out_with_a_remedy(tmp_path):
    """Five different results in a row are an error that names the shard and the way out."""
    plan = make_generation(tmp_path, [[Clip("a", 100)]], [FLAC])
    objects = open_objects(str(tmp_path))
    for seed in range(ATTEMPTS):
        assert commit_clips(objects, plan, 0, [Clip("a", 100, seed=seed)]).attempt == seed
        objects.delete(f"commits/{plan.digest}/00000000")
    with pytest.raises(StoreError, match=r"shard 0: all 4 rows.*--portable"):
        commit_clips(objects, plan, 0, [Clip("a", 100, seed=ATTEMPTS)])


def race(out: Path, twins: list[list[Clip]]) -> list:
    """Commit shard 0 from one thread per twin at once; their reports."""
    (plan,) = read_plans(open_objects(str(out)))
    start = threading.Barrier(len(twins))
    reports: list = []

    def work(clips: list[Clip]) -> None:
        with spooled(clips, plan) as (rows, spool):
            start.wait()
            reports.append(commit_shard(open_objects(str(out)), plan, 0, rows, spool, {}))

    threads = [threading.Thread(target=work, args=(clips,)) for clips in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return reports


def test_equal_twins_in_threads(tmp_path):
    """Of equal twins one commits, the others are duplicates, and the bytes are those of one alone."""
    shards = [SHARDS[0]]
    make_corpus(tmp_path / "alone", shards, OUTPUTS)
    make_generation(tmp_path / "raced", shards, OUTPUTS)
    for _ in range(5):
        reports = race(tmp_path / "raced", [SHARDS[0]] * 4)
        assert len(reports) == 4
        assert not any(report.differing for report in reports)
        assert {report.attempt for report in reports} == {0}
    objects = open_objects(str(tmp_path / "raced"))
    finalise(objects, read_plans(objects))
    assert contents(tmp_path / "raced", "data.zarr") == contents(tmp_path / "alone", "data.zarr")


@pytest.mark.parametrize("seed", range(5))
def test_different_twins_in_threads(tmp_path, seed):
    """Of different twins one wins whole; the others say that they differ, and nothing is mixed."""
    twins = [[Clip("a/1", 9000, seed=10 * seed + twin), *SHARDS[0][1:]] for twin in range(3)]
    plan = make_generation(tmp_path, [SHARDS[0]], OUTPUTS)
    reports = race(tmp_path, twins)
    assert sorted((report.duplicate, report.differing) for report in reports) == [
        (False, False),
        (False, True),
        (False, True),
    ]
    objects = open_objects(str(tmp_path))
    row = read_record(objects, plan, 0).rows[0]["outputs"][1]
    array = zarr.open_array(tmp_path / "data.zarr" / "audio" / row["array"], mode="r")
    found = array[row["row"], :, row["offset"] : row["offset"] + row["size"]]
    assert sum(np.array_equal(found, twin[0].samples) for twin in twins) == 1
    finalise(objects, [plan])
    assert verify(str(tmp_path)).ok


def test_twins_in_processes(tmp_path):
    """Two processes that commit the same shards leave the bytes of one."""
    make_corpus(tmp_path / "alone", SHARDS, OUTPUTS)
    make_generation(tmp_path / "raced", SHARDS, OUTPUTS)
    twins = [start_committer(tmp_path / "raced", SHARDS) for _ in range(2)]
    for twin in twins:
        twin.stdout.readline()
    for twin in twins:
        twin.stdin.write(b"go\n")
        twin.stdin.flush()
    for twin in twins:
        twin.communicate()
    assert [twin.returncode for twin in twins] == [0, 0]
    objects = open_objects(str(tmp_path / "raced"))
    finalise(objects, read_plans(objects))
    assert contents(tmp_path / "raced", "data.zarr") == contents(tmp_path / "alone", "data.zarr")


@pytest.mark.faults
def test_kill_9_at_any_moment(tmp_path):
    """A committer killed at random moments leaves nothing that a second run does not put right."""
    make_corpus(tmp_path / "alone", SHARDS, OUTPUTS)
    expected = contents(tmp_path / "alone", "data.zarr")
    rng = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    places = [tmp_path / f"killed{i}" for i in range(6)]
    plans = [make_generation(out, SHARDS, OUTPUTS) for out in places]
    for out, plan, victim in zip(places, plans, [start_committer(out, SHARDS) for out in places], strict=True):
        victim.stdout.readline()
        victim.stdin.write(b"go\n")
        victim.stdin.flush()
        time.sleep(rng.uniform(0, 0.08))
        victim.kill()
        victim.communicate()
        objects = open_objects(str(out))
        for shard in committed(objects, plan):
            read_record(objects, plan, shard)
        for shard, clips in enumerate(SHARDS):
            if not is_committed(objects, plan, shard):
                assert commit_clips(objects, plan, shard, clips).attempt == 0
        finalise(objects, [plan])
        assert contents(out, "data.zarr") == expected
        assert verify(str(out)).ok


def test_a_full_disk_half_way_leaves_nothing_half(tmp_path, monkeypatch):
    """Wherever the disk fills up, there is a StoreError, no record, and a second run ends as undisturbed."""
    make_corpus(tmp_path / "alone", SHARDS, OUTPUTS)
    sync = os.fsync
    for allowed in (0, 3, 7, 12):
        out = tmp_path / f"full{allowed}"
        plan = make_generation(out, SHARDS, OUTPUTS)
        objects = open_objects(str(out))
        left = iter(range(allowed))

        def full(descriptor: int, left=left) -> None:
            if next(left, None) is None:
                raise OSError(28, "No space left on device")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="disk is full"):
            commit_clips(objects, plan, 0, SHARDS[0])
        monkeypatch.setattr(os, "fsync", sync)
        assert not is_committed(objects, plan, 0)
        for shard, clips in enumerate(SHARDS):
            assert commit_clips(objects, plan, shard, clips).attempt == 0
        finalise(objects, [plan])
        assert contents(out, "data.zarr") == contents(tmp_path / "alone", "data.zarr")


def test_unforeseen_arrays_are_made_by_whoever_meets_them(tmp_path):
    """A rate that no header foretold gets its array, and the corpus is sound."""
    plan = make_generation(tmp_path, [[Clip("a", 100)]], OUTPUTS)
    objects = open_objects(str(tmp_path))
    commit_clips(objects, plan, 0, [Clip("a", 9000, sr=44100, n_channels=2)])
    finalise(objects, [plan])
    array = zarr.open_array(tmp_path / "data.zarr" / "audio" / "flac_44100hz_2ch", mode="r")
    assert np.array_equal(array[0, :, :9000], Clip("a", 9000, sr=44100, n_channels=2).samples)
    assert verify(str(tmp_path)).ok


def test_silence_costs_no_object(tmp_path):
    """A shard of silence has a record and no audio object, and reads as zeros."""
    plan = make_corpus(tmp_path, [[Clip("a", 9000, silent=True)]], [FLAC, PCM])
    assert read_record(open_objects(str(tmp_path)), plan, 0).objects == []
    assert list(open_objects(str(tmp_path)).list("data.zarr/audio/flac_16000hz_1ch/c")) == []
    assert verify(str(tmp_path)).ok


def test_encoder_faults_are_named(tmp_path):
    """Chunks beyond the track's end and streams of another size are refused before anything is written."""
    plan = make_generation(tmp_path, [[Clip("a", 100)]], [FLAC, STREAM])
    objects = open_objects(str(tmp_path))
    for output, change in ((0, {"chunks": [[7, 0, 5]]}), (1, {"size": 3})):
        with spooled([Clip("a", 100)], plan) as (rows, spool):
            rows[0]["outputs"][output] |= change
            with pytest.raises(StoreError, match="the encoder is at fault"):
                commit_shard(objects, plan, 0, rows, spool, {})
    assert not is_committed(objects, plan, 0)


def test_few_objects_and_small_index(tmp_path):
    """1500 short clips in three shards: at most 12 objects per 1000 tracks, 1.02 of the FLAC files' bytes."""
    shards = [[Clip(f"{shard}/{i}", int(0.4 * SR)) for i in range(500)] for shard in range(3)]
    plan = make_corpus(tmp_path, shards, [FLAC], chunk=8192)
    objects = open_objects(str(tmp_path))
    n_objects = len(contents(tmp_path, "commits", "data.zarr/audio"))
    assert n_objects <= 12 * 1.5
    with spooled([clip for clips in shards for clip in clips], plan) as (rows, _):
        encoded = sum(n for row in rows for _, _, n in row["outputs"][0]["chunks"])
    stored = sum(len(data) for data in contents(tmp_path, "data.zarr/audio").values())
    assert stored <= 1.02 * encoded
    assert len(committed(objects, plan)) == 3
