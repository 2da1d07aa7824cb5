"""Which audio objects belong to a corpus, in eight bytes per object."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Sequence
from enum import Enum

import numpy as np

from corpusdiff.plan import Plan
from corpusdiff.store.layout import ArrayLayout, foretold_layouts, output_specs, plan_layout
from corpusdiff.store.metadata import AUDIO
from corpusdiff.store.record import Record

_OBJECT = re.compile(rf"{re.escape(AUDIO)}/([^/]+)/c/(0|[1-9]\d*)/(?:0/)?(0|[1-9]\d*)")
_NONE, _UNKNOWN = -1, -2


class Standing(Enum):
    """How an audio object stands to the records."""

    NAMED = "named by the record of its shard"
    ORPHAN = "in a row that no record names"
    STRAY = "in a committed row whose record does not name it"
    UNKNOWN = "of a shard whose record is damaged"
    FOREIGN = "not a key of this corpus"


class Inventory:
    """Filled from all records, then asked about each key.

    Parameters
    ----------
    plans : of all generations

    ``layouts`` are the arrays known by name; ``required`` those that must be there, because a committed
    shard uses them or its plan foretells them.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = plans
        self._rows = [array("q", [_NONE]) * plan.n_shards for plan in plans]
        self._named = array("Q")
        self._sorted = np.zeros(0, np.uint64)
        self._foretold = [foretold_layouts(plan) for plan in plans]
        self.layouts = {layout.name: layout for layouts in self._foretold for layout in layouts}
        self.required: set[str] = set()

    @property
    def n_objects(self) -> int:
        """Objects that the records name."""
        return len(self._named)

    def add(self, generation: int, record: Record) -> None:
        """Take up a committed shard."""
        self._rows[generation][record.shard] = record.row
        self.required.update(layout.name for layout in self._foretold[generation])
        self._named.extend(_hash(entry.key) for entry in record.objects)
        for name, sr, n_channels in {_place(row, output) for row in record.rows for output in row["outputs"]}:
            layout = plan_layout(self._plans[generation], name, sr, n_channels)
            self.layouts.setdefault(layout.name, layout)
            self.required.add(layout.name)

    def add_unknown(self, generation: int, shard: int) -> None:
        """Take note of a shard whose record is damaged."""
        self._rows[generation][shard] = _UNKNOWN

    def standing(self, key: str) -> Standing:
        """How an audio object stands to the records."""
        match = _OBJECT.fullmatch(key)
        layout = self.layouts.get(match[1]) if match else None
        if match is None or layout is None:
            return Standing.FOREIGN
        row, number = int(match[2]), int(match[3])
        if row >= layout.n_rows or layout.object_key(row, number) != key:
            return Standing.FOREIGN
        shard = row % self._plans[layout.generation].n_shards
        committed = self._rows[layout.generation][shard]
        if committed == _UNKNOWN:
            return Standing.UNKNOWN
        if committed != row:
            return Standing.ORPHAN
        return Standing.NAMED if self._is_named(key) else Standing.STRAY

    def admit(self, layout: ArrayLayout) -> bool:
        """Whether a plan can have made this array, that no record uses; it is known from then on."""
        if not 0 <= layout.generation < len(self._plans):
            return False
        plan = self._plans[layout.generation]
        if layout.output not in output_specs(plan):
            return False
        if plan_layout(plan, layout.output, layout.sr, layout.n_channels) != layout:
            return False
        self.layouts.setdefault(layout.name, layout)
        return True

    def _is_named(self, key: str) -> bool:
        if len(self._sorted) != len(self._named):
            self._sorted = np.sort(np.frombuffer(self._named, np.uint64))
        wanted = np.uint64(_hash(key))
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and bool(self._sorted[place] == wanted)


def _place(row: object, output: object) -> tuple[str, int, int]:
    return output["name"], row["sr"], row["n_channels"]  # type: ignore[index]


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
