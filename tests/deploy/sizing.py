"""Measure what deploy/README.md's arithmetic starts from: python tests/deploy/sizing.py

Speed and memory of a run on this machine, and the requests that a run makes of an S3 server.
"""

from __future__ import annotations

import argparse
import collections
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile as sf


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=240)
    parser.add_argument("--track-s", type=float, default=10.0)
    parser.add_argument("--sr", type=int, default=44100)
    parser.add_argument("--job", default="asr")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--requests", action="store_true", help="count those of an S3 server too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "recordings"
        make(source, arguments.tracks, arguments.track_s, arguments.sr)
        options = ["--job", arguments.job, "--workers", str(arguments.workers)]
        corpusdiff("run", str(source), f"{folder}/first", *options, "--limit", str(4 * arguments.workers))  # compiles
        measure_run(source, Path(folder) / "out", options, arguments.tracks * arguments.track_s)
        for n in (5, 20) if arguments.requests else ():
            print(f"{arguments.tracks} tracks, shards of {n}:")
            count_requests(source, f"s3://corpora/shards-of-{n}", [*options, "--shard-s", str(n * arguments.track_s)])


def make(folder: Path, n: int, seconds: float, sr: int) -> None:
    """Stereo FLAC of something like speech: noise in syllables over a floor."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    t = np.arange(int(seconds * sr)) / sr
    for i in range(n):
        loud = np.clip(np.sin(2 * np.pi * (2 + i % 3) * t), 0, 1) * (np.sin(0.7 * t + i) > -0.3)
        x = (0.1 * loud + 0.001) * rng.standard_normal(len(t))
        sf.write(folder / f"{i:04d}.flac", np.stack([x, 0.9 * x], axis=1), sr)


def corpusdiff(*words: str) -> subprocess.Popen[bytes]:
    """A command to its end."""
    done = subprocess.run([sys.executable, "-m", "corpusdiff.cli", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
    return done


def measure_run(source: Path, out: Path, options: list[str], seconds: float) -> None:
    """CPU seconds of the whole tree of processes, and the largest resident memory of each kind of process."""
    before = os.times()
    process = subprocess.Popen(
        [sys.executable, "-m", "corpusdiff.cli", "run", str(source), str(out), *options], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    largest: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    while process.poll() is None:
        for kind, n_bytes in memory_of(process.pid):
            largest[kind] = max(largest[kind], n_bytes)
        time.sleep(0.2)
    wall_s = time.monotonic() - start
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    n_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    in_bytes = sum(path.stat().st_size for path in source.iterdir())
    print(f"{seconds / 3600:.2f} h of audio in {wall_s:.0f} s, {cpu_s:.0f} CPU s: {seconds / cpu_s:.0f} xRT per core")
    print(f"source {in_bytes / seconds * 3600 / 1e6:.0f} MB/h, corpus {n_bytes / seconds * 3600 / 1e6:.0f} MB/h")
    for kind, n_bytes in sorted(largest.items()):
        print(f"{kind}: {n_bytes / 2**20:.0f} MiB")


def memory_of(pid: int) -> list[tuple[str, int]]:
    """Kind and resident memory of the driver, its workers and their children."""
    found = []
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            line = " ".join(process.cmdline())
            kind = "child" if "corpusdiff.child" in line else "worker" if "spawn_main" in line else "driver"
            found.append((kind, process.memory_info().rss))
    except psutil.Error:
        pass  # it ended while we looked
    return found


def count_requests(source: Path, out: str, options: list[str]) -> None:
    """By method and kind of object, of a run whose OUT is a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    seen: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found = re.search(r"(GET|PUT|HEAD|POST|DELETE) /corpora(?:/[\w-]+/([\w.]+))?", record.getMessage())
            if found:
                with lock:
                    seen[f"{found[1]} {found[2] or 'list'}"] += 1

    logger = logging.getLogger("werkzeug")
    logger.handlers, logger.propagate = [Counting()], False
    logger.setLevel(logging.INFO)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
    os.environ.update(keys | {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"})
    boto3.client("s3").create_bucket(Bucket="corpora")
    seen.clear()
    corpusdiff("run", str(source), out, *options)
    server.stop()
    print(", ".join(f"{n} {kind}" for kind, n in sorted(seen.items())), f"; {sum(seen.values())} requests")


if __name__ == "__main__":
    main()
