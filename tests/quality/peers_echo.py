"""Echo cancellers that people use: functions of the microphone and the far end, delays taken out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quality.peers import AbsentError, PeerError, aligned, from_pcm16, package, pcm16, speexdsp, speexdsp_version
from quality.voices import SR, Mono

#: Delay of AEC3 at 16 kHz.
AEC3_DELAY = 128

_SPEEX_ECHO_SET_SAMPLING_RATE = 24
_SPEEX_PREPROCESS_SET_ECHO_STATE = 24


@dataclass(frozen=True)
class EchoPeer:
    """A tool under its usual settings.

    Parameters
    ----------
    name : for the tables
    run : microphone and far end at SR in, what is left of the microphone out
    version : says what was measured; raises AbsentError where it cannot run
    """

    name: str
    run: Callable[[Mono, Mono], Mono]
    version: Callable[[], str]

    def __call__(self, near: Mono, far: Mono) -> Mono:
        """The microphone without the echo. Raises PeerError for a wrong length or silence."""
        y = self.run(near, far)
        if y.shape != near.shape or not np.isfinite(y).all() or not np.any(y) or np.array_equal(y, near):
            raise PeerError(f"{self.name}: {y.shape} samples for {near.shape}, or silent, or unchanged")
        return y

    def absence(self) -> str:
        """Why it cannot run here, empty where it can."""
        try:
            self.version()
        except AbsentError as error:
            return str(error)
        return ""


def aec3(near: Mono, far: Mono) -> Mono:
    """WebRTC's AEC3 alone, 10 ms at a time."""
    from aec_audio_processing import AudioProcessor

    processor = AudioProcessor(enable_aec=True, enable_ns=False, enable_agc=False, enable_vad=False)
    processor.set_stream_format(SR, 1)
    processor.set_reverse_stream_format(SR, 1)
    padding = np.zeros(AEC3_DELAY + (-len(near) - AEC3_DELAY) % 160)
    near_line, far_line = np.concatenate([near, padding]), np.concatenate([far, padding])
    parts = []
    for i in range(0, len(near_line), 160):
        processor.process_reverse_stream(pcm16(far_line[i : i + 160]))
        parts.append(processor.process_stream(pcm16(near_line[i : i + 160])))
    return aligned(from_pcm16(b"".join(parts)), len(near), AEC3_DELAY)


def speex_aec(near: Mono, far: Mono, frame: int = 256, tail: int = 4096) -> Mono:
    """The echo canceller of speexdsp with its preprocessor as post-filter."""
    lib = speexdsp()
    echo = ctypes.c_void_p(lib.speex_echo_state_init(frame, tail))
    post = ctypes.c_void_p(lib.speex_preprocess_state_init(frame, SR))
    rate = ctypes.c_int(SR)
    lib.speex_echo_ctl(echo, _SPEEX_ECHO_SET_SAMPLING_RATE, ctypes.byref(rate))
    lib.speex_preprocess_ctl(post, _SPEEX_PREPROCESS_SET_ECHO_STATE, echo)
    padding = np.zeros(frame + (-len(near)) % frame)
    near_line, far_line = np.concatenate([near, padding]), np.concatenate([far, padding])
    parts = []
    for i in range(0, len(near_line), frame):
        out = ctypes.create_string_buffer(2 * frame)
        lib.speex_echo_cancellation(echo, pcm16(near_line[i : i + frame]), pcm16(far_line[i : i + frame]), out)
        lib.speex_preprocess_run(post, out)
        parts.append(out.raw)
    lib.speex_preprocess_state_destroy(post)
    lib.speex_echo_state_destroy(echo)
    return aligned(from_pcm16(b"".join(parts)), len(near), frame)


CANCELLERS = (
    EchoPeer("WebRTC AEC3", aec3, package("aec-audio-processing")),
    EchoPeer("speexdsp with post-filter", speex_aec, speexdsp_version),
)
