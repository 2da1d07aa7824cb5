"""Raw samples through real pipes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

import corpusdiff
from corpusdiff.cli import main
from corpusdiff.control import Adjustable
from corpusdiff.dsp.dither import quantize
from corpusdiff.encode.audiofile import write_audio
from corpusdiff.errors import TrackError, UsageError
from corpusdiff.jobfile import load_job, ready_jobs
from corpusdiff.live import causal_chain
from corpusdiff.source.audiofile import read_audio
from corpusdiff.stages import registry
from corpusdiff.stages.base import takes_references
from corpusdiff.stream import StreamRequest, stream

SR = 16000

JOB = """
[source]
sr = 16000
[[chain]]
stage = "highpass"
[[chain]]
stage = "level"
[[chain]]
stage = "timbre"
[loudness]
target_lufs = -23
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job of every kind of stage, without anything to be said about."""
    path = tmp_path_factory.mktemp("jobs") / "job.toml"
    path.write_text(JOB)
    return str(path)


def voice(n_channels=1, seconds=2.0, seed=1):
    """Noise whose level wanders over 28 dB, with loud peaks; float32."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SR)
    level = 10 ** (-1.5 + 0.7 * np.sin(2 * np.pi * np.arange(n) / SR / 1.7))
    x = (0.3 * level * rng.standard_normal((n_channels, n))).astype(np.float32)
    x[:, :: SR // 3] = 0.99
    return x


def raw(x):
    return np.ascontiguousarray(x.T, "<f4").tobytes()


def samples(data, n_channels=1):
    return np.frombuffer(data, "<f4").reshape(-1, n_channels).T


def line_of(*arguments):
    return [sys.executable, "-m", "corpusdiff.cli", *map(str, arguments)]


class Streaming:
    """The command with its pipes; a context manager."""

    def __init__(self, job, *options, n_channels=1):
        line = line_of("stream", "--job", job, "--sr", SR, "--channels", n_channels, "--format", "f32le", *options)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(line, bufsize=0, **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def read(self, n_bytes, seconds=30.0):
        """So many bytes, or an error when they do not come."""
        data = b""
        until = time.monotonic() + seconds
        while len(data) < n_bytes:
            ready, _, _ = select.select([self.process.stdout], [], [], until - time.monotonic())
            assert ready, f"{len(data)} of {n_bytes} bytes came"
            part = os.read(self.process.stdout.fileno(), n_bytes - len(data))
            assert part, "the stream has ended"
            data += part
        return data


@pytest.fixture
def streamed(tmp_path, job):
    """Streams bytes in this process, through files."""

    def run(data, n_channels=1, **options):
        options.setdefault("job", job)
        source, sink = tmp_path / "in.raw", tmp_path / "out.raw"
        source.write_bytes(data)
        with source.open("rb") as reader, sink.open("wb") as writer:
            stream(StreamRequest(SR, n_channels, **options), reader.fileno(), writer.fileno())
        return sink.read_bytes()

    return run


def test_it_equals_apply_causal(tmp_path, streamed, job):
    """Sample for sample, through the real commands and their pipes."""
    x = voice(2)
    write_audio(tmp_path / "in.wav", [x], SR, 2, bits=32)
    line = line_of("apply", tmp_path / "in.wav", tmp_path / "out.wav", "--causal", "--bits", 32, "--job", job)
    subprocess.run(line, check=True, capture_output=True)
    expected, _ = read_audio(tmp_path / "out.wav")
    assert expected.shape == x.shape
    assert np.abs(expected - x).max() > 0.01
    with Streaming(job, n_channels=2) as running:
        data, errors = running.process.communicate(raw(x))
    assert not errors
    np.testing.assert_array_equal(samples(data, 2), expected)
    for block in (1, 61, 5000):
        part = x if block > 1 else x[:, :4000]
        data = streamed(raw(part), 2, form="f32le", block=block)
        n = part.shape[1] if block > 1 else 4000 - 1000  # what comes after has no part in these
        np.testing.assert_array_equal(samples(data, 2)[:, :n], expected[:, :n])


@pytest.mark.parametrize(
    "stage", ["highpass", *(name for name in registry.available() if takes_references(registry.stage_class(name)))]
)
def test_the_far_end_comes_as_a_channel(tmp_path, streamed, stage):
    """It is counted among the channels that come in, and not among those that go out; the same as apply's."""
    job = tmp_path / "job.toml"
    job.write_text(f'[source]\nsr = 16000\nreference_channel = 0\n[[chain]]\nstage = "{stage}"\n')
    x = voice(2)
    x[1] = 0.5 * np.roll(x[0], 800) + 0.1 * voice(1, seed=2)[0]
    data = streamed(raw(x), 2, form="f32le", job=str(job), block=777)
    expected = corpusdiff.apply(x, SR, str(job), causal=True)
    assert expected.shape == (1, x.shape[1])
    np.testing.assert_array_equal(samples(data), expected)
    assert np.abs(expected - x[1]).max() > 1e-3, "the stage had nothing to do"


def test_bytes_may_come_in_any_pieces(streamed, job):
    """Cut within samples, too."""
    x = voice(2, 1.0)
    whole = streamed(raw(x), 2, form="f32le")
    with Streaming(job, n_channels=2) as running:
        cuts = np.sort(np.random.default_rng(2).integers(0, len(raw(x)), 60))
        for start, stop in zip([0, *cuts], [*cuts, len(raw(x))], strict=True):
            running.process.stdin.write(raw(x)[start:stop])
        running.process.stdin.close()
        assert running.read(len(whole)) == whole
        assert running.process.wait(10) == 0


def test_what_is_there_comes_out_at_once(job):
    """All but the latency, while the input is still open."""
    late = causal_chain(load_job(job), SR, 1).latency
    x = voice(1, 1.0)
    with Streaming(job) as running:
        for start in range(0, SR, 1600):
            running.process.stdin.write(raw(x[:, start : start + 1600]))
            running.read(4 * (1600 - (late if start == 0 else 0)))
        running.process.stdin.close()
        assert len(running.process.stdout.read()) == 4 * late


def test_a_live_stream_forgets_what_waited_for_it(job):
    """Whole samples of it; what comes later is all there, and on time."""
    x = voice(2, 0.5)
    (source, feed), (sound, sink) = os.pipe(), os.pipe()
    os.write(feed, raw(x[:, :3000]) + raw(x[:, 3000:])[:5])
    request = StreamRequest(SR, 2, job, form="f32le", live=True)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stream, request, source, sink)
        while select.select([source], [], [], 0)[0]:
            time.sleep(0.01)
        time.sleep(0.2)  # the first block has been waited for by now
        os.write(feed, raw(x[:, 3000:])[5:])
        os.close(feed)
        running.result(30)
    os.close(sink)
    with open(sound, "rb") as reader:  # noqa: PTH123  # a descriptor
        data = reader.read()
    assert len(data) == 8 * (x.shape[1] - 3000)
    live = causal_chain(load_job(job), SR, 2)
    expected = np.concatenate([*live.run([live.rows(x[:, 3000:])])], axis=1)
    np.testing.assert_array_equal(samples(data, 2), expected)


def test_integers_are_dithered_once(streamed):
    """What comes out is the float chain's answer to the integers, quantised."""
    integers = np.ascontiguousarray(np.round(voice() * 32000).astype("<i2"))
    data = streamed(integers.T.tobytes())
    floats = streamed(raw(integers / np.float32(32768)), form="f32le")
    expected = quantize(np.ascontiguousarray(samples(floats)), 16, True, 0, 0)
    np.testing.assert_array_equal(np.frombuffer(data, "<i2"), expected[0])


def test_an_end_within_a_sample_is_an_error_after_the_rest(streamed, tmp_path):
    """All whole samples are there, and the error says what to check."""
    x = voice(2, 0.5)
    whole = streamed(raw(x), 2, form="f32le")
    with pytest.raises(TrackError, match="3 of 8 bytes after 8000 whole ones: check --channels and --format"):
        streamed(raw(x) + b"abc", 2, form="f32le")
    assert (tmp_path / "out.raw").read_bytes() == whole


def test_nothing_gives_nothing(streamed):
    """An empty input is no error."""
    assert streamed(b"") == b""


def test_a_value_that_is_no_number_is_refused(streamed):
    """With its place."""
    x = voice(2, 0.1)
    x[1, 77] = np.inf
    with pytest.raises(TrackError, match="sample 77 of channel 1 is inf"):
        streamed(raw(x), 2, form="f32le")


def test_a_reader_that_goes_away_ends_it_quietly(job):
    """As any tool of a pipeline does."""
    with Streaming(job) as running:
        running.process.stdin.write(raw(voice(1, 0.5)))
        running.read(100)
        running.process.stdout.close()
        running.process.stdin.write(raw(voice(1, 0.5)))
        assert running.process.wait(20) == 0
        assert running.process.stderr.read() == b""
        running.process.stdout = open(os.devnull)  # noqa: SIM115, PTH123  # for the end of the context


def test_an_interrupt_ends_it_quietly(job):
    """With the exit code for it, and no trace."""
    with Streaming(job) as running:
        running.process.stdin.write(raw(voice(1, 0.5)))
        running.read(100)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 130
        assert running.process.stderr.read() == b""


def command(*options):
    """Exit code, standard output and errors of the command."""
    found = CliRunner().invoke(main, ["stream", *map(str, options)])
    return found.exit_code, found.stdout, found.stderr


def test_the_latency_is_told(job):
    """In samples and ms, by stages for programs; what is later than allowed is refused with where it comes from."""
    options = ("--job", job, "--sr", SR, "--channels", 1)
    live = causal_chain(load_job(job), SR, 1)
    assert command(*options, "--latency") == (0, f"{live.latency} samples, {live.latency / 16:g} ms at 16000 Hz\n", "")
    found = json.loads(command(*options, "--latency", "--json")[1])
    assert found["samples"] == live.latency == sum(stage["samples"] for stage in found["stages"])
    assert [stage["stage"] for stage in found["stages"]][-2:] == ["running-loudness", "limiter"]
    code, _, errors = command(*options, "--max-latency", 10)
    assert code == 2
    assert "over --max-latency 10" in errors
    assert "limiter" in errors


def test_a_terminal_is_refused(job):
    """Raw samples on a screen help nobody."""
    screen, terminal = os.openpty()
    with pytest.raises(UsageError, match="standard input is a terminal"):
        stream(StreamRequest(SR, 1, job), terminal, terminal)
    os.close(screen)
    os.close(terminal)


def test_another_rate_is_refused(job):
    """With both remedies."""
    code, _, errors = command("--job", job, "--sr", 48000, "--channels", 1)
    assert code == 2
    assert "--sr 16000" in errors
    assert "--set source.sr=48000" in errors


@pytest.mark.parametrize("kind", ["fifo", "file"])
def test_a_line_of_control_changes_what_follows(tmp_path, kind):
    """From the next block on; a wrong line is answered in one line, and the sound goes on."""
    path = tmp_path / "control"
    path.touch() if kind == "file" else os.mkfifo(path)
    job = tmp_path / "job.toml"
    job.write_text('[source]\nsr = 16000\n[[chain]]\nstage = "gain"\n')
    x = voice(1, 1.0)
    with Streaming(job, "--control", path) as running:
        half = SR // 2
        running.process.stdin.write(raw(x[:, :half]))
        before = samples(running.read(4 * half))
        with path.open("a") as writer:
            writer.write("gain.gain_dc=3\nnonsense\ngain.gain_db=-20\n")
            writer.flush()
            running.process.stdin.write(raw(x[:, half:]))
            after = samples(running.read(4 * half))
        running.process.stdin.close()
        assert running.process.wait(20) == 0
        errors = running.process.stderr.read().decode().splitlines()
    np.testing.assert_array_equal(before, x[:, :half])
    np.testing.assert_allclose(after[:, 1000:], 0.1 * x[:, half + 1000 :], rtol=1e-5)
    assert after[0, 0] == pytest.approx(x[0, half], rel=1e-3)
    assert [line.split(":")[:2] for line in errors] == [["corpusdiff", " control"]] * 2


def enhancement():
    """The job that is made for it."""
    if "enhance" not in ready_jobs():
        pytest.skip("no ready job is called enhance")
    return causal_chain(load_job("enhance"), SR, 1)


def test_enhanced_speech_is_at_most_64_ms_late():
    """By what its stages say; that they keep it, `check_stage` sees to."""
    live = enhancement()
    assert 1000 * live.latency / SR <= 64.0, live.latencies()


@pytest.mark.bench
@pytest.mark.parametrize("block_ms", [20, 64])
@pytest.mark.parametrize("name", ["enhance", "own"])
def test_it_runs_50_times_faster_than_it_is_heard(job, name, block_ms):
    """In CPU seconds of one core, in blocks as they come from a microphone; the best of three."""
    live = enhancement() if name == "enhance" else causal_chain(load_job(job), SR, 1)
    live.warm_up()
    x, size = voice(1, 10.0), SR * block_ms // 1000
    seconds = []
    for _ in range(3):
        player = Adjustable(live.stages, live.signal)
        started = time.process_time()
        for start in range(0, x.shape[1], size):
            player.step(live.rows(x[:, start : start + size]))
        player.finish()
        seconds.append(time.process_time() - started)
    assert 10.0 / min(seconds) >= 50.0
