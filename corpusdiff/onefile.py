"""One recording in, one out: what a run makes of it, or its causal form.

The file is decoded in this process. A run decodes in a child, which a damaged file may kill without harm.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from corpusdiff.dsp.resample import Resampler
from corpusdiff.encode import Encoded, Sink
from corpusdiff.encode.audiofile import LOSSLESS, check_format, checked_extension, encoding_of, write_audio
from corpusdiff.encode.video import check_video, is_video, replace_sound
from corpusdiff.errors import TrackError, UsageError
from corpusdiff.finish import Sinks, TrackContext
from corpusdiff.job import Job
from corpusdiff.jobfile import load_job
from corpusdiff.live import Live, causal_chain
from corpusdiff.manifests.base import Track, check_id
from corpusdiff.metrics import Meter
from corpusdiff.source import AudioReader, open_source
from corpusdiff.specs import OutputSpec
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Audio, Measured
from corpusdiff.track import is_cut, process_track


@dataclass(frozen=True)
class Applied:
    """What became of a file.

    Parameters
    ----------
    row : the row that a corpus would have of it; of the causal form what was measured of the output alone, and
        ``latency`` in samples
    notes : what differs from a run, for people
    """

    row: dict[str, Any]
    notes: tuple[str, ...] = ()


def apply(
    x: ArrayLike, sr: int, job: str | Job = "asr", *, causal: bool = False, measured: Measured | None = None
) -> Audio:
    """Process a signal in memory as `run` would process a float file that holds it.

    Parameters
    ----------
    x : (n,) or (n_channels, n) floats, full scale 1.0
    sr : rate in Hz
    job : ready job, job file, or a `Job`
    causal : the job's causal form (see `corpusdiff.live`)
    measured : for the causal form, what is known beforehand

    Returns
    -------
    (n_channels, n) float32 at the job's rate and of the job's channels, before any encoder or dither

    Raises
    ------
    UsageError : an array that is no audio, or a job that does not fit
    TrackError : there is nothing in it, or it holds values that are no numbers

    >>> import numpy as np
    >>> import corpusdiff
    >>> tone = 0.1 * np.sin(np.arange(44_100) * 2 * np.pi * 440 / 44_100)
    >>> corpusdiff.apply(tone, 44_100, "asr").shape
    (1, 16000)
    """
    samples = _checked(x)
    with tempfile.TemporaryDirectory(prefix="corpusdiff-") as folder:
        path = Path(folder) / "signal.w64"
        write_audio(path, [samples], sr, samples.shape[0], bits=32)
        chosen = load_job(job) if isinstance(job, str) else job
        with _processed(Track("signal", path.name), folder, chosen, causal=causal, measured=measured) as found:
            return np.concatenate([np.zeros((found.n_channels, 0), np.float32), *found.blocks], axis=1)


def apply_file(
    source: str,
    target: str,
    job_name: str = "asr",
    sets: Sequence[str] = (),
    *,
    causal: bool = False,
    measured: Measured | None = None,
    bits: int | None = None,
    fields: Mapping[str, object] | None = None,
) -> Applied:
    """Process the audio of a file into another, whose format is that of its extension. Raises CorpusdiffError.

    A lossless file holds the samples that a corpus would, and a lossy one of an encoding of the job its bytes. A video
    is the source's with another sound, see `corpusdiff.encode.video.replace_sound`.

    Parameters
    ----------
    source : anything that can be decoded
    target : see `corpusdiff.encode.audiofile` and `.video`; it is there when it is complete, or not at all
    job_name, sets : job and changes of it
    causal, measured : see `apply`
    bits : of a lossless file, else those of the job's first lossless output
    fields : what a manifest would say of the track: rules may ask for it, a far-end file may be named by it
    """
    job = load_job(job_name, sets)
    to_video = is_video(target)
    extension = "" if to_video else checked_extension(target)
    track, root = _track(source, job, fields or {})
    with open_source(track, root) as reader:
        n_heard = reader.n_channels - (job.source.reference_channel is not None)
        sr, n_channels = job.source.sr or reader.sr, job.source.channels or max(1, n_heard)
    if to_video:
        _check_in_sync(job, target)
        check_video(target, sr, n_channels)
    else:
        check_format(extension, sr, n_channels, bits)
    with _processed(track, root, job, causal=causal, measured=measured) as found:
        if to_video:
            replace_sound(source, target, found.blocks, found.sr, found.n_channels)
        else:
            write_audio(target, found.blocks, found.sr, found.n_channels, bits, _output(job, extension), track.id)
        found.row["metrics"]["encoded_bytes"] = float(Path(target).stat().st_size)
        return Applied(found.row, found.notes)


def summary(applied: Applied) -> list[str]:
    """The main metrics, a line each; those that are not known are left out."""
    row = applied.row
    values = {**row["metrics"], **row["texts"]}
    shown = [("rule", row["rule"])]
    for name, unit in _SHOWN.items():
        value = values.get(name)
        if isinstance(value, str) and value:
            shown.append((name, value))
        elif isinstance(value, float) and math.isfinite(value):
            shown.append((name, f"{value:.2f} {unit}"))
    if "latency" in row:
        shown.append(("latency", f"{row['latency']} samples, {1000 * row['latency'] / row['sr']:.1f} ms"))
    return [f"{name:>18}  {value}" for name, value in shown]


#: Metrics and texts that `summary` gives, and their units.
_SHOWN = {
    "duration_s": "s", "snr_db": "dB", "loudness_lufs": "LUFS", "out_loudness_lufs": "LUFS", "gain_db": "dB",
    "gain_bounded_by": "", "limiter_db": "dB", "guard": "", "guard_by": "", "lsd_db": "dB", "si_sdr_db": "dB",
}  # fmt: skip


@dataclass(frozen=True)
class _Found:
    blocks: Iterator[Audio]
    sr: int
    n_channels: int
    row: dict[str, Any]
    notes: tuple[str, ...] = ()


@contextmanager
def _processed(track: Track, root: str, job: Job, *, causal: bool, measured: Measured | None) -> Iterator[_Found]:
    if causal:
        with open_source(track, root) as reader:
            yield _causal(track, reader, job, measured)
        return
    if measured is not None:
        raise UsageError(
            "a run measures the recording itself: what was measured before goes with the causal form, --causal"
        )
    if is_cut(job):
        raise UsageError(
            f"job {job.name} cuts a recording into several (vad, source.segment_s): `corpusdiff run` makes a corpus "
            "of them; one file comes of a job that does not cut, and of the causal form"
        )
    with _Kept() as kept:
        row = _run(track, root, job, kept)
        yield _Found(kept.blocks(), row["sr"], row["n_channels"], row)


def _run(track: Track, root: str, job: Job, kept: _Kept) -> dict[str, Any]:
    """The row of the track. Raises TrackError for one that the job leaves out too."""
    plain = replace(job, outputs=(OutputSpec(encoding="pcm", bits=32),))
    context = TrackContext(plain, root, chunk=1, open_encoder=kept.open)
    row = process_track(track, context, Sinks(BytesIO()), _unheard)[0]
    if row["status"] != "ok":
        raise TrackError(row["reason"], f"{track.id}: the job leaves it out: {row['error']}")
    del row["outputs"], row["metrics"]["encoded_bytes"]
    return row


def _unheard(seconds: float) -> None:
    """Nobody asks how far it is."""


def _causal(track: Track, reader: AudioReader, job: Job, measured: Measured | None) -> _Found:
    live = causal_chain(job, job.source.sr or reader.sr, reader.n_channels, measured, track.fields)
    sr, n_channels = live.signal.sr, live.signal.n_channels
    row: dict[str, Any] = {"id": track.id, "status": "ok", "rule": live.rule, "sr": sr, "n_channels": n_channels}
    row |= {"latency": live.latency, "metrics": {}, "texts": {}}
    return _Found(_metered(live.run(_rows(reader, live)), row), sr, n_channels, row, live.notes)


def _metered(blocks: Iterator[Audio], row: dict[str, Any]) -> Iterator[Audio]:
    """The blocks as they are; the row says at their end what they were."""
    meter = Meter(row["sr"], row["n_channels"])
    for y in blocks:
        meter.update(y)
        yield y
    found = meter.finish()
    row["metrics"] |= {f"out_{name}": value for name, value in found.metrics.items()}
    row["texts"] |= {f"out_{name}": value for name, value in found.texts.items()}


def _rows(reader: AudioReader, live: Live) -> Iterator[Audio]:
    """What the chain is given, at its rate."""
    resampler = Resampler(reader.sr, live.signal.sr, live.signal.n_channels + live.signal.n_references)
    for x in reader.blocks():
        yield resampler.process(live.rows(x))
    yield resampler.flush()


class _Kept:
    """An encoder that keeps the samples as they are."""

    def __init__(self) -> None:
        self._audio = AudioSpool(1)

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *reason: object) -> None:
        self._audio.close()

    def open(self, output: OutputSpec, sr: int, n_channels: int, chunk: int, track_id: str, sink: Sink) -> _Kept:
        """Begin a track."""
        self._audio = AudioSpool(n_channels)
        return self

    def write(self, x: Audio) -> None:
        """Keep (n_channels, n) float32."""
        self._audio.write(x)

    def close(self) -> Encoded:
        """All have come."""
        return Encoded(self._audio.n_samples, self._audio.n_samples, 0, 0)

    def blocks(self) -> Iterator[Audio]:
        """What was kept."""
        return self._audio.blocks()


def _track(source: str, job: Job, fields: Mapping[str, object]) -> tuple[Track, str]:
    """The file as a run over it alone would call it, and its folder. Files among `fields` lie below where we are."""
    root, name = os.path.split(os.path.abspath(source))  # noqa: PTH100  # names need not be UTF-8
    far = job.source.reference_field
    known = dict(fields)
    if far in known:
        known[far] = os.path.abspath(str(known[far]))  # noqa: PTH100
    return Track(check_id(name, root), name, fields=known), root


def _check_in_sync(job: Job, target: str) -> None:
    if job.source.speed != 1.0 or job.source.tempo != 1.0 or is_cut(job):
        raise UsageError(f"{target}: job {job.name} changes when things are heard, and the picture would not follow")


def _output(job: Job, extension: str) -> OutputSpec | None:
    """The job's output whose parameters a file with that extension takes: its own encoding, else any lossless one."""
    encoding = encoding_of(extension)
    lossless = [output for output in job.outputs if extension in LOSSLESS and output.bitrate_kbps is None]
    own = [output for output in job.outputs if output.encoding == encoding]
    return next(iter(own + lossless), None)


def _checked(x: ArrayLike) -> Audio:
    samples = np.asarray(x)
    if samples.dtype.kind != "f":
        raise UsageError(f"got an array of {samples.dtype}; give floats, full scale 1.0 (int16 divided by 32768)")
    if samples.ndim == 1:
        samples = samples[None]
    if samples.ndim != 2 or samples.size == 0 or samples.shape[0] > samples.shape[1]:
        raise UsageError(f"got an array of shape {np.shape(x)}; give (n_samples,) or (n_channels, n_samples)")
    return np.ascontiguousarray(samples, np.float32)
