"""The judges: PESQ, STOI, SI-SDR, ERLE, a recogniser, sizes of encoded audio, and paired bootstrap intervals."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import ArrayLike, NDArray

from quality.voices import DIGITS, SR, Mono

N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval.

    Parameters
    ----------
    mean, low, high : of the values, by the bootstrap
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


def bootstrap(values: ArrayLike, seed: int = 0, level: float = 0.05) -> Interval:
    """Mean of paired differences and its percentile interval over 10 000 resamples, missed with probability `level`."""
    x = np.asarray(values, np.float64)
    rng = np.random.default_rng([13, seed])
    means = np.concatenate([x[rng.integers(0, len(x), (500, len(x)))].mean(axis=1) for _ in range(N_RESAMPLES // 500)])
    low, high = np.quantile(means, [level / 2, 1 - level / 2])
    return Interval(float(x.mean()), float(low), float(high))


def si_sdr_db(estimate: Mono, clean: Mono) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, eq. 5), means removed."""
    estimate, clean = estimate - estimate.mean(), clean - clean.mean()
    target = clean * (estimate @ clean) / (clean @ clean)
    return float(10.0 * np.log10((target @ target + 1e-20) / (np.sum((estimate - target) ** 2) + 1e-20)))


def pesq_wb(estimate: Mono, clean: Mono) -> float:
    """PESQ of ITU-T P.862.2 (MOS-LQO)."""
    from pesq import pesq

    return float(pesq(SR, clean.astype(np.float32), estimate.astype(np.float32), "wb"))


def stoi(estimate: Mono, clean: Mono) -> float:
    """Short-time objective intelligibility (Taal et al. 2011)."""
    from pystoi import stoi as measure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clips with little speech
        return float(measure(clean, estimate, SR))


def erle_db(echo: Mono, residue: Mono) -> float:
    """Echo return loss enhancement: power of the echo over what is left of it."""
    return float(10.0 * np.log10((np.mean(echo**2) + 1e-20) / (np.mean(residue**2) + 1e-20)))


def n_errors(said: tuple[str, ...], heard: tuple[str, ...]) -> int:
    """Edit distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


_GRAMMAR = f"#JSGF V1.0; grammar digits; public <digits> = ({' | '.join(DIGITS)})+;"


@cache
def _decoder(digits: bool) -> Any:
    """The recogniser with its own model. Every utterance starts from the same state (CMN over the whole of it)."""
    from pocketsphinx import Config, Decoder, get_model_path

    config = Config(
        hmm=get_model_path("en-us/en-us"), dict=get_model_path("en-us/cmudict-en-us.dict"), loglevel="FATAL"
    )
    config["cmn"] = "batch"
    config["pip"] = 0.1  # at its default of 1 it hears half as many digits again as are said
    config["lm"] = None if digits else get_model_path("en-us/en-us.lm.bin")
    decoder = Decoder(config)
    if digits:
        decoder.add_jsgf_string("digits", _GRAMMAR)
        decoder.activate_search("digits")
    return decoder


def recognise(x: Mono, *, digits: bool) -> tuple[str, ...]:
    """The words that pocketsphinx hears: digits only by a grammar, or anything by its language model."""
    decoder = _decoder(digits)
    pcm = (np.clip(x, -1.0, 32767 / 32768) * 32768.0).astype("<i2").tobytes()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return () if found is None else tuple(found.hypstr.split())


def flac_bytes(x: Mono) -> int:
    """Size as FLAC of 16 bit."""
    file = io.BytesIO()
    sf.write(file, x, SR, format="FLAC", subtype="PCM_16")
    return len(file.getvalue())


def ranks(x: ArrayLike) -> NDArray[np.float64]:
    """Ranks, ties share their mean."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(x))


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Rank correlation."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
