"""The command that brings a corpus to others."""

from __future__ import annotations

import json
from typing import Any

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.options import ANYWHERE, as_json, cluster_options, quiet, where


@main.command()
@click.argument("out", type=ANYWHERE)
@click.argument("dest", type=ANYWHERE)
@click.option("--to", required=True, metavar="FORMAT",
              help="files, flac, wav, opus, mp3, ogg; video; nemo, nemo-tarred, lhotse, shar, webdataset, kaldi, "
              "audiofolder, parquet.")  # fmt: skip
@where
@click.option("--output", metavar="NAME", help="Which of the job's outputs  [default: the first].")
@click.option("--per-part", type=click.IntRange(1), default=1000, show_default=True, metavar="N",
              help="Tracks of one tar or one Parquet file.")  # fmt: skip
@cluster_options
@quiet
@as_json
def export(out: str, dest: str, **options: Any) -> None:
    """Write the tracks of the corpus OUT to DEST as others read them.

    Audio that the corpus holds in the form that is asked for is copied, byte for byte. The same command goes on where
    it was interrupted.

    \b
    files        as the corpus holds them; flac, wav, opus, mp3, ogg: in that form. With
                 their source's tags and pictures (pip install 'corpusdiff[tags]')
    video        the source's videos with the corpus's sound, the picture untouched
    nemo, lhotse, kaldi, audiofolder      files, and the manifest of each
    nemo-tarred, shar, webdataset         tars
    parquet      the audio inside, as Hugging Face datasets has it

    \b
    Examples:
      corpusdiff export corpus/ shar/ --to shar
      corpusdiff export corpus/ s3://bucket/train --to webdataset --where 'duration_s < 20 and snr_db > 5'
      corpusdiff export corpus/ wav/ --to wav
      corpusdiff export corpus/ videos/ --to video
    """
    from corpusdiff.export.export import ExportRequest
    from corpusdiff.export.export import export as run_export

    found = run_export(ExportRequest(out, dest, **options))
    if options["as_json"]:
        click.echo(json.dumps({"event": "end", **found}))
        return
    for name, value in {} if options["quiet"] else found.items():
        click.echo(f"{name:>12}  {value}")
