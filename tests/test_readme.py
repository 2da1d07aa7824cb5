"""What README.md shows works: its commands and programs run, in order, in a folder with some recordings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from corpus_maker import make_corpus
from readme_blocks import Block, blocks, follow

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


@pytest.mark.timeout(600)
def test_readme_works(tmp_path: Path) -> None:
    """A reader who follows README.md from top to bottom gets what it says, exit codes included."""
    make_corpus(tmp_path / "recordings", small=True)
    for block in blocks(README):
        follow(block, tmp_path)


def test_make_targets_of_the_readme_exist() -> None:
    """Every `make ...` in README.md is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(block.text for block in blocks(README))))
    assert {"demo", "test"} <= shown
    assert shown <= targets


def test_blocks_are_read_in_full() -> None:
    """Commands, their exit codes, file names and lines come out of a Markdown text."""
    text = "Text\n\n```console\n$ a b   # why\n$ c | d # exits 3\nsaid\n```\n```toml\n# x.toml\na = 1\n```\n"
    console, toml = blocks(text)
    assert console.commands == [("a b", 0), ("c | d", 3)]
    assert (console.line, toml.line) == (3, 8)
    assert (console.file_name, toml.file_name, toml.commands) == (None, "x.toml", [])


def test_a_wrong_exit_code_fails(tmp_path: Path) -> None:
    """A command that ends otherwise than the README says does not pass."""
    with pytest.raises(pytest.fail.Exception, match=r"README\.md:1: exit 4\nexit code 4, not 0"):
        follow(Block(1, "console", "$ exit 4\n"), tmp_path)
    follow(Block(1, "console", "$ exit 4 # exits 4\n"), tmp_path)
