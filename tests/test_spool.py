"""AudioSpool gives back what it got, in memory and on disk."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.spool import AudioSpool


@pytest.mark.parametrize("memory_limit", [0, 100, 10**9])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_round_trip_is_exact(tmp_path, memory_limit, n_channels):
    """Whatever the memory limit, all samples come back in order, twice, in blocks of any size."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_channels, 1000)).astype(np.float32)
    with AudioSpool(n_channels, str(tmp_path), memory_limit) as spool:
        for start in range(0, 1000, 37):
            spool.write(x[:, start : start + 37])
        for size in (1, 64, 1000, 5000):
            blocks = list(spool.blocks(size))
            assert all(block.shape[1] == size for block in blocks[:-1])
            np.testing.assert_array_equal(np.concatenate(blocks, axis=1), x)
    assert not list(tmp_path.iterdir())


def test_an_empty_spool_gives_no_blocks(tmp_path):
    """No samples, no blocks."""
    with AudioSpool(1, str(tmp_path)) as spool:
        assert list(spool.blocks(10)) == []
