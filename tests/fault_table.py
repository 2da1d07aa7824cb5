"""What was injected and what it cost: rows that the tests of faults record, and the table made of them.

Every test of a fault calls `record`. A session of pytest shows its table at the end; the rows of several
sessions come together in the file that CORPUSDIFF_FAULT_TABLE names, one JSON object on each line, and

    python -m fault_table ROWS.jsonl -o tests/faults/TABLE.md

makes the table in the repository of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: The file that rows are added to; none is written where it is not set.
VARIABLE = "CORPUSDIFF_FAULT_TABLE"

#: Packages whose versions the table names.
_PACKAGES = ("corpusdiff", "distributed", "zarr", "numpy", "obstore", "dask-jobqueue")

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Row:
    """What one test did.

    Parameters
    ----------
    fault : what was done, as ``kill -9 of a worker``
    backend : where, as ``local``, ``tcp://``, ``slurm``, ``S3``
    times : how often it was injected
    lost : tracks without exactly one outcome, or with another than an undisturbed run's
    extra : work that was done for it alone, as ``4 tracks again``; numbers are summed where the words are equal
    """

    fault: str
    backend: str
    times: int
    lost: int
    extra: str


#: Rows of this session.
rows: list[Row] = []


def record(fault: str, backend: str, times: int, lost: int, extra: str) -> None:
    """Note what a test injected, see `Row`."""
    row = Row(fault, backend, times, lost, extra)
    rows.append(row)
    path = os.environ.get(VARIABLE)
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file."""
    return [Row(**json.loads(line)) for line in path.read_text().splitlines()]


def summed(found: Iterable[Row]) -> list[Row]:
    """One row for each fault and backend, in the order of their names.

    >>> kill = Row("kill", "local", 2, 0, "1 track again")
    >>> summed([kill, Row("cut", "hosts", 1, 0, ""), kill])
    [Row(fault='cut', backend='hosts', times=1, lost=0, extra='-'), \
Row(fault='kill', backend='local', times=4, lost=0, extra='2 track again')]
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        groups.setdefault((row.fault, row.backend), []).append(row)
    return [
        Row(*key, sum(row.times for row in group), sum(row.lost for row in group), _together(group))
        for key, group in sorted(groups.items())
    ]


def _together(group: list[Row]) -> str:
    """The extra work of all: texts that differ in their numbers only become one, of the sums."""
    sums: dict[str, list[float]] = {}
    for text in (row.extra for row in group if row.extra):
        numbers = [float(number) for number in _NUMBER.findall(text)]
        before = sums.setdefault(_NUMBER.sub("\0", text), [0.0] * len(numbers))
        before[:] = [a + b for a, b in zip(before, numbers, strict=True)]
    return "; ".join(_filled(words, numbers) for words, numbers in sums.items()) or "-"


def _filled(words: str, numbers: list[float]) -> str:
    parts = words.split("\0")
    return parts[0] + "".join(f"{number:g}{part}" for number, part in zip(numbers, parts[1:], strict=True))


def table_lines(found: Iterable[Row]) -> list[str]:
    """The table in Markdown, aligned for a terminal too."""
    titles = ("fault", "backend", "times injected", "tracks lost", "extra work done")
    cells = [(row.fault, row.backend, str(row.times), str(row.lost), row.extra) for row in summed(found)]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    rule = tuple("-" * width for width in widths)
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (titles, rule, *cells)
    ]


def page(found: list[Row], command: str) -> str:
    """The table with where it comes from."""
    lost, times = sum(row.lost for row in found), sum(row.times for row in found)
    return "\n".join(
        [
            "# Faults injected, and what they cost",
            "",
            f"Made on {datetime.now(UTC):%Y-%m-%d} by",
            "",
            f"    {VARIABLE}=rows.jsonl make faults",
            f"    {command}",
            "",
            f"on {_machine()}, with {_versions()}.",
            "",
            "After each fault the same command was given until it ended well, and the corpus compared to the byte with "
            "one that nothing disturbed. *Tracks lost* are those without exactly one outcome, or with another; *extra "
            "work* is what was done beyond an undisturbed run's: tracks begun again, and audio objects that no record "
            "names.",
            "",
            *table_lines(found),
            "",
            f"{times} faults injected in all, {lost} tracks lost.",
            "",
        ]
    )


def _machine() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {gib:.0f} GiB, Linux {platform.release()}"


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main(arguments: list[str]) -> None:
    """Write the page of a file of rows."""
    parser = argparse.ArgumentParser(prog="python -m fault_table", description="The table of faults, in Markdown.")
    parser.add_argument("rows", type=Path, help=f"what {VARIABLE} named")
    parser.add_argument("-o", dest="output", type=Path, help="the page; standard output unless given")
    given = parser.parse_args(arguments)
    text = page(read_rows(given.rows), shlex.join(["PYTHONPATH=tests", "python", "-m", "fault_table", *arguments]))
    if given.output:
        given.output.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
