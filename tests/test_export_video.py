"""From a folder of videos to a corpus, and from it to videos: the picture untouched, the corpus's sound in sync."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from video_maker import CLICKS_S, make_video, onsets_s, packets

import corpusdiff
from corpusdiff.cli import main
from corpusdiff.errors import UsageError
from corpusdiff.export.export import ExportRequest, export

#: Name, codecs of picture and sound, and when the sound begins.
VIDEOS = [
    ("a/one.mp4", "mpeg4", "aac", 0.25),
    ("a/one.mkv", "mpeg4", "libopus", 0.0),
    ("web.webm", "libvpx", "libopus", 0.0),
    ("apple.mov", "mpeg4", "pcm_s16le", 0.0),
    ("old.avi", "mpeg4", "pcm_s16le", 0.0),
]
NAMES = {"old.avi": "old.avi.mkv"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos in all containers, and a corpus made of them by what `corpusdiff --help` and `jobs` show."""
    folder = tmp_path_factory.mktemp("videos")
    for name, picture, sound, delay_s in VIDEOS:
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        make_video(folder / "in" / name, picture, sound, delay_s=delay_s)
    command(folder, "run in corpus --job video --cluster none")
    return folder


def command(folder, line):
    """A command with paths below the folder for its first two arguments."""
    name, *words = line.split()
    words[:2] = [str(folder / word) for word in words[:2]]
    result = CliRunner().invoke(main, [name, *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_videos_come_back(folder):
    """Every packet of the picture at its time, clicks when they were to a millisecond, titles, job, rows."""
    command(folder, "export corpus out --to video --cluster none")
    corpus = corpusdiff.open(str(folder / "corpus"))
    rows = [json.loads(line) for line in (folder / "out/manifest.jsonl").read_text().splitlines()]
    assert {row["id"]: row["audio_filepath"] for row in rows} == {
        name: f"video/{NAMES.get(name, name)}" for name, *_ in VIDEOS
    }
    for row in rows:
        before, after = folder / "in" / row["id"], folder / "out" / row["audio_filepath"]
        if not row["id"].endswith(".avi"):  # which says no times
            assert [t for t, _ in packets(after, "video")] == pytest.approx([t for t, _ in packets(before, "video")])
        assert [data for _, data in packets(after, "video")] == [data for _, data in packets(before, "video")]
        assert onsets_s(after) == pytest.approx(onsets_s(before), abs=1.01e-3)
        assert onsets_s(after) == pytest.approx(CLICKS_S, abs=2e-3)
        with av.open(str(after)) as video:
            assert video.metadata["title"] == "clicks and flashes"
            assert corpus.job_digest in " ".join(video.metadata.values())
            heard = sum(frame.samples for frame in video.decode(audio=0))
        assert abs(heard - corpus.by_id(row["id"]).n_samples) <= 2048  # what AAC adds at both ends


def test_in_parallel_it_is_the_same(folder):
    """Each video is a task of its own; two workers make the same bytes as none."""
    serial = folder / "serial"
    command(folder, "export corpus serial --to video --cluster none")
    command(folder, "export corpus parallel --to video --cluster local --workers 2")
    files = sorted(path.relative_to(serial) for path in serial.rglob("*") if path.is_file())
    assert len(files) == len(VIDEOS) + 1
    for path in files:
        assert (folder / "parallel" / path).read_bytes() == (serial / path).read_bytes(), path


def test_what_the_picture_would_not_follow(folder):
    """A job that cuts is refused; so is a source that is gone, by name, and one that has no picture."""
    source = str(folder / "in/web.webm")
    corpusdiff.run(source, str(folder / "cut"), job="listing", sets=["source.segment_s=1"], cluster="none")
    with pytest.raises(UsageError, match="the picture would not follow"):
        export(ExportRequest(str(folder / "cut"), str(folder / "x"), "video", cluster="none"))
    (folder / "sounds").mkdir()
    sf.write(folder / "sounds/a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 48000), 48000)
    corpusdiff.run(str(folder / "sounds"), str(folder / "heard"), job="video", cluster="none")
    with pytest.raises(UsageError, match=r"a\.wav: there is no picture in it"):
        export(ExportRequest(str(folder / "heard"), str(folder / "y"), "video", cluster="none"))
    (folder / "sounds/a.wav").unlink()
    with pytest.raises(UsageError, match=r"a\.wav: the video that it was made of is not where it was"):
        export(ExportRequest(str(folder / "heard"), str(folder / "z"), "video", cluster="none"))
