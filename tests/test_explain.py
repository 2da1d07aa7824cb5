"""`plan --explain`: the rules of a job over a sample, and rules that ask for what there is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from corpusdiff.cli import main
from corpusdiff.explain import explain

RULES = """
[[rule]]
name = "loud"
when = "rms_dbfs > -10"

[[rule]]
name = "chinese"
when = 'field("lang") == "zh"'

[[chain]]
stage = "gain"
gain_db = -6.0
"""


@pytest.fixture
def source(tmp_path):
    """Two loud, three Chinese of which one is loud, one neither, one damaged; and the job."""
    (tmp_path / "rules.toml").write_text(RULES)
    rng = np.random.default_rng(0)
    rows = []
    for name, level, lang in [
        ("a", 0.6, "en"),
        ("b", 0.6, "zh"),
        ("c", 0.01, "zh"),
        ("d", 0.01, "zh"),
        ("e", 0.01, ""),
    ]:
        sf.write(tmp_path / f"{name}.wav", np.clip(level * rng.standard_normal(16000), -1, 1), 16000)
        rows.append({"audio_filepath": f"{name}.wav", "lang": lang})
    (tmp_path / "x.wav").write_text("no sound")
    rows.append({"audio_filepath": "x.wav", "lang": "zh"})
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_sample_tells_how_many_tracks_each_rule_takes(source):
    """First match wins, failures are counted apart, and the shares are those of what could be measured."""
    found = explain(str(source / "all.jsonl"), str(source / "rules.toml"), (), 100)
    assert (found["tracks"], found["sample"], sum(found["failed"].values())) == (6, 6, 1)
    shares = {rule["rule"]: (rule["share"], rule["tracks"]) for rule in found["rules"]}
    assert shares == {"loud": (0.4, 2), "chinese": (0.4, 2), "default": (0.2, 1)}
    assert explain(str(source / "all.jsonl"), str(source / "rules.toml"), (), 2)["sample"] == 2


def test_the_command_prints_it(source):
    """For people, and as JSON beside what `plan` says."""
    arguments = ["plan", str(source / "all.jsonl"), "--job", str(source / "rules.toml"), "--explain"]
    shown = CliRunner().invoke(main, arguments)
    assert "40.0%  about 2 tracks, e.g. a.wav  (rms_dbfs > -10)" in shown.output, shown.output
    found = json.loads(CliRunner().invoke(main, [*arguments, "3", "--json"]).stdout)
    assert found["tracks"] == 6
    assert found["explain"]["sample"] == 3


def test_a_rule_that_asks_for_what_there_is_not_is_refused(source):
    """Before anything is processed, with the name that was meant."""
    job = source / "slip.toml"
    job.write_text('[[rule]]\nname = "x"\nwhen = "snr_bd < 3 or langg == 2"\n')
    result = CliRunner().invoke(main, ["run", str(source / "all.jsonl"), str(source / "out"), "--job", str(job)])
    assert result.exit_code == 2
    assert "rule.x.when: 'snr_bd < 3 or langg == 2': there is no langg: did you mean lang?" in result.stderr
    assert not (source / "out").exists()
