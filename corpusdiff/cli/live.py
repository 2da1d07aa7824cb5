"""Commands on one recording: apply to a file, stream raw samples."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.options import as_json, job_by_default, job_options

measured_option = click.option(
    "--measured", "measured_path", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
    help="What `profile` measured of the recording or its like: loudness, levels, spectrum.",
)  # fmt: skip


@main.command()
@click.argument("source", metavar="INPUT", type=click.Path(exists=True, dir_okay=False))
@click.argument("target", metavar="OUTPUT", type=click.Path(dir_okay=False))
@job_options
@click.option("--causal", is_flag=True, help="As `stream` does it: without knowing what comes.")
@measured_option
@click.option(
    "--bits", type=click.Choice(["16", "24", "32"]), help="Of a lossless file; 32 is float  [default: the job's]."
)
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE",
              help="What a manifest would say of it, for the job's rules and its far-end file.")  # fmt: skip
@as_json
def apply(source: str, target: str, job: str, sets: tuple[str, ...], measured_path: str | None, bits: str | None,
          fields: tuple[str, ...], *, causal: bool, as_json: bool) -> None:  # fmt: skip
    """Process the audio of INPUT into OUTPUT, a file of the kind that its extension says.

    What a lossless OUTPUT holds is what `run` would write, sample for sample. From a video to a video (.mp4, .mkv,
    .webm, .mov) the picture is copied as it is, with subtitles, and the sound stays in sync.

    \b
    Examples:
      corpusdiff apply talk.mp3 talk.flac
      corpusdiff apply talk.mp4 better.mp4 --job video
      corpusdiff apply talk.wav quiet.wav --job codec --set loudness.target_lufs=-30
      corpusdiff apply talk.wav live.wav --causal
    """
    from corpusdiff.onefile import apply_file, summary

    found = apply_file(
        source, target, job, sets,
        causal=causal, measured=_measured(measured_path), bits=int(bits) if bits else None, fields=_fields(fields),
    )  # fmt: skip
    for note in found.notes:
        click.echo(f"corpusdiff: {note}", err=True)
    if as_json:
        click.echo(json.dumps(_without_nan(found.row)))
    else:
        for line in summary(found):
            click.echo(line)


@main.command()
@job_by_default("enhance")
@click.option("--sr", type=click.IntRange(1), required=True, metavar="HZ", help="Rate of the samples.")
@click.option("--channels", type=click.IntRange(1, 64), required=True, metavar="N", help="Channels, interleaved.")
@click.option("--format", "form", type=click.Choice(["s16le", "f32le"]), default="s16le", show_default=True,
              help="16 bit integers or 32 bit floats.")  # fmt: skip
@click.option("--latency", "only_latency", is_flag=True, help="Say by how much the job delays, and stop.")
@click.option("--max-latency", "max_latency_ms", type=click.FloatRange(0), metavar="MS",
              help="Refuse a job that delays by more.")  # fmt: skip
@measured_option
@click.option("--control", type=click.Path(), metavar="FIFO",
              help="Pipe or file with lines like level.steps=4, which change the job while it runs.")  # fmt: skip
@click.option("--block", type=click.IntRange(1), metavar="SAMPLES", help="Process so many at once, at most.")
@click.option("--live", is_flag=True, help="Forget what came in before the first block could be processed.")
@as_json
def stream(measured_path: str | None, *, only_latency: bool, as_json: bool, **options: Any) -> None:
    """Process raw PCM from standard input to standard output, in real time.

    \b
    Examples:
      corpusdiff stream --sr 16000 --channels 1 --latency
      corpusdiff stream --sr 16000 --channels 1 --set chain.denoise.mix=0.8 < in.raw > out.raw
    """
    from corpusdiff.stream import StreamRequest, latency_of
    from corpusdiff.stream import stream as run_stream

    request = StreamRequest(measured=_measured(measured_path), **options)
    if not only_latency:
        with _ended_by_ctrl_c():
            run_stream(request)
        return
    found = latency_of(request)
    click.echo(json.dumps(found) if as_json else f"{found['samples']} samples, {found['ms']:g} ms at {found['sr']} Hz")


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """At once, wherever the process is: where a kernel is being loaded, the exception would be lost."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _measured(path: str | None) -> Any:
    if path is None:
        return None
    from corpusdiff.profiles import read_measured

    return read_measured(path)


def _fields(items: tuple[str, ...]) -> dict[str, object]:
    from corpusdiff.jobset import value_of

    pairs = [item.partition("=") for item in items]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.UsageError(f"--field {name}: expected NAME=VALUE, e.g. lang=zh")
    return {name: value_of(text) for name, _, text in pairs}


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
