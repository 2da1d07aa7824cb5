"""What a command takes as a whole process with all its descendants; several commands in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

CPU_OF = Path(__file__).with_name("cpu_of.py")

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Parameters
    ----------
    cpu_s : user and system time of it and of all its descendants, waited for or not
    wall_s : from its start to its end
    peak_bytes : resident memory of the largest of its processes, not their sum
    """

    cpu_s: float
    wall_s: float
    peak_bytes: int


def cost_of(*command: str | Path) -> Cost:
    """Run `command`. Raises RuntimeError with what it said when it fails."""
    with tempfile.NamedTemporaryFile("r") as written:
        done = subprocess.run(
            [sys.executable, CPU_OF, written.name, *command], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stdout}{done.stderr}"
            )
        return Cost(**json.loads(written.read()))


def cpu_seconds(*command: str | Path) -> float:
    """User and system time of `command` and of all its descendants, waited for or not."""
    return cost_of(*command).cpu_s


def medians(costs: Sequence[Cost]) -> Cost:
    """Each figure's median over the runs."""
    return Cost(
        median(cost.cpu_s for cost in costs),
        median(cost.wall_s for cost in costs),
        round(median(cost.peak_bytes for cost in costs)),
    )


def interleaved(
    runs: Mapping[Name, Callable[[], Cost]], rounds: int, once: Collection[Name] = ()
) -> dict[Name, list[Cost]]:
    """Every run once in each round, each round from another start, so that a busy minute falls on all alike.

    Parameters
    ----------
    runs : by name
    rounds : how many
    once : those that take part in the first round only
    """
    names = list(runs)
    found: dict[Name, list[Cost]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            if number == 0 or name not in once:
                found[name].append(runs[name]())
    return found
