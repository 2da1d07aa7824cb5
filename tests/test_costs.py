"""What the CPU goes to, part by part, in one thread and in a whole run."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner
from corpus_maker import RECIPES, make_corpus

from corpusdiff import costs
from corpusdiff.cli import main
from corpusdiff.costs import Costs, cost_lines, cost_shares, keep, made_in, part


def spin(seconds):
    """Compute for so many seconds of CPU."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_part_is_not_charged_what_lies_within():
    """20 ms about 40 ms of another part, and a second visit, are 30 and 40."""
    kept = Costs()
    with keep(kept):
        with part("outer"):
            spin(0.02)
            with part("inner"):
                spin(0.04)
        with part("outer"):
            spin(0.01)
        spin(0.05)  # in no part
    found = kept.taken()
    assert found == {"outer": pytest.approx(0.03, abs=0.008), "inner": pytest.approx(0.04, abs=0.008)}
    assert kept.taken() == {}


def test_items_are_charged_to_those_who_make_them():
    """A generator's work is its part's, and what is done with each item is not."""

    def items():
        for i in range(3):
            spin(0.01)
            yield i

    kept = Costs()
    with keep(kept), part("user"):
        for _ in made_in("maker", items()):
            spin(0.02)
    found = kept.taken()
    assert found["maker"] == pytest.approx(0.03, abs=0.008)
    assert found["user"] == pytest.approx(0.06, abs=0.008)


def test_an_error_leaves_its_part():
    """What comes after a failed part is not charged to it."""
    kept = Costs()
    with keep(kept), part("outer"):
        with pytest.raises(ValueError, match="no"), part("failing"):
            raise ValueError("no")
        spin(0.02)
    assert kept.taken()["outer"] > 0.015


def test_nobody_reads_a_clock_unasked(monkeypatch):
    """Without `keep`, parts cost nothing and items pass as they are."""
    monkeypatch.setattr(costs.time, "thread_time", lambda: pytest.fail("a clock was read"))
    items = [1, 2]
    with keep(None), part("decode"):
        assert made_in("decode", items) is items


def test_shares_add_up_and_lines_say_the_same():
    """The dearest part comes first; shares add up to one."""
    spent = {"decode": 1.0, "encode": 3.0}
    assert [row["share"] for row in cost_shares(spent)] == [0.75, 0.25]
    lines = cost_lines(spent, 400.0)
    assert lines[0] == "4.0 s of CPU, 100 x real time per core:"
    assert lines[1].split() == ["encode", "3.00", "s", "75.0", "%"]


@pytest.mark.parametrize("cluster", [["none"], ["local", "--workers", "1"]])
def test_a_run_says_what_it_cost(tmp_path, cluster):
    """Every part of the work is there, and all of them are the CPU that the tracks took by their records."""
    make_corpus(tmp_path / "in", recipes=RECIPES[:5], use_espeak=False)
    rules = ["--set", "rule.noisy.when=snr_db > -99", "--set", "rule.muffled.when=snr_db < -99"]
    command = ["run", str(tmp_path / "in"), str(tmp_path / "out"), *rules, "--cluster", *cluster, "--json"]
    done = CliRunner().invoke(main, [*command, "--profile"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (profile,) = (event for event in events if event["event"] == "profile")
    found = {row["part"]: row["cpu_s"] for row in profile["parts"]}
    work = {"decode", "resample", "measure before", "stage highpass", "stage denoise", "transform of spectral stages"}
    work |= {"measure change", "measure after", "encode", "loudness and limiter", "rest of the child"}
    rest = {"start of the child", "pipe", "store", "rest of the worker", "driver"}
    rest |= set() if cluster == ["none"] else {"Dask on the workers"}
    assert set(found) == work | rest
    assert sum(row["share"] for row in profile["parts"]) == pytest.approx(1.0, abs=0.01)
    cpu_s = sum(event["cpu_s"] for event in events if event["event"] == "shard")
    assert sum(found[name] for name in work) == pytest.approx(cpu_s, rel=0.1, abs=0.05)


def test_a_run_says_nothing_unasked(tmp_path):
    """Without --profile there is no such event."""
    make_corpus(tmp_path / "in", recipes=RECIPES[:1], use_espeak=False)
    command = ["run", str(tmp_path / "in"), str(tmp_path / "out"), "--cluster", "none", "--json"]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert '"profile"' not in done.stdout
