"""The page of a long table: as small as that of a short one, and made in seconds."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from report_maker import make_long_corpus

from corpusdiff.report.choose import choose
from corpusdiff.report.collect import collect
from corpusdiff.store.read import Corpus


def made(out: str, page) -> tuple[float, float]:
    """Make the page as a user does; seconds of CPU that it took, and its peak of memory in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "corpusdiff.cli", "report", out, "-o", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss / 1024


def test_a_table_of_several_chunks(tmp_path):
    """Every row is counted; the page is under 20 MB, with all that is heard before and after."""
    out = make_long_corpus(tmp_path, 140_000)
    found = collect(Corpus(out))
    assert found.counts == {"ok": 138_600, "failed": 1_400}
    assert [(failure.reason, failure.tracks, len(failure.examples)) for failure in found.failures] == [
        ("unsupported", 1_400, 5)
    ]
    assert sum(use.tracks for use in found.rules) == 138_600
    assert found.histograms[0].after.sum() == 138_600
    assert max(row for _, row in choose(Corpus(out), 12)) > 70_000
    made(out, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert len(page) < 20e6
    assert page.count("<audio") == 2 * 12


@pytest.mark.scale
def test_a_million_tracks(tmp_path):
    """The whole command takes less than 10 s of CPU, 20 MB of disk and 1.5 GiB of memory."""
    out = make_long_corpus(tmp_path, 1_000_000)
    seconds, mib = made(out, tmp_path / "page.html")
    size = (tmp_path / "page.html").stat().st_size
    print(f"\nreport of 1,000,000 tracks: {seconds:.1f} s of CPU, {mib:.0f} MiB, {size / 1e6:.1f} MB")
    assert seconds < 10
    assert size < 20e6
    assert mib < 1536
