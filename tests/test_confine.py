"""The process that decodes has no network, no programs, no secrets and no files but its own."""

from __future__ import annotations

import ast
import os
import platform
import struct
import sys
from pathlib import Path

import pytest

from corpusdiff.confine import _ARCHITECTURES, assembled, without_secrets
from corpusdiff.errors import TrackError
from corpusdiff.isolate import Child
from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.shards import RunOptions

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in _ARCHITECTURES, reason="no such filter on this machine"
)


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What comes of an attempt from inside a child."""
    folder = tmp_path_factory.mktemp("confine")
    streams = folder / "streams"
    streams.touch()
    patch = pytest.MonkeyPatch()
    patch.setenv("CORPUSDIFF_TEST_HOOK", "confine_hook:tries")
    patch.setenv("PYTHONPATH", os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))))
    patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    patch.setenv("MY_TOKEN", "x")
    inherited = os.open(folder, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    child = Child(RunOptions())

    def attempt(name):
        child.configure(load_job("asr").to_dict(), str(folder), 1 << 14, str(streams))
        with pytest.raises(TrackError) as found:
            child.track(Track(name, f"{name}.wav"), 0, lambda seconds: None)
        return ast.literal_eval(str(found.value))

    yield attempt
    child.close()
    os.close(inherited)
    patch.undo()


def test_no_network(tried):
    """No socket of any family."""
    assert tried("network") == ["PermissionError"] * 4


def test_no_other_programs_but_threads(tried):
    """Nothing can be started in its place or beside it."""
    assert tried("programs") == "PermissionError"
    assert tried("threads") == [1]


def test_no_secrets(tried):
    """Credentials stay with the worker."""
    there = tried("environment")
    assert "PATH" in there
    assert not {"AWS_SECRET_ACCESS_KEY", "MY_TOKEN"} & set(there)


def test_no_files_of_others(tried):
    """What the worker had open is closed: nothing is left but null, pipes and temporary files."""
    kinds = {kind for kind in tried("descriptors") if not kind.startswith("/proc")}
    assert all(
        kind in {"/dev/null", "pipe", "anon_inode"} or "streams" in kind or "(deleted)" in kind for kind in kinds
    )


def test_limits(tried):
    """No core dump, few files, nothing on stdin."""
    assert tried("limits") == [0, 256, "/dev/null"]


def test_the_filter_by_hand():
    """Each forbidden number jumps to EPERM, the others fall through, another architecture ends the process."""
    code = assembled(7, [41, 59])
    lines = [struct.unpack("<HBBI", code[i : i + 8]) for i in range(0, len(code), 8)]

    def answer(architecture, number):
        place = 0
        loaded = 0
        while True:
            what, true, false, value = lines[place]
            place += 1
            if what == 0x20:
                loaded = (number, architecture)[value // 4]
            elif what == 0x06:
                return value
            else:
                place += true if (loaded == value if what == 0x15 else loaded >= value) else false

    assert [answer(7, n) for n in (41, 59, 42, 0)] == [0x50001, 0x50001, 0x7FFF0000, 0x7FFF0000]
    assert answer(7, 0x40000000 + 42) == 0x50001
    assert answer(8, 42) == 0x80000000


def test_what_is_secret():
    """By the names that tools give it; what programs need stays."""
    kept = {"PATH": "", "LD_LIBRARY_PATH": "", "OMP_NUM_THREADS": "", "TMPDIR": "", "NUMBA_CACHE_DIR": ""}
    lost = {
        "AWS_PROFILE": "",
        "HF_TOKEN": "",
        "GITHUB_TOKEN": "",
        "DB_PASSWORD": "",
        "KUBECONFIG": "",
        "SSH_AUTH_SOCK": "",
    }
    assert without_secrets(kept | lost) == kept
