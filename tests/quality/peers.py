"""What people use today, each as a function of audio and rate with its delay taken out."""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from quality.voices import SR, Mono


class AbsentError(Exception):
    """A peer that is not installed here; the text says what is missing."""


class PeerError(Exception):
    """A peer that ran and gave something that is not the treated audio."""


@dataclass(frozen=True)
class Peer:
    """A tool under its usual settings.

    Parameters
    ----------
    name : for the tables
    run : audio at SR in, the same length out, aligned
    version : says what was measured; raises AbsentError where it cannot run
    neural : learned from data
    """

    name: str
    run: Callable[[Mono], Mono]
    version: Callable[[], str]
    neural: bool = False

    def __call__(self, x: Mono) -> Mono:
        """The treated audio. Raises PeerError for a wrong length, non-finite samples, silence or no change."""
        y = self.run(x)
        if y.shape != x.shape:
            raise PeerError(f"{self.name}: got {y.shape} samples for {x.shape}")
        if not np.isfinite(y).all() or not np.any(y):
            raise PeerError(f"{self.name}: silence or non-finite samples")
        if np.array_equal(y, x):
            raise PeerError(f"{self.name}: changed nothing")
        return y

    def absence(self) -> str:
        """Why it cannot run here, empty where it can."""
        try:
            self.version()
        except AbsentError as error:
            return str(error)
        return ""


def present(peers: tuple[Peer, ...]) -> list[Peer]:
    """Those that can run here."""
    return [peer for peer in peers if not peer.absence()]


def aligned(y: Mono, n_samples: int, delay: int) -> Mono:
    """`n_samples` of `y` from `delay` on, zeros after its end."""
    y = y[delay : delay + n_samples]
    return np.concatenate([y, np.zeros(n_samples - len(y))])


def delay_of(x: Mono, y: Mono, most: int = 2048) -> int:
    """Delay in samples at which `y` resembles `x` most, by cross-correlation."""
    n = 1 << int(np.ceil(np.log2(len(x) + len(y))))
    correlation = np.fft.irfft(np.fft.rfft(y, n) * np.conj(np.fft.rfft(x, n)), n)
    return int(np.argmax(correlation[:most]))


def pcm16(x: Mono) -> bytes:
    """16-bit PCM, clipped."""
    return (np.clip(x, -1.0, 32767 / 32768) * 32768.0).round().astype("<i2").tobytes()


def from_pcm16(data: bytes) -> Mono:
    """Samples of 16-bit PCM."""
    return np.frombuffer(data, "<i2") / 32768.0


def package(name: str) -> Callable[[], str]:
    """Version of an installed package."""

    def found() -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            raise AbsentError(f"pip install {name}") from None

    return found


def program(name: str, flag: str, word: int) -> Callable[[], str]:
    """Version of a program, the `word`-th word of what it says."""

    @cache
    def found() -> str:
        if shutil.which(name) is None:
            raise AbsentError(f"{name} is not on PATH")
        said = subprocess.run([name, flag], capture_output=True, text=True, check=True)
        return f"{name} {said.stdout.split()[word]}"

    return found


def ffmpeg(filters: str, delay: int = 0) -> Callable[[Mono], Mono]:
    """A chain of FFmpeg's filters; `delay` samples of silence are appended and the head is cut."""

    def run(x: Mono) -> Mono:
        form = ["-f", "f32le", "-ar", str(SR), "-ac", "1"]
        command = ["ffmpeg", "-nostdin", "-v", "error", *form, "-i", "pipe:0", "-af", filters, *form, "pipe:1"]
        data = np.concatenate([x, np.zeros(delay)]).astype("<f4").tobytes()
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        if done.returncode or done.stderr:
            raise PeerError(f"ffmpeg {filters}: {done.stderr.decode(errors='replace').strip()}")
        y = np.frombuffer(done.stdout, "<f4").astype(np.float64)
        if abs(len(y) - len(x) - delay) > SR // 100:
            raise PeerError(f"ffmpeg {filters}: {len(y)} samples for {len(x) + delay}")
        return aligned(y, len(x), delay)

    return run


def rnnoise(x: Mono) -> Mono:
    """RNNoise with its built-in model at 48 kHz, 480 samples at a time; its delay of 20 ms taken out."""
    from pyrnnoise import rnnoise as lib

    delay = 3 * 320
    high = soxr.resample(x, SR, 48000, quality="HQ")
    high = np.concatenate([high, np.zeros(delay + (-len(high) - delay) % 480)])
    state = lib.create()
    frames = high.reshape(-1, 480)
    y = np.concatenate([lib.process_mono_frame(state, (np.clip(f, -1, 1) * 32767).astype(np.int16))[0] for f in frames])
    lib.destroy(state)
    low = soxr.resample(y[delay:] / 32768.0, 48000, SR, quality="HQ")
    return aligned(low, len(x), 0)


def noisereduce(x: Mono) -> Mono:
    """Noisereduce as its README calls it (non-stationary spectral gating)."""
    import noisereduce as nr

    return np.asarray(nr.reduce_noise(y=x, sr=SR), np.float64)


def webrtc_ns(x: Mono) -> Mono:
    """WebRTC's noise suppression at level 2 of 4, no gain control."""
    from webrtc_noise_gain import AudioProcessor

    processor, delay = AudioProcessor(0, 2), WEBRTC_NS_DELAY
    padded = np.concatenate([x, np.zeros(delay + (-len(x) - delay) % 160)])
    parts = [processor.Process10ms(pcm16(padded[i : i + 160])).audio for i in range(0, len(padded), 160)]
    return aligned(from_pcm16(b"".join(parts)), len(x), delay)


#: Delays at 16 kHz, as `test_peers.py` measures them.
WEBRTC_NS_DELAY = 96
AFFTDN_DELAY = 400
ANLMDN_DELAY = 128


@cache
def speexdsp() -> ctypes.CDLL:
    """The library. Raises AbsentError."""
    path = ctypes.util.find_library("speexdsp")
    if path is None:
        raise AbsentError("libspeexdsp is not installed")
    lib = ctypes.CDLL(path)
    for name in ("speex_preprocess_state_init", "speex_echo_state_init"):
        getattr(lib, name).restype = ctypes.c_void_p
    return lib


def speexdsp_version() -> str:
    """The library's file name."""
    speexdsp()
    return f"speexdsp ({ctypes.util.find_library('speexdsp')})"


def speex_ns(x: Mono, frame: int = 160) -> Mono:
    """The preprocessor of speexdsp with its denoiser alone, as it is by default."""
    lib = speexdsp()
    state = ctypes.c_void_p(lib.speex_preprocess_state_init(frame, SR))
    padded = np.concatenate([x, np.zeros(frame + (-len(x)) % frame)])
    parts = []
    for i in range(0, len(padded), frame):
        buffer = ctypes.create_string_buffer(pcm16(padded[i : i + frame]), 2 * frame)
        lib.speex_preprocess_run(state, buffer)
        parts.append(buffer.raw)
    lib.speex_preprocess_state_destroy(state)
    return aligned(from_pcm16(b"".join(parts)), len(x), frame)


def sox_noisered(x: Mono) -> Mono:
    """Sox's noisered at 0.21 with a profile of the quietest half second, as its manual advises."""
    n = SR // 2
    starts = range(0, max(1, len(x) - n), n // 4)
    quiet = min(starts, key=lambda i: float(np.sum(x[i : i + n] ** 2)))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("in.wav", "quiet.wav", "profile", "out.wav")]
        sf.write(paths[0], x, SR, subtype="FLOAT")
        sf.write(paths[1], x[quiet : quiet + n], SR, subtype="FLOAT")
        subprocess.run(["sox", paths[1], "-n", "noiseprof", paths[2]], capture_output=True, check=True)
        command = ["sox", paths[0], paths[3], "noisered", paths[2], "0.21"]
        subprocess.run(command, capture_output=True, check=True)
        return aligned(sf.read(paths[3])[0], len(x), 0)


def rms(x: Mono) -> Mono:
    """Plain RMS normalisation to -24 dBFS."""
    return x * (10.0 ** (-24.0 / 20.0) / (np.sqrt(np.mean(x**2)) + 1e-12))


def highpass_only(x: Mono) -> Mono:
    """An 80 Hz zero-phase high-pass, order 4 both ways."""
    from scipy.signal import butter, sosfiltfilt

    return np.asarray(sosfiltfilt(butter(2, 80.0, "highpass", fs=SR, output="sos"), x))


_FFMPEG = program("ffmpeg", "-version", 2)


DENOISERS = (
    Peer("RNNoise", rnnoise, package("pyrnnoise"), neural=True),
    Peer("80 Hz high-pass alone", highpass_only, package("scipy")),
    Peer("noisereduce", noisereduce, package("noisereduce")),
    Peer("ffmpeg afftdn", ffmpeg("afftdn", AFFTDN_DELAY), _FFMPEG),
    Peer("ffmpeg afftdn nr=20 nf=-35", ffmpeg("afftdn=nr=20:nf=-35", AFFTDN_DELAY), _FFMPEG),
    Peer("ffmpeg anlmdn s=30", ffmpeg("anlmdn=s=30", ANLMDN_DELAY), _FFMPEG),
    Peer("WebRTC NS", webrtc_ns, package("webrtc-noise-gain")),
    Peer("speexdsp", speex_ns, speexdsp_version),
    Peer("sox noisered", sox_noisered, program("sox", "--version", 2)),
)

LEVELERS = (
    Peer("RMS normalisation", rms, package("numpy")),
    Peer("ffmpeg dynaudnorm", ffmpeg("dynaudnorm"), _FFMPEG),
    Peer("ffmpeg dynaudnorm f=150 g=7 m=40", ffmpeg("dynaudnorm=f=150:g=7:m=40"), _FFMPEG),
    Peer("ffmpeg loudnorm", ffmpeg(f"loudnorm=I=-23,aresample={SR}"), _FFMPEG),
    Peer("ffmpeg speechnorm", ffmpeg("speechnorm=e=20:r=0.0005"), _FFMPEG),
)
