"""Our own parsers under a coverage-guided fuzzer, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris")

#: As in hostile.fuzz, which is not to be imported here: it instruments what it loads.
TARGETS = (
    "csv", "tsv", "nemo", "lhotse", "kaldi", "parquet", "job", "set", "expression", "record", "metadata", "chunks",
    "pipe", "hosts", "control",
)  # fmt: skip


def fuzz(target, seconds):
    """Run one target; what it printed when it found something."""
    tests = str(Path(__file__).parents[1])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-m", "hostile.fuzz", target, "--seconds", str(seconds)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, f"{target}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.faults_short
@pytest.mark.parametrize("target", TARGETS)
def test_seconds_of_each(target):
    """Only documented errors come out."""
    fuzz(target, 1)


@pytest.mark.faults
@pytest.mark.parametrize("target", TARGETS)
def test_a_while_of_each(target):
    """The same for longer."""
    fuzz(target, 10)
