"""A child's crash, hang, loop and greed are charged to one track; kills from outside to none."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from corpusdiff.errors import TrackError
from corpusdiff.isolate import Child, ChildDied, Stalled, close_children
from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.pipe import Pipe, PipeClosed
from corpusdiff.probing import probe_many
from corpusdiff.shards import RunOptions

HERE = str(Path(__file__).parent)


@pytest.fixture
def files(tmp_path):
    """Tones, named by what the hook does to them."""
    for name in ("good", "segfault", "hang", "spin", "fifty"):
        sf.write(tmp_path / f"{name}.wav", 0.1 * np.sin(np.arange(8000) / 5), 8000)
    return tmp_path


@pytest.fixture
def child(files, tmp_path):
    """A child under short limits, with the hook in place."""
    child = Child(
        RunOptions(stall_s=2.0, cpu_base_s=2.0, memory_limit=2 * 2**30),
        {"CORPUSDIFF_TEST_HOOK": "hooks:poison", "PYTHONPATH": HERE},
    )
    streams = tmp_path / "streams"
    streams.touch()
    child.configure(load_job("asr").to_dict(), str(files), 1 << 14, str(streams))
    yield child
    child.close()


def run(child, name, on_progress=lambda seconds: None):
    """Process one track by the name of its file."""
    return child.track(Track(id=f"{name}.wav", path=f"{name}.wav"), 0, on_progress)


def test_a_good_track_gives_a_row(child):
    """The row says ok, its streams lie in the file."""
    answer = run(child, "good")
    assert [row["status"] for row in answer.rows] == ["ok"]
    assert answer.end > 0
    assert answer.cpu_s > 0


def test_a_crash_names_the_signal_and_the_next_track_is_fine(child):
    """A segmentation fault ends the child; another one takes the next track."""
    with pytest.raises(ChildDied, match="SIGSEGV"):
        run(child, "segfault")
    assert run(child, "good").rows[0]["status"] == "ok"


def test_a_hang_is_found_without_progress(child):
    """A child that neither computes nor reports is killed after stall_s."""
    with pytest.raises(Stalled, match="no progress for 2 s"):
        run(child, "hang")
    assert run(child, "good").rows[0]["status"] == "ok"


def test_an_endless_loop_meets_the_cpu_limit(child):
    """The limit counts CPU seconds and is named."""
    with pytest.raises(TrackError, match="more than 2 CPU seconds") as error:
        run(child, "spin")
    assert error.value.reason == "cpu"


def test_greed_meets_the_memory_limit(child):
    """50 GB are refused by the kernel, and the child lives on."""
    with pytest.raises(TrackError, match="memory limit of 2.0 GiB") as error:
        run(child, "fifty")
    assert error.value.reason == "memory"
    assert run(child, "good").rows[0]["status"] == "ok"


def test_a_stopped_machine_fails_no_track(child):
    """A busy child is not stalled: CPU seconds count as a sign of life, the wall clock does not."""
    run(child, "good")
    pid = child._process.pid

    def disturb():
        time.sleep(0.1)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=disturb)
    thread.start()
    assert run(child, "good").rows[0]["status"] == "ok"
    thread.join()


def test_a_child_killed_while_idle_is_replaced(child):
    """A kill between two tracks is charged to nobody."""
    run(child, "good")
    os.kill(child._process.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert run(child, "good").rows[0]["status"] == "ok"


def test_a_header_is_read_without_the_last_run(child, files, tmp_path):
    """A child that starts again to read headers needs nothing of a shard that is over."""
    run(child, "good")
    child.close()
    (tmp_path / "streams").unlink()
    assert child.probe(str(files / "good.wav"))["n_samples"] == 8000
    with pytest.raises(OSError, match="does not start"):
        run(child, "good")


def test_the_child_dies_with_its_parent(tmp_path):
    """No child outlives a killed worker."""
    pid = os.fork()
    if pid == 0:
        child = Child(RunOptions(spool=str(tmp_path)))
        try:
            child.probe("nothing")
        except TrackError:
            (tmp_path / "pid.part").write_text(str(child._process.pid))
            (tmp_path / "pid.part").rename(tmp_path / "pid")
            time.sleep(60)
        os._exit(0)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    grandchild = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{grandchild}").exists() and "Z" not in Path(f"/proc/{grandchild}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_probing_keeps_the_order_and_leaves_bad_headers_unknown(files):
    """A header that cannot be read is no error; the run will say what is wrong with the file."""
    (files / "bad.wav").write_text("not audio")
    names = ["good.wav", "bad.wav", "absent.wav", "spin.wav"]
    tracks = [Track(id=name, path=name) for name in names]
    found = list(probe_many(iter(tracks), str(files), 2, RunOptions()))
    close_children()
    assert [track.id for track in found] == names
    assert [track.header_samples for track in found] == [8000, None, None, 8000]


def test_a_pipe_refuses_absurd_messages():
    """A taken-over child cannot make the worker allocate without end."""
    read_fd, write_fd = os.pipe()
    pipe = Pipe(read_fd, os.dup(write_fd))
    os.write(write_fd, b"\xff" * 8)
    with pytest.raises(PipeClosed, match="announced"):
        pipe.receive()
    os.close(write_fd)
    pipe.close()
