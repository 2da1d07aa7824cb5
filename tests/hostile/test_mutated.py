"""Whatever a file is, it gets one row; no worker dies, limits hold, nothing else is opened."""

from __future__ import annotations

import io
import os
import socketserver
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf
from fault_runs import Run

import corpusdiff
from hostile.media import bombs, mutations, pointers

#: What a child may take, and what it has before a track: the interpreter, the libraries, the kernels.
LIMIT_GIB = 1.0
BASE_BYTES = 350 * 2**20

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"


class Asked(socketserver.BaseRequestHandler):
    """Notes that somebody came."""

    def handle(self):
        """Any connection is one too many."""
        self.server.n_asked += 1


@pytest.fixture
def listener():
    """An address at which nobody should ask."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Asked) as server:
        server.n_asked = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def peak_of_children(run, peaks):
    """Watch the memory of a run's children until it ends."""
    while not run.ended:
        for pid in run.children():
            try:
                peaks[pid] = max(peaks.get(pid, 0), psutil.Process(pid).memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)


def judge(tmp_path, listener, n, job):
    """Run over `n` mutations, the bombs and the pointers; what came of them by status and reason."""
    source = tmp_path / "in"
    source.mkdir()
    address = "{}:{}".format(*listener.server_address)
    corpora = CORPORA if CORPORA.is_dir() else None
    names = set()
    for name, data in (*mutations(corpora, n), *bombs(), *pointers(address)):
        (source / name).write_bytes(data)
        names.add(name)
    tone = io.BytesIO()
    sf.write(tone, 0.1 * np.sin(np.arange(800) / 5), 8000, format="WAV")
    for i in range(round(1.5 * len(names))):  # so that it is no run in which most tracks fail
        (source / f"!{i:05d}.wav").write_bytes(tone.getvalue())
    (source / "endless.wav").symlink_to("/dev/zero")
    os.mkfifo(source / "waits.wav")
    (source / "around.wav").symlink_to("around.wav")
    (source / "up").symlink_to("..", target_is_directory=True)
    options = ("--workers", "4", "--stall", "20", "--memory-limit", str(LIMIT_GIB), "--max-failed", "100000",
               "--job", job, "--shard-s", "600")  # fmt: skip
    with Run(source, tmp_path / "out", *options) as run:
        peaks = {}
        watching = threading.Thread(target=peak_of_children, args=(run, peaks))
        watching.start()
        code = run.process.wait(1500)
        watching.join()
        said = run.said
    assert code == 0, said
    assert "its worker died" not in said
    assert "Traceback" not in said
    corpus = corpusdiff.open(str(tmp_path / "out"))
    ids = [item.id for item in corpus]
    good = {name for name in ids if name.startswith("!")}
    assert Counter(ids) == Counter(dict.fromkeys(names | good | {"around.wav"}, 1))
    assert len(good) == round(1.5 * len(names))
    assert max(peaks.values()) < LIMIT_GIB * 2**30 + BASE_BYTES
    assert listener.n_asked == 0
    rows = {item.id: (item.status, item["reason"], item["error"]) for item in corpus if item.id not in good}
    assert all(corpus.by_id(name).status == "ok" for name in good)
    assert not [row for row in rows.values() if row[1] == "bug"], [row for row in rows.values() if row[1] == "bug"]
    assert all(error for status, _, error in rows.values() if status == "failed")
    for name, _ in pointers(address):
        assert rows[name][0] == "failed", (name, rows[name])
        assert "root:" not in rows[name][2]
    return Counter(reason if status == "failed" else status for status, reason, _ in rows.values())


@pytest.mark.faults_short
@pytest.mark.timeout(1600)
def test_some_mutations(tmp_path, listener):
    """A few hundred, through the whole job of speech recognition."""
    found = judge(tmp_path, listener, 300, "asr")
    print(found)
    assert found["ok"] > 20
    assert found["decode"] + found["unsupported"] > 20


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_five_thousand_mutations(tmp_path, listener):
    """The whole crowd, kept as it was."""
    found = judge(tmp_path, listener, 5000, "codec-lossless")
    print(found)
    assert sum(found.values()) > 5000
    assert found["ok"] > 300
