"""jobs/TUTORIAL.md, from top to bottom, as a reader would follow it."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_maker import make_corpus
from readme_blocks import blocks, follow

PAGE = Path(__file__).parents[2] / "jobs" / "TUTORIAL.md"


@pytest.mark.timeout(600)
def test_the_tutorial_works(tmp_path):
    """Each command and program of the page does what it says, in a folder with recordings."""
    pytest.importorskip("torch")
    make_corpus(tmp_path / "recordings", small=True)
    shown = list(blocks(PAGE.read_text()))
    assert {"console", "python"} == {block.language for block in shown}
    for block in shown:
        follow(block, tmp_path, PAGE.name)
    assert (tmp_path / "corpus.html").stat().st_size > 1e6
    assert list((tmp_path / "shar").glob("*.tar"))
