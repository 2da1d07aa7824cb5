"""Encoders: size in FLAC and quality in Opus of noisy speech before and after denoising, and of clean speech."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from quality import ours
from quality.denoise import CHAIN
from quality.judges import bootstrap, flac_bytes, pesq_wb
from quality.material import mix, mixed
from quality.peers import aligned, delay_of
from quality.tables import Table, shared_out
from quality.voices import SR, Mono

SNR_DB = 10.0
OPUS_BPS = 16_000

N_FULL, N_SHORT = 96, 12

#: The law's stages, on clean speech: what each does to the size is shown, and none of it is a saving.
DIFFUSIONS = {
    "heat": ({"stage": "heat"},),
    "level": ({"stage": "level"},),
    "timbre": ({"stage": "timbre"},),
}


@dataclass(frozen=True)
class Encoded:
    """Ratios of sizes and changes of quality, one per clip.

    Parameters
    ----------
    flac : (n,) FLAC bytes of the denoised over those of the noisy
    opus : (n,) PESQ through Opus of the denoised less that of the noisy, both against the clean
    opus_noisy : (n,) PESQ through Opus of the noisy
    clean : FLAC bytes of clean speech after a diffusion over those before, equal RMS, by name
    """

    flac: NDArray[np.float64]
    opus: NDArray[np.float64]
    opus_noisy: NDArray[np.float64]
    clean: dict[str, NDArray[np.float64]]

    def table(self) -> Table:
        """Denoised, then diffused."""
        rows = [
            ("noisy, denoised: FLAC bytes, change in %", str(bootstrap(100.0 * (self.flac - 1.0)))),
            (f"noisy, denoised: PESQ through Opus {OPUS_BPS // 1000} kbit/s, change", str(bootstrap(self.opus))),
        ]
        rows += [
            (f"clean, `{name}`: FLAC bytes at equal RMS, change in %", str(bootstrap(100.0 * (ratio - 1.0))))
            for name, ratio in self.clean.items()
        ]
        said = (
            f"{len(self.flac)} clips at {SNR_DB:g} dB; untreated they come through Opus at a PESQ of "
            f"{self.opus_noisy.mean():.2f}. Diffusion makes clean speech smaller only where it takes something away; "
            "fewer bits, or a lossy codec, do it better."
        )
        return Table("Encoders", said, ("", "change and 95 % interval"), tuple(rows))


def opus_round_trip(x: Mono, bps: int) -> Mono:
    """`x` through libopus at a constant rate, as PyAV has it, aligned."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SR, layout="mono", options={"vbr": "off"})
        stream.bit_rate = bps
        frame = av.AudioFrame.from_ndarray(x.astype(np.float32)[None], format="flt", layout="mono")
        frame.sample_rate = SR
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SR)
        frames = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += [out.to_ndarray()[0] for out in resampler.resample(None)]
    y = np.concatenate(frames).astype(np.float64)
    return aligned(y, len(x), delay_of(x, y))


def _at_rms_of(x: Mono, y: Mono) -> Mono:
    return y * np.sqrt(np.mean(x**2) / np.mean(y**2))


def _judge(index: int, split: str) -> tuple[float, float, float, dict[str, float]]:
    clean = mix(split, index).clean
    noisy = mixed(clean, mix(split, index).noise, SNR_DB, np.random.default_rng([31, index]))
    treated = ours.chained(*CHAIN)(noisy)
    before, after = (pesq_wb(opus_round_trip(x, OPUS_BPS), clean) for x in (noisy, treated))
    diffused = {
        name: flac_bytes(_at_rms_of(clean, ours.chained(*chain)(clean))) / flac_bytes(clean)
        for name, chain in DIFFUSIONS.items()
    }
    return flac_bytes(treated) / flac_bytes(noisy), after - before, before, diffused


def measure(n: int = N_FULL, split: str = "test") -> Encoded:
    """Over the first `n` clips of a split."""
    found = shared_out(partial(_judge, split=split), range(n))
    flac, opus, opus_noisy, diffused = zip(*found, strict=True)
    clean = {name: np.array([d[name] for d in diffused]) for name in DIFFUSIONS}
    return Encoded(np.array(flac), np.array(opus), np.array(opus_noisy), clean)
