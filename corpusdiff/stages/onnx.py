"""Any model of frames as a stage, from an ONNX file that the job names.

The model hears one channel, frame after frame, and carries what it remembers as further inputs and outputs:

- first input: the frame, float32, shape (1, frame_length), full scale 1.0; frame_length is fixed in the file;
- first output: the frame that it makes of it, of the same shape;
- every further input is a state of fixed shape and type, zeros before the first frame, and the further outputs are
  the next states in the same order.

A model of 16 kHz with its states in ``h`` is exported by, say, ``torch.onnx.export(net, (frame, h), "net.onnx",
input_names=["frame", "h"], output_names=["out", "h_next"])`` and run by the stage
``{stage = "onnx", path = "net.onnx", model_sr = 16000}``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import ParameterError
from corpusdiff.stages.checks import in_range, whole
from corpusdiff.stages.framewise import FrameModel, Learned

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


@dataclass(frozen=True)
class Onnx(Learned):
    """Run the frames of each channel through a model.

    Parameters
    ----------
    path : of the ONNX file, the same on all workers; the module says what inputs and outputs it must have
    model_sr : rate in Hz at which the model hears; tracks are resampled there and back
    delay : samples at that rate by which what the model gives is later than what it got, beside the wait for a frame
    sha256 : of the file; found when the job is read, so that the job means this model wherever it runs
    max_snr_db : as ``denoise``: cleaner tracks are left alone; None to work on all
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "onnx"
    path_parameters: ClassVar[tuple[str, ...]] = ("path",)

    path: str
    model_sr: int = 16000
    delay: int = 0
    sha256: str | None = None
    max_snr_db: float | None = None
    mix: float = 1.0

    def __post_init__(self) -> None:
        whole("model_sr", self.model_sr, 1)
        whole("delay", self.delay, 0)
        in_range("max_snr_db", self.max_snr_db, -10, 100, "dB")
        in_range("mix", self.mix, 0, 1)
        if self.sha256 is None:
            object.__setattr__(self, "sha256", _digest(_read(self.path)))

    def model(self) -> FrameModel:
        """The model, loaded once per process. Raises ParameterError where it is another one or does not fit."""
        assert self.sha256 is not None
        return _model(self.path, self.sha256, self.model_sr, self.delay)


class _Model:
    """A model as a pure function."""

    def __init__(self, session: Any, sr: int, delay: int) -> None:
        self._session = session
        self.sr, self.delay = sr, delay
        frame, *states = session.get_inputs()
        self._names = [frame.name, *(item.name for item in states)]
        shape = list(frame.shape)
        if len(shape) != 2 or shape[0] != 1 or not isinstance(shape[1], int) or frame.type != "tensor(float)":
            raise ParameterError(
                "path", f"the first input is {frame.type} {shape}; a float frame of shape [1, frame_length] is needed"
            )
        if len(session.get_outputs()) != len(self._names):
            raise ParameterError(
                "path",
                f"{len(self._names)} inputs, {len(session.get_outputs())} outputs; each state must come out again",
            )
        self.frame_length: int = shape[1]
        self._states = tuple(_zeros(item) for item in states)

    def initial(self) -> tuple[NDArray[Any], ...]:
        """Zeros."""
        return self._states

    def run(self, frames: NDArray[np.float32], state: Any) -> tuple[NDArray[np.float32], Any]:
        """See `FrameModel`."""
        made = np.empty_like(frames)
        for i, frame in enumerate(frames):
            out, *state = self._session.run(None, dict(zip(self._names, (frame[None], *state), strict=True)))
            if out.shape != (1, self.frame_length):
                raise ParameterError("path", f"the model gave {out.shape}; (1, {self.frame_length}) was expected")
            made[i] = out[0]
        return made, tuple(state)


def _zeros(item: Any) -> NDArray[Any]:
    if item.type not in _TYPES or not all(isinstance(size, int) for size in item.shape):
        raise ParameterError(
            "path", f"state {item.name!r} is {item.type} {item.shape}; its shape must be fixed, its type float or int64"
        )
    return np.zeros(item.shape, _TYPES[item.type])


@cache
def _model(path: str, sha256: str, sr: int, delay: int) -> _Model:
    try:
        import onnxruntime
    except ImportError as error:
        raise ParameterError("stage", "onnx needs the package onnxruntime: pip install 'corpusdiff[onnx]'") from error
    content = _read(path)
    if _digest(content) != sha256:
        raise ParameterError("path", f"{path} is not the file that the job means: its sha256 is {_digest(content)}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same order of sums everywhere
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own classes, which derive from nothing narrower
        raise ParameterError("path", f"{path}: not a model that onnxruntime can run: {error}") from error
    return _Model(session, sr, delay)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ParameterError("path", f"{path}: cannot be read: {error}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
