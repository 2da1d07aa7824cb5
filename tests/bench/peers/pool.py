"""What the peers' scripts share: their arguments, and a pool of processes over the files of a folder."""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
from collections.abc import Callable
from pathlib import Path


def arguments(description: str | None, *choices: str) -> argparse.Namespace:
    """`source`, `out`, `workers`, and `what` of `choices` where there are some."""
    parser = argparse.ArgumentParser(description=description)
    if choices:
        parser.add_argument("what", choices=choices)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    return args


def each_file(work: Callable[[tuple[Path, Path]], None], args: argparse.Namespace, suffix: str) -> None:
    """Call `work` with (input, output) for every file of the source; the first failure ends it."""
    pairs = [(path, args.out / f"{path.name}.{suffix}") for path in sorted(args.source.iterdir())]
    with multiprocessing.Pool(args.workers) as pool:
        for _ in pool.imap_unordered(work, pairs, chunksize=max(1, len(pairs) // (args.workers * 8))):
            pass


def program(*command: str | Path, stdin: bytes = b"") -> bytes:
    """Run a program to its end, one thread; its output. Raises where it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode(errors='replace')[-500:]}")
    return done.stdout
