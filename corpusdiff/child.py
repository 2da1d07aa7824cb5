"""The process that decodes and processes: one track at a time, under limits, for one worker.

It is started by `corpusdiff.isolate` and does nothing but answer its pipe. Whatever a file does to a
decoder happens here; the worker sees a closed pipe or a message.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if __name__ == "__main__":
    gc.disable()  # there is none among modules, and the search takes a tenth of the start

from corpusdiff.confine import confine
from corpusdiff.costs import CHILD, START, Costs, keep, part
from corpusdiff.errors import TrackError
from corpusdiff.finish import Sinks, TrackContext
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.pipe import Pipe, PipeClosed
from corpusdiff.source import probe
from corpusdiff.track import measure_track, process_track

if TYPE_CHECKING:
    from corpusdiff.pieces.kept import Kept

_PR_SET_PDEATHSIG = 1

#: Progress goes out at most this often, in seconds.
PROGRESS_EVERY_S = 0.5


def main() -> None:
    """Serve the pipe whose descriptors are the first two arguments until it closes."""
    read_fd, write_fd, parent, memory_limit = (int(value) for value in sys.argv[1:5])
    _confine(parent, memory_limit)
    _load_compiler()
    gc.freeze()
    gc.enable()
    confine()
    _Server(Pipe(read_fd, write_fd), memory_limit).serve()


def _confine(parent: int, memory_limit: int) -> None:
    """Die with the worker, leave no core, take no more memory than allowed, be the first to go when it runs out."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # RLIMIT_DATA and not RLIMIT_AS: the compiled kernels reserve far more address space than they use
    resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, memory_limit))
    Path("/proc/self/oom_score_adj").write_text("1000")


def _load_compiler() -> None:
    """Load what runs compiled kernels, without all of SciPy's linear algebra.

    Numba looks for a BLAS there, which no kernel asks for, and whose loading takes every child a fifth of a second.
    """
    hidden = "scipy.linalg"
    if hidden in sys.modules:
        return
    sys.modules[hidden] = None  # type: ignore[assignment]  # documented: importing it fails
    try:
        importlib.import_module("numba.np.arraymath")
    except ImportError:  # another version of it
        pass
    finally:
        del sys.modules[hidden]


class _Server:
    def __init__(self, pipe: Pipe, memory_limit: int) -> None:
        self._pipe = pipe
        self._memory_limit = memory_limit
        self._context: TrackContext | None = None
        self._streams: IO[bytes] | None = None
        self._hook = _test_hook()
        self._last_progress = 0.0
        self._costs: Costs | None = None
        self._kept: Kept | None = None
        self._start_s = time.process_time()

    def serve(self) -> None:
        """Answer until the worker closes the pipe."""
        answers = {
            "job": self._job,
            "streams": self._open_streams,
            "track": self._track,
            "piece": self._piece,
            "measure": self._measure,
            "probe": self._probe,
        }
        while True:
            try:
                message = self._pipe.receive()
            except PipeClosed:
                return
            assert message is not None
            self._pipe.send(answers[message["op"]](message))

    def _job(self, message: dict[str, Any]) -> dict[str, Any]:
        self._context = TrackContext(
            job=Job.from_dict(message["job"]),
            root=message["root"],
            chunk=message["chunk"],
            spool=message["spool"],
        )
        self._costs = Costs() if message["profile"] else None
        return {"ok": True}

    def _open_streams(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._streams is not None:
            self._streams.close()
        self._streams = Path(message["path"]).open("r+b", buffering=1 << 20)  # noqa: SIM115  # open until the next shard
        return {"ok": True}

    def _track(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._streams is not None
        self._streams.seek(message["offset"])
        started = time.process_time()
        with keep(self._costs), part(CHILD):
            answer = self._attempt(message, partial(self._processed, message["piece_s"]))
        return answer | self._spent(started)

    def _piece(self, message: dict[str, Any]) -> dict[str, Any]:
        """One phase over one piece of a long track."""
        assert self._streams is not None
        self._streams.seek(0)
        started = time.process_time()
        with keep(self._costs), part(CHILD):
            answer = self._attempt(message, partial(self._phase, message["phase"], message["data"]))
        return answer | self._spent(started)

    def _spent(self, started: float) -> dict[str, Any]:
        """What a question took, and where the streams end."""
        assert self._streams is not None
        cpu_s = time.process_time() - started
        return {"end": self._streams.tell(), "cpu_s": cpu_s, "costs": self._taken_costs()}

    def _taken_costs(self) -> dict[str, float]:
        """What the last track cost by part, and once what it cost to start."""
        if self._costs is None:
            return {}
        start_s, self._start_s = self._start_s, 0.0
        return self._costs.taken() | ({START: start_s} if start_s else {})

    def _processed(self, piece_s: float, track: Track, context: TrackContext) -> dict[str, Any]:
        assert self._streams is not None
        if piece_s:
            row = self._processed_in_pieces(piece_s, track, context)
            if row is not None:
                return {"rows": [row]}
        rows = process_track(track, context, Sinks(self._streams), self._progress)
        self._streams.flush()
        return {"rows": rows}

    def _processed_in_pieces(self, piece_s: float, track: Track, context: TrackContext) -> dict[str, Any] | None:
        """The pieces are processed by others, as the worker sees to."""
        from corpusdiff.pieces.joint import in_pieces  # few tracks are so long
        from corpusdiff.pieces.packing import packed, unpacked

        stages = all_stages(context.job)

        def each(phase: str, pieces: Sequence[tuple[Any, ...]]) -> list[tuple[Any, int]]:
            arguments = [packed(each) for each in pieces]
            places = [[each[0].start, len(data)] for each, data in zip(pieces, arguments, strict=True)]
            self._pipe.send({"each": phase, "pieces": places, "data": b"".join(arguments)})
            found: dict[int, tuple[Any, int]] = {}
            while len(found) < len(pieces):
                answer = self._pipe.receive()
                assert answer is not None
                if "failed" in answer:
                    raise TrackError(answer["failed"]["reason"], answer["failed"]["error"])
                found[answer["place"]] = unpacked(answer["data"], stages), answer["base"]
            return [found[place] for place in range(len(pieces))]

        return in_pieces(track, context, piece_s, each)

    def _phase(self, phase: str, arguments: bytes, track: Track, context: TrackContext) -> dict[str, Any]:
        from corpusdiff.pieces.joint import planned
        from corpusdiff.pieces.kept import Kept
        from corpusdiff.pieces.packing import packed, unpacked
        from corpusdiff.pieces.phases import PHASES, Means

        assert self._streams is not None
        cut = planned(track, context)
        if isinstance(cut, str):
            raise TrackError("decode", f"it cannot be cut any more: {cut}")
        piece, *rest = unpacked(arguments, all_stages(context.job))
        if self._kept is None:
            self._kept = Kept()
        kept = self._kept.of((track.id, track.path, track.offset_s, track.version, context.job.digest))
        found = PHASES[phase](cut, piece, Means(self._progress, Sinks(self._streams), kept), *rest)
        self._streams.flush()
        return {"data": packed(found)}

    def _measure(self, message: dict[str, Any]) -> dict[str, Any]:
        def measured(track: Track, context: TrackContext) -> dict[str, Any]:
            return {"rows": measure_track(track, context, self._progress)}

        return self._attempt(message, measured)

    def _attempt(
        self, message: dict[str, Any], work: Callable[[Track, TrackContext], dict[str, Any]]
    ) -> dict[str, Any]:
        """What the work makes of a track, or why there is nothing."""
        assert self._context is not None
        track = Track.from_json(message["track"])
        try:
            self._hook(track)
            return work(track, replace(self._context, files=message["files"]))
        except TrackError as error:
            return {"failed": {"reason": error.reason, "error": str(error)}}
        except MemoryError:
            limit = self._memory_limit / 2**30
            return {"failed": {"reason": "memory", "error": f"needs more than the memory limit of {limit:.1f} GiB"}}
        except OSError as error:
            return {"infrastructure": _explained(error, self._context.spool)}
        except Exception as error:
            trace = traceback.format_exc()
            return {"failed": {"reason": "bug", "error": f"{type(error).__name__}: {error}"}, "trace": trace}

    def _probe(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            header = probe(message["path"])
        except (TrackError, MemoryError) as error:
            return {"failed": str(error)}
        except OSError as error:
            return {"infrastructure": str(error)}
        return {"sr": header.sr, "n_channels": header.n_channels, "n_samples": header.n_samples}

    def _progress(self, seconds: float) -> None:
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_EVERY_S:
            self._last_progress = now
            self._pipe.send({"progress": seconds})


def all_stages(job: Job) -> tuple[Any, ...]:
    """Those of all chains."""
    return tuple(stage for chain in job.chains().values() for stage in chain)


def _explained(error: OSError, spool: str | None) -> str:
    """What failed; a full disk is one of temporary files, for only those are written here."""
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return str(error)
    folder = spool or tempfile.gettempdir()
    return f"no space for temporary files in {folder}: free some, or choose another folder by --spool"


def _test_hook() -> Callable[[Track], None]:
    """What tests put in the way of a track: CORPUSDIFF_TEST_HOOK names a module and a function of it."""
    name = os.environ.get("CORPUSDIFF_TEST_HOOK")
    if not name:
        return lambda _track: None
    module, _, function = name.partition(":")
    hook: Callable[[Track], None] = getattr(importlib.import_module(module), function)
    return hook


if __name__ == "__main__":
    main()
