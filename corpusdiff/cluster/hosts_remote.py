"""The far end of a link to a host: keeps that host's workers running for as long as the driver is there.

Started through SSH as ``python -m corpusdiff.cluster.hosts_remote SETTINGS``. The driver's heartbeat comes on stdin:
when it stops, or stdin ends, nothing of ours stays on this host. What happens goes to stdout, a line of JSON each.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from corpusdiff.errors import UsageError

#: What begins each line of ours on stdout; login scripts may print there too.
MARK = "corpusdiff-host "

#: What the driver sends: that it is there, and that the workers may end what they do not do.
HEARTBEAT, QUIT = b".", b"q"

#: Longest silence of the driver, in seconds. SSH at its end gives up later, so that no host has twice the workers.
SILENCE_S = 45.0

#: Pauses before an ended worker is started again: the first, the longest, and the life that makes it the first again.
FIRST_PAUSE_S, LONGEST_PAUSE_S, HEALTHY_S = 1.0, 30.0, 60.0

#: How long workers may take to leave when nothing runs, in seconds.
_LEAVE_S = 10.0

_TICK_S = 0.2
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Settings:
    """What a host's workers are.

    Parameters
    ----------
    scheduler : its address
    workers : number of processes; None for one per core of this host
    name : the host's name, for their names
    address : where they listen; None for the address that routes to the scheduler
    spool : folder for temporary files; None for the system's own
    tls : folder of certificates; None for unencrypted links
    env : further environment variables
    """

    scheduler: str
    workers: int | None
    name: str
    address: str | None = None
    spool: str | None = None
    tls: str | None = None
    env: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """For the command line of `main`."""
        return json.dumps(asdict(self))


class _Place:
    """One worker's place: the process that fills it, and when it may be filled again."""

    def __init__(self, number: int, settings: Settings, folder: str) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings
        self._folder = folder
        self._log = Path(folder, f"worker-{number}.log")
        self._pause_s = FIRST_PAUSE_S
        self._started = self._start_at = 0.0

    def tend(self) -> None:
        """Start a worker if it is time; notice that one has ended, which is a failure whatever its exit code."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._start_at:
                self._started = now
                self.process = self._start()
            return
        code = self.process.poll()
        if code is None:
            return
        self.process = None
        if now - self._started >= HEALTHY_S:
            self._pause_s = FIRST_PAUSE_S
        self._start_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        tell(ended={"worker": self.number, "code": code, "said": lines[-1].strip() if lines else ""})

    def _start(self) -> subprocess.Popen[bytes]:
        settings = self._settings
        quiet = {"DASK_LOGGING__DISTRIBUTED": "warning"}
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "dask",
                    "worker",
                    settings.scheduler,
                    *_options(settings, self._folder, self.number),
                ],
                env=os.environ | quiet | settings.env | {"TMPDIR": self._folder},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # the loop has no threads
            )


def _options(settings: Settings, folder: str, number: int) -> list[str]:
    """Of ``dask worker``. A name is never used twice: the scheduler may still believe in a lost worker."""
    options = ["--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
    options += ["--local-directory", folder, "--death-timeout", "60"]
    options += ["--name", f"{settings.name}-{number}-{uuid.uuid4().hex[:8]}"]
    if settings.address:
        options += ["--host", settings.address]
    if settings.tls:
        folder = settings.tls
        options += [
            "--tls-ca-file",
            f"{folder}/ca.pem",
            "--tls-cert",
            f"{folder}/cert.pem",
            "--tls-key",
            f"{folder}/key.pem",
        ]
    return options


def _die_with_parent() -> None:
    """In the new worker: end when this loop is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def tell(**what: Any) -> None:
    """One line to the driver. Raises OSError when nobody listens."""
    sys.stdout.write(f"{MARK}{json.dumps(what)}\n")
    sys.stdout.flush()


def keep_workers(settings: Settings, folder: str, silence_s: float = SILENCE_S) -> None:
    """Fill all places until the driver says so, falls silent for `silence_s` seconds or is gone."""
    n_workers = settings.workers or len(os.sched_getaffinity(0))
    places = [_Place(number, settings, folder) for number in range(n_workers)]
    try:
        tell(ready=n_workers)
        heard = time.monotonic()
        while time.monotonic() - heard < silence_s:
            for place in places:
                place.tend()
            if select.select([0], [], [], _TICK_S)[0]:
                said = os.read(0, 4096)
                if QUIT in said:
                    _leave(places)
                if not said or QUIT in said:
                    return
                heard = time.monotonic()
    finally:
        for place in places:
            if place.process is not None:
                place.process.kill()
                place.process.wait()


def _leave(places: list[_Place]) -> None:
    """Let idle workers say goodbye to the scheduler."""
    processes = [place.process for place in places if place.process is not None]
    for process in processes:
        process.terminate()
    until = time.monotonic() + _LEAVE_S
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.02)


def _check(settings: Settings) -> None:
    """Raises UsageError for what must be mended on this host."""
    if settings.tls is not None:
        from corpusdiff.cluster.tls import check_certificates

        check_certificates(settings.tls)
    if settings.spool is not None and not os.access(settings.spool, os.W_OK | os.X_OK):
        raise UsageError(f"--spool {settings.spool} is no folder that can be written: make it, or name another one")


def main(argument: str) -> int:
    """Run with `Settings` as JSON; the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _exit)
    settings = Settings(**json.loads(argument))
    try:
        _check(settings)
    except UsageError as error:
        tell(problem=str(error))
        return 2
    folder = tempfile.mkdtemp(prefix="corpusdiff-host-", dir=settings.spool)
    try:
        keep_workers(settings, folder)
    except BrokenPipeError:  # the driver's end is gone, and so are the workers now
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would flush into the broken pipe at its exit
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
