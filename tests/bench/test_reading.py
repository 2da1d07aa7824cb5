"""Reading and writing are as fast as they must be, beside what a user would have instead."""

from __future__ import annotations

import pytest
from bench.bench_reading import Row, Took, against, rows, table

#: A busy machine may not fail the short form; a regression should.
LOOSER = 1.5

#: How firm a ratio of medians is: two runs of the same differ by as much.
FIRM = 1.05

#: webdataset leaves its tars open.
open_tars = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def test_ratios_are_of_the_best_peer():
    """The best of CPU and the best of the clock may be different peers."""
    row = against("read pcm", Took(1.0, 2.0), [Took(3.0, 9.0), Took(4.0, 8.0)])
    assert (row.ratio, row.other_ratio, row.required) == (3.0, 4.0, 2.0)


def test_the_table_says_what_was_skipped():
    """A peer that is not installed has a line, with the reason."""
    text = table([Row("webdataset", None, None, None, note="skipped: webdataset is not installed")])
    assert "| webdataset |  |  |  |  |  |  | skipped: webdataset is not installed |" in text


@pytest.mark.bench
@open_tars
def test_short_rounds_with_looser_limits():
    """Ten rounds of reading and three of writing."""
    _hold(rows(10), LOOSER)


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.timeout(1800)
@open_tars
def test_reading_and_writing():
    """As many rounds as make medians firm."""
    _hold(rows(60), FIRM)


def _hold(found: list[Row], looser: float) -> None:
    print(f"\n{table(found)}")
    assert [row.name for row in found if row.required] == ["read flac", "read pcm", "write flac"]
    for row in found:
        assert row.required is None or row.ratio >= row.required / looser, row
