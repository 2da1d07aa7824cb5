"""An echo canceller: delay, adaptive filter, post-filter, in blocks counted from the first sample.

The microphones wait `lead` blocks, so that a reference that comes a little late is still in time. The far end's
spectra are kept for as long as the longest delay and the filter; a delay is a place in that store where the first
partition looks, and moving it moves the partitions' weights by whole blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp import delay, echo_clipping, echo_far, echo_kalman, echo_residual, echo_watch, stft
from corpusdiff.dsp.echo_clipping import Products
from corpusdiff.dsp.echo_far import FarState
from corpusdiff.dsp.echo_kalman import FilterState
from corpusdiff.dsp.echo_residual import ResidualState

#: Blocks between two looks at the delay, and how many times as many once it is known.
DELAY_HOP, SELDOM = 16, 4

#: The direct sound may lie so far into the filter, as a part of its length, before the filter moves.
HEAD = 8


class Design(NamedTuple):
    """Constants of a canceller; lengths in samples.

    Parameters
    ----------
    n_mics, n_references : rows of a block, in that order
    block : samples of a block
    n_partitions : blocks of the filter
    lead : blocks by which a reference may be late
    max_delay : longest delay of a microphone behind a reference
    n_segment : samples that the delay is looked for in
    transition : how little the echo path wanders per block, the A of `echo_kalman`
    near_rho : factor per block of the near end's power
    delay_rho : factor per look of the delay's correlation
    rhos : factors per frame, see `echo_residual.residual_gains`
    over, floor : factor of the residue, least gain
    clipping : look for the level at which the loudspeaker clips
    """

    n_mics: int
    n_references: int
    block: int
    n_partitions: int
    lead: int
    max_delay: int
    n_segment: int
    transition: float
    near_rho: float
    delay_rho: float
    rhos: tuple[np.float32, np.float32, np.float32]
    over: np.float32
    floor: np.float32
    clipping: bool

    @property
    def hop(self) -> int:
        """Samples between two frames of the post-filter."""
        return self.block // 2

    @property
    def latency(self) -> int:
        """A block to fill, the blocks that the microphones wait, a frame of the post-filter."""
        return self.block - 1 + self.lead * self.block + 2 * self.block - 1

    @property
    def n_history(self) -> int:
        """Spectra of the far end that are kept."""
        return -(-self.max_delay // self.block) + self.lead + self.n_partitions


class EchoState(NamedTuple):
    """What is carried between calls.

    Parameters
    ----------
    pending : (n_rows, less than a block) float32 input that fills no block yet
    ready : (n_mics, a block less one less pending) float32 output that waits
    line : (n_rows, n_segment) float32 last whole blocks of input
    offset : how many blocks the first partition looks back
    delay : state of the search
    filters : one per microphone
    far : the far end's spectra
    residuals : one per microphone
    frames : transform of the post-filter, rows of errors and then of echoes
    """

    pending: NDArray[np.float32]
    ready: NDArray[np.float32]
    line: NDArray[np.float32]
    offset: int
    delay: delay.DelayState
    filters: tuple[FilterState, ...]
    far: FarState
    residuals: tuple[ResidualState, ...]
    frames: stft.StftState


def initial(design: Design) -> EchoState:
    """The state before the first sample."""
    d, n_rows = design, design.n_mics + design.n_references
    silence = np.zeros((n_rows, d.n_segment), np.float32)
    return EchoState(
        silence[:, :0],
        silence[: d.n_mics, : d.block - 1],
        silence,
        0,
        delay.initial(d.n_mics * d.n_references, d.n_segment),
        (echo_kalman.initial(d.n_references, d.n_partitions, d.block + 1),) * d.n_mics,
        echo_far.initial(d.n_references, d.n_history, d.block, clipping=d.clipping),
        (echo_residual.initial(d.block + 1),) * d.n_mics,
        stft.initial(2 * d.n_mics, 2 * d.block),
    )


def process(
    x: NDArray[np.float32], state: EchoState, design: Design, mix: float
) -> tuple[NDArray[np.float32], EchoState]:
    """(n_mics + n_references, n) float32 in, (n_mics, n) float32 out, `design.latency` samples later."""
    n, block = x.shape[1], design.block
    x = np.concatenate([state.pending, x], axis=1)
    count = x.shape[1] // block
    whole, pending = x[:, : count * block], x[:, count * block :].copy()
    made = state.ready
    if count:
        y, state = _blocks(whole, state, design, mix)
        made = np.concatenate([made, y], axis=1)
    return made[:, :n].copy(), state._replace(pending=pending, ready=made[:, n:].copy())


def _blocks(
    x: NDArray[np.float32], state: EchoState, design: Design, mix: float
) -> tuple[NDArray[np.float32], EchoState]:
    """Whole blocks in, as many samples out, a frame less one and the lead later."""
    n_mics, n = design.n_mics, x.shape[1]
    line = np.concatenate([state.line, x], axis=1)
    start = design.n_segment - design.lead * design.block
    mics = line[:n_mics, start : start + n]
    echo, unknown, state = _filtered(line, mics, state, design)
    change = _Residual(unknown, state.residuals, design)
    heard, frames = stft.process(
        np.concatenate([mics - echo, echo]), state.frames, 2 * design.block, design.hop, change
    )
    start -= 2 * design.block - 1
    dry = line[:n_mics, start : start + n]
    y = dry + np.float32(mix) * (heard[:n_mics] - dry)
    return y, state._replace(line=line[:, n:].copy(), frames=frames, residuals=change.states)


def _filtered(
    line: NDArray[np.float32], mics: NDArray[np.float32], state: EchoState, design: Design
) -> tuple[NDArray[np.float32], NDArray[np.float32], EchoState]:
    """Echoes that the filters predict (n_mics, n), and how little they trust them (n_mics, n_blocks, n_bins)."""
    block, count = design.block, mics.shape[1] // design.block
    far, filters = echo_far.copy(state.far), tuple(echo_kalman.copy(item) for item in state.filters)
    echoes = np.empty_like(mics)
    unknown = np.empty((len(mics), count, block + 1), np.float32)
    searched, offset = state.delay, state.offset
    for i in range(count):
        end = design.n_segment + (i + 1) * block
        far = echo_far.push(line[design.n_mics :, end - block : end], far)
        part = slice(i * block, (i + 1) * block)
        echoes[:, part], unknown[:, i], far = _block(mics[:, part], far, filters, offset, design)
        seldom = 1 if searched.found is None else SELDOM
        if far.n_blocks % (seldom * DELAY_HOP) == 0:
            searched = _searched(line[:, end - design.n_segment : end], searched, design, design.delay_rho**seldom)
            moved = _offset(searched.found, offset, design)
            filters = tuple(echo_kalman.moved(item, moved - offset) for item in filters) if moved != offset else filters
            offset = moved
    return echoes, unknown, state._replace(offset=offset, delay=searched, filters=filters, far=far)


def _block(
    mics: NDArray[np.float32], far: FarState, filters: tuple[FilterState, ...], offset: int, design: Design
) -> tuple[NDArray[np.float32], NDArray[np.float32], FarState]:
    """Predict and learn one block, the filters in place: echoes, distrust, and the far end with its clipping learnt."""
    newest = far.n_blocks - 1 - offset
    echoes, unknown = np.empty_like(mics), np.empty((len(mics), mics.shape[1] + 1), np.float32)
    products = [Products()] * len(far.clips)
    for m, item in enumerate(filters):
        probes = [echo_far.probe_echo(far, r, newest, item) for r in range(len(products))]
        made = echo_kalman.step(mics[m], far.spectra, newest, item, far.n_blocks, design.transition, design.near_rho)
        echo_kalman.renew(item, echo_watch.watch(mics[m], far.heard, made.echo, item.watched))
        for r, probe in enumerate(probes):
            if probe is not None:
                products[r] += echo_clipping.correlate(probe, made.spectrum, made.error, item.near)
        echoes[m], unknown[m] = made.echo, made.unknown
    for r, found in enumerate(products):
        if found.probe_probe > 0.0:
            far = echo_far.learn(far, r, found)
    return echoes, unknown, far


def _searched(segment: NDArray[np.float32], state: delay.DelayState, design: Design, rho: float) -> delay.DelayState:
    lags = (-design.lead * design.block, design.max_delay)
    return delay.track(segment[: design.n_mics], segment[design.n_mics :], state, lags, rho)


def _offset(found: int | None, offset: int, design: Design) -> int:
    """Blocks that the first partition looks back: one before the direct sound, unless that is well inside already."""
    if found is None:
        return offset
    direct = found // design.block + design.lead
    if offset < direct <= offset + design.n_partitions // HEAD or offset == direct == 0:
        return offset
    return max(0, direct - 1)


class _Residual:
    """The post-filter on the frames of some blocks; its states move along."""

    def __init__(self, unknown: NDArray[np.float32], states: tuple[ResidualState, ...], design: Design) -> None:
        self._unknown = np.repeat(unknown, design.block // design.hop, axis=1)
        self._design = design
        self._n_frames = 0
        self.states = tuple(ResidualState(*(part.copy() for part in item)) for item in states)

    def __call__(self, spectra: stft.Frames) -> stft.Frames:
        d, n = self._design, spectra.shape[1]
        power = np.square(spectra.real) + np.square(spectra.imag)
        changed = np.zeros_like(spectra)
        unknown = self._unknown[:, self._n_frames : self._n_frames + n]
        for m, item in enumerate(self.states):
            gains = echo_residual.residual_gains(
                power[m], power[d.n_mics + m], unknown[m], item, d.rhos, d.over, d.floor
            )
            changed[m] = spectra[m] * (gains - 1)
        self._n_frames += n
        return changed
