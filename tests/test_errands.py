"""Headers that are read on the workers of a cluster: the plan is the one that is made here."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_runs import make_recordings, same_corpus
from outside_cluster import OutsideCluster

from corpusdiff import errands
from corpusdiff.driver import execute
from corpusdiff.request import RunRequest


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Recordings, one of them with a header that makes no sense."""
    folder = make_recordings(tmp_path_factory.mktemp("recordings") / "in", 40)
    (folder / "speaker0" / "broken.wav").write_bytes(b"RIFF" + bytes(60))
    return folder


@pytest.fixture(scope="module")
def serial(source):
    """The corpus of the serial runner."""
    out = source.parent / "serial"
    assert execute(RunRequest(str(source), str(out), cluster="none")) == 3
    return out


@pytest.mark.parametrize("update", [False, True])
def test_headers_are_read_by_the_workers(source, serial, tmp_path, monkeypatch, update):
    """More files than are read here go out in batches; a few batches late or early change no plan."""
    here = []
    probe_many = errands.probe_many

    def counted(tracks, *options):
        for track in probe_many(tracks, *options):
            here.append(track.id)
            yield track

    monkeypatch.setattr(errands, "probe_many", counted)
    monkeypatch.setattr(errands, "READ_HERE", 5)
    monkeypatch.setattr(errands, "BATCH", 4)
    with OutsideCluster(tmp_path / "dask", env={"PYTHONPATH": str(Path(__file__).parent)}) as outside:
        if update:
            serial_out = tmp_path / "grown-serial"
            first = RunRequest(str(source), str(serial_out), cluster="none", limit=3)
            for request in (first, RunRequest(str(source), str(serial_out), cluster="none", mode="update")):
                execute(request)
            here.clear()
            execute(RunRequest(str(source), str(tmp_path / "out"), cluster="none", limit=3))
            mode = "update"
        else:
            serial_out, mode = serial, None
        assert execute(RunRequest(str(source), str(tmp_path / "out"), cluster=outside.address, mode=mode)) == 3
    assert len(here) == 5
    if not update:
        same_corpus(tmp_path / "out", serial_out, "headers read by workers")
    assert plan_of(tmp_path / "out") == plan_of(serial_out)


def plan_of(out):
    """The bytes of the frozen manifests."""
    return [path.read_bytes() for path in sorted(out.glob("plan/*/manifest*.parquet"))]
