"""The group that all commands hang on, and what becomes of errors."""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from corpusdiff import __version__
from corpusdiff.errors import CorpusdiffError

#: The commands by what they are for, and each in a line.
SECTIONS = {
    "A corpus": {
        "plan": "say what a run would do, and do nothing",
        "run": "process a folder or a manifest into a corpus, or go on with it",
        "status": "say how far a run is, from any machine",
        "verify": "check every byte of a corpus",
        "table": "its tracks: outcome and metrics of each",
        "report": "a page to look at and listen to",
        "export": "to files, Lhotse, NeMo, WebDataset, Kaldi, Hugging Face",
        "scan": "write a manifest of what a folder holds",
    },
    "One recording": {
        "apply": "process a file, of a video its sound",
        "stream": "process raw samples in real time",
        "synth": "make sound by the law",
        "mix": "add files up",
    },
    "Jobs": {
        "jobs": "list the ready jobs, print or draw one",
        "expressions": "explain the conditions of --where and of rules",
        "profile": "measure the spectrum and the level of a corpus",
        "tune": "search the coefficients of a job",
    },
    "This machine": {
        "doctor": "what is there, what is missing, how to get it",
        "completion": "let the shell complete commands",
        "certificates": "for encrypted links between machines",
    },
}


class _Group(click.Group):
    """Commands listed by what they are for; errors of ours leave as one line and their own exit code."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<12}", words) for name, words in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CorpusdiffError as error:
            click.echo(f"corpusdiff: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            raise  # whoever read has enough, as `head` has: click ends in silence
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            remedy = ": free some space, also where temporary files go (--spool)" if full else ""
            click.echo(f"corpusdiff: {error}{remedy}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="corpusdiff")
def main() -> None:
    """Process audio corpora: level, timbre, noise, loudness, format; each track measured, on all cores or a cluster.

    \b
      corpusdiff run recordings/ corpus/           process a folder; a Kaldi folder, NeMo, Lhotse, CSV, ... too
      corpusdiff report corpus/                    look and listen
      corpusdiff export corpus/ shar/ --to shar    take it along

    COMMAND --help has examples. Documentation: README.md, jobs/README.md.
    """
