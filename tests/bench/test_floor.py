"""A run costs at most three times what decoding, resampling and encoding alone would cost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.bench_floor import Cost, cpu_seconds, measure

MOST = 3.0


def test_cpu_of_children_counts() -> None:
    """The CPU of a grandchild is charged to the command, and a failure is not a time."""
    spin = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    in_child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}], check=True)"
    assert 0.5 <= cpu_seconds(sys.executable, "-c", in_child) < 2.0
    with pytest.raises(RuntimeError, match="ended with 7: no"):
        cpu_seconds(sys.executable, "-c", "import sys; print('no'); sys.exit(7)")


def test_starting_up_is_taken_out_of_both_sides() -> None:
    """10 s against 4 s is 2.5; without 4 s and 1 s of starting it is 2."""
    cost = Cost(600.0, floor_cpu_s=4.0, floor_start_s=1.0, run_cpu_s=10.0, run_start_s=4.0)
    assert (cost.ratio, cost.marginal_ratio) == (2.5, 2.0)


@pytest.mark.bench
def test_ten_minutes_cost_at_most_three_floors(tmp_path: Path) -> None:
    """Ten minutes of audio, starting up aside: it weighs too much in so short a run."""
    cost = measure(10.0, tmp_path)
    print(cost)
    assert cost.run_cpu_s > cost.floor_cpu_s, "the children's CPU was not counted"
    assert cost.marginal_ratio <= MOST, str(cost)


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_hour_costs_at_most_three_floors(tmp_path: Path) -> None:
    """An hour of audio in 360 files, starting up included."""
    cost = measure(60.0, tmp_path)
    print(cost)
    assert cost.run_cpu_s > cost.floor_cpu_s, "the children's CPU was not counted"
    assert cost.ratio <= MOST, str(cost)
