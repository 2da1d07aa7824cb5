"""The delay between far end and microphone, by generalised cross-correlation."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.dsp import delay

HOP, LONGEST = 4096, 8000
LAGS = (-256, LONGEST)


def _looks(mic, far, rho=0.9):
    """What is found, look by look."""
    n = delay.segment_length(LONGEST, HOP)
    mic, far = (np.pad(x, (n, 0)).astype(np.float32)[None] for x in (mic, far))
    state, found = delay.initial(1, n), []
    for end in range(n + HOP, mic.shape[1] + 1, HOP):
        state = delay.track(mic[:, end - n : end], far[:, end - n : end], state, LAGS, rho)
        found.append(state.found)
    return found


def _speech_like(n, seed):
    """Coloured noise with pauses."""
    rng = np.random.default_rng(seed)
    x = np.convolve(rng.standard_normal(n), 0.9 ** np.arange(50), "same")
    return 0.02 * x * (np.sin(2 * np.pi * 1.3 * np.arange(n) / 16000) > -0.5)


@pytest.mark.parametrize("lag", [-200, 0, 333, 7900])
def test_finds_the_delay_under_another_talker(lag):
    """To the sample, behind or a little before the reference, and stays there."""
    far, near = _speech_like(64000, 1), _speech_like(64000, 2)
    echo = np.roll(far, lag)
    if lag > 0:
        echo[:lag] = 0
    found = _looks(echo + near, far)
    assert found[-1] == lag
    assert set(found[-6:]) == {lag}


def test_the_direct_sound_counts_and_not_the_loudest():
    """A reflection that is a little stronger than the direct sound does not hide it."""
    far = _speech_like(64000, 3)
    mic = np.pad(0.97 * far, (500, 0))[:64000] + np.pad(far, (900, 0))[:64000]
    assert _looks(mic, far)[-1] == 500


@pytest.mark.parametrize(
    ("mic", "far"), [("noise", "noise"), ("noise", "silence"), ("silence", "noise")], ids=lambda kind: kind
)
def test_nothing_is_found_where_there_is_no_echo(mic, far):
    """Unrelated signals and silence have no delay."""
    kinds = {"noise": lambda seed: _speech_like(64000, seed), "silence": lambda seed: np.zeros(64000)}
    assert _looks(kinds[mic](4), kinds[far](5)) == [None] * 15


def test_a_delay_that_changes_is_followed():
    """Within the memory of the average."""
    far = _speech_like(160000, 6)
    mic = np.concatenate([np.roll(far, 400)[:64000], np.roll(far, 3000)[64000:]])
    found = _looks(mic, far)
    assert found[12] == 400
    assert found[-1] == 3000
