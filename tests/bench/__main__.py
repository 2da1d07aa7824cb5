"""Measure, and write the table: ``PYTHONPATH=tests python -m bench [--scale 0.1] [--rounds 3] [-o FILE]``."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from bench.extras import extras
from bench.measure import Results, as_json, measure
from bench.table import PAGE, page, reading


def work_folder() -> Path:
    """Where loads are kept between runs: $CORPUSDIFF_BENCH, else a folder among the temporary ones."""
    folder = Path(os.environ.get("CORPUSDIFF_BENCH", Path(tempfile.gettempdir()) / "corpusdiff-bench"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def measured(scale: float, rounds: int) -> Results:
    """All sides and all other figures."""
    found = measure(work_folder(), scale, rounds)
    found.figures |= extras(work_folder(), scale, rounds)
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure speed beside peers, and write the table.")
    parser.add_argument("--scale", type=float, default=float(os.environ.get("CORPUSDIFF_BENCH_SCALE", "1")))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    parser.add_argument("--json", type=Path, help="write every figure there too")
    args = parser.parse_args()
    found = measured(args.scale, args.rounds)
    args.output.write_text(page(found, reading()))
    if args.json:
        args.json.write_text(as_json(found))
    print(args.output.read_text())


if __name__ == "__main__":
    main()
