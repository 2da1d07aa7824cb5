"""The group that all commands hang on, and what becomes of errors."""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from corpusdiff import __version__
from corpusdiff.errors import CorpusdiffError


class _Group(click.Group):
    """Errors of ours leave as one line and their own exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CorpusdiffError as error:
            click.echo(f"corpusdiff: {error}", err=True)
            sys.exit(error.exit_code)
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
    """Time and spectral diffusion of audio corpora too large to touch by hand."""
