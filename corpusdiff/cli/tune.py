"""Commands that measure, and search: profile, tune."""

from __future__ import annotations

import json
from typing import Any

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.options import ANYWHERE, as_json, cluster_options, job_options, reading_options
from corpusdiff.manifests import Reading


def _say(line: str) -> None:
    click.echo(f"corpusdiff: {line}", err=True)


@main.command()
@click.argument("source", type=ANYWHERE)
@click.argument("out", type=click.Path(dir_okay=False))
@click.option("--workers", type=click.IntRange(1), help="Processes that decode  [default: the cores of this machine].")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Take the first N tracks only.")
@reading_options
@as_json
def profile(source: str, out: str, workers: int | None, limit: int | None, reading: Reading, *, as_json: bool) -> None:
    """Measure the long-term spectrum and the level of SOURCE, a recording or a corpus, into the JSON file OUT.

    Every track counts the same, however long or loud. `timbre` takes the file as its profile, `apply --causal` and
    `stream` as --measured, `tune` as an objective.

    \b
    Examples:
      corpusdiff profile broadcast/ broadcast.json
      corpusdiff apply old.wav new.wav --job restore --set chain.timbre.profile=broadcast.json
    """
    from corpusdiff.profiles import write_profile
    from corpusdiff.profiling import profile_source

    found = profile_source(source, _say, workers, limit, reading)
    write_profile(out, found.measured, found.tracks, found.seconds)
    numbers = {name: value for name, value in found.measured.to_dict().items() if not isinstance(value, list)}
    summary = {"tracks": found.tracks, "failed": found.failed, "hours": round(found.seconds / 3600, 3), **numbers}
    if as_json:
        click.echo(json.dumps(summary))
        return
    for name, value in summary.items():
        if value is not None:
            click.echo(f"{name:>15}  {value if isinstance(value, int) else round(value, 3)}")


@main.command()
@click.argument("source", type=ANYWHERE)
@job_options
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False), help="Job file to write.")
@click.option("--objective", required=True, metavar="OBJ",
              help="level-spread, snr, profile:FILE, pesq, stoi, or wer (by --command).")  # fmt: skip
@click.option("--stage", "stages", multiple=True, metavar="[RULE.]STAGE",
              help="Search this stage's k, steps, reference and window.")  # fmt: skip
@click.option("--param", "params", multiple=True, metavar="STAGE.KEY:LOW:HIGH[:log]",
              help="Search this parameter in this range, or STAGE.KEY=A,B,C among these.")  # fmt: skip
@click.option("--per-band", is_flag=True, help="Search the reference spectrum of timbre, octave by octave.")
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True, metavar="N", help="Candidates to try.")
@click.option("--sample", type=click.IntRange(1), default=40, show_default=True, metavar="N",
              help="Tracks to take; a third of them is kept aside for the check.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample and of the search.")
@cluster_options
@click.option("--reference", metavar="DIR|FIELD", help="Clean signals: a folder with the same names, or a field.")
@click.option("--command", metavar="CMD", help="Prints a word error rate for the WAV files in {dir}.")
@click.option("--shell", is_flag=True, help="Run the command by the shell.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Page with the objective over each parameter.")
@reading_options
@as_json
def tune(source: str, plot: str | None, *, as_json: bool, **options: Any) -> None:
    """Search the coefficients of a job on a sample of SOURCE.

    The job as it was is trial 0. The best trial is checked on tracks that took no part in the search.

    \b
    Examples:
      corpusdiff tune calls/ --stage wandering.level --objective level-spread -o calls.toml --plot calls.html
      corpusdiff tune noisy/ --param noisy.denoise.mix:0:1 --objective pesq --reference clean/ -o mine.toml
      corpusdiff tune dev.jsonl --stage timbre --objective wer --command 'python recognise.py {dir}' -o mine.toml
    """
    from corpusdiff.tuning.report import plot_tuned, tuned_json, tuned_lines
    from corpusdiff.tuning.tune import TuneRequest, check_folder
    from corpusdiff.tuning.tune import tune as run_tune

    if plot is not None:
        check_folder(plot)
    found = run_tune(TuneRequest(source, **options), _say)
    if plot is not None:
        plot_tuned(found, plot)
    for note in found.notes:
        _say(note)
    if as_json:
        click.echo(json.dumps(tuned_json(found)))
        return
    for line in tuned_lines(found):
        click.echo(line)
