"""jobs/EXPRESSIONS.md: every condition on it is true or false as it says, for a rule and for `--where` alike."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from readme_blocks import blocks

import corpusdiff
from corpusdiff.expressions import FUNCTIONS, Expression
from corpusdiff.selection import select
from corpusdiff.store.columns import encode_column
from corpusdiff.store.objects import open_objects

PAGE = (Path(__file__).parents[1] / "jobs" / "EXPRESSIONS.md").read_text()
TRACK = json.loads(next(block.text for block in blocks(PAGE) if block.language == "json"))
EXAMPLES = re.findall(r"^\| `(.*?)` \| (yes|no) \|", PAGE, re.MULTILINE)

#: What the table measures or makes by itself.
MEASURED = ("snr_db", "out_snr_db", "bandwidth_hz", "clip_rate", "duration_s", "loudness_range_lu", "rule")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """One track whose row is the page's."""
    folder = tmp_path_factory.mktemp("expressions")
    sf.write(folder / "a.wav", 0.1 * np.random.default_rng(1).standard_normal(8000), 8000)
    fields = {name: value for name, value in TRACK.items() if name not in (*MEASURED, "status")}
    (folder / "m.jsonl").write_text(json.dumps({"audio_filepath": "a.wav", **fields}) + "\n")
    out = str(folder / "out")
    opened = corpusdiff.run(str(folder / "m.jsonl"), out, cluster="none")
    objects = open_objects(out)
    for column in opened.columns:
        if column.name in MEASURED:
            value = TRACK[column.name]
            data = encode_column([np.nan if value is None else value], column.dtype)
            objects.replace(column.chunk_key(0), data)
    return corpusdiff.open(out)


def test_the_page_has_examples_of_all_there_is():
    """Each function and operator is shown at work."""
    text = " ".join(condition for condition, _ in EXAMPLES)
    for name in FUNCTIONS:
        assert f"{name}(" in text, name
    for sign in ("<", "<=", "==", "!=", ">", " and ", " or ", "not ", " in ", " - ", " / ", "%"):
        assert sign in text or f"`{sign}`" in PAGE, sign
    assert len(EXAMPLES) > 15


@pytest.mark.parametrize(("condition", "holds"), EXAMPLES)
def test_an_example(corpus, condition, holds):
    """As a rule and as `--where`."""
    assert Expression(condition).holds(TRACK) == (holds == "yes")
    assert select(corpus, condition).tolist() == [0] * (holds == "yes")


def test_names_of_the_page_are_names():
    """What a rule may ask for is measured before; what --where may ask for is in the table."""
    from corpusdiff.metrics import SOURCE_COLUMNS

    names = PAGE[PAGE.index("## Names") : PAGE.index("## Examples")]
    before = names.partition("`--where` knows")[0]
    of_rules = set(re.findall(r"`([a-z_]+)`", before)) - {"id", "path"}
    assert of_rules <= set(SOURCE_COLUMNS)
    assert len(of_rules) > 5


def test_the_names_of_a_corpus(corpus):
    """`corpusdiff expressions OUT` lists what a condition may say, as it must be said."""
    from click.testing import CliRunner

    from corpusdiff.cli import main

    said = CliRunner().invoke(main, ["expressions", str(corpus.location)])
    assert said.exit_code == 0
    listed = [line.split("  ")[0] for line in said.output.splitlines()]
    assert {"snr_db", "lang", 'field("speaker-id")'} <= set(listed)
    for name in listed:
        select(corpus, f"missing({name})")
