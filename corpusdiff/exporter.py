"""Numbers of a run for Prometheus, served by the driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from corpusdiff.errors import UsageError
from corpusdiff.progress import Snapshot

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Exporter:
    """Keeps the last snapshot and answers with it. A display among others.

    The numbers are those of the plan, earlier runs included; a scrape costs the run nothing.

    Parameters
    ----------
    port : where it is served
    """

    every_s = 1.0

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._last: Snapshot | None = None

    def update(self, snapshot: Snapshot) -> None:
        """See `Display.update`."""
        self._last = snapshot

    def note(self, text: str) -> None:
        """See `Display.note`; numbers only."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """See `Display.event`; numbers only."""

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        last = self._last
        if last is None:
            return
        tracks = CounterMetricFamily("corpusdiff_tracks", "Tracks with an outcome.", labels=["status"])
        tracks.add_metric(["failed"], last.failed)
        tracks.add_metric(["ok"], last.tracks_done - last.failed)
        yield tracks
        failures = CounterMetricFamily("corpusdiff_failures", "Failed tracks of this run.", labels=["reason"])
        for reason, n in sorted(last.reasons.items()):
            failures.add_metric([reason], n)
        yield failures
        yield CounterMetricFamily("corpusdiff_audio_seconds", "Audio processed, in seconds.", last.seconds_done)
        yield CounterMetricFamily("corpusdiff_shards", "Shards committed.", last.shards_done)
        yield GaugeMetricFamily("corpusdiff_shards_running", "Shards that are being worked on.", last.shards_running)
        yield GaugeMetricFamily("corpusdiff_planned_tracks", "Tracks of the plan.", last.tracks)
        yield GaugeMetricFamily("corpusdiff_planned_shards", "Shards of the plan.", last.shards)
        yield GaugeMetricFamily("corpusdiff_planned_audio_seconds", "Audio of the plan, in seconds.", last.seconds)
        yield GaugeMetricFamily("corpusdiff_speed_ratio", "Seconds of audio per second of time.", last.speed)
        if last.eta_s is not None:
            yield GaugeMetricFamily("corpusdiff_eta_seconds", "Time to the end at this speed.", last.eta_s)


@contextmanager
def serve(address: str) -> Iterator[Exporter]:
    """An exporter behind ``http://HOST:PORT/metrics`` for the block's duration.

    Parameters
    ----------
    address : ``PORT`` (of this machine only) or ``HOST:PORT``

    Raises UsageError for another address, one that is taken, or without the package prometheus-client.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise UsageError("--metrics needs prometheus-client: pip install 'corpusdiff[metrics]'") from error
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) >= 1 << 16:
        raise UsageError(f"--metrics {address}: expected PORT or HOST:PORT")
    exporter = Exporter(int(port))
    registry = CollectorRegistry()
    registry.register(exporter)
    try:
        server, thread = start_http_server(int(port), host or "127.0.0.1", registry)
    except OSError as error:
        raise UsageError(f"--metrics {address}: cannot be served there ({error.strerror}): choose another") from error
    try:
        yield exporter
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
