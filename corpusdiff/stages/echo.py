"""Cancel the echo of a far end in a microphone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from corpusdiff.dsp import delay, echo
from corpusdiff.dsp.law import rho_for_tau
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import in_range
from corpusdiff.units import db_to_amplitude

LOUDSPEAKERS = ("clipping", "linear")

#: The block that `transition` and the factor of the near end's power are given for, in seconds.
BLOCK_S, NEAR_RHO = 0.016, 0.6

#: Time constants of the post-filter: of the share of the echo that is left, of the probability of a near end, of the
#: decision-directed a-priori ratio, in seconds.
SHARE_TAU_S, PRESENCE_TAU_S, PRIOR_TAU_S = 1.2, 0.15, 0.06

#: Samples of the shortest block.
_SHORTEST = 16


@dataclass(frozen=True)
class Echo:
    """Take the far end's echo out of the microphones.

    An adaptive filter of the references predicts the echo in every channel (`corpusdiff.dsp.echo_kalman`), and a
    post-filter takes down what it leaves (`corpusdiff.dsp.echo_residual`). The delay between reference and microphone
    is found from the signals. The far end comes from ``[source] reference_channel`` or ``reference_field`` of the job.

    Parameters
    ----------
    filter_s : longest echo, from its direct sound on
    block_s : length of a block; the latency is three of them, and `lead_s`
    max_delay_s : longest delay of the microphone behind the reference that is looked for
    lead_s : how much earlier than the reference the echo may come
    transition : how little the echo path wanders per 16 ms, 0.9 to 1
    loudspeaker : ``clipping``: find the level at which it clips, if it does; ``linear``: it does not
    over_db : the residue is taken for so much more than it is estimated
    max_cut_db : bound of the post-filter's gain; 0 leaves the adaptive filter alone
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "echo"
    takes_references: ClassVar[bool] = True

    filter_s: float = 0.512
    block_s: float = 0.016
    max_delay_s: float = 0.8
    lead_s: float = 0.016
    transition: float = 0.9999
    loudspeaker: str = "clipping"
    over_db: float = 0.0
    max_cut_db: float = 25.0
    mix: float = 1.0

    def __post_init__(self) -> None:
        in_range("filter_s", self.filter_s, 0.01, 4.0, "s")
        in_range("block_s", self.block_s, 0.002, 0.1, "s")
        in_range("max_delay_s", self.max_delay_s, 0.0, 4.0, "s")
        in_range("lead_s", self.lead_s, 0.0, 1.0, "s")
        in_range("transition", self.transition, 0.9, 1.0)
        in_range("over_db", self.over_db, -20, 20, "dB")
        in_range("max_cut_db", self.max_cut_db, 0, 100, "dB")
        if self.loudspeaker not in LOUDSPEAKERS:
            raise ParameterError("loudspeaker", f"got {self.loudspeaker!r}; give one of {', '.join(LOUDSPEAKERS)}")
        in_range("mix", self.mix, 0, 1)

    def latency(self, sig: Signal) -> int:
        """Three blocks and the lead, less two samples."""
        return _design(self, sig.sr, sig.n_channels, max(1, sig.n_references)).latency

    def initial_state(self, sig: Signal) -> State:
        """Nothing heard yet. Raises ParameterError where there is no far end."""
        if not sig.n_references:
            raise ParameterError(
                "echo",
                "there is no far end to cancel: give the job `[source] reference_channel` (its channel in the file) or "
                "`reference_field` (the manifest's field that names its file)",
            )
        return echo.initial(self._design(sig))

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """(n_channels + n_references, n) in, (n_channels, n) out."""
        return echo.process(x, state, self._design(sig), self.mix)

    def flush(self, state: State, sig: Signal) -> Audio:
        """What silence after the end pushes out."""
        silence = np.zeros((sig.n_channels + sig.n_references, self.latency(sig)), np.float32)
        return self.step(silence, state, sig)[0]

    def _design(self, sig: Signal) -> echo.Design:
        return _design(self, sig.sr, sig.n_channels, sig.n_references)


@lru_cache(maxsize=64)
def _design(stage: Echo, sr: int, n_mics: int, n_references: int) -> echo.Design:
    """The stage's times in samples and blocks at a rate."""
    block = _block(stage.block_s * sr)
    block_s = block / sr
    max_delay = round(stage.max_delay_s * sr)
    frame_s = block_s / 2
    return echo.Design(
        n_mics=n_mics,
        n_references=n_references,
        block=block,
        n_partitions=max(1, round(stage.filter_s / block_s)),
        lead=-(-round(stage.lead_s * sr) // block),
        max_delay=max_delay,
        n_segment=max(
            delay.segment_length(max_delay, echo.DELAY_HOP * block),
            (-(-round(stage.lead_s * sr) // block) + 4) * block,
        ),
        transition=stage.transition ** (block_s / BLOCK_S),
        near_rho=NEAR_RHO ** (block_s / BLOCK_S),
        delay_rho=rho_for_tau(delay.TAU_S, echo.DELAY_HOP * block_s),
        rhos=(_rho(SHARE_TAU_S, frame_s), _rho(PRESENCE_TAU_S, frame_s), _rho(PRIOR_TAU_S, frame_s)),
        over=np.float32(db_to_amplitude(stage.over_db) ** 2),
        floor=np.float32(db_to_amplitude(-stage.max_cut_db)),
        clipping=stage.loudspeaker == "clipping",
    )


def _rho(tau_s: float, dt: float) -> np.float32:
    return np.float32(rho_for_tau(tau_s, dt))


def _block(samples: float) -> int:
    """The number of samples next to `samples` that halves, and that a transform likes."""
    import scipy.fft

    return 2 * int(scipy.fft.next_fast_len(max(_SHORTEST, round(samples)) // 2, real=True))
