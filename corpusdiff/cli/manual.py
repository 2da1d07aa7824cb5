"""Commands that explain: expressions, completion."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.options import ANYWHERE

#: Where each shell's completion is put for good.
_PLACES = {
    "bash": "~/.local/share/bash-completion/completions/corpusdiff",
    "zsh": "a folder of your $fpath, as _corpusdiff",
    "fish": "~/.config/fish/completions/corpusdiff.fish",
}


@main.command()
@click.argument("out", required=False, type=ANYWHERE)
def expressions(out: str | None) -> None:
    """Explain the conditions of --where and of rules; of the corpus OUT, list the names that they may ask for.

    \b
    Examples:
      corpusdiff expressions
      corpusdiff expressions corpus/
    """
    if out is None:
        click.echo_via_pager(_page("EXPRESSIONS.md"))
        return
    from corpusdiff.store.read import Corpus

    for column in Corpus(out).columns:
        name = column.source if column.kind == "field" else column.name
        shown = name if name.isidentifier() else f'field("{name}")'
        click.echo(f"{shown:<28}  {column.type or column.dtype}")


@main.command()
@click.argument("shell", type=click.Choice(sorted(_PLACES)))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options and names of jobs.

    \b
    Examples:
      eval "$(corpusdiff completion bash)"
      corpusdiff completion bash > ~/.local/share/bash-completion/completions/corpusdiff
      corpusdiff completion zsh > ~/.zfunc/_corpusdiff
      corpusdiff completion fish > ~/.config/fish/completions/corpusdiff.fish
    """
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    assert maker is not None
    click.echo(maker(main, {}, "corpusdiff", "_CORPUSDIFF_COMPLETE").source())
    click.echo(f"# for good: {_PLACES[shell]}")


def _page(name: str) -> str:
    """A page of the documentation that comes with the package."""
    packaged = files("corpusdiff").joinpath("_jobs", name)
    source = packaged if packaged.is_file() else Path(__file__).parents[2] / "jobs" / name
    return source.read_text(encoding="utf-8")
