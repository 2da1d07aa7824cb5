"""Whether workers on other hosts can do the work: our version, the packages, the paths, asked on the workers."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from distributed import Client

from corpusdiff.cluster.settings import SETTINGS
from corpusdiff.errors import UsageError
from corpusdiff.manifests.remote import why_unreached
from corpusdiff.runner import Notify
from corpusdiff.store.objects import is_url, open_objects

#: Packages whose version may change a byte of the corpus.
_HEARD = ("av", "llvmlite", "numba", "numpy", "scipy", "soundfile", "soxr", "webrtcvad-wheels")


def _versions() -> dict[str, str | None]:
    """Versions of us and of all that we need, None for what is not installed."""
    names = [re.split(r"[^\w.-]", line)[0] for line in requires("corpusdiff") or [] if "extra ==" not in line]
    return {"corpusdiff": _version("corpusdiff"), **{name: _version(name) for name in [*names, "llvmlite"]}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Fitness:
    """What every worker must have, made by the driver.

    Parameters
    ----------
    must_reach : paths and URLs that a worker must see; a URL that ends in a slash is a source
    versions : of the packages here
    python : version of Python here
    """

    must_reach: tuple[str, ...] = ()
    versions: Mapping[str, str | None] = field(default_factory=_versions)
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"

    def inspect(self) -> tuple[str | None, list[str]]:
        """Run on a worker: what makes it unfit (None: nothing does), and what is only different there."""
        there = _versions()
        ours = self.versions["corpusdiff"]
        if there["corpusdiff"] != ours:
            return f"has corpusdiff {there['corpusdiff']}, here is {ours}: install one version", []
        missing = [name for name in self.versions if there.get(name) is None]
        if missing:
            return f"lacks {', '.join(missing)}: install the same packages there (pip install corpusdiff)", []
        unseen = [f"{place} ({why})" for place in self.must_reach if (why := _unseen(place))]
        if unseen:
            return f"does not see {'; '.join(unseen)}: use a place that all hosts reach with the same rights", []
        differing = [f"{name} {there[name]}" for name in _HEARD if there.get(name) != self.versions.get(name)]
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return None, differing + [f"Python {python}"] * (python != self.python)

    def check(self, client: Client, notify: Notify) -> int:
        """Ask all workers that are there; how many there are. Raises UsageError for one that is not fit."""
        where = str(client.scheduler_info(n_workers=0)["address"])
        try:
            found: dict[str, tuple[str | None, list[str]]] = client.run(self.inspect)
        except ImportError as error:
            raise UsageError(f"the workers at {where} cannot import corpusdiff ({error}): install it there") from error
        for worker, (problem, _) in found.items():
            if problem:
                raise UsageError(f"worker {worker} {problem}")
        differing = {worker: differences for worker, (_, differences) in found.items() if differences}
        if differing:
            worker, differences = next(iter(differing.items()))
            notify(
                f"{len(differing)} of {len(found)} workers have other versions than this driver ({worker}: "
                f"{', '.join(differences)}): the corpus may differ from one made here in the last bits"
            )
        _check_settings(client, where, notify)
        return len(found)


def _unseen(place: str) -> str | None:
    """Why a path or URL is not seen from here, None when it is."""
    if not is_url(place):
        return None if Path(place).exists() else "no such path"
    folder, _, name = place.rpartition("/")
    if not name:  # a source
        return why_unreached(folder)
    try:
        return None if open_objects(folder, write=False).size(name) is not None else "no such object"
    except Exception as error:  # whatever a store's library raises: it is what the user must know
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _check_settings(client: Client, where: str, notify: Notify) -> None:
    """Say which settings of a scheduler and workers of others cost something; none can lose anything."""
    wanted = {name: value for name, value in SETTINGS.items() if name.startswith("distributed.scheduler.")}

    def read() -> dict[str, Any]:  # travels by value: the scheduler need not have us
        import dask

        return {name: dask.config.get(name, None) for name in wanted}

    there = client.run_on_scheduler(read)
    other = [f"{name.rpartition('.')[2]} {there[name]}" for name, value in wanted.items() if there[name] != value]
    if other:
        notify(
            f"the scheduler at {where} has other settings than our own ({', '.join(other)}): nothing is lost by it, "
            "but after a worker's death more is done twice; deploy/README.md lists them"
        )
    threads = max(client.nthreads().values(), default=1)
    if threads > 1:
        notify(f"workers at {where} have {threads} threads: one thread each loses less when a worker dies")
