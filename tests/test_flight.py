"""Which shard is tried next, and how often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusdiff.cluster.flight import Backlog
from corpusdiff.runner import Retry, ShardLost
from corpusdiff.shards import ShardTask

RETRY = Retry(tries=2, alone=2, backoff_s=1.0)


def tasks(n):
    """Tasks of `n` shards."""
    return (ShardTask("out", 0, "digest", shard) for shard in range(n))


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 7), st.randoms(use_true_random=False))
def test_every_shard_is_done_or_lost_once(failures, window, random):
    """Whatever fails how often and in whatever order, each shard ends done, or lost after all its tries."""
    backlog = Backlog(tasks(len(failures)), RETRY, clock=lambda: 0.0)
    left, done, flying = list(failures), [], []
    lost = None
    while True:
        flying += backlog.take(window - len(flying), len(flying))
        assert len(flying) <= window
        if not flying:
            break
        suspects = [attempt for attempt in flying if attempt.failures >= RETRY.tries]
        assert not suspects or len(flying) == 1
        attempt = flying.pop(random.randrange(len(flying)))
        shard = attempt.task.shard
        if not left[shard]:
            done.append(shard)
            continue
        left[shard] -= 1
        try:
            backlog.put_failed(attempt, "it failed", pause=False)
        except ShardLost as error:
            lost = error
            break
    assert len(done) == len(set(done))
    hopeless = {shard for shard, n in enumerate(failures) if n >= RETRY.tries + RETRY.alone}
    if lost is None:
        assert backlog.empty
        assert set(done) == set(range(len(failures))) - hopeless
        if hopeless:
            with pytest.raises(ShardLost):
                backlog.raise_lost()
    else:
        assert set(lost.shards) <= hopeless


def test_a_paused_shard_waits_and_others_go_first():
    """After an I/O error a shard is not tried before its pause is over."""
    now = [0.0]
    backlog = Backlog(tasks(2), RETRY, clock=lambda: now[0])
    (first,) = backlog.take(1, 0)
    backlog.put_failed(first, "OSError", pause=True)
    assert [attempt.task.shard for attempt in backlog.take(5, 0)] == [1]
    assert backlog.take(5, 0) == []
    assert not backlog.empty
    now[0] = 1.0
    assert [attempt.task.shard for attempt in backlog.take(5, 0)] == [0]


def test_a_lost_connection_charges_no_try():
    """What nobody could hear the end of is tried again as if for the first time."""
    backlog = Backlog(tasks(1), RETRY)
    for _ in range(20):
        (attempt,) = backlog.take(1, 0)
        backlog.put_back(attempt)
    (attempt,) = backlog.take(1, 0)
    assert attempt.failures == 0
