"""Speech spans against material whose speech is known, and against the promises of `VadSpec`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from quality.material import mixed, noise, noises
from quality.voices import SR, read_sentences, spoken_sentences

from corpusdiff.source import vad
from corpusdiff.source.vad import speech_spans
from corpusdiff.specs import VadSpec

FRAME = 320

#: Nothing added, so that spans can be compared with where the speech is.
BARE = VadSpec(padding_s=0.0, min_silence_s=0.25, min_s=0.1)


@pytest.fixture(scope="module")
def spoken():
    """Eight sentences with 0.7 to 2 s between them, and which frames are within 35 dB of the loudest of them."""
    pool = [*read_sentences("test")[:4], *spoken_sentences("test")[::12]]
    if not pool:
        pytest.skip("neither espeak-ng nor real audio here")
    rng = np.random.default_rng(1)
    parts = [part for item in pool for part in (np.zeros(int(rng.uniform(0.7, 2) * SR)), item.audio)]
    clean = np.concatenate([*parts, np.zeros(SR)])
    power = np.square(clean[: len(clean) // FRAME * FRAME].reshape(-1, FRAME)).mean(axis=1)
    active = power > np.percentile(power[power > 0], 95) * 10**-3.5
    for a, b in pairwise(np.flatnonzero(active)):
        active[a:b] |= b - a <= 13  # the pauses of 0.25 s that BARE bridges
    return clean, active


def mask(spans, n):
    """Frames within the spans."""
    inside = np.zeros(n, bool)
    for start, stop in spans:
        inside[start // FRAME : stop // FRAME] = True
    return inside


def spans_of(x, spec=BARE, sr=SR):
    return speech_spans([np.atleast_2d(np.asarray(x, np.float32))], sr, spec)


@pytest.mark.parametrize(("snr_db", "most"), [(0, 0.17), (5, 0.14), (10, 0.11), (20, 0.06)])
def test_frame_error(spoken, snr_db, most):
    """In ten kinds of noise that no parameter was picked on."""
    clean, active = spoken
    rng = np.random.default_rng(0)
    errors = {}
    for kind in (*noises("test"), "white", "pink"):
        found = mask(spans_of(mixed(clean, kind, snr_db, rng)), len(active))
        errors[kind] = float((found != active).mean())
    print(f"\n{snr_db} dB: {np.mean(list(errors.values())):.3f}", {k: round(v, 2) for k, v in errors.items()})
    assert np.mean(list(errors.values())) < most


def test_the_level_is_worth_asking(spoken, monkeypatch):
    """The detector alone makes more than twice as many errors at 0 dB, and takes pure noise for speech."""
    clean, active = spoken
    rng = np.random.default_rng(0)
    noisy = [mixed(clean, kind, 0.0, rng) for kind in ("white", "pink", "fan")]
    both = np.mean([mask(spans_of(x), len(active)) != active for x in noisy])
    monkeypatch.setattr(vad, "activity_step", lambda level_db, state, law: True)
    assert np.mean([mask(spans_of(x), len(active)) != active for x in noisy]) > 2 * both
    assert sum(stop - start for start, stop in spans_of(noise("pink"))) > 0.9 * len(noise("pink"))


def test_clean_speech_is_found_at_any_level(spoken):
    """Down to -56 dBFS, 5 % of the frames at the most are taken for what they are not."""
    clean, active = spoken
    for gain_db in (0, -20, -30):
        found = mask(spans_of(10 ** (gain_db / 20) * clean), len(active))
        assert (found != active).mean() < 0.05


def test_steady_noise_is_no_speech():
    """Nor is silence, a tone, or nothing at all: there are no spans."""
    for kind in ("white", "pink", "brown", "hum", "hiss"):
        taken = sum(stop - start for start, stop in spans_of(noise(kind)))
        assert taken < 0.05 * len(noise(kind)), kind
    for x in (np.zeros(SR), np.ones(SR), 0.1 * np.sin(np.arange(10 * SR)), np.zeros(0), np.zeros(7)):
        assert spans_of(x) == []
        assert spans_of(x, VadSpec(mode="trim")) == []
    assert speech_spans([], SR, BARE) == []


@pytest.mark.parametrize("sr", [8000, 11025, 44100, 48000])
def test_samples_are_those_of_the_source(spoken, sr):
    """At any rate and in two channels: the same places within 60 ms."""
    clean, _ = spoken
    expected = np.array(spans_of(clean)) / SR
    x = soxr.resample(clean, SR, sr)
    found = np.array(spans_of(np.stack([x, 0.5 * x]), sr=sr)) / sr
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=0.06)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 44100 * 6), max_size=10))
def test_blocks_do_not_matter(spoken, cuts):
    """Resampling, batches and frames are the same for any cut."""
    x = np.tile(np.float32(spoken[0][: 16000 * 3]), (2, 2))
    expected = speech_spans([x], 44100, VadSpec())
    assert expected
    assert speech_spans(np.split(x, sorted(min(c, x.shape[1]) for c in cuts), axis=1), 44100, VadSpec()) == expected


def test_trim_goes_from_the_first_speech_to_the_last(spoken):
    """One span, with padding, whatever the lengths in between."""
    clean, _ = spoken
    parts = spans_of(clean)
    spec = VadSpec(mode="trim", padding_s=0.1, min_silence_s=0.25, min_s=0.1, max_s=1.0)
    assert spans_of(clean, spec) == [(parts[0][0] - SR // 10, parts[-1][1] + SR // 10)]


def test_neighbours_share_the_gap(spoken):
    """Padding stops in the middle of a pause, at the start and at the end."""
    clean, _ = spoken
    bare, padded = spans_of(clean), spans_of(clean, VadSpec(padding_s=5.0, min_silence_s=0.25, min_s=0.1))
    assert len(bare) == len(padded)
    assert padded[0][0] == 0
    assert padded[-1][1] == len(clean)
    for (_, stop), (start, _), (_, padded_stop), (padded_start, _) in zip(
        bare, bare[1:], padded, padded[1:], strict=False
    ):
        assert padded_stop == padded_start == (stop + start) // 2


def test_long_stretches_are_cut_in_their_pauses(spoken):
    """Eight sentences without an end in sight: no part is longer than 4 s, and the cuts lie in silence."""
    clean, active = spoken
    spans = spans_of(clean, VadSpec(min_silence_s=10.0, max_s=4.0, padding_s=0.0))
    assert len(spans) > 4
    assert all(stop - start <= 4 * SR for start, stop in spans)
    cuts = [stop for (_, stop), (start, _) in pairwise(spans) if stop == start]
    assert len(cuts) > 3
    power_db = [10 * np.log10(np.mean(clean[cut - FRAME : cut + FRAME] ** 2) + 1e-12) for cut in cuts]
    assert np.median(power_db) < 10 * np.log10(np.mean(clean**2)) - 25
    assert np.mean([active[cut // FRAME] for cut in cuts]) < 0.4 < active.mean()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=20),
    st.integers(0, 10),
    st.integers(20, 80),
    st.integers(0, 30),
)
def test_lengths_and_order(runs, shortest, longest, bridged):
    """Whatever is heard: rising, apart, neither too short nor too long, pauses as long as asked unless cut."""
    flags = [is_speech for is_speech, n in runs for _ in range(n)]
    levels = np.random.default_rng(0).uniform(-60, -20, len(flags))
    frames = [vad.Frame(flag, level) for flag, level in zip(flags, levels.tolist(), strict=True)]
    found = [*vad._Utterances(shortest, longest, bridged).of(frames)]
    whole = [*vad._Utterances(shortest, None, bridged).of(frames)]
    assert all(max(shortest, 1) <= stop - start <= longest for start, stop in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    assert all(after[0] - before[1] >= bridged for before, after in pairwise(whole))
    assert sum(b - a for a, b in found) == sum(b - a for a, b in whole)
    assert all(flags[start] and flags[stop - 1] for start, stop in whole)


def test_memory_is_bounded():
    """What is kept of an endless utterance does not grow."""
    utterances = vad._Utterances(10, 1500, 15)
    spans = 0
    for start, stop in utterances.of(vad.Frame(True, -20.0) for _ in range(200_000)):
        spans += 1
        assert stop - start <= 1500
        assert len(utterances._levels_db) < 1600
    assert spans > 100
