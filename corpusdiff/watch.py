"""Everything that looks on while shards run: the display, the log under OUT, Prometheus."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from corpusdiff.costs import DRIVER, PIPE, STORE, WORKER, cost_lines, cost_shares
from corpusdiff.display import DISPLAYS, Display, Monitor
from corpusdiff.errors import Interrupted
from corpusdiff.exporter import serve
from corpusdiff.manifests.base import without_query
from corpusdiff.progress import Tally, Totals, summary_lines
from corpusdiff.request import RunRequest
from corpusdiff.runlog import RunLog
from corpusdiff.store.objects import Objects


@dataclass(frozen=True)
class Watch:
    """What a run tells, and to whom.

    Parameters
    ----------
    tally : sums up
    monitor : takes progress and reports
    log : what stays under OUT
    displays : all that look on, the log among them
    """

    tally: Tally
    monitor: Monitor
    log: RunLog
    displays: Sequence[Display]

    def note(self, text: str) -> None:
        """Tell people. Clusters do so from threads of their own."""
        with DISPLAYS:
            for display in self.displays:
                display.note(text)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Tell programs."""
        with DISPLAYS:
            for display in self.displays:
                display.event(name, fields)


@contextmanager
def watched(objects: Objects, display: Display, request: RunRequest, totals: Totals) -> Iterator[Watch]:
    """Look on while the block runs, and sum up at its end, however it ends."""
    started, cpu_started_s = time.monotonic(), time.process_time()
    tally = Tally(totals, started)
    with ExitStack() as stack:
        exporter = [stack.enter_context(serve(request.metrics))] if request.metrics else []
        log = RunLog(objects, _about(request))
        displays = [display, log, *exporter]
        monitor = Monitor(tally, displays)
        watch = Watch(tally, monitor, log, displays)
        for shown in displays[1:]:
            shown.update(tally.snapshot(started))
        state = "failed"
        try:
            yield watch
            state = "done"
        except Interrupted:
            state = "interrupted"
            raise
        finally:
            monitor.finish()
            for line in summary_lines(tally, time.monotonic() - started):
                watch.note(line)
            if request.profile:
                _tell_costs(watch, time.process_time() - cpu_started_s, request.cluster == "none")
            log.close(state)


def _tell_costs(watch: Watch, cpu_s: float, is_serial: bool) -> None:
    """What the shards of this run cost by part, and what the driver, which took `cpu_s`, did besides."""
    costs: dict[str, float] = dict(watch.tally.costs)
    here_s = sum(costs.get(name, 0.0) for name in (PIPE, STORE, WORKER)) if is_serial else 0.0
    costs[DRIVER] = max(0.0, cpu_s - here_s)
    watch.event("profile", {"seconds": watch.tally.seconds, "parts": cost_shares(costs)})
    for line in cost_lines(costs, watch.tally.seconds):
        watch.note(line)


def _about(request: RunRequest) -> dict[str, object]:
    """What the log says of a run; of addresses without their signatures."""
    command = [without_query(word) for word in sys.argv]
    return {"cluster": request.cluster, "source": without_query(request.source), "command": command}
