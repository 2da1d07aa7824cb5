"""The doctor finds what is there and what is not, and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

from corpusdiff import doctor
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.doctor import examine


def by_name(out=None):
    """Findings by name."""
    return {finding.what: finding for finding in examine(out)}


def test_what_is_here():
    """Codecs and versions of this very installation are in order."""
    found = by_name()
    assert found["decoders"].state == found["encoders"].state == "ok"
    assert "numpy" in found["versions"].found
    assert found["a track"].state == "ok"
    assert "8000 samples" in found["a track"].found
    assert all(finding.remedy for finding in found.values() if finding.state != "ok")


def test_what_is_not_here(monkeypatch):
    """An absent package, few open files, a full disk: each with its remedy."""

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda what: (2, 1024))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1}))
    found = by_name()
    assert (found["obstore"].state, found["obstore"].remedy) == ("absent", "pip install 'corpusdiff[remote]'")
    assert (found["open files"].state, found["open files"].remedy) == ("trouble", "ulimit -n 4096")
    assert found["processes"].state == "trouble"
    assert found["temporary files"].state == "trouble"


def test_where_to_write(tmp_path):
    """OUT is tried and left as it was."""
    assert by_name(str(tmp_path / "out"))["OUT"].state == "ok"
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    assert by_name(str(tmp_path / "file"))["OUT"].state == "trouble"


def test_workers():
    """Those of a cluster are asked for, and answer; one that is not there is trouble, with what was tried."""
    found = {finding.what: finding for finding in examine(None, "local", ClusterOptions(workers=1))}
    assert found["cluster"].state == "ok"
    assert "1 workers on this machine" in found["cluster"].found
    gone = {finding.what: finding for finding in examine(None, "tcp://127.0.0.1:1")}
    assert gone["cluster"].state == "trouble"
    assert "tcp://127.0.0.1:1" in gone["cluster"].found
    assert "cluster" not in by_name()


def test_the_command(tmp_path):
    """JSON lines for programs; trouble is exit code 1."""
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "corpusdiff.cli", "doctor", str(tmp_path / "file"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["what"] == "OUT"
