"""What the tests of faults share: recordings, and the corpus that an undisturbed run makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import fault_table
import pytest
from fault_runs import Run, checked, make_recordings


class Reference(NamedTuple):
    """Recordings, what the serial runner made of them, and how much that is."""

    source: Path
    out: Path
    n_tracks: int
    n_shards: int


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A corpus that nothing disturbed, by the serial runner."""
    folder = tmp_path_factory.mktemp("faults")
    source = make_recordings(folder / "recordings")
    with Run(source, folder / "reference", "--cluster", "none") as run:
        assert run.finish() == 0, run.said
    report = checked(run.out)
    assert report.finalised
    assert report.n_shards > 10
    return Reference(source, run.out, report.n_rows, report.n_shards)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of what this session injected."""
    if fault_table.rows:
        terminalreporter.section("faults injected")
        for line in fault_table.table_lines(fault_table.rows):
            terminalreporter.write_line(line)
