"""Shards: every track once, in order, none too long; held against a planner that is slow and obvious."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.plan import MAX_CHUNK, MIN_CHUNK, UNKNOWN_S, Piece, Plan, chunk_length, known_lengths, shard_bounds

lengths = st.lists(
    st.one_of(
        st.integers(0, 200_000_000).map(lambda us: us / 1e6),
        st.integers(0, 60).map(float),
        st.sampled_from([0.0, 0.1, 0.3, 30.0, 59.999999, 60.0, 60.000001, math.nan, -1.0, math.inf, 1e300]),
    ),
    max_size=60,
)


def oracle(lengths_s: list[float], shard_s: float, max_tracks: int) -> tuple[int, ...]:
    """One track after the other, in whole microseconds: a new shard where the next one does not fit."""
    bounds, total = [0], 0
    for i, length_s in enumerate(lengths_s):
        known = length_s if math.isfinite(length_s) and length_s >= 0 else UNKNOWN_S
        length = round(known * 1e6)
        if i > bounds[-1] and (total + length > round(shard_s * 1e6) or i - bounds[-1] == max_tracks):
            bounds.append(i)
            total = 0
        total += length
    return (*bounds, len(lengths_s)) if lengths_s else (0,)


@given(lengths, st.sampled_from([0.000001, 1.0, 60.0, 600.0]), st.integers(1, 8))
def test_shards_are_those_of_the_oracle(lengths_s: list[float], shard_s: float, max_tracks: int) -> None:
    """The vectorised planner cuts where the obvious one does."""
    assert shard_bounds(lengths_s, shard_s, max_tracks) == oracle(lengths_s, shard_s, max_tracks)


@given(lengths, st.integers(1, 8))
def test_every_track_is_in_one_shard_and_none_is_over_the_target(lengths_s: list[float], max_tracks: int) -> None:
    """Bounds rise from 0 to n; a shard over the target is one track; two neighbours do not fit into one."""
    bounds = shard_bounds(lengths_s, 60.0, max_tracks)
    assert (bounds[0], bounds[-1]) == (0, len(lengths_s))
    microseconds = [round(float(length) * 1e6) for length in known_lengths(lengths_s)]
    for i, (start, stop) in enumerate(pairwise(bounds)):
        assert 1 <= stop - start <= max_tracks
        assert stop - start == 1 or sum(microseconds[start:stop]) <= 60_000_000
        if i + 2 < len(bounds):  # the next track was left out because it did not fit
            assert stop - start == max_tracks or sum(microseconds[start : stop + 1]) > 60_000_000


def test_no_tracks_make_no_shards() -> None:
    """An empty manifest has bounds, and no shard."""
    assert shard_bounds([]) == (0,)


def test_absurd_lengths_are_shards_of_their_own() -> None:
    """Headers may claim anything that is a number."""
    assert shard_bounds([1.7e308, 1.0, 1e30, 1e18]) == (0, 1, 2, 3, 4)


def test_sums_do_not_drift() -> None:
    """A shard of exactly the target holds as many tracks at the end of a large corpus as at its start."""
    bounds = np.array(shard_bounds(np.full(600_000, 0.1), 60.0))
    assert (np.diff(bounds) == 600).all()


@pytest.mark.parametrize(("low", "high", "n_shards"), [(2.0, 15.0, 14_000), (700.0, 800.0, 1_000_000)])
def test_a_million_tracks_are_planned_at_once(low: float, high: float, n_shards: int) -> None:
    """A million lengths take a moment, also where every track is a shard."""
    lengths_s = np.random.default_rng(0).uniform(low, high, 1_000_000)
    started = time.process_time()
    bounds = shard_bounds(lengths_s)
    assert time.process_time() - started < 5.0
    assert bounds[-1] == 1_000_000
    assert len(bounds) == pytest.approx(n_shards, rel=0.05)


def test_bounds_are_plain_whole_numbers() -> None:
    """They go into JSON as they are, whatever the lengths came as."""
    for given_as in ([1.0, 2.0], np.array([1, 2], np.int32), np.array([1.0, np.nan], np.float32)):
        assert all(type(bound) is int for bound in shard_bounds(given_as))


@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=80), st.sampled_from([8000, 16000, 44100, 48000]))
def test_chunk_holds_95_of_100_tracks(n_samples: list[int], sr: int) -> None:
    """A power of two within bounds; the least that holds 95 % of the tracks."""
    chunk = chunk_length([n / sr for n in n_samples], sr)
    assert MIN_CHUNK <= chunk <= MAX_CHUNK
    assert chunk & (chunk - 1) == 0
    needed = 0.95 * len(n_samples)
    assert chunk == MAX_CHUNK or sum(n <= chunk for n in n_samples) >= needed
    assert chunk == MIN_CHUNK or sum(n <= chunk // 2 for n in n_samples) < needed


def test_unknown_lengths_count_as_an_estimate() -> None:
    """NaN, infinity and negative lengths are as long as any unknown track."""
    assert known_lengths([np.nan, np.inf, -np.inf, -1.0, 0.0, 3.0]).tolist() == [UNKNOWN_S] * 4 + [0.0, 3.0]


def make_plan(**changes: object) -> Plan:
    """A small plan."""
    values = {
        "generation": 0,
        "source": "/a/b",
        "kind": "folder",
        "root": "/a/b",
        "manifest_digest": "0" * 64,
        "n_tracks": 5,
        "fields": {"lang": "str"},
        "job": {"name": "x", "chain": []},
        "job_digest": "1" * 64,
        "bounds": (0, 2, 5),
        "chunk": 4096,
        "arrays": ((16000, 1), (48000, 2)),
        "seconds": 12.5,
    }
    return Plan(**(values | changes))


def test_shards_cover_the_plan() -> None:
    """The pieces of all shards are the tracks in order, each whole."""
    plan = make_plan()
    assert plan.n_shards == 2
    pieces = [piece for i in range(plan.n_shards) for piece in plan.shard(i).pieces]
    assert pieces == [Piece(track) for track in range(5)]


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": 1},
        {"source": "/a/c"},
        {"kind": "nemo"},
        {"root": "/a"},
        {"manifest_digest": "2" * 64},
        {"n_tracks": 6},
        {"fields": {"lang": "int"}},
        {"job": {"name": "y", "chain": []}},
        {"job_digest": "2" * 64},
        {"bounds": (0, 3, 5)},
        {"chunk": 8192},
        {"arrays": ((16000, 1),)},
        {"seconds": 12.6},
        {"portable": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_digest_covers_every_field(changes: dict[str, object]) -> None:
    """Any change gives another digest, and equal plans have one."""
    assert make_plan().digest == make_plan().digest != make_plan(**changes).digest
    assert Plan.from_dict(make_plan(**changes).to_dict()) == make_plan(**changes)


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    """Mappings are compared by content."""
    one, other = {"a": "str", "b": "int"}, {"b": "int", "a": "str"}
    assert make_plan(fields=one).digest == make_plan(fields=other).digest
