"""One pass over a corpus that looks at every bit of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan
from corpusdiff.store.checks import (
    Problem,
    check_metadata,
    check_object,
    check_plan,
    check_record,
    check_table_checksum,
    check_table_chunk,
)
from corpusdiff.store.finalise import chunk_keys, count_shards, plan_tables
from corpusdiff.store.generations import manifest_ids, manifest_of, plan_key, read_record
from corpusdiff.store.inventory import Inventory, Standing
from corpusdiff.store.layout import STAGED, ArrayLayout
from corpusdiff.store.metadata import AUDIO, ROOT, TRACKS, group_files
from corpusdiff.store.objects import Objects
from corpusdiff.store.record import record_key
from corpusdiff.store.schema import TABLES_KEY, Schema, parse_schema


class Audit:
    """Collects what is wrong, part by part.

    Parameters
    ----------
    objects : the corpus
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.problems: list[Problem] = []
        self.orphans: list[str] = []
        self.strays: list[str] = []
        self.pending: list[str] = []
        self.n_shards = self.n_rows = self.n_objects = 0
        self.schema = self._schema()
        self._plans_known = True
        self._records_known = True

    def run(self) -> None:
        """Look at everything once."""
        plans = self._plans()
        inventory = Inventory(plans)
        for plan in plans:
            self._shards(plan, inventory)
        self.n_objects = inventory.n_objects
        self._metadata(inventory)
        if self._plans_known:
            self._commits(plans)
            self._staged()
            self._keys(inventory)
        self._tables(plans)

    def collect_garbage(self) -> int:
        """Delete what no record names, and left-over temporary files; how many went.

        Nothing is deleted where a plan or a record is damaged or missing.
        """
        if not (self._plans_known and self._records_known):
            return 0
        for key in [*self.orphans, *self.strays]:
            self.objects.delete(key)
        return len(self.orphans) + len(self.strays) + self.objects.sweep()

    def _say(self, key: str, what: str) -> None:
        self.problems.append(Problem(key, what))

    def _schema(self) -> Schema | None:
        """What the tables say they are, None where there are none that can be believed."""
        try:
            return parse_schema(self.objects.read(TABLES_KEY))
        except FileNotFoundError:
            return None
        except StoreError as error:
            self._say(TABLES_KEY, str(error).removeprefix(f"{TABLES_KEY}: "))
            return None

    def _plans(self) -> list[Plan]:
        """The plans up to the first that is damaged."""
        keys = set(self.objects.list("plan"))
        n_generations = 1 + max((int(name) for name in _generation_names(keys)), default=-1)
        if n_generations == 0:
            raise StoreError(
                f"{self.objects.location}: no corpus here: there is no {plan_key(0)}; `corpusdiff run` makes one"
            )
        plans: list[Plan] = []
        for generation in range(n_generations):
            manifests = {key for key in keys if _is_manifest(key, generation)}
            keys -= manifests
            if manifests and self._never_planned(generation, n_generations):
                self.orphans += sorted(manifests)
                continue
            plan, problems = check_plan(self.objects, generation)
            self.problems += problems
            keys -= {plan_key(generation)}
            if plan is None:
                self._plans_known = False
                continue
            self.orphans += sorted(manifests - {manifest_of(self.objects, plan)})
            if len(plans) == generation:
                plans.append(plan)
        for key in sorted(keys):
            self._say(key, Standing.FOREIGN.value)
        return plans

    def _never_planned(self, generation: int, n_generations: int) -> bool:
        """Whether a driver was stopped between freezing the manifest of a new generation and planning it."""
        n_tabled = 0 if self.schema is None else len(self.schema.jobs)
        return (
            generation == n_generations - 1
            and generation >= max(1, n_tabled)
            and self.objects.size(plan_key(generation)) is None
        )

    def _shards(self, plan: Plan, inventory: Inventory) -> None:
        """The records of a generation and the objects that they name."""
        ids = self._ids(plan)
        tabled = self.schema is not None and plan.generation < len(self.schema.jobs)
        for shard in range(plan.n_shards):
            key = record_key(plan.digest, shard)
            wanted = None if ids is None else list(islice(ids, plan.bounds[shard + 1] - plan.bounds[shard]))
            if self.objects.size(key) is None:
                self.pending.append(key)
                if tabled:
                    self._records_known = False
                    self._say(key, "missing: run the same command again")
                continue
            try:
                record = read_record(self.objects, plan, shard)
            except StoreError as error:
                self._say(key, str(error).removeprefix(f"{key}: "))
                inventory.add_unknown(plan.generation, shard)
                self._records_known = False
                continue
            if wanted is not None:
                self.problems += check_record(record, plan, wanted)
            inventory.add(plan.generation, record)
            self.n_shards += 1
            self.n_rows += len(record.rows)
            self.problems += filter(None, (check_object(self.objects, entry) for entry in record.objects))

    def _ids(self, plan: Plan) -> Iterator[str] | None:
        """Ids of the plan's tracks, unless the manifest is known to be damaged."""
        if manifest_of(self.objects, plan) in self._named():
            return None
        return manifest_ids(self.objects, plan)

    def _commits(self, plans: Sequence[Plan]) -> None:
        n_shards = {plan.digest: plan.n_shards for plan in plans}
        for key in self.objects.list("commits"):
            digest, _, name = key.removeprefix("commits/").partition("/")
            known = name.isdecimal() and int(name) < n_shards.get(digest, 0)
            if not known or key != record_key(digest, int(name)):
                self._say(key, Standing.FOREIGN.value)

    def _staged(self) -> None:
        """What pieces of long tracks have left that were not committed, or whose worker was killed after that."""
        self.orphans += sorted(self.objects.list(STAGED))

    def _metadata(self, inventory: Inventory) -> None:
        files = dict(group_files())
        for layout in inventory.layouts.values():
            if layout.name in inventory.required or self.objects.size(layout.metadata_key) is not None:
                files[layout.metadata_key] = layout.metadata()
        if self.schema is not None:
            files |= self.schema.files()
        self.problems += filter(None, (check_metadata(self.objects, *file) for file in files.items()))
        self._checked = set(files) | {TABLES_KEY}

    def _keys(self, inventory: Inventory) -> None:
        """Everything under ``data.zarr`` that nothing has asked for yet."""
        chunks = set() if self.schema is None else chunk_keys(self.schema)
        for key in self.objects.list(ROOT):
            if key in self._checked or key in chunks:
                continue
            if key.startswith(f"{AUDIO}/"):
                self._audio_key(key, inventory)
            elif self.schema is not None or not key.startswith(f"{TRACKS}/"):
                self._say(key, Standing.FOREIGN.value)

    def _audio_key(self, key: str, inventory: Inventory) -> None:
        name = key.split("/")[2]
        if name not in inventory.layouts:
            self._admit(name, inventory)
        if name in inventory.layouts and key == inventory.layouts[name].metadata_key:
            return
        standing = inventory.standing(key)
        if standing is Standing.ORPHAN:
            self.orphans.append(key)
        elif standing is Standing.STRAY:
            self.strays.append(key)
            self._say(key, f"{standing.value}: it would be heard instead of silence; verify --gc removes it")
        elif standing is Standing.FOREIGN:
            self._say(key, standing.value)

    def _admit(self, name: str, inventory: Inventory) -> None:
        """Get to know an array that was made by a writer who did not come to commit anything."""
        key = f"{AUDIO}/{name}/zarr.json"
        with contextlib.suppress(FileNotFoundError, StoreError):
            layout = ArrayLayout.parse(self.objects.read(key), key)
            if layout.metadata_key == key:
                inventory.admit(layout)

    def _tables(self, plans: Sequence[Plan]) -> None:
        known = self._plans_known and self._records_known
        if self.schema is None:
            if known and not self.pending and self.objects.size(TABLES_KEY) is None:
                self._say(TABLES_KEY, "missing: run the same command again to write the tables")
            return
        generations = plans[: len(self.schema.jobs)]
        if not known or any(manifest_of(self.objects, plan) in self._named() for plan in plans):
            for key in sorted(chunk_keys(self.schema)):
                self.problems += check_table_checksum(self.objects, key)
            return
        counts = count_shards(self.objects, generations)
        schema, tasks = plan_tables(self.objects.location, generations, counts, self.schema.columns)
        if schema != self.schema:
            self._say(TABLES_KEY, "not what the plans and records say: run the same command again")
            return
        for task in tasks:
            self.problems += check_table_chunk(self.objects, task)

    def _named(self) -> set[str]:
        """Objects that something is wrong with."""
        return {problem.key for problem in self.problems}


def _is_manifest(key: str, generation: int) -> bool:
    """Whether a key is of a generation's manifest, or of one that a driver made in vain."""
    folder, _, name = key.rpartition("/")
    return folder == f"plan/{generation:04d}" and name.startswith("manifest") and name.endswith(".parquet")


def _generation_names(keys: Iterable[str]) -> set[str]:
    names = {key.split("/")[1] for key in keys if key.count("/") == 2}
    return {name for name in names if len(name) == 4 and name.isdecimal()}
