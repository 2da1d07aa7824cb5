"""Work in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpusdiff.errors import StoreError
from corpusdiff.parallel import WORTH_A_PROCESS, in_processes


def where(task: int) -> tuple[int, int]:
    """The task, and the process that did it."""
    time.sleep(0.02)
    return task, os.getpid()


def fails(task: int) -> int:
    """Task 3 finds the disk full."""
    if task == 3:
        raise StoreError("disk full")
    return task


def slow(task: int) -> None:
    """Say who works, and go on for longer than any test waits."""
    print(f"{os.getpid()}\n", end="", flush=True)  # in one piece, for another writes too
    time.sleep(120)


def test_results_come_in_order_from_several_processes() -> None:
    """As `map` has them; few tasks are done here."""
    tasks = range(4 * WORTH_A_PROCESS)
    found = list(in_processes(where, tasks, 2))
    assert [task for task, _ in found] == list(tasks)
    assert os.getpid() not in {pid for _, pid in found}
    assert {pid for _, pid in in_processes(where, tasks[: 2 * WORTH_A_PROCESS - 1], 2)} == {os.getpid()}
    assert {pid for _, pid in in_processes(where, tasks, 1)} == {os.getpid()}


def test_an_error_is_the_one_that_was_raised() -> None:
    """And what comes before it was done."""
    results = in_processes(fails, range(20), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StoreError, match="disk full"):
        next(results)


def test_processes_go_with_the_one_that_started_them() -> None:
    """Killed without a word, it leaves nobody behind."""
    code = (
        "from corpusdiff.parallel import in_processes; from test_parallel import slow\n"
        "if __name__ == '__main__': list(in_processes(slow, range(8), 2))"
    )
    folder = Path(__file__).parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        pids = [int(driver.stdout.readline()) for _ in range(2)]
        driver.send_signal(signal.SIGKILL)
        until = time.monotonic() + 60.0
        while any(Path(f"/proc/{pid}/stat").exists() and "Z" not in state(pid) for pid in pids):
            assert time.monotonic() < until
            time.sleep(0.05)


def state(pid: int) -> str:
    """A process's state, one letter; Z for one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except FileNotFoundError:
        return "Z"
