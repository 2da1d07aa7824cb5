"""The table of faults: rows come together in a file and in one line for each fault and backend."""

from __future__ import annotations

import fault_table
import pytest
from fault_table import Row, main, read_rows, record, summed, table_lines


@pytest.fixture
def nothing_recorded(monkeypatch, tmp_path):
    """A session that has no rows yet, and its file."""
    monkeypatch.setattr(fault_table, "rows", [])
    monkeypatch.setenv(fault_table.VARIABLE, str(tmp_path / "rows.jsonl"))
    return tmp_path / "rows.jsonl"


def test_rows_go_to_the_session_and_to_the_file(nothing_recorded):
    """Both hold every row; without the variable there is only the session."""
    record("kill -9 of a worker", "local", 1, 0, "2 tracks again")
    record("a full disk", "local", 3, 0, "")
    assert read_rows(nothing_recorded) == fault_table.rows
    assert fault_table.rows[0] == Row("kill -9 of a worker", "local", 1, 0, "2 tracks again")


def test_no_file_without_the_variable(nothing_recorded, monkeypatch):
    """Nothing is written that nobody asked for."""
    monkeypatch.delenv(fault_table.VARIABLE)
    record("kill", "local", 1, 0, "")
    assert not nothing_recorded.exists()


def test_extra_work_is_summed_by_its_words():
    """Numbers of equal texts add up, other texts stand beside them, and no work is a dash."""
    rows = [
        Row("kill", "local", 1, 0, "2 tracks again, 1 orphans"),
        Row("kill", "local", 2, 1, "3 tracks again, 0 orphans"),
        Row("kill", "local", 1, 0, "41.5 s more"),
        Row("kill", "S3", 1, 0, ""),
    ]
    assert summed(rows) == [
        Row("kill", "S3", 1, 0, "-"),
        Row("kill", "local", 4, 1, "5 tracks again, 1 orphans; 41.5 s more"),
    ]


def test_the_page_names_its_command_and_a_lost_track(nothing_recorded, tmp_path, capsys):
    """A table in which something was lost does not hide it."""
    record("kill", "local", 2, 1, "")
    main([str(nothing_recorded), "-o", str(tmp_path / "TABLE.md")])
    page = (tmp_path / "TABLE.md").read_text()
    assert f"python -m fault_table {nothing_recorded} -o" in page
    assert "| kill  | local   | 2              | 1           | -               |" in page
    assert "2 faults injected in all, 1 tracks lost." in page
    main([str(nothing_recorded)])
    assert capsys.readouterr().out == page.replace(f" -o {tmp_path / 'TABLE.md'}", "")


def test_every_line_of_the_table_has_one_width():
    """So that it reads in a terminal."""
    lines = table_lines([Row("kill -9 of a worker", "local", 1, 0, "x"), Row("a", "tcp://", 20, 0, "long " * 8)])
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 4
