"""What travels between the driver and the workers: small frozen records, never audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Seconds without progress after which a track has failed.
STALL_S = 60.0


@dataclass(frozen=True)
class RunOptions:
    """How a worker runs its shards; nothing here changes a byte of the corpus.

    Parameters
    ----------
    spool : folder for temporary files; None for the system's own
    memory_limit : bytes that the child process may allocate
    stall_s : seconds without progress after which a track has failed
    cpu_base_s, cpu_per_s : CPU seconds allowed per track: the base, plus this many per decoded second
    profile : keep account of what the CPU goes to
    """

    spool: str | None = None
    memory_limit: int = 4 * 2**30
    stall_s: float = STALL_S
    cpu_base_s: float = 30.0
    cpu_per_s: float = 2.0
    profile: bool = False


@dataclass(frozen=True)
class ShardTask:
    """One unit of work: which shard of which plan, and where.

    Parameters
    ----------
    out : the corpus folder or URL
    generation : number of the plan under ``plan/``
    plan_digest : sha256 (hex) that the plan must have
    shard : index of the shard in the plan
    options : how to run it
    """

    out: str
    generation: int
    plan_digest: str
    shard: int
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True)
class Progress:
    """How far one attempt at a shard has come, counted from that attempt's start.

    Parameters
    ----------
    shard : index of the shard
    done : tracks with an outcome, the failed ones included
    failed : tracks that failed
    seconds : audio decoded, in seconds
    """

    shard: int
    done: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class ShardReport:
    """What became of one shard, once it is committed.

    Parameters
    ----------
    shard : index of the shard
    n_ok, n_failed, n_filtered : rows by status
    seconds : audio of the shard, in seconds
    reasons : number of failed tracks by reason
    examples : at most five failed tracks, each (id, reason, error)
    cpu_s, wall_s : seconds that the attempt took
    attempt : 0 for the first attempt row, up to 3
    duplicate : another worker had committed equal rows before
    differing : another worker had committed other rows before; those stay
    n_changed : tracks whose file was not as the plan found it; what is there now was processed
    changed : ids of at most five of them
    costs : CPU seconds by part, of this attempt; empty where nobody asked
    """

    shard: int
    n_ok: int
    n_failed: int
    n_filtered: int
    seconds: float
    reasons: dict[str, int]
    examples: tuple[tuple[str, str, str], ...]
    cpu_s: float
    wall_s: float
    attempt: int
    duplicate: bool
    differing: bool
    n_changed: int = 0
    changed: tuple[str, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
