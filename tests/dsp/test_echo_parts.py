"""The parts of the echo canceller: adaptive filter, clipping, watch, residue."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.dsp import echo_clipping, echo_kalman, echo_residual, echo_watch
from corpusdiff.dsp.echo_clipping import ClipState, Products

BLOCK, N_PARTITIONS = 64, 8


def _run(mic, references, n_blocks, state=None):
    """Errors of the filter alone."""
    state = echo_kalman.copy(state or echo_kalman.initial(len(references), N_PARTITIONS, BLOCK + 1))
    spectra = np.zeros((len(references), N_PARTITIONS, BLOCK + 1), np.complex64)
    padded = np.pad(references, ((0, 0), (BLOCK, 0))).astype(np.float32)
    left = np.empty(n_blocks * BLOCK)
    for i in range(n_blocks):
        spectra[:, i % N_PARTITIONS] = np.fft.rfft(padded[:, i * BLOCK : (i + 2) * BLOCK])
        part = mic[i * BLOCK : (i + 1) * BLOCK].astype(np.float32)
        left[i * BLOCK : (i + 1) * BLOCK] = part - echo_kalman.step(part, spectra, i, state, i, 0.9999, 0.6).echo
    return left, state


def _path(seed, n=BLOCK * N_PARTITIONS // 2):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n) * 0.98 ** np.arange(n)


@pytest.mark.parametrize("n_references", [1, 2])
def test_the_filter_finds_the_path(n_references):
    """Of one loudspeaker or two, to 40 dB in noise without a near end; the weights are the path's blocks."""
    rng = np.random.default_rng(0)
    references = 0.1 * rng.standard_normal((n_references, 400 * BLOCK))
    paths = [_path(10 + r) for r in range(n_references)]
    mic = sum(np.convolve(x, h)[: x.size] for x, h in zip(references, paths, strict=True))
    left, state = _run(mic, references, 400)
    assert np.mean(left[-6400:] ** 2) < 1e-4 * np.mean(mic[-6400:] ** 2)
    responses = np.fft.irfft(state.weights, axis=-1)[..., :BLOCK].reshape(n_references, -1)
    for response, path in zip(responses, paths, strict=True):
        assert np.allclose(response[: path.size], path, atol=0.05)


def test_double_talk_does_not_undo_the_filter():
    """A near end as loud as the echo costs little of what was learnt."""
    rng = np.random.default_rng(1)
    far = 0.1 * rng.standard_normal((1, 800 * BLOCK))
    echo = np.convolve(far[0], _path(3))[: far.shape[1]]
    near = np.where(np.arange(echo.size) < echo.size // 2, 0.0, rng.standard_normal(echo.size) * echo.std())
    left, _ = _run(echo + near, far, 800)
    assert np.mean((left - near)[-6400:] ** 2) < 0.01 * np.mean(echo[-6400:] ** 2)


def test_moving_the_filter_moves_its_partitions():
    """There and back leaves what did not fall out, and everything is unsure again."""
    _, state = _run(np.random.default_rng(2).standard_normal(40 * BLOCK), np.ones((1, 40 * BLOCK)), 40)
    there = echo_kalman.moved(state, 2)
    assert np.array_equal(there.weights[:, :-2], state.weights[:, 2:])
    assert not there.weights[:, -2:].any()
    back = echo_kalman.moved(there, -2)
    assert np.array_equal(back.weights[:, 2:], state.weights[:, 2:])
    assert not back.weights[:, :2].any()
    assert not echo_kalman.moved(state, 100).weights.any()
    assert (back.variance >= state.variance).all()


def test_the_watch_sees_another_path_and_not_a_near_end():
    """An error that takes back the prediction is a wrong path; one that has nothing to do with it is a talker."""
    rng = np.random.default_rng(3)

    def verdicts(error_of):
        state = echo_watch.initial()
        found = []
        for _ in range(60):
            far, echo, other = rng.standard_normal((3, BLOCK)).astype(np.float32)
            found.append(echo_watch.watch(echo + error_of(echo, other), far[None], echo, state))
        return found

    assert echo_watch.FORGET not in verdicts(lambda echo, other: 3 * other)
    assert verdicts(lambda echo, other: 3 * other).count(echo_watch.DOUBT) == 1
    assert echo_watch.FORGET in verdicts(lambda echo, other: other - echo)


def test_play_clips_at_the_level():
    """And the probe is the derivative with respect to it; without a level, what a trial would take away."""
    x = np.array([0.1, -0.5, 0.9, -1.0], np.float32)
    played, probe, state = echo_clipping.play(x, ClipState(level=0.6))
    assert np.array_equal(played, np.clip(x, np.float32(-0.6), np.float32(0.6)))
    assert np.array_equal(probe, np.float32([0, 0, 1, -1]))
    assert state.peak == 1.0
    played, probe, _ = echo_clipping.play(x, ClipState())
    assert np.array_equal(played, x)
    assert np.allclose(x + probe, np.clip(x, -echo_clipping.TRIED[0], echo_clipping.TRIED[0]))


def test_the_level_moves_where_the_error_points():
    """Up and down, and over most of the peak there is no clipping."""
    state = ClipState(level=0.4, peak=1.0)
    for sign in (1.0, -1.0):
        moved = echo_clipping.learn(state, Products(probe_error=0.05 * sign, probe_probe=1.0, echo_echo=1.0))
        assert sign * (moved.level - 0.4) > 0.0
    assert echo_clipping.learn(state._replace(level=0.85), Products()).level is None


def test_residual_gains_take_down_the_echo_alone():
    """Error in proportion to the echo goes down, a near end 20 dB over it stays, no echo is no change."""
    rng = np.random.default_rng(4)
    echo = rng.exponential(1.0, (400, 9)).astype(np.float32)
    error = 0.01 * echo * rng.exponential(1.0, echo.shape).astype(np.float32)
    error[300:] += 1.0
    state = echo_residual.ResidualState(*(part.copy() for part in echo_residual.initial(9)))
    rhos = (np.float32(0.99), np.float32(0.9), np.float32(0.8))
    args = np.zeros_like(echo), state, rhos, np.float32(1.0), np.float32(0.1)
    gains = echo_residual.residual_gains(error, echo, *args)
    alone = slice(200, 300)
    assert np.sum(gains[alone] ** 2 * error[alone]) < 0.4 * np.sum(error[alone])
    assert gains[310:].mean() > 0.9
    assert gains.min() >= np.float32(0.1)
    assert (echo_residual.residual_gains(error, np.zeros_like(echo), *args) == 1.0).all()
