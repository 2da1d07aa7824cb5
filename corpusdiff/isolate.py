"""The worker's end of the child process: start it, watch it, and charge its death to one track.

A decoder that crashes, hangs, or eats memory takes the child with it and nothing else. Limits count
CPU seconds, so that a busy machine fails no track; the clock on the wall only matters to a child that
neither reports nor computes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import psutil

from corpusdiff.confine import without_secrets
from corpusdiff.errors import TrackError
from corpusdiff.limits import Stalled, Watch
from corpusdiff.manifests.base import Track
from corpusdiff.pipe import Each, Listener, Pipe, PipeClosed, asked_pieces
from corpusdiff.shards import RunOptions

__all__ = ["TRIES", "Answer", "Child", "ChildDied", "Stalled", "close_children", "own_child"]

#: Tries of a track whose child dies or stalls.
TRIES = 2

#: How often a waiting worker looks at its child, in seconds.
_LOOK_EVERY_S = 0.25

#: One thread, and blocks of audio that are kept for the next one instead of going back to the kernel each time.
_ENVIRON = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


class ChildDied(Exception):
    """The child ended without an answer.

    Parameters
    ----------
    how : the signal or exit code, for a person
    """

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


@dataclass(frozen=True)
class Answer:
    """What the child made of one track.

    Parameters
    ----------
    rows : the track's rows, with where their streams lie
    end : end of the streams file after this track
    cpu_s : CPU seconds that it took
    """

    rows: list[dict[str, Any]]
    end: int
    cpu_s: float


class Child:
    """One child process, started again whenever it has died.

    Parameters
    ----------
    options : limits
    environ : further environment variables of the child
    """

    def __init__(self, options: RunOptions, environ: dict[str, str] | None = None) -> None:
        self._options = options
        self._environ = environ or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: psutil.Process | None = None
        self._pipe: Pipe | None = None
        self._setup: list[dict[str, Any]] = []
        self._unsaid: list[dict[str, Any]] = []
        self._stderr: IO[bytes] | None = None
        self._costs: Counter[str] = Counter()

    def configure(self, job: Mapping[str, Any], root: str, chunk: int = 0, streams: str | None = None) -> None:
        """Say what to do with the tracks that follow, and which file takes their streams."""
        setup: list[dict[str, Any]] = [
            {"op": "job", "job": dict(job), "root": root, "chunk": chunk, "spool": self._options.spool}
            | {"profile": self._options.profile}
        ]
        if streams is not None:
            setup.append({"op": "streams", "path": streams})
        same_job = bool(self._setup) and not self._unsaid and self._setup[0] == setup[0]
        self._setup = setup
        self._unsaid = setup[1:] if same_job else setup

    def track(
        self,
        track: Track,
        offset: int,
        on_progress: Callable[[float], None],
        files: Mapping[str, str | None] | None = None,
        piece_s: float = 0.0,
        each: Each | None = None,
    ) -> Answer:
        """Process one track, its streams from `offset` on; `files` are copies of what is behind URLs, by their names.

        With `piece_s` in pieces of about so many seconds, where that can be done: `each` answers what the child asks of
        others. Raises TrackError, ChildDied, Stalled or OSError, and what `each` raises.
        """
        message = {"op": "track", "track": track.to_json(), "offset": offset, "files": dict(files or {})}
        answer = self._ask_of(message | {"piece_s": piece_s}, Listener(on_progress, each))
        self._costs.update(answer["costs"])
        return Answer(answer["rows"], answer["end"], answer["cpu_s"])

    def piece(
        self, track: Track, phase: str, arguments: bytes, on_progress: Callable[[float], None]
    ) -> tuple[bytes, int, float]:
        """One phase over one piece: the packed result, the end of what it wrote, and the CPU seconds it took.

        The streams begin at 0. Raises as `track`.
        """
        message = {"op": "piece", "track": track.to_json(), "files": {}, "phase": phase, "data": arguments}
        answer = self._ask_of(message, Listener(on_progress))
        self._costs.update(answer["costs"])
        return answer["data"], answer["end"], answer["cpu_s"]

    def taken_costs(self) -> Mapping[str, float]:
        """CPU seconds of the tracks since the last call, by part; none unless the options ask for them."""
        costs, self._costs = self._costs, Counter()
        return costs

    def measure(self, track: Track, files: Mapping[str, str | None] | None = None) -> list[dict[str, Any]]:
        """The first pass of one track alone, see `corpusdiff.track.measure_track`. Raises as `track`."""
        message = {"op": "measure", "track": track.to_json(), "files": dict(files or {})}
        rows: list[dict[str, Any]] = self._ask_of(message, Listener())["rows"]
        return rows

    def probe(self, path: str) -> dict[str, Any]:
        """Header of a file: sr, n_channels, n_samples. Raises TrackError, ChildDied, Stalled or OSError."""
        self._be_ready()
        answer = self._ask_ready({"op": "probe", "path": path}, Listener())
        if "failed" in answer:
            raise TrackError("decode", answer["failed"])
        if "infrastructure" in answer:
            raise OSError(answer["infrastructure"])
        return answer

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._watched = None
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _be_ready(self) -> None:
        """Have a process, which knows nothing yet when it is a new one."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
            self._unsaid = self._setup

    def _set_up(self) -> None:
        """Have a process that knows what to do. Raises OSError where two in a row cannot be told."""
        for last in (False, True):
            self._be_ready()
            try:
                while self._unsaid:
                    self._ask(self._unsaid[0])
                    self._unsaid = self._unsaid[1:]
            except (ChildDied, Stalled, TrackError) as error:  # no track is to blame
                self.close()
                if last:
                    raise OSError(f"the process that decodes does not start: {error}") from error
            else:
                return

    def _ask_of(self, message: dict[str, Any], listener: Listener) -> dict[str, Any]:
        """The answer about a track."""
        self._set_up()
        answer = self._ask_ready(message, listener)
        if "failed" in answer:
            raise TrackError(answer["failed"]["reason"], answer["failed"]["error"])
        if "infrastructure" in answer:
            raise OSError(answer["infrastructure"])
        return answer

    def _ask_ready(self, message: dict[str, Any], listener: Listener) -> dict[str, Any]:
        try:
            return self._ask(message, listener)
        except BaseException:  # what it waits for, or still says, is of a question that nobody asks any more
            self.close()
            raise

    def _start(self) -> None:
        child_read, our_write = os.pipe()
        our_read, child_write = os.pipe()
        self._stderr = tempfile.TemporaryFile(dir=self._options.spool)  # noqa: SIM115  # closed by `close`
        arguments = [child_read, child_write, os.getpid(), self._options.memory_limit]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "corpusdiff.child", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=(child_read, child_write),
            env={**without_secrets(dict(os.environ)), **_ENVIRON, **self._environ},
        )
        os.close(child_read)
        os.close(child_write)
        self._pipe = Pipe(our_read, our_write)

    def _ask(self, message: dict[str, Any], listener: Listener = Listener()) -> dict[str, Any]:  # noqa: B008  # frozen
        assert self._pipe is not None
        assert self._process is not None
        try:
            self._pipe.send(message)
            if self._watched is None:
                self._watched = psutil.Process(self._process.pid)
            return self._await(Watch(self._watched, self._options), listener)
        except PipeClosed:
            raise ChildDied(self._how_it_died()) from None

    def _await(self, watch: Watch, listener: Listener) -> dict[str, Any]:
        assert self._pipe is not None
        while True:
            answer = self._pipe.receive(timeout_s=_LOOK_EVERY_S)
            if answer is None:
                watch.look()
            elif "progress" in answer:
                watch.heard(answer["progress"])
                listener.on_progress(answer["progress"])
            elif "each" in answer and listener.each is not None:
                for found in listener.each(answer["each"], asked_pieces(answer)):
                    self._pipe.send(dict(found))
                watch.heard(0.0)  # it has waited for others
            else:
                return answer

    def _how_it_died(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}: {self._last_words()}"

    def _last_words(self) -> str:
        assert self._stderr is not None
        self._stderr.seek(0)
        lines = self._stderr.read()[-4096:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing on its standard error"


_local = threading.local()
_open_children: list[Child] = []


def own_child(options: RunOptions, environ: dict[str, str], role: str = "") -> Child:
    """The calling thread's child for a role; another one when the options have changed."""
    key = (options, tuple(sorted(environ.items())))
    own: dict[str, tuple[Any, Child]] = _local.__dict__.setdefault("children", {})
    if role not in own or own[role][0] != key:
        if role in own:
            own[role][1].close()
            _open_children.remove(own[role][1])
        own[role] = key, Child(options, environ)
        _open_children.append(own[role][1])
    return own[role][1]


def close_children() -> None:
    """End every child of this process."""
    for child in _open_children:
        child.close()
