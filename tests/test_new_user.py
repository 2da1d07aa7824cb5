"""What a new user does with nothing but `--help`: each aim in at most three commands; the tool names the next one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import numpy as np
import soundfile as sf
from video_maker import make_video


def say(line, folder):
    """Run one command of `corpusdiff`; all that it said."""
    command = [sys.executable, "-m", "corpusdiff.cli", *shlex.split(line)[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_from_a_kaldi_folder_to_shar(tmp_path):
    """The recordings lie elsewhere: the message says what to add. Then the last line of the run leads on."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "data").mkdir()
    sf.write(tmp_path / "archive" / "a.wav", 0.1 * np.random.default_rng(1).standard_normal(16000), 16000)
    (tmp_path / "data" / "wav.scp").write_text(f"spk1-a {tmp_path}/archive/a.wav\n")
    (tmp_path / "data" / "text").write_text("spk1-a good morning\n")
    (tmp_path / "data" / "utt2spk").write_text("spk1-a spk1\n")
    code, said = say("corpusdiff run data corpus --cluster none", tmp_path)
    assert code == 2
    remedy = re.search(r"--allow-root \S+", said).group()
    code, said = say(f"corpusdiff run data corpus --cluster none {remedy}", tmp_path)
    assert code == 0, said
    further = re.search(r"corpusdiff export \S+ DEST --to FORMAT", said).group()
    assert "shar" in say("corpusdiff export --help", tmp_path)[1]
    code, said = say(further.replace("DEST", "shar").replace("FORMAT", "shar") + " --cluster none", tmp_path)
    assert code == 0, said
    assert (tmp_path / "shar" / "cuts.000000.jsonl.gz").exists()


def test_from_videos_to_videos(tmp_path):
    """A folder of them is a source as any other, and `--to video` is in the help."""
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos" / "a.mp4", "libx264", "aac")
    code, said = say("corpusdiff run videos corpus --job video --cluster none", tmp_path)
    assert code == 0, said
    assert "video" in say("corpusdiff export --help", tmp_path)[1]
    further = re.search(r"corpusdiff export \S+ DEST --to FORMAT", said).group()
    code, said = say(further.replace("DEST", "better").replace("FORMAT", "video") + " --cluster none", tmp_path)
    assert code == 0, said
    assert len(list((tmp_path / "better").rglob("*.mp4"))) == 1
