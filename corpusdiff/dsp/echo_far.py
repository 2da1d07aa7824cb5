"""The far end as an echo canceller keeps it: spectra of what the loudspeakers played, and of what finds clipping."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp import echo_clipping, echo_kalman
from corpusdiff.dsp.echo_clipping import ClipState, Products
from corpusdiff.dsp.echo_kalman import FilterState


class FarState(NamedTuple):
    """What is carried from block to block.

    Parameters
    ----------
    n_blocks : blocks so far
    spectra : (n_references, n_history, n_bins) complex64, a ring of spectra of two blocks each
    probes : the same of the probes of `echo_clipping`; no references where clipping is not looked for
    last : (rows of spectra and of probes, block) float32, the last block played, and probed
    heard : (n_references, block) float32, the last block
    probed : the last block with a probe in it, by reference
    clips : one per reference
    """

    n_blocks: int
    spectra: NDArray[np.complex64]
    probes: NDArray[np.complex64]
    last: NDArray[np.float32]
    heard: NDArray[np.float32]
    probed: tuple[int, ...]
    clips: tuple[ClipState, ...]


def initial(n_references: int, n_history: int, block: int, *, clipping: bool) -> FarState:
    """The state before the first block."""
    spectra = np.zeros((n_references, n_history, block + 1), np.complex64)
    n_probed = n_references if clipping else 0
    last = np.zeros((n_references + n_probed, block), np.float32)
    return FarState(
        0, spectra, spectra[:n_probed], last, last[:n_references], (-n_history,) * n_probed, (ClipState(),) * n_probed
    )


def copy(state: FarState) -> FarState:
    """Arrays that `push` may change."""
    return state._replace(spectra=state.spectra.copy(), probes=state.probes.copy(), last=state.last.copy())


def push(x: NDArray[np.float32], state: FarState) -> FarState:
    """Hear one block, (n_references, block) float32; the arrays move along in place."""
    import scipy.fft

    block, n_probed = x.shape[1], len(state.clips)
    rows = np.empty((len(x) + n_probed, 2 * block), np.float32)
    rows[:, :block] = state.last
    rows[: len(x), block:] = x
    clips, probed = list(state.clips), list(state.probed)
    for r in range(n_probed):
        rows[r, block:], rows[len(x) + r, block:], clips[r] = echo_clipping.play(x[r], clips[r])
        probed[r] = state.n_blocks if rows[len(x) + r].any() else probed[r]
    place = state.n_blocks % state.spectra.shape[1]
    spectra = scipy.fft.rfft(rows, axis=-1)
    state.spectra[:, place], state.probes[:, place] = spectra[: len(x)], spectra[len(x) :]
    state.last[:] = rows[:, block:]
    return state._replace(n_blocks=state.n_blocks + 1, heard=x, clips=tuple(clips), probed=tuple(probed))


def probe_echo(state: FarState, r: int, newest: int, path: FilterState) -> NDArray[np.complex64] | None:
    """Spectrum of the echo that the probe of a reference makes along a path, None where there was no probe lately.

    (n_bins,) complex64, of two blocks, of which the second is the newest.
    """
    n = min(echo_clipping.N_PARTITIONS, path.weights.shape[1])
    if not newest - n < state.probed[r]:
        return None
    weights, variance = path.weights[r : r + 1, :n], path.variance[r : r + 1, :n]
    return echo_kalman.predict(state.probes[r : r + 1], newest, weights, variance)[0]


def learn(state: FarState, r: int, products: Products) -> FarState:
    """The state after the clipping of a reference was corrected by `echo_clipping.learn`."""
    clip = echo_clipping.learn(state.clips[r], products)
    if (clip.level is None) != (state.clips[r].level is None):  # another kind of probe from here on
        state.probes[r] = 0.0
        state.last[len(state.spectra) + r] = 0.0
    return state._replace(clips=(*state.clips[:r], clip, *state.clips[r + 1 :]))
