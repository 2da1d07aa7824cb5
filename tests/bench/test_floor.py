"""A run costs at most three times what decoding, resampling and encoding alone would cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.bench_floor import Cost, cpu_seconds, make_files, measure

MOST = 3.0

#: A busy machine may not fail the short form; a regression should.
LOOSER = 1.5

#: Share of the run's CPU that the child's pipe and the store may take.
MOST_OVERHEAD = 0.1

SPIN = "import sys, time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"


def test_cpu_of_descendants_counts() -> None:
    """A grandchild's CPU is charged to the command, whether it was waited for, left behind or killed."""
    spin = SPIN + "\nprint(flush=True)\nsys.stdin.read()"
    start = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {spin!r}], "
    start += "stdin=subprocess.PIPE, stdout=subprocess.PIPE); "
    idle = cpu_seconds(sys.executable, "-c", "import subprocess")
    for end in ("child.communicate()", "pass", "child.stdout.readline(); child.kill()"):
        assert 0.5 <= cpu_seconds(sys.executable, "-c", start + end) < 1.0 + 4 * idle, end


def test_a_failed_command_is_no_time() -> None:
    """The exit code and what was said come out."""
    with pytest.raises(RuntimeError, match="ended with 7: no"):
        cpu_seconds(sys.executable, "-c", "import sys; print('no'); sys.exit(7)")


def test_starting_up_is_taken_out_of_both_sides() -> None:
    """10 s against 4 s is 2.5; without 4 s and 1 s of starting it is 2."""
    cost = Cost(600.0, floor_cpu_s=4.0, floor_start_s=1.0, run_cpu_s=10.0, run_start_s=4.0)
    assert (cost.ratio, cost.marginal_ratio) == (2.5, 2.0)
    assert cost.plausible


def test_a_run_cheaper_than_the_floor_is_not_believed() -> None:
    """A tenth of a second of work beside the loop's three says that a process was not counted."""
    assert not Cost(600.0, floor_cpu_s=4.0, floor_start_s=1.0, run_cpu_s=4.1, run_start_s=4.0).plausible


@pytest.mark.bench
def test_ten_minutes_cost_at_most_three_floors(tmp_path: Path) -> None:
    """Ten minutes of audio, starting up aside, which weighs too much in so short a run; a looser limit."""
    cost = measure(10.0, tmp_path)
    print(cost)
    assert cost.plausible, str(cost)
    assert cost.marginal_ratio <= LOOSER * MOST, str(cost)


@pytest.mark.bench
def test_the_pipe_and_the_store_are_cheap(tmp_path: Path) -> None:
    """What is sent to and fro and what is committed takes under a tenth of a run's CPU."""
    make_files(tmp_path / "files", 10.0)
    script = Path(__file__).with_name("overhead.py")
    command = [sys.executable, script, tmp_path / "files", tmp_path / "out"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(found)
    assert 0.0 < (found["pipe_s"] + found["store_s"]) / found["all_s"] < MOST_OVERHEAD, found


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_hour_costs_at_most_three_floors(tmp_path: Path) -> None:
    """An hour of audio in 360 files, starting up included."""
    cost = measure(60.0, tmp_path)
    print(cost)
    assert cost.plausible, str(cost)
    assert cost.ratio <= MOST, str(cost)
