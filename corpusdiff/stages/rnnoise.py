"""RNNoise: a small recurrent network for noise reduction, of the optional package ``pyrnnoise``.

J.-M. Valin, A hybrid DSP/deep learning approach to real-time full-band speech enhancement, 2018. Of the package only
its shared library is used, through the library's own C interface: what is around it resamples in native objects that
cannot be carried in a state.
"""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import ParameterError
from corpusdiff.stages.checks import in_range
from corpusdiff.stages.framewise import FrameModel, Learned

#: RNNoise has one rate and one length of frames.
_SR = 48000
_FRAME_LENGTH = 480

#: Samples from what goes in to what comes out of a frame's call: two frames, less the one that is waited for.
_DELAY = 960

#: Full scale of its samples.
_SCALE = np.float32(32768.0)

_LIBRARIES = ("librnnoise.so", "librnnoise.dylib", "rnnoise.dll")


@dataclass(frozen=True)
class RNNoise(Learned):
    """Noise reduction by RNNoise, at any rate (it works at 48 kHz; the track is resampled there and back).

    Parameters
    ----------
    max_snr_db : as ``denoise``: cleaner tracks are left alone; None to work on all
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "rnnoise"

    max_snr_db: float | None = 20.0
    mix: float = 1.0

    def __post_init__(self) -> None:
        in_range("max_snr_db", self.max_snr_db, -10, 100, "dB")
        in_range("mix", self.mix, 0, 1)

    def model(self) -> FrameModel:
        """The library's built-in network."""
        return _model()


class _Model:
    """RNNoise as a pure function.

    The C library keeps a channel's state in one stretch of memory, without pointers to anything but the network's
    constants. Those differ between processes; so a state is kept as the bytes' difference (exclusive or) to a fresh
    one's, in which the pointers vanish.
    """

    sr = _SR
    frame_length = _FRAME_LENGTH
    delay = _DELAY

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        library.rnnoise_get_size.restype = ctypes.c_int
        library.rnnoise_get_frame_size.restype = ctypes.c_int
        library.rnnoise_init.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        library.rnnoise_process_frame.restype = ctypes.c_float
        assert library.rnnoise_get_frame_size() == _FRAME_LENGTH
        self._library = library
        self._fresh = np.zeros(library.rnnoise_get_size(), np.uint8)
        if library.rnnoise_init(self._fresh.ctypes.data, None):
            raise ParameterError("stage", f"{path} has no network built in; install another version of pyrnnoise")

    def initial(self) -> NDArray[np.uint8]:
        """No difference."""
        return np.zeros_like(self._fresh)

    def run(
        self, frames: NDArray[np.float32], state: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """See `FrameModel`."""
        live = state ^ self._fresh
        heard = np.ascontiguousarray(frames * _SCALE, np.float32)
        made = np.empty_like(heard)
        for x, y in zip(heard, made, strict=True):
            self._library.rnnoise_process_frame(live.ctypes.data, y.ctypes.data, x.ctypes.data)
        return (made / _SCALE).astype(np.float32), live ^ self._fresh


@cache
def _model() -> _Model:
    found = importlib.util.find_spec("pyrnnoise")  # the package's own import would load plotting and video libraries
    for folder in (found.submodule_search_locations or []) if found else []:
        for name in _LIBRARIES:
            if (Path(folder) / name).is_file():
                return _Model(Path(folder) / name)
    raise ParameterError("stage", "rnnoise needs the package pyrnnoise: pip install 'corpusdiff[rnnoise]'")
