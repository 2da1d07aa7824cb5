"""Workers and the driver of a long recording in pieces are killed."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
import soundfile as sf
from fault_ledger import Ledger
from fault_runs import Run, checked, kill, same_corpus, wait_for

CUT = ("--cut-s", "20", "--job", "asr")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Four minutes, and the corpus of an undisturbed run."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "source").mkdir()
    rng = np.random.default_rng(0)
    n = 240 * 16000
    x = 0.2 * np.sin(np.arange(n) * 0.1) * (np.sin(np.arange(n) / 9000) > 0) + 0.01 * rng.standard_normal(n)
    sf.write(folder / "source" / "long.wav", x, 16000)
    with Run(folder / "source", folder / "reference", *CUT, "--cluster", "none") as run:
        assert run.finish() == 0, run.said
    return folder


@pytest.mark.faults_short
@pytest.mark.parametrize("target", ["worker", "child", "driver"])
def test_killed_between_its_pieces(recording, tmp_path, target):
    """The same command finishes, and the corpus is that of the undisturbed run."""
    ledger, out = Ledger(tmp_path, "local"), tmp_path / "out"
    rng = random.Random(target)
    for _ in range(3):
        with Run(recording / "source", out, *CUT, "--workers", "3", hook="slow", env=ledger.env) as run:
            wait_for(lambda: len(run.children()) >= 2 or run.ended, "children that decode")
            time.sleep(rng.uniform(0.0, 1.5))
            pids = {"worker": run.workers, "child": run.children, "driver": lambda: [run.process.pid]}[target]()
            if pids and not run.ended:
                kill(rng.choice(pids))
            code = run.finish()
            assert code == 0 or target == "driver", run.said
            assert "Traceback" not in run.said
    with Run(recording / "source", out, *CUT, "--workers", "3", env=ledger.env) as run:
        assert run.finish() == 0, run.said
    same_corpus(out, recording / "reference", target)
    assert checked(out).n_rows == 1
    ledger.settle(f"kill -9 of a {target} over a long recording in pieces", 3, out, recording / "reference")
