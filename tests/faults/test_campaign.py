"""Kills of every process of a run, on a local disk and on an S3 server: nothing is bad, lost or doubled."""

from __future__ import annotations

import shutil

import pytest
from fault_runs import Run, same_corpus
from faults.campaign import Campaign, campaign
from outside_cluster import OutsideCluster

pytest.importorskip("moto.server", reason="needs moto[server]")


@pytest.mark.faults_short
@pytest.mark.parametrize("backend", ["local", "s3"])
def test_ten_kills(tmp_path, backend):
    """Ten at random moments, of workers, nannies, children, schedulers and drivers."""
    toll = campaign(tmp_path, backend, 10, seed=1, n_tracks=90)
    assert toll.kills.total() == 10, toll.line()
    assert toll.clean, (toll.line(), toll.stories)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("backend", ["local", "s3"])
def test_a_hundred_kills(tmp_path, backend):
    """The same, a hundred, each kind of process among the victims."""
    toll = campaign(tmp_path, backend, 100, seed=2)
    assert toll.kills.total() == 100, toll.line()
    assert set(toll.kills) == {"worker", "nanny", "child", "scheduler", "driver"}
    assert toll.clean, (toll.line(), toll.stories)


@pytest.mark.faults
def test_harm_is_seen(tmp_path):
    """A campaign that finds nothing looks: a missing object, another's record and a missing table are counted."""
    found = Campaign(tmp_path, "local", 1, n_tracks=90)
    for harm in ("data.zarr/audio/*/c/*/**/*", "commits/*/*", "data.zarr/tracks/id/c/*"):
        out = tmp_path / "harmed"
        shutil.copytree(found.reference, out)
        victim, *others = sorted(path for path in out.glob(harm) if path.is_file())
        if others:
            shutil.copy(others[0], victim)
        else:
            victim.unlink()
        before = found.toll.bad_commits
        found.compare(str(out), [harm])
        assert found.toll.bad_commits > before, harm
        shutil.rmtree(out)
    assert not found.toll.clean
    assert len(found.toll.stories) == 3


@pytest.mark.faults
def test_a_corpus_made_again_by_workers_that_live_on(reference, tmp_path):
    """They remember what they made for the corpus that --fresh deletes, and make it again."""
    with OutsideCluster(tmp_path / "dask") as outside:
        for options in ((), ("--fresh",)):
            with Run(reference.source, tmp_path / "out", "--cluster", outside.address, *options) as run:
                assert run.finish() == 0, run.said
            same_corpus(tmp_path / "out", reference.out, f"made with {options}")
