"""Stages around learned models: RNNoise, and ONNX files made here."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.stages import onnx as onnx_stage
from corpusdiff.stages import rnnoise as rnnoise_stage
from corpusdiff.stages.base import Measured, Signal, Spectrum, run_whole
from corpusdiff.stages.onnx import Onnx
from corpusdiff.stages.rnnoise import RNNoise
from corpusdiff.testing import check_stage

FRAME = 160


def needs(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture
def echo_model(tmp_path):
    """A model whose output is half the frame plus half the frame before: y[n] = (x[n] + x[n - 160]) / 2."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, numeric = onnx.helper, onnx.TensorProto.FLOAT
    names = {"frame": numeric, "before": numeric, "out": numeric, "next": numeric}
    values = {name: helper.make_tensor_value_info(name, kind, [1, FRAME]) for name, kind in names.items()}
    half = helper.make_tensor("half", numeric, [1], [0.5])
    nodes = [
        helper.make_node("Add", ["frame", "before"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["out"]),
        helper.make_node("Identity", ["frame"], ["next"]),
    ]
    graph = helper.make_graph(
        nodes, "echo", [values["frame"], values["before"]], [values["out"], values["next"]], [half]
    )
    path = tmp_path / "echo.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_onnx_model_keeps_the_contract(echo_model):
    """At its own rate, and resampled there and back at three others."""
    check_stage(Onnx(str(echo_model)))
    for sr in (8000, 44100, 192000):
        check_stage(Onnx(str(echo_model), mix=0.5), sr=sr, n_channels=1, n_samples=max(6000, sr // 5), measured=False)


def test_an_onnx_model_does_what_it_says(echo_model):
    """Frame in, frame out, the state from frame to frame; the wait for a full frame is the only delay."""
    x = np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)
    sig = Signal(16000, 2)
    assert Onnx(str(echo_model)).latency(sig) == FRAME - 1
    before = np.concatenate([np.zeros((2, FRAME), np.float32), x[:, :-FRAME]], axis=1)
    np.testing.assert_allclose(run_whole(Onnx(str(echo_model)), x, sig), 0.5 * (x + before), atol=1e-6)
    at_once = Onnx(str(echo_model), delay=FRAME)  # were it the earlier half that is meant
    np.testing.assert_allclose(run_whole(at_once, x, sig)[:, :-FRAME], 0.5 * (x + before)[:, FRAME:], atol=1e-6)


def test_resampling_to_the_model_keeps_the_time(echo_model):
    """At 44.1 kHz a tone comes out as the model's 10 ms echo says, sample for sample in place."""
    t = np.arange(44100) / 44100
    x = np.sin(2 * np.pi * 950 * t)[None].astype(np.float32)
    y = run_whole(Onnx(str(echo_model)), x, Signal(44100, 1))[0]
    wanted = 0.5 * (np.sin(2 * np.pi * 950 * t) + np.sin(2 * np.pi * 950 * (t - 0.01)))
    np.testing.assert_allclose(y[2000:-2000], wanted[2000:-2000], atol=3e-4)


def test_another_file_under_the_path_is_refused(echo_model):
    """The job means the file that was there when it was read."""
    stage = Onnx(str(echo_model))
    assert stage.sha256
    echo_model.write_bytes(echo_model.read_bytes() + b"\0")
    onnx_stage._model.cache_clear()
    with pytest.raises(ParameterError, match="is not the file that the job means"):
        stage.initial_state(Signal(16000, 1))


def test_what_is_no_model_is_refused(tmp_path):
    """A file that is absent, and one of other content."""
    with pytest.raises(ParameterError, match="cannot be read"):
        Onnx(str(tmp_path / "none.onnx"))
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ParameterError, match="not a model that onnxruntime can run"):
        Onnx(str(tmp_path / "text.onnx")).initial_state(Signal(16000, 1))


def test_without_the_extras_it_says_what_to_install(monkeypatch, tmp_path):
    """Importing the stages works without them; using them names the extra."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    rnnoise_stage._model.cache_clear()
    with pytest.raises(ParameterError, match=r"pip install 'corpusdiff\[rnnoise\]'"):
        RNNoise().initial_state(Signal(16000, 1))
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ParameterError, match=r"pip install 'corpusdiff\[onnx\]'"):
        Onnx(str(tmp_path / "model.onnx")).initial_state(Signal(16000, 1))


@needs("pyrnnoise")
@pytest.mark.parametrize("sr", [8000, 16000, 44100, 48000, 192000])
def test_rnnoise_keeps_the_contract(sr):
    """The state of the C library is a value that survives pickling, at every rate."""
    check_stage(RNNoise(), sr=sr, n_channels=1, n_samples=max(3000, sr // 5), measured=False)


@needs("pyrnnoise")
def test_rnnoise_states_mean_the_same_in_another_process():
    """Pickled here, taken up there, where the library lies elsewhere in memory."""
    sig = Signal(48000, 1)
    x = np.random.default_rng(0).standard_normal((1, 9600)).astype(np.float32) * np.float32(0.1)
    stage = RNNoise()
    _, state = stage.step(x[:, :5000], stage.initial_state(sig), sig)
    wanted, _ = stage.step(x[:, 5000:], state, sig)
    program = (
        "import pickle, sys; stage, x, state, sig = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(stage.step(x, state, sig)[0].tobytes())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((stage, x[:, 5000:], state, sig)),
        capture_output=True,
        check=True,
        env=dict(os.environ),
    )
    np.testing.assert_array_equal(np.frombuffer(there.stdout, np.float32), wanted[0])


@needs("pyrnnoise")
def test_rnnoise_takes_noise_down_and_leaves_clean_tracks():
    """White noise alone falls by 10 dB and more; a track measured as clean is the same to the bit."""
    x = np.random.default_rng(0).standard_normal((1, 48000)).astype(np.float32) * np.float32(0.05)
    sig = Signal(16000, 1)
    y = run_whole(RNNoise(), x, sig)
    assert np.mean(y[:, 16000:] ** 2) < 0.1 * np.mean(x**2)
    spectrum = Spectrum(np.array([0.0, 8000.0]), np.array([-30.0, -60.0]))
    clean = Signal(16000, 1, Measured(-25.0, -26.0, -18.0, spectrum, snr_db=40.0))
    np.testing.assert_array_equal(run_whole(RNNoise(), x, clean), x)


@needs("pyrnnoise")
def test_rnnoise_keeps_the_time(corpora):
    """Against clean speech the output correlates best without any shift."""
    import soundfile as sf

    speech, sr = sf.read(corpora / "speech" / "spk1_snt1.wav", dtype="float32")
    y = run_whole(RNNoise(), speech[None], Signal(sr, 1))[0]
    shifts = range(-5, 6)
    match = [np.dot(speech[100:-100], np.roll(y, shift)[100:-100]) for shift in shifts]
    assert shifts[int(np.argmax(match))] == 0
