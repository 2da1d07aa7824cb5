"""A Dask scheduler that somebody else runs."""

from __future__ import annotations

import time

from distributed import Client

from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import UsageError
from corpusdiff.runner import Notify

#: How long a scheduler may take to answer, in seconds.
_ANSWER_S = 10

#: Pause before it is asked again, in seconds.
_AGAIN_S = 0.5


class ExistingCluster:
    """Clients of a scheduler at an address; it and its workers stay when we leave.

    Parameters
    ----------
    address : ``tcp://HOST:PORT`` or ``tls://HOST:PORT``
    options : of which the certificates concern it
    notify : takes notices for the user
    """

    wait_workers_s = float("inf")

    def __init__(self, address: str, options: ClusterOptions, notify: Notify) -> None:
        self._address = address
        self._tls = options.tls
        self._notify = notify
        self._client: Client | None = None

    def open(self) -> Client:
        """A new client. Raises UsageError when no scheduler answers, or one that does not trust us."""
        self._leave()
        security = None
        if self._tls is not None:
            from corpusdiff.cluster.tls import security as read_security

            security = read_security(self._tls)
        until = time.monotonic() + _ANSWER_S
        while self._client is None:
            try:
                self._client = Client(self._address, timeout=_ANSWER_S, set_as_default=False, security=security)
            except ValueError as error:
                raise UsageError(_no_answer(self._address, error)) from error
            except OSError as error:  # also a scheduler that was just going, and comes back
                if time.monotonic() > until:
                    raise UsageError(_no_answer(self._address, error)) from error
                time.sleep(_AGAIN_S)
        self._notify(f"Dask at {self._address}, dashboard at {self._client.dashboard_link}")
        return self._client

    def close(self, *, kill: bool) -> None:
        """Leave. What its workers still run they finish and commit, whatever `kill`."""
        del kill
        self._leave()

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


def _no_answer(address: str, error: Exception) -> str:
    causes = [str(error)]
    cause = error.__cause__
    while cause is not None:  # the timeout that a refused certificate ends in says nothing of it
        causes.append(str(cause))
        cause = cause.__cause__
    said = " ".join(causes)
    if address.startswith("tls://") and ("CERTIFICATE" in said.upper() or "SSL" in said.upper()):
        return (
            f"the scheduler at {address} and this driver do not trust each other ({causes[-1]}): use certificates "
            "that one `corpusdiff certificates` made"
        )
    return (
        f"no Dask scheduler answers at {address} ({error}): start one with `dask scheduler`, and workers with "
        "`dask worker ADDRESS --nthreads 1`"
    )
