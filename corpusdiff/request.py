"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corpusdiff.cluster import check_spec
from corpusdiff.cluster.options import NO_OPTIONS, ClusterOptions
from corpusdiff.errors import UsageError
from corpusdiff.manifests import USUAL, Reading
from corpusdiff.shards import STALL_S, RunOptions

#: Longest time that an option may give, in seconds: eleven days.
LONGEST_S = 1e6


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for; the command line's options under their own names.

    Parameters
    ----------
    source : folder, glob, file or manifest
    out : folder of the corpus
    job, sets : the job and the changes to it
    cluster, cluster_options : where to run, and on what workers
    mode : None (begin or resume), ``fresh``, ``update`` or ``retry-failed``
    limit : the first so many tracks of the source
    max_failed : so many failed tracks are no failure of the run
    strict : other rows from a second worker are an error
    portable : baseline instructions everywhere
    shard_s : seconds of audio in a shard of what is planned from now on; None for `SHARD_S`
    cut_s : a recording of more seconds is processed in pieces at once; 0 for none, None for `CUT_S`
    stall_s : seconds without progress after which a track has failed
    memory_limit : GiB that one track may take
    profile : say at the end what the CPU went to
    as_json : events as JSON lines on standard output
    quiet : say nothing but errors
    metrics : ``PORT`` or ``HOST:PORT`` where Prometheus finds this run's numbers; None for nowhere
    store_overwrites : take an OUT that cannot refuse to overwrite
    reading : how to read the source, see `corpusdiff.manifests.Reading`

    Raises UsageError for lengths of time that are none.
    """

    source: str
    out: str
    job: str = "asr"
    sets: Sequence[str] = ()
    cluster: str = "local"
    cluster_options: ClusterOptions = NO_OPTIONS
    mode: str | None = None
    limit: int | None = None
    max_failed: int = 0
    strict: bool = False
    portable: bool = False
    shard_s: float | None = None
    cut_s: float | None = None
    stall_s: float = STALL_S
    memory_limit: float = 4.0
    profile: bool = False
    as_json: bool = False
    quiet: bool = False
    metrics: str | None = None
    store_overwrites: bool = False
    reading: Reading = USUAL

    def __post_init__(self) -> None:
        for option, seconds in (("--shard-s", self.shard_s), ("--stall", self.stall_s)):
            if seconds is not None and not 0.0 < seconds <= LONGEST_S:
                raise UsageError(f"{option} {seconds:g}: expected seconds, above 0 and at most {LONGEST_S:g}")
        if self.cut_s is not None and not 0.0 <= self.cut_s <= LONGEST_S:
            raise UsageError(f"--cut-s {self.cut_s:g}: expected seconds, at most {LONGEST_S:g}, or 0 to cut nothing")
        check_spec(self.cluster, self.cluster_options)

    @property
    def spool(self) -> str | None:
        """Folder for temporary files."""
        return self.cluster_options.spool

    @property
    def options(self) -> RunOptions:
        """What the workers need of it."""
        memory_limit = round(self.memory_limit * 2**30)
        return RunOptions(self.spool, memory_limit, self.stall_s, profile=self.profile)
