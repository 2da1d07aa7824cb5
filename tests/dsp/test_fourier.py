"""Transforms without the rest of SciPy are SciPy's transforms."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft

from corpusdiff.dsp import fourier


@pytest.fixture
def fresh():
    """The choice of the transforms is made anew in the test, and after it."""
    fourier._transforms.cache_clear()
    yield
    fourier._transforms.cache_clear()


@pytest.mark.parametrize("n", [8, 360, 512, 720, 768, 1024])
def test_the_numbers_are_those_of_scipy(n):
    """Bit by bit, there and back, by the compiled module alone."""
    compiled = fourier._compiled()
    assert compiled is not None, "SciPy keeps pocketfft elsewhere now: say so in corpusdiff.dsp.fourier"
    there, back = fourier.direct(compiled)
    x = np.random.default_rng(n).standard_normal((2, 5, n)).astype(np.float32)
    spectra = there(x)
    np.testing.assert_array_equal(spectra, scipy.fft.rfft(x, axis=-1))
    np.testing.assert_array_equal(back(spectra, n), scipy.fft.irfft(spectra, n, axis=-1))


def test_scipy_is_not_loaded_for_a_transform():
    """Neither `scipy.fft` nor what it would bring is there after a transform."""
    code = "import sys, numpy as np; from corpusdiff.dsp.fourier import rfft; rfft(np.ones((1, 8), np.float32)); "
    code += "print([name for name in sys.modules if name.startswith(('scipy.fft.', 'scipy.special'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "found",
    [None, SimpleNamespace(r2c=lambda: None, c2r=lambda: None), SimpleNamespace(r2c=lambda x, *_: x, c2r=None)],
    ids=["gone", "called otherwise", "answers otherwise"],
)
def test_another_scipy_does_the_work_by_its_front_door(fresh, monkeypatch, found):
    """Where the compiled module is not what it was, `scipy.fft` is asked, with the same result."""
    monkeypatch.setitem(sys.modules, "scipy.fft", scipy.fft)
    monkeypatch.delitem(sys.modules, "scipy.fft")
    monkeypatch.setattr(fourier, "_compiled", lambda: found)
    x = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    np.testing.assert_array_equal(fourier.rfft(x), scipy.fft.rfft(x))
    np.testing.assert_array_equal(fourier.irfft(fourier.rfft(x), 64), scipy.fft.irfft(scipy.fft.rfft(x), 64))


def test_good_lengths_are_those_of_scipy():
    """All up to 5000 and some of the large ones."""
    for n in (*range(1, 5000), *range(5000, 400_000, 9973)):
        assert fourier.good_length(n) == scipy.fft.next_fast_len(n, real=True), n
