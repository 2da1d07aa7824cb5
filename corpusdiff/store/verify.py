"""Checking a corpus: every bit of the plans, the records, the audio, the metadata and the tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from corpusdiff.store.audit import Audit
from corpusdiff.store.checks import Problem
from corpusdiff.store.objects import open_objects


@dataclass(frozen=True)
class VerifyReport:
    """What ``verify`` found.

    Parameters
    ----------
    problems : what is wrong, by object
    orphans : keys of objects that no record names: what killed or slower writers left
    deleted : orphans and temporary files that were removed
    pending : shards that are planned and not committed
    n_shards, n_rows, n_objects : committed shards, their rows and audio objects
    finalised : whether the tables are there
    """

    problems: tuple[Problem, ...]
    orphans: tuple[str, ...]
    deleted: int
    pending: int
    n_shards: int
    n_rows: int
    n_objects: int
    finalised: bool

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. Orphans and pending shards are not wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**asdict(self), "ok": self.ok}

    def summary(self) -> str:
        """One line for a person."""
        parts = [f"{self.n_shards} shards, {self.n_rows} rows, {self.n_objects} audio objects"]
        parts.append(f"{len(self.problems)} problems" if self.problems else "nothing is wrong")
        if self.pending:
            parts.append(f"{self.pending} shards still to do")
        if self.deleted:
            parts.append(f"{self.deleted} orphans and temporary files deleted")
        elif self.orphans:
            parts.append(f"{len(self.orphans)} orphans, which verify --gc deletes")
        return "; ".join(parts)


def verify(out: str, *, gc: bool = False) -> VerifyReport:
    """Check the corpus OUT.

    Memory does not grow with the corpus but for eight bytes per shard and per audio object.

    Parameters
    ----------
    out : the corpus folder
    gc : delete orphans and left-over temporary files; only to be used while no run is writing. Nothing
        is deleted while a plan or a record is damaged or missing, for then it is unknown what is one.

    Raises StoreError where there is no corpus.
    """
    audit = Audit(open_objects(out, write=False))
    audit.run()
    deleted = audit.collect_garbage() if gc else 0
    return VerifyReport(
        problems=tuple(audit.problems),
        orphans=tuple(audit.orphans),
        deleted=deleted,
        pending=len(audit.pending),
        n_shards=audit.n_shards,
        n_rows=audit.n_rows,
        n_objects=audit.n_objects,
        finalised=audit.schema is not None,
    )
