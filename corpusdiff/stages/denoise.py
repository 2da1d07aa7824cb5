"""Noise reduction by a statistical estimator over a tracked noise floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpusdiff.dsp import denoise
from corpusdiff.dsp.law import deviation_factor, rho_for_tau
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, State
from corpusdiff.stages.checks import at_least, in_range
from corpusdiff.stages.noisy import noisy_share
from corpusdiff.stages.spectral import Bins, Spectral
from corpusdiff.units import db_to_amplitude, db_to_power

ESTIMATORS = ("lsa", "omlsa", "expander")

#: Time whose mean power is the first floor, in seconds.
_FIRST_S = 0.05

#: Smoothing of the power whose minimum bounds the floor, and the time of a stretch over which it is taken, in seconds.
_SMOOTH_S = 0.05
_STRETCH_S = 0.5

#: Bound of the floor over that minimum.
_OVER_LOWEST = 4.0


@dataclass(frozen=True)
class Denoise(Spectral):
    """Take down what stays, leave what speaks.

    The noise floor of each bin moves toward the frames' power by the law, with the probability that the frame holds
    no speech as its rate (Gerkmann and Hendriks 2012); the gain is an estimator's. Put a ``highpass`` of linear phase
    before it. Tracks that are clean already are left exactly as they are: denoising them costs a recogniser accuracy.
    Without a first pass (a causal run) the stage cannot know, and works always.

    Parameters
    ----------
    estimator : ``lsa``: log-spectral amplitude (Ephraim and Malah 1985) from a two-step a-priori signal-to-noise ratio
        (Plapous 2006). ``omlsa``: the same, weighted by the probability of speech (Cohen and Berdugo 2001), quieter in
        pauses. ``expander``: the law per bin away from the floor, clip(k (SNR - threshold), -max_cut, 0) dB; it helps
        in some noises and harms in others
    max_cut_db : bound of the gain; 20 to 25 gave the best PESQ. Less is the safer choice before a recogniser
    max_snr_db : tracks whose estimated signal-to-noise ratio is this high or more are left alone, and the gain fades
        in over the 5 dB below; None to work on all
    noise_tau_s : time constant of the floor where there is no speech
    presence_tau_s : of the probability of speech that tells when the floor is stuck
    presence_snr_db : a-priori signal-to-noise ratio that speech is expected at, for its probability
    prior_tau_s : of the a-priori signal-to-noise ratio (0.196 s are the usual factor of 0.96 per 8 ms); more is
        smoother and less musical, less is clearer
    k : the expander's law; 1 doubles a bin's distance in dB from the threshold, over which nothing changes
    threshold_db : the expander's, over the floor
    n_fft, hop_length : frame and hop in samples; 32 and 8 ms are good, so raise both with the rate
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "denoise"

    estimator: str = "omlsa"
    max_cut_db: float = 25.0
    max_snr_db: float | None = 20.0
    noise_tau_s: float = 0.263
    presence_tau_s: float = 0.156
    presence_snr_db: float = 12.0
    prior_tau_s: float = 0.196
    k: float = 1.0
    threshold_db: float = 12.0
    n_fft: int = 512
    hop_length: int = 128
    mix: float = 1.0

    def __post_init__(self) -> None:
        self._check_frames()
        if self.estimator not in ESTIMATORS:
            raise ParameterError("estimator", f"got {self.estimator!r}; give one of {', '.join(ESTIMATORS)}")
        in_range("max_cut_db", self.max_cut_db, 0, 60, "dB")
        in_range("max_snr_db", self.max_snr_db, -10, 100, "dB")
        for name in ("noise_tau_s", "presence_tau_s", "prior_tau_s"):
            at_least(name, getattr(self, name), 0)
        in_range("presence_snr_db", self.presence_snr_db, 0, 40, "dB")
        in_range("k", self.k, 0, 100)
        in_range("threshold_db", self.threshold_db, -50, 100, "dB")
        in_range("mix", self.mix, 0, 1)

    def initial_gain_state(self, sig: Signal) -> State:
        """No floor yet."""
        return denoise.initial(self.n_fft // 2 + 1, self._tracking(sig))

    def frame_period(self, sig: Signal) -> int:
        """The stretch of frames over whose minimum the floor is bounded."""
        return self._tracking(sig).n_stretch

    def is_fixed(self, sig: Signal) -> bool:
        """Whether the track is too clean to touch."""
        return noisy_share(self.max_snr_db, sig) == 0.0

    def gains(self, power: Bins, state: State, sig: Signal) -> tuple[Bins, State]:
        """See the class."""
        share = noisy_share(self.max_snr_db, sig)
        if share == 0.0:
            return np.ones((1, power.shape[1]), np.float32), state
        tracking = self._tracking(sig)
        if self.estimator == "expander":
            k = deviation_factor(self.k, 1) - 1.0
            gain, state = denoise.expander_gains(power, state, tracking, k, self.threshold_db, self.max_cut_db)
        else:
            floor = float(db_to_amplitude(-self.max_cut_db))
            how = denoise.Gains(
                rho_for_tau(self.prior_tau_s, self.hop_length / sig.sr), floor, self.estimator == "omlsa"
            )
            gain, state = denoise.statistical_gains(power, state, tracking, how)
        return (gain if share == 1.0 else 1 + np.float32(share) * (gain - 1)), state

    def _tracking(self, sig: Signal) -> denoise.Tracking:
        hop_s = self.hop_length / sig.sr
        return denoise.Tracking(
            n_skip=self.n_fft // self.hop_length - 1,
            n_first=max(1, round(_FIRST_S / hop_s)),
            rho=rho_for_tau(self.noise_tau_s, hop_s),
            presence_rho=rho_for_tau(self.presence_tau_s, hop_s),
            prior_snr=float(db_to_power(self.presence_snr_db)),
            smooth_rho=rho_for_tau(_SMOOTH_S, hop_s),
            n_stretch=max(1, round(_STRETCH_S / hop_s)),
            most_over_lowest=_OVER_LOWEST,
        )
