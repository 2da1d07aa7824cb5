"""A Dask scheduler and its workers as an operator runs them: processes that are started again when they end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from fault_runs import process_table


class OutsideCluster:
    """`dask scheduler` and some `dask worker`, with Dask's own settings; use it in a `with`.

    Parameters
    ----------
    folder : for what they write
    n_workers : of one thread each, every one with its nanny
    env : further variables of their environment
    """

    def __init__(self, folder: Path, n_workers: int = 2, env: Mapping[str, str] | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self._folder = folder
        self._env = os.environ | dict(env or {})
        self._commands = [("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")]
        worker = ("worker", self.address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0")
        self._commands += [(*worker, "--local-directory", str(folder / f"worker{i}")) for i in range(n_workers)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stop = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise)

    def __enter__(self) -> OutsideCluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._processes = [self._start(number) for number in range(len(self._commands))]
        self._supervisor.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stop.set()
        self._supervisor.join()
        for process in self._processes:
            _kill_session(process.pid)
            process.wait()

    def pids(self, target: str) -> list[int]:
        """Processes that are a "scheduler", "nanny", "worker" or "child"."""
        scheduler, *nannies = [process.pid for process in self._processes]
        if target == "scheduler":
            return [scheduler]
        if target == "nanny":
            return nannies
        mark = {"worker": "multiprocessing.spawn", "child": "corpusdiff.child"}[target]
        return [process.pid for process in process_table() if process.session in nannies and mark in process.line]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *self._commands[number]],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _supervise(self) -> None:
        """Start again what has ended, whatever its exit code: a worker that loses its scheduler exits with 0."""
        while not self._stop.wait(0.1):
            for number, process in enumerate(self._processes):
                if process.poll() is not None:
                    _kill_session(process.pid)
                    self._processes[number] = self._start(number)


def _kill_session(leader: int) -> None:
    """All processes of a session: a worker's own may be left when its nanny is killed."""
    for process in process_table():
        if process.session == leader:
            try:
                os.kill(process.pid, 9)
            except ProcessLookupError:
                continue
