"""Measure, and write the tables: ``PYTHONPATH=tests python -m quality [--short] [--only NAME] [-o FILE]``."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

from quality.peers import DENOISERS, LEVELERS, program
from quality.peers_echo import CANCELLERS
from quality.tables import Table

#: Modules that measure, in the order of the page.
PARTS = ("denoise", "recognition", "level", "timbre", "echo", "snr", "codec")

#: Where the page goes, and what the part of the README is marked by.
PAGE = Path(__file__).resolve().parents[2] / "jobs" / "QUALITY.md"
MARKS = ("<!-- quality -->", "<!-- /quality -->")

_OWN = ("corpusdiff", "numpy", "scipy", "numba", "soxr", "pesq", "pystoi", "pocketsphinx")


def tables_of(part: str, *, short: bool) -> list[Table]:
    """Measure one part."""
    module = importlib.import_module(f"quality.{part}")
    n = module.N_SHORT if short else module.N_FULL
    measured = module.measure(n)
    found = [measured.table()]
    if hasattr(measured, "by_noise"):
        found.append(measured.by_noise())
    if hasattr(module, "harder") and not short:
        found += module.harder(n)
    return found


def versions() -> list[str]:
    """What was measured with what; peers that are absent with the reason."""
    own = [f"{name} {version(name)}" for name in _OWN]
    peers = [peer.absence() or peer.version() for peer in (*DENOISERS, *LEVELERS, *CANCELLERS)]
    spoken = program("espeak-ng", "--version", 3)()
    return list(dict.fromkeys([f"Python {platform.python_version()}", *own, spoken, *peers]))


def page(parts: list[str], *, short: bool) -> str:
    """The whole page as Markdown."""
    made = "a sample of each kind" if short else "all of it"
    lines = ["# Sound quality", "", f"Made by `make quality` ({made}); fixed seeds. Positive changes are better.", ""]
    for part in parts:
        started = time.monotonic()
        lines += [table.markdown() for table in tables_of(part, short=short)]
        sys.stderr.write(f"{part}: {time.monotonic() - started:.0f} s\n")
    return "\n".join([*lines, "### Versions", "", f"{'; '.join(versions())}.", ""])


def put_between_marks(readme: Path, text: str) -> bool:
    """Replace what stands between the marks of `readme`; False where it has none."""
    old = readme.read_text(encoding="utf-8")
    if not all(mark in old for mark in MARKS):
        return False
    head, rest = old.split(MARKS[0], 1)
    tail = rest.split(MARKS[1], 1)[1]
    readme.write_text(f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{tail}", encoding="utf-8")
    return True


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="quality", description="Measure sound quality against what people use.")
    parser.add_argument("--short", action="store_true", help="a sample of each kind, under three minutes")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part (may be given again)")
    parser.add_argument("-o", "--output", type=Path, help="file for the page (default: stdout with --only or --short)")
    parser.add_argument("--readme", type=Path, help="put the tables between the marks of this file too")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    text = page(args.only or list(PARTS), short=args.short)
    whole = not args.short and not args.only
    if args.output or whole:
        (args.output or PAGE).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    if args.readme and not put_between_marks(args.readme, text.split("\n", 2)[2].strip()):
        parser.error(f"{args.readme} has no {' ... '.join(MARKS)}")


if __name__ == "__main__":
    main()
