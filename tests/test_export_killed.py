"""Exports that are killed for real, on workers of their own: the same command finishes, with the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from servers import BUCKET, S3Server

import corpusdiff
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import UsageError
from corpusdiff.export.export import ExportRequest, export
from corpusdiff.store.objects import open_objects

N = 120


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Many short tracks."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "in").mkdir()
    rng = np.random.default_rng(8)
    for number in range(N):
        sf.write(folder / f"in/{number:03d}.wav", 0.1 * rng.standard_normal(8000), 16000)
    return corpusdiff.run(str(folder / "in"), str(folder / "out"), job="listing", cluster="none")


def files_of(folder):
    """Bytes of all files by name."""
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("to", ["webdataset", "flac"])
def test_killed_in_the_middle_it_goes_on(corpus, tmp_path, to):
    """SIGKILL for the driver when some parts are done; the same command does the rest, and nothing twice."""
    dest, state = tmp_path / to, tmp_path / f"{to}.export/parts"
    line = [sys.executable, "-m", "corpusdiff.cli", "export", corpus.location, str(dest), "--to", to,
            "--per-part", "2", "--cluster", "local", "--workers", "2"]  # fmt: skip
    first = subprocess.Popen(line, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not state.is_dir() or len(list(state.iterdir())) < 3:
            assert first.poll() is None, "it came to its end before it was killed"
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    done = {path.name: path.stat().st_mtime_ns for path in dest.glob("*.tar")}
    assert len(list(state.iterdir())) < N // 2
    subprocess.run(line, check=True, capture_output=True)
    assert not state.parent.exists()
    kept = sum((dest / name).stat().st_mtime_ns == when for name, when in done.items())
    assert to != "webdataset" or kept >= 3
    export(ExportRequest(corpus.location, str(tmp_path / "whole"), to, per_part=2, cluster="none"))
    assert files_of(dest) == files_of(tmp_path / "whole")


@pytest.mark.parametrize("to", ["files", "shar", "kaldi", "parquet"])
def test_workers_change_no_byte(corpus, tmp_path, to):
    """Forms of each kind by two workers in the place of none; only its own place stands in it."""
    dest = tmp_path / "x"
    export(ExportRequest(corpus.location, str(dest), to, where="duration_s > 0.1", per_part=30, cluster="none"))
    serial = files_of(dest)
    dest.rename(tmp_path / "serial")
    options = ClusterOptions(workers=2)
    found = export(ExportRequest(corpus.location, str(dest), to, where="duration_s > 0.1", per_part=30,
                                 cluster_options=options))  # fmt: skip
    assert found["tracks"] == N
    assert found["parts"] >= 4
    assert files_of(dest) == serial


def test_what_others_have_written_is_left_alone(corpus, tmp_path):
    """A DEST with something in it is refused, and nothing in it is changed."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty \(notes\.txt\)"):
        export(ExportRequest(corpus.location, str(tmp_path / "x"), "shar", cluster="none"))
    assert files_of(tmp_path) == {Path("x/notes.txt"): b"mine"}


def test_twice_in_one_process(corpus, tmp_path):
    """Workers are started and stopped twice in a fresh process, as in a notebook."""
    code = f"""
from corpusdiff.export.export import ExportRequest, export
from corpusdiff.store.objects import open_objects
from corpusdiff.cluster.options import ClusterOptions
if __name__ == "__main__":
    for name in "ab":
        export(ExportRequest({corpus.location!r}, {str(tmp_path)!r} + "/" + name, "nemo",
                             cluster_options=ClusterOptions(workers=1)))
"""
    (tmp_path / "twice.py").write_text(code)
    subprocess.run([sys.executable, str(tmp_path / "twice.py")], check=True, capture_output=True, timeout=200)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_into_a_bucket(corpus, tmp_path, monkeypatch):
    """The same objects as in a folder; a second export does not go into the first, and no web server takes one."""
    export(ExportRequest(corpus.location, str(tmp_path / "x"), "shar", per_part=50, cluster="none"))
    with S3Server() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        request = ExportRequest(corpus.location, f"s3://{BUCKET}/x", "shar", per_part=50, cluster="none")
        export(request)
        objects = open_objects(request.dest, write=False)
        assert {Path(key): objects.read(key) for key in objects.list("")} == files_of(tmp_path / "x")
        assert not list(open_objects(f"{request.dest}.export", write=False).list(""))
        with pytest.raises(UsageError, match="is not empty"):
            export(request)
    with pytest.raises(UsageError, match="must be a folder, or behind s3://"):
        export(ExportRequest(corpus.location, "https://example.org/x", "shar", cluster="none"))
