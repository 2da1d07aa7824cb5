"""What a newcomer gets done with `--help` alone: every word of these commands stands there, and they work."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
from video_maker import CLICKS_S, make_video, onsets_s, packets

KALDI_TO_SHAR = ["run data corpus", "export corpus shar --to shar"]
VIDEOS_TO_VIDEOS = ["jobs", "run videos corpus --job video", "export corpus better --to video"]
ONE_VIDEO = ["apply videos/talk.mp4 better.mp4 --job video"]


def follow(commands, folder):
    """Carry them out one after the other; their options and values stand in the help."""
    assert len(commands) <= 3
    jobs = shown(["jobs"], folder)
    for line in commands:
        name, *words = line.split()
        assert f"\n  {name} " in shown(["--help"], folder)
        told = " ".join((shown([name, "--help"], folder) + jobs).split())
        for word in words[2:]:
            assert word in told, (line, word)
        shown(line.split(), folder)


def shown(words, folder):
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "corpusdiff.cli", *words], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_a_kaldi_folder_to_shar(tmp_path):
    """Two commands; the cuts have the texts and speakers of the utterances."""
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(3)
    for number in range(3):
        sf.write(data / f"{number}.wav", 0.1 * rng.standard_normal(16000), 16000)
    for name, value in (("wav.scp", "{}.wav"), ("text", "word {}"), ("utt2spk", "anna")):
        (data / name).write_text("".join(f"anna-{n} {value.format(n)}\n" for n in range(3)))
    follow(KALDI_TO_SHAR, tmp_path)
    lines = gzip.decompress((tmp_path / "shar/cuts.000000.jsonl.gz").read_bytes()).splitlines()
    said = {cut["id"]: cut["supervisions"][0] for cut in map(json.loads, lines)}
    assert {name: (one["text"], one["speaker"]) for name, one in said.items()} == {
        f"anna-{n}": (f"word {n}", "anna") for n in range(3)
    }


@pytest.mark.parametrize(("commands", "made"), [(VIDEOS_TO_VIDEOS, "better/video/talk.mp4"), (ONE_VIDEO, "better.mp4")])
def test_from_videos_to_processed_videos(tmp_path, commands, made):
    """Three commands, the first to see what jobs there are; one for a single video."""
    (tmp_path / "videos").mkdir()
    source = make_video(tmp_path / "videos/talk.mp4", "mpeg4", "aac")
    follow(commands, tmp_path)
    assert packets(tmp_path / made, "video") == packets(source, "video")
    assert packets(tmp_path / made, "audio") != packets(source, "audio")
    assert onsets_s(tmp_path / made) == pytest.approx(CLICKS_S, abs=1e-3)
