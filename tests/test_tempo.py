"""Time scales at the source: length, pitch, and what happens when."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from corpusdiff.finish import Sinks, TrackContext
from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.source import open_source
from corpusdiff.source.tempo import Tempo
from corpusdiff.take import segments, takes
from corpusdiff.track import process_track

SR = 16000
BURSTS_S = (0.5, 1.0, 1.7, 2.5, 3.3, 4.1, 4.9)


def bursts(sr, n_channels=1):
    """Short tones at known times."""
    x = np.zeros((n_channels, 5 * sr), np.float32)
    n = sr // 40
    for start_s in BURSTS_S:
        x[:, int(start_s * sr) : int(start_s * sr) + n] = np.sin(0.3 * np.arange(n)) * np.hanning(n)
    return x


def scaled(x, sr, tempo, cuts=()):
    line = Tempo(sr, len(x), tempo)
    parts = [line.process(part) for part in np.split(x, cuts, axis=1)]
    return np.concatenate([*parts, line.flush()], axis=1)


@pytest.mark.parametrize("sr", [8000, 16000, 44100])
@pytest.mark.parametrize("tempo", [0.5, 0.9, 1.1, 2.0, 3.0])
def test_what_happens_at_t_happens_at_t_over_tempo(sr, tempo):
    """To the sample in length, to some ms in time, the last burst included; any blocks, all channels alike."""
    x = bursts(sr, 3)
    y = scaled(x, sr, tempo)
    assert y.shape == (3, round(5 * sr / tempo))
    np.testing.assert_array_equal(scaled(x, sr, tempo, [1, 5, 7777, 30000]), y)
    np.testing.assert_array_equal(y[0], y[2])
    for start_s in BURSTS_S:
        centre_s = (start_s + 1 / 80) / tempo
        first = int((centre_s - 0.12) * sr)
        found = np.abs(y[0, first : first + int(0.24 * sr)])
        error_s = (found @ (first + np.arange(len(found)))) / found.sum() / sr - centre_s
        assert abs(error_s) < 0.021, start_s


def test_tempo_keeps_the_pitch_and_one_is_nothing():
    """A tone stays the tone that it was."""
    x = np.sin(2 * np.pi * 440 * np.arange(2 * SR) / SR)[None].astype(np.float32)
    y = scaled(x, SR, 1.25)[0]
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    assert spectrum.argmax() * SR / len(y) == pytest.approx(440, abs=2)
    np.testing.assert_array_equal(scaled(x, SR, 1.0), x)
    assert scaled(x[:, :1], SR, 0.9).shape == (1, 1)


@pytest.mark.parametrize(
    ("sets", "length", "hz"),
    [((), 1.0, 440), (("source.speed=1.1",), 1 / 1.1, 484), (("source.tempo=0.9",), 1 / 0.9, 440),
     (("source.speed=0.9", "source.tempo=1.25"), 1 / 1.125, 396)],
)  # fmt: skip
def test_a_job_changes_speed_and_tempo(tmp_path, sets, length, hz):
    """Speed moves the pitch, tempo does not; rows say how long the source was and how long the result is."""
    x = 0.1 * np.sin(2 * np.pi * 440 * np.arange(3 * SR) / SR)
    sf.write(tmp_path / "tone.wav", x, SR)
    job = load_job("codec-lossless", sets)
    track = Track("tone.wav", "tone.wav")
    (row,) = process_track(track, TrackContext(job, str(tmp_path), 1 << 14), Sinks(io.BytesIO()), lambda seconds: None)
    assert row["n_samples"] == pytest.approx(3 * SR * length, abs=1)
    assert row["metrics"]["duration_s"] == 3.0
    assert row["metrics"]["out_duration_s"] == pytest.approx(3 * length, abs=1e-3)
    with open_source(track, str(tmp_path)) as reader:
        (take,) = takes(reader, segments(SR, job.source), job.source, None, lambda seconds: None)
        y = np.concatenate(list(take.audio.blocks()), axis=1)[0]
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    assert spectrum.argmax() * SR / len(y) == pytest.approx(hz, abs=2)
