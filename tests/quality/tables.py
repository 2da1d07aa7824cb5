"""Tables as Markdown, and work shared out to processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Table:
    """One table.

    Parameters
    ----------
    title : its heading
    said : what was measured on what, one paragraph
    columns : their heads
    rows : cells as text
    """

    title: str
    said: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Heading, paragraph, table."""
        head = [f"| {' | '.join(self.columns)} |", f"|{'|'.join(['---'] * len(self.columns))}|"]
        body = [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join([f"### {self.title}", "", self.said, "", *head, *body, ""])


def n_processes() -> int:
    """Processes to use: QUALITY_PROCESSES, else as many as there are cores, at most 4."""
    return int(os.environ.get("QUALITY_PROCESSES", min(4, os.cpu_count() or 1)))


def shared_out(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``work`` of each item in fresh processes, results in order; the numbers of processes change nothing."""
    items = list(items)
    n = min(n_processes(), len(items))
    if n <= 1:
        return [work(item) for item in items]
    with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, items, chunksize=max(1, len(items) // (8 * n))))
