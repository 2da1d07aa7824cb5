"""Commands on corpora: run, plan, status, verify, table, report, scan."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.loading import loading
from corpusdiff.cli.options import ANYWHERE, as_json, cluster_options, job_options, quiet, reading_options
from corpusdiff.cli.options import where as where_option
from corpusdiff.manifests import Reading
from corpusdiff.shards import STALL_S


@main.command()
@click.argument("source", type=ANYWHERE)
@click.argument("out", type=ANYWHERE)
@job_options
@cluster_options
@click.option("--fresh", "mode", flag_value="fresh", help="Delete what is in OUT and start again.")
@click.option("--update", "mode", flag_value="update", help="Process what is new or changed in SOURCE.")
@click.option("--retry-failed", "mode", flag_value="retry-failed", help="Process what failed once more.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Take the first N tracks only.")
@click.option("--max-failed", type=click.IntRange(0), default=0, metavar="N", help="Exit 0 with up to N failed tracks.")
@click.option("--strict", is_flag=True, help="Fail when two workers made different rows for one shard.")
@click.option("--portable", is_flag=True, help="Same bytes on every kind of processor, slower.")
@click.option("--memory-limit", type=click.FloatRange(0.5), default=4.0, show_default=True, metavar="GIB",
              help="Memory that one track may take.")  # fmt: skip
@click.option("--stall", "stall_s", type=float, default=STALL_S, show_default=True, metavar="SECONDS",
              help="A track without progress for so long has failed.")  # fmt: skip
@click.option(
    "--shard-s", type=float, metavar="SECONDS", help="Audio in one unit of work, when planned  [default: 600]."
)
@click.option(
    "--cut-s", type=float, metavar="SECONDS",
    help="Longer recordings are cut into pieces that several workers process at once, 0: none  [default: 10800].",
)  # fmt: skip
@click.option("--profile", is_flag=True, help="Say at the end what the CPU went to: stages, decoder, store, Dask.")
@click.option("--metrics", metavar="[HOST:]PORT", help="Serve the run's numbers for Prometheus.")
@click.option(
    "--store-overwrites", is_flag=True, help="Take an OUT that cannot refuse to overwrite; one run at a time."
)
@reading_options
@quiet
@as_json
def run(source: str, out: str, **options: Any) -> None:
    """Process SOURCE into the corpus OUT: its audio, and a table with one row per track.

    SOURCE is a folder with audio or video in it, a glob, a file, or a manifest: a Kaldi data folder, NeMo (.jsonl),
    Lhotse (cuts.jsonl.gz, Shar), CSV, TSV, Parquet, tars, a folder of Hugging Face's, a list of files; here or behind
    s3://, gs://, az://, https://. What it is, is found out from its content.

    The same command again goes on where it stopped. `corpusdiff jobs` lists what can be done to the sound.

    \b
    Examples:
      corpusdiff run recordings/ corpus/
      corpusdiff run data/train corpus/ --job asr --allow-root /archive/wav
      corpusdiff run videos/ corpus/ --job video
      corpusdiff run train.jsonl corpus/ --job codec --set output.opus.bitrate_kbps=16
      corpusdiff run s3://bucket/recordings s3://bucket/corpus --cluster slurm --workers 64 --partition cpu
    """
    with loading():
        from corpusdiff.driver import TOO_MANY_FAILED, execute
        from corpusdiff.progress import next_steps
        from corpusdiff.request import RunRequest

    code = execute(RunRequest(source=source, out=out, **options))
    if code == TOO_MANY_FAILED and options["quiet"]:
        click.echo(f"corpusdiff: some tracks failed: {next_steps(out, 0, 1)[0]}", err=True)
    sys.exit(code)


@main.command()
@click.argument("source", type=ANYWHERE)
@job_options
@click.option("--explain", "n_sample", type=click.IntRange(1), is_flag=False, flag_value=200, metavar="[N]",
              help="Measure a sample of N tracks [200], and say how many each rule of the job would take.")  # fmt: skip
@reading_options
@as_json
def plan(
    source: str, job: str, sets: tuple[str, ...], n_sample: int | None, reading: Reading, *, as_json: bool
) -> None:
    """Say what a run over SOURCE would do, and do nothing.

    \b
    Examples:
      corpusdiff plan recordings/ --job asr
      corpusdiff plan recordings/ --job asr --explain
    """
    from corpusdiff.describe import describe_plan
    from corpusdiff.explain import explain, explanation_lines

    found = describe_plan(source, job, sets, reading)
    explanation = explain(source, job, sets, n_sample, reading) if n_sample else None
    if as_json:
        click.echo(json.dumps(found | ({"explain": explanation} if explanation else {})))
        return
    for name, value in found.items():
        click.echo(f"{name:>12}  {value}")
    if explanation:
        for line in explanation_lines(explanation):
            click.echo(line)


@main.command()
@click.argument("out", type=ANYWHERE)
@as_json
def status(out: str, as_json: bool) -> None:
    """Say how far the corpus OUT has come, from any machine.

    \b
    Example:
      corpusdiff status s3://bucket/corpus
    """
    from corpusdiff.describe import describe_status, status_lines

    found = describe_status(out)
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in status_lines(found):
        click.echo(line)


@main.command()
@click.argument("out", type=ANYWHERE)
@click.option("--gc", is_flag=True, help="Delete objects that no record names.")
@as_json
def verify(out: str, gc: bool, as_json: bool) -> None:
    """Check every byte of the corpus OUT against its records.

    --gc is refused while a run is at work on OUT: what it has made and not yet committed looks like an orphan.

    \b
    Example:
      corpusdiff verify corpus/
    """
    from corpusdiff.runlog import check_idle
    from corpusdiff.store.verify import verify as check

    if gc:
        check_idle(out)
    report = check(out, gc=gc)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        for problem in report.problems:
            click.echo(f"{problem.key}: {problem.what}")
        click.echo(report.summary())
    sys.exit(1 if report.problems else 0)


@main.command()
@click.argument("out", type=ANYWHERE)
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "parquet"]), default="table",
              show_default=True, help="How to write it.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File to write  [default: standard output].")
@click.option("--columns", help="Columns to write, separated by commas  [default: all; a selection for a table].")
@where_option
@click.option("--limit", type=click.IntRange(0), metavar="N", help="The first N rows only.")
def table(out: str, form: str, output: str | None, columns: str | None, where: str | None, limit: int | None) -> None:
    """Write the table of tracks of the corpus OUT: one row per track with its outcome and metrics.

    \b
    Examples:
      corpusdiff table corpus/ --limit 10
      corpusdiff table corpus/ --where 'status == "failed"' --columns id,reason,error
      corpusdiff table corpus/ --format parquet -o tracks.parquet
    """
    from corpusdiff.tables import write_table

    write_table(out, form, output, columns.split(",") if columns else None, limit, where)


@main.command()
@click.argument("out", type=ANYWHERE)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File to write  [default: report.html in OUT].")
@click.option("--tracks", "n_samples", type=click.IntRange(0), default=12, show_default=True, metavar="N",
              help="Tracks to look at and listen to.")  # fmt: skip
def report(out: str, output: str | None, n_samples: int) -> None:
    """Write a page on the corpus OUT that opens in any browser, from disk.

    Hours, failures, distributions before and after, what each rule did, and some tracks to look at and listen to.

    \b
    Example:
      corpusdiff report corpus/ -o corpus.html
    """
    from corpusdiff.report.write import write_report

    click.echo(write_report(out, output, n_samples))


@main.command()
@click.argument("source", type=ANYWHERE)
@click.argument("manifest", type=click.Path(dir_okay=False))
@reading_options
def scan(source: str, manifest: str, reading: Reading) -> None:
    """Write what SOURCE holds as a manifest (.jsonl in NeMo's form, .csv, .tsv or .parquet).

    \b
    Example:
      corpusdiff scan recordings/ recordings.jsonl
    """
    from corpusdiff.tables import write_manifest

    click.echo(write_manifest(source, manifest, reading))
