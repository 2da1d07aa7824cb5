"""The estimate of the signal-to-noise ratio, against the truth of mixes and on gated recordings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from quality.judges import spearman
from quality.material import gated, mix, mixed
from quality.ours import measured
from quality.tables import Table, shared_out

N_FULL, N_SHORT = 320, 48

#: No estimate is over this.
CAP_DB = 60.0


@dataclass(frozen=True)
class Estimated:
    """Truth and estimates.

    Parameters
    ----------
    kinds : noise of each mix
    true_db, found_db, gated_db : (n_mixes,) truth, estimate, estimate where the pauses are digital silence
    """

    kinds: tuple[str, ...]
    true_db: NDArray[np.float64]
    found_db: NDArray[np.float64]
    gated_db: NDArray[np.float64]

    @property
    def rank_correlation(self) -> float:
        """Spearman's."""
        return spearman(self.true_db, self.found_db)

    @property
    def error_db(self) -> float:
        """Mean absolute error."""
        return float(np.mean(np.abs(self.found_db - self.true_db)))

    @property
    def saturated(self) -> float:
        """Share of gated recordings whose estimate is at the cap, or none."""
        return float(np.mean(~(self.gated_db < CAP_DB)))

    def table(self) -> Table:
        """All noises, then each."""
        rows = [("all", f"{self.rank_correlation:.3f}", f"{self.error_db:.2f}", *self._gated(self.true_db > -99.0))]
        for kind in dict.fromkeys(self.kinds):
            here = np.array([k == kind for k in self.kinds])
            error_db = np.mean(np.abs(self.found_db - self.true_db)[here])
            correlation = spearman(self.true_db[here], self.found_db[here])
            rows.append((kind, f"{correlation:.3f}", f"{error_db:.2f}", *self._gated(here)))
        said = f"`snr_db` of {len(self.kinds)} mixes, 0 to 20 dB, and of the same with silence put in all pauses."
        columns = ("noise", "Spearman", "mean error in dB", "the same, gated", "gated at the cap")
        return Table("Estimated signal-to-noise ratio", said, columns, tuple(rows))

    def _gated(self, here: NDArray[np.bool_]) -> tuple[str, str]:
        errors = np.abs(self.gated_db - self.true_db)[here]
        return f"{np.nanmean(errors):.2f}", f"{np.mean(~(self.gated_db[here] < CAP_DB)):.3f}"


def _judge(index: int, split: str) -> tuple[str, float, float, float]:
    item = mix(split, index)
    rng = np.random.default_rng([29, index])
    true_db = float(rng.uniform(0.0, 20.0))
    noisy = mixed(item.clean, item.noise, true_db, rng)
    found = [measured(x).metrics["snr_db"] for x in (noisy, gated(noisy, item.clean))]
    return item.noise, true_db, found[0], found[1]


def measure(n: int = N_FULL, split: str = "test") -> Estimated:
    """Over the first `n` mixes of a split, at ratios drawn from 0 to 20 dB."""
    found = shared_out(partial(_judge, split=split), range(n))
    kinds, *values = zip(*found, strict=True)
    return Estimated(tuple(kinds), *(np.array(v) for v in values))
