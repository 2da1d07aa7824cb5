"""Sums over reports and events."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.progress import Tally, Totals, summary_lines
from corpusdiff.shards import Progress, ShardTask

sys.path.insert(0, str(Path(__file__).parent))
import fake_shards


def report(shard=0, **changes):
    """A report of a shard: by default 9 ok, 1 failed, 10 s and a second for each earlier shard."""
    return fake_shards.report(ShardTask("out", 0, "digest", shard), **changes)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=6), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_attempts_that_die_do_not_count(attempts, random):
    """However often shards are tried and however their events mix, the end is the sum of the reports."""
    tally = Tally(Totals(tracks=10 * len(attempts), shards=len(attempts)), started=0.0)
    left = {
        shard: [Progress(shard, done, failed, float(done)) for done, failed in told]
        for shard, told in enumerate(attempts)
    }
    while left:
        shard = random.choice(list(left))
        if left[shard]:
            tally.add_progress(left[shard].pop())
        else:
            tally.add_report(report(shard))
            del left[shard]
    now = tally.snapshot(1.0)
    n = len(attempts)
    assert (now.tracks_done, now.failed) == (10 * n, n)
    assert now.seconds_done == sum(10.0 + shard for shard in range(n))
    assert now.reasons == {"decode": n}


def test_a_new_attempt_replaces_the_old_ones_counts():
    """While a shard is tried again it counts what the new attempt has done."""
    tally = Tally(Totals(tracks=100, shards=2), started=0.0)
    tally.add_progress(Progress(0, 40, 2, 400.0))
    tally.add_progress(Progress(1, 7, 0, 70.0))
    tally.add_progress(Progress(0, 3, 1, 30.0))
    now = tally.snapshot(1.0)
    assert (now.tracks_done, now.failed, now.seconds_done) == (10, 1, 100.0)


def test_nothing_is_kept_of_finished_shards():
    """Memory does not grow with the number of shards, but for a few examples of each reason."""
    tally = Tally(Totals(tracks=10_000, shards=1000), started=0.0)
    for shard in range(1000):
        tally.add_progress(Progress(shard, 1, 0, 1.0))
        tally.add_report(report(shard))
    assert tally._running == {}
    assert [len(examples) for examples in tally.examples.values()] == [3]


@pytest.mark.parametrize(
    ("seconds", "eta_s"),
    [
        (200.0, 190.0 / 5.0),  # by audio: 190 s left at 5 s of audio per second
        (0.0, 9 * 2.0),  # lengths unknown: 9 tracks left at 2 s each
        (float("nan"), 9 * 2.0),
        (5.0, 9 * 2.0),  # foretold too short
    ],
)
def test_the_eta_goes_by_audio_and_else_by_tracks(seconds, eta_s):
    """The time left is what is left at the speed so far."""
    tally = Tally(Totals(tracks=10, shards=1, seconds=seconds), started=100.0)
    assert tally.snapshot(101.0).eta_s is None
    tally.add_progress(Progress(0, 1, 0, 10.0))
    assert tally.snapshot(102.0).eta_s == pytest.approx(eta_s)


def test_a_resumed_run_counts_what_was_done_but_not_its_speed():
    """What earlier runs did counts for the bar, not for speed and time left."""
    totals = Totals(tracks=100, shards=10, seconds=1000.0, tracks_before=50, failed_before=4, seconds_before=500.0)
    tally = Tally(totals, started=0.0)
    tally.add_progress(Progress(7, 10, 1, 100.0))
    now = tally.snapshot(10.0)
    assert (now.tracks_done, now.failed, now.seconds_done) == (60, 5, 600.0)
    assert now.speed == pytest.approx(10.0)
    assert now.eta_s == pytest.approx(40.0)


def test_a_finished_run_has_no_time_left():
    """With every track done the time left is zero, whatever lengths were foretold."""
    tally = Tally(Totals(tracks=10, shards=1, seconds=1e6), started=0.0)
    tally.add_report(report())
    assert tally.snapshot(5.0).eta_s == 0.0


def test_the_summary_groups_failures_by_reason():
    """The most frequent reason comes first, with examples and how many more there are."""
    tally = Tally(Totals(tracks=60, shards=6, tracks_before=20, failed_before=1), started=0.0)
    for shard in range(4):
        tally.add_report(report(shard, seconds=900.0))
    crash = (("x/b.mp3", "crash", "signal 11"),)
    tally.add_report(report(4, reasons={"crash": 1}, examples=crash, seconds=0.0, n_filtered=2, differing=True))
    tally.add_report(report(5, n_ok=0, n_failed=0, reasons={}, examples=(), seconds=0.0, duplicate=True))
    assert summary_lines(tally, 10.0) == [
        "52 tracks: 45 ok, 5 failed, 2 filtered; 1.00 h of audio in 0:10 (360 x real time)",
        "20 tracks were done before, 1 failed",
        "1 shards had been committed by another worker with the same rows",
        "1 shards had been committed by another worker with OTHER rows; those stay",
        "failed, decode: 4",
        "    0/a.wav: bad header",
        "    1/a.wav: bad header",
        "    2/a.wav: bad header",
        "    ... and 1 more",
        "failed, crash: 1",
        "    x/b.mp3: signal 11",
    ]


def test_changed_sources_are_said():
    """How many files were not as the plan found them, and some of their names."""
    tally = Tally(Totals(tracks=10, shards=1), started=0.0)
    tally.add_report(report(0, n_changed=7, changed=("a.wav", "b.wav")))
    assert any("7 sources had changed" in line and "a.wav, b.wav, ..." in line for line in summary_lines(tally, 1.0))
