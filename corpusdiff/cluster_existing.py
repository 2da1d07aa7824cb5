"""A Dask scheduler that somebody else runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from distributed import Client

from corpusdiff import __version__
from corpusdiff.errors import UsageError
from corpusdiff.runner import Notify

#: How long a scheduler may take to answer, in seconds.
_ANSWER_S = 10


class ExistingCluster:
    """Clients of a scheduler at an address; it and its workers stay when we leave.

    Parameters
    ----------
    address : ``tcp://HOST:PORT``
    must_reach : paths that every worker must see
    notify : takes notices for the user
    """

    wait_workers_s = float("inf")

    def __init__(self, address: str, must_reach: Sequence[str], notify: Notify) -> None:
        self._address = address
        self._must_reach = tuple(must_reach)
        self._notify = notify
        self._client: Client | None = None

    def open(self) -> Client:
        """A new client. Raises UsageError when no scheduler answers or a worker is not fit."""
        self._leave()
        try:
            self._client = client = Client(self._address, timeout=_ANSWER_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"no Dask scheduler answers at {self._address} ({error}): start one with "
                "`dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
            ) from error
        n_workers = _check_workers(client, self._address, self._must_reach)
        self._notify(f"{n_workers} workers at {self._address}, dashboard at {client.dashboard_link}")
        return client

    def close(self, *, kill: bool) -> None:
        """Leave. What its workers still run they finish and commit, whatever `kill`."""
        del kill
        self._leave()

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


def _check_workers(client: Client, address: str, must_reach: tuple[str, ...]) -> int:
    """Number of workers, each of which has this version of us and sees the paths. Raises UsageError."""
    try:
        found: dict[str, tuple[str, list[str]]] = client.run(inspect_worker, must_reach)
    except ImportError as error:
        raise UsageError(f"the workers at {address} cannot import corpusdiff ({error}): install it there") from error
    for worker, (version, missing) in found.items():
        if version != __version__:
            raise UsageError(f"worker {worker} has corpusdiff {version}, here is {__version__}: install one version")
        if missing:
            raise UsageError(f"worker {worker} does not see {', '.join(missing)}: use a folder that all hosts share")
    return len(found)


def inspect_worker(must_reach: tuple[str, ...]) -> tuple[str, list[str]]:
    """Run on a worker: its version of us, and which of the paths it does not see."""
    return __version__, [path for path in must_reach if not Path(path).exists()]
