"""Memory and rate of readers: six times the rows take no more memory, so ten million fit where ten thousand do."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys

import pytest

FEW, MANY = 20_000, 120_000

#: Most that the memory of the longer manifest may be above that of the shorter: an index on disk keeps 16 MiB of it.
GROWTH_MIB = 28

#: Rows per CPU second; a tenth of what was measured.
RATE = 3500

READ = """
import sys, time
from corpusdiff.manifests import Reading, open_manifest
manifest = open_manifest(sys.argv[1], Reading(source_format=sys.argv[2] or None))
start = time.process_time()
n = sum(1 for _ in manifest.tracks())
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(n, time.process_time() - start, int(peak) / 1024)
"""


def nemo(folder, n):
    """JSON lines."""
    with (folder / "m.jsonl").open("w") as file:
        for i in range(n):
            row = {"id": f"u{i:08d}", "audio_filepath": f"a/{i}.wav", "text": "some words", "k": {"nested": [i]}}
            file.write(json.dumps(row) + "\n")
    return folder / "m.jsonl", ""


def kaldi(folder, n):
    """Segments of recordings, whose speakers are in another order than the utterances."""
    speakers = [f"p{i * 7919 % n:08d}" for i in range(n)]
    lines = {
        "wav.scp": (f"r{i:08d} a/{i}.wav" for i in range(n)),
        "segments": (f"u{i:08d} r{i:08d} 0.5 1.5" for i in range(n)),
        "text": (f"u{i:08d} some words" for i in range(n)),
        "utt2spk": (f"u{i:08d} {speaker}" for i, speaker in enumerate(speakers)),
        "spk2gender": (f"p{i:08d} f" for i in range(n)),
    }
    for name, of in lines.items():
        with (folder / name).open("w") as file:
            file.writelines(f"{line}\n" for line in of)
    return folder, ""


def lhotse(folder, n):
    """Recordings, and supervisions in no order."""
    order = list(range(n))
    random.Random(3).shuffle(order)
    with gzip.open(folder / "recordings.jsonl.gz", "wt", 1) as file:
        for i in range(n):
            source = {"type": "file", "channels": [0], "source": f"a/{i}.wav"}
            row = {
                "id": f"r{i:08d}",
                "sources": [source],
                "sampling_rate": 16000,
                "num_samples": 16000,
                "duration": 1.0,
            }
            file.write(json.dumps(row) + "\n")
    with gzip.open(folder / "supervisions.jsonl.gz", "wt", 1) as file:
        for i in order:
            row = {"id": f"s{i:08d}", "recording_id": f"r{i:08d}", "start": 0.25, "duration": 0.5, "channel": 0,
                   "text": "some words that are said in it", "speaker": f"p{i % 1000}"}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return folder, ""


def supervisions(folder, n):
    """The same with a track for each supervision."""
    return lhotse(folder, n)[0], "lhotse-supervisions"


def read(source, form):
    """Rows, CPU seconds and peak memory in MiB of a process that reads them all."""
    done = subprocess.run([sys.executable, "-c", READ, source, form], capture_output=True, text=True, check=True)
    n, cpu_s, peak_mib = map(float, done.stdout.split())
    return int(n), cpu_s, peak_mib


@pytest.mark.parametrize("write", [nemo, kaldi, lhotse, supervisions])
def test_memory_does_not_grow_with_the_manifest(tmp_path, write):
    """Six times the rows, hardly more memory, and a rate that reads ten million in less than an hour."""
    peaks = []
    for n in (FEW, MANY):
        folder = tmp_path / str(n)
        folder.mkdir()
        found, cpu_s, peak_mib = read(*map(str, write(folder, n)))
        assert found == n
        assert n / cpu_s > RATE
        peaks.append(peak_mib)
        print(f"{write.__name__}: {n} rows, {n / cpu_s:.0f} per CPU second, peak {peak_mib:.0f} MiB")
    assert peaks[1] - peaks[0] < GROWTH_MIB
