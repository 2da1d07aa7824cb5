"""What a test of faults on this machine does around its runs: count the work, compare the corpus, record the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fault_runs import Place, checked, same_corpus
from fault_table import record

import corpusdiff
from corpusdiff.stages.base import Audio
from corpusdiff.store.generations import read_plan, read_record
from corpusdiff.store.objects import open_objects


class Ledger:
    """Counts the tracks that runs begin, and settles what became of their corpus.

    Give `env` to every `Run` (and to workers outside) together with a hook of tests/hooks.py that counts.

    Parameters
    ----------
    folder : for the count
    backend : as `fault_table.Row` has it
    """

    def __init__(self, folder: Path, backend: str = "local") -> None:
        self.backend = backend
        self._begun = folder / f"begun-{backend.strip(':/')}"
        self._begun.touch()

    @property
    def env(self) -> dict[str, str]:
        """Variables of the runs."""
        return {"CORPUSDIFF_TEST_COUNT": str(self._begun)}

    @property
    def n_begun(self) -> int:
        """Tracks begun so far, each as often as it was."""
        return len(self._ids())

    @property
    def n_again(self) -> int:
        """Those of them that had been begun before."""
        return self.n_begun - len(set(self._ids()))

    def _ids(self) -> list[str]:
        return self._begun.read_text().splitlines()

    def settle(self, fault: str, times: int, out: Place, reference: Place, why: str = "") -> None:
        """Assert that the corpus is the undisturbed one, and record the row."""
        ids, wanted = list(corpusdiff.open(str(out)).column("id")), corpusdiff.open(str(reference)).column("id")
        lost = len(set(wanted) ^ set(ids)) + len(ids) - len(set(ids))
        record(fault, self.backend, times, lost, f"{self.n_again} tracks again, {len(checked(out).orphans)} orphans")
        assert lost == 0, f"{fault}: {why}"
        same_corpus(out, reference, f"{fault}: {why}")


def described(out: Place) -> dict[str, dict[str, Any]]:
    """Every row but for where its audio lies, by id."""
    objects = open_objects(str(out), write=False)
    plan = read_plan(objects, 0)
    rows = [row for shard in range(plan.n_shards) for row in read_record(objects, plan, shard).rows]
    return {row["id"]: {**row, "outputs": []} for row in rows}


def audio_of(out: Place) -> dict[str, Audio]:
    """The audio of every row that has some, by id."""
    return {item.id: item.audio for item in corpusdiff.open(str(out)) if item.status == "ok"}


def same_rows(out: Place, reference: Place) -> None:
    """Assert that both have the same rows with the same audio, wherever it lies."""
    assert described(out) == described(reference)
    ours, theirs = audio_of(out), audio_of(reference)
    assert [track for track in theirs if not np.array_equal(ours[track], theirs[track])] == []
