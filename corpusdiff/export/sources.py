"""The recordings that a corpus was made of, where an export needs them again: for their tags, or their pictures."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from corpusdiff.errors import CorpusdiffError
from corpusdiff.manifests.base import absolute_path
from corpusdiff.manifests.download import download
from corpusdiff.plan import Plan
from corpusdiff.store.generations import read_plans
from corpusdiff.store.item import Item
from corpusdiff.store.objects import open_objects


class Sources:
    """The sources of a corpus at `out`."""

    def __init__(self, out: str) -> None:
        self._out = out

    @cached_property
    def plans(self) -> list[Plan]:
        """Of all generations."""
        return read_plans(open_objects(self._out, write=False))

    @contextmanager
    def local(self, item: Item) -> Iterator[str | None]:
        """A path at which the row's recording can be read, for the length of the block; None where it is gone."""
        root = self.plans[item.layout.generation].root
        place = absolute_path(str(item["path"]), root)
        if "://" not in place:
            yield place if Path(place).is_file() else None
            return
        try:
            file = download(place, None, None, threading.Event())
        except (CorpusdiffError, FileNotFoundError, PermissionError):
            yield None
            return
        with file:
            yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
