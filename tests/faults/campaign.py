"""Kill -9 any process of a run, again and again, and compare what comes out: ``python -m faults.campaign --kills 100``.

With ``tests`` on PYTHONPATH. Each corpus gets some kills at random moments, by the same command given until it ends
well; then it is verified, and compared to the byte with that of a run in peace on a local disk.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fault_runs import TESTS, Place, Run, digests, make_recordings, published, strike
from fault_table import record
from outside_cluster import OutsideCluster
from servers import BUCKET, Faults, Proxy, S3Server

import corpusdiff
from corpusdiff.store.verify import verify

#: Who can be killed, by who runs the workers: the driver itself, or a cluster that was there before.
OWN = ("worker", "child", "driver")
OUTSIDE = ("scheduler", "nanny", "worker", "child", "driver")

#: Kills that one corpus gets.
PER_CORPUS = 8

#: Runs that one corpus may take: a kill of the driver takes one, and it may miss.
MOST_RUNS = 20


@dataclass
class Toll:
    """What a campaign has cost.

    Parameters
    ----------
    kills : by who was killed
    corpora, runs : made and given
    bad_commits : problems that `verify` found, and shards with other rows than in peace
    bad_objects : objects of other bytes than in peace, missing or too many
    lost, doubled : tracks without a row, and rows of tracks that have one
    tracks_again : tracks that were begun once more, of `tracks`
    """

    kills: Counter[str] = field(default_factory=Counter)
    corpora: int = 0
    runs: int = 0
    bad_commits: int = 0
    bad_objects: int = 0
    lost: int = 0
    doubled: int = 0
    tracks: int = 0
    tracks_again: int = 0
    stories: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was harmed."""
        return not (self.bad_commits or self.bad_objects or self.lost or self.doubled)

    def line(self) -> str:
        """The toll in a line."""
        kills = ", ".join(f"{n} {target}" for target, n in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({kills}) in {self.runs} runs of {self.corpora} corpora: {self.bad_commits} "
            f"bad commits, {self.bad_objects} bad objects, {self.lost} tracks lost, {self.doubled} doubled; "
            f"{self.tracks_again} of {self.tracks} tracks begun again"
        )


class Campaign:
    """Kills over corpora of one backend.

    Parameters
    ----------
    folder : for everything
    backend : ``local`` or ``s3``; with the latter this process's environment has the server
    seed : of all that is random
    n_tracks : of each corpus
    env : further variables of the environment of runs and workers
    """

    def __init__(
        self, folder: Path, backend: str, seed: int, n_tracks: int = 120, env: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.backend = backend
        self.rng = random.Random(seed)
        self.toll = Toll()
        self.waiting: dict[tuple[str, ...], list[str]] = {}
        self.starts = folder / "starts"  # where every start of a track is written down, wherever it is decoded
        self.env = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))),
            "CORPUSDIFF_TEST_HOOK": "hooks:count",
            "CORPUSDIFF_TEST_COUNT": str(self.starts),
            **(env or {}),
        }
        self.source = make_recordings(folder / "recordings", n_tracks)
        self.reference = folder / "reference"
        with Run(self.source, self.reference, "--cluster", "none") as run:
            assert run.finish() == 0, run.said
        self.ids = set(corpusdiff.open(str(self.reference)).column("id"))
        self.digests = digests(self.reference)
        self.published = published(self.reference)

    def run(self, n_kills: int) -> Toll:
        """Kill so many; half of the corpora are made by workers of the driver, half by a cluster outside."""
        with OutsideCluster(self.folder / "dask", env=self.env) as outside:
            while (left := n_kills - self.toll.kills.total()) > 0:
                own = self.toll.corpora % 2 == 0
                self.one_corpus(min(left, PER_CORPUS, -(-n_kills // 2)), None if own else outside)
        return self.toll

    def one_corpus(self, n_kills: int, outside: OutsideCluster | None) -> None:
        """A corpus, killed so often while it is made."""
        name = uuid.uuid4().hex
        out: Place = self.folder / name if self.backend == "local" else f"s3://{BUCKET}/{name}"
        options = ("--workers", "2") if outside is None else ("--cluster", outside.address)
        targets = OWN if outside is None else OUTSIDE
        self.starts.write_bytes(b"")
        story: list[str] = []
        code = None
        while code != 0:
            with Run(self.source, out, *options, env=self.env) as run:
                self.toll.runs += 1
                while n_kills and not run.ended:
                    target = self._next(targets)
                    find = None if outside is None or target == "driver" else lambda t=target: outside.pids(t)
                    if strike(run, target, self.rng, len(self.digests), find):
                        n_kills -= 1
                        self.toll.kills[target] += 1
                        story.append(target)
                    else:
                        self.waiting[targets].append(target)
                code = run.finish()
            story.append(f"exit {code}")
            assert code in {0, -signal.SIGKILL}, f"{story}: {run.said}"
            assert len(story) < MOST_RUNS + PER_CORPUS, story
        self.compare(out, story)
        self.toll.tracks += len(self.ids)
        self.toll.tracks_again += len(self.starts.read_text().splitlines()) - len(self.ids)
        if self.backend == "local":
            shutil.rmtree(out)

    def _next(self, targets: tuple[str, ...]) -> str:
        """Each in its turn, in an order of its own each time; whom a kill missed is the next."""
        waiting = self.waiting.setdefault(targets, [])
        if not waiting:
            waiting += self.rng.sample(targets, len(targets))
        return waiting.pop()

    def compare(self, out: Place, story: list[str]) -> None:
        """Add to the toll what is wrong with a corpus; one that `verify` refuses is not read any further."""
        toll = self.toll
        toll.corpora += 1
        report = verify(str(out))
        problems = [str(problem) for problem in report.problems]
        toll.bad_commits += len(problems)
        if report.ok:
            differing = [a != b for a, b in zip(digests(out), self.digests, strict=True)]
            ours, theirs = published(out), self.published
            objects = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
            ids = list(corpusdiff.open(str(out)).column("id"))
            lost, n_doubled = self.ids - set(ids), len(ids) - len(set(ids))
            toll.bad_commits += sum(differing)
            toll.bad_objects += len(objects)
            toll.lost += len(lost)
            toll.doubled += n_doubled
            problems += [f"{sum(differing)} shards differ"] * any(differing) + objects + sorted(lost)
            problems += [f"{n_doubled} tracks doubled"] * bool(n_doubled)
        if problems:
            toll.stories.append(f"{out}: {', '.join(story)}: {'; '.join(problems[:5])}")


@contextmanager
def backend_at_hand(backend: str) -> Iterator[Mapping[str, str]]:
    """An S3 server in this process's environment where the backend needs one; what runs have in theirs.

    They go through a proxy whose latency makes commits long enough to be hit.
    """
    if backend == "local":
        yield {}
        return
    with S3Server() as server, Proxy(server.port, Faults(latency_s=0.01)) as proxy:
        before = {name: os.environ.get(name) for name in server.env}
        os.environ.update(server.env)
        try:
            yield proxy.env
        finally:
            _restore(before)


def _restore(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def campaign(folder: Path, backend: str, n_kills: int, seed: int, n_tracks: int = 120) -> Toll:
    """A whole campaign, with its line in the table of faults."""
    with backend_at_hand(backend) as env:
        toll = Campaign(folder, backend, seed, n_tracks, env).run(n_kills)
    who = ", ".join(f"{toll.kills[target]} of a {target}" for target in OUTSIDE)
    harmed = toll.lost + toll.doubled + toll.bad_commits
    record(
        "kill -9 at random moments",
        "S3" if backend == "s3" else backend,
        toll.kills.total(),
        harmed,
        f"{who}: {toll.tracks_again} tracks again",
    )
    return toll


def main() -> None:
    """The command line; exit code 1 if anything was harmed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["local", "s3"], default="local")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tracks", type=int, default=120, help="of each corpus")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        toll = campaign(Path(folder), options.backend, options.kills, options.seed, options.tracks)
    print(f"{options.backend}, seed {options.seed}: {toll.line()}; {time.monotonic() - started:.0f} s")
    print(*toll.stories, sep="\n")
    sys.exit(not toll.clean)


if __name__ == "__main__":
    main()
