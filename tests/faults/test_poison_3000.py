"""Three crashing, three hanging and three memory-eating files among thousands: nine failed rows, little time lost."""

from __future__ import annotations

import time

import numpy as np
import pytest
import soundfile as sf
from fault_ledger import Ledger, audio_of, described
from fault_runs import Run, checked
from fault_table import record

#: Seconds without progress after which a track has failed, here.
STALL_S = 4.0

#: Reason and words of the error of each kind of poison.
CHARGES = {
    "segfault": ("crash", "killed by SIGSEGV, 2 times"),
    "hang": ("stalled", f"no progress for {STALL_S:.0f} s, 2 times"),
    "devour": ("memory", "memory limit of 1.0 GiB"),
}

#: Files of each kind.
OF_EACH = 3


def make_short_recordings(folder, n):
    """`n` WAV files of 0.3 s; nine of them, spread over all, are named as hooks.poison wants it."""
    rng = np.random.default_rng(3)
    t = np.arange(2400) / 8000
    poison = [kind for kind in CHARGES for _ in range(OF_EACH)]
    places = dict(zip(np.linspace(0, n - 1, len(poison), dtype=int).tolist(), rng.permutation(poison), strict=True))
    for i in range(n):
        path = folder / f"{i // 100:03d}" / f"{i:05d}{places.get(i, '')}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        x = 0.2 * np.sin(2 * np.pi * (200 + i % 997) * t) + 0.003 * rng.standard_normal(len(t))
        sf.write(path, x, 8000)


def timed(source, out, *options, **given):
    """Seconds that a run took, and its exit code."""
    started = time.monotonic()
    with Run(source, out, "--stall", f"{STALL_S:.0f}", "--memory-limit", "1", *options, **given) as run:
        code = run.finish()
    assert code in {0, 3}, run.said
    assert "its worker died" not in run.said
    return time.monotonic() - started, code


@pytest.mark.parametrize(
    ("n", "shard_s"),
    [pytest.param(300, 6, marks=pytest.mark.faults_short), pytest.param(3000, 30, marks=pytest.mark.faults)],
)
@pytest.mark.timeout(1200)
def test_nine_poisoned_files(tmp_path, n, shard_s):
    """Each is charged with what it does; the others have the rows and the audio of a run in which nothing was wrong.

    A run in peace before and one after tell how busy the machine is.
    """
    source, clean, out = tmp_path / "recordings", tmp_path / "clean", tmp_path / "out"
    make_short_recordings(source, n)
    options = ("--workers", "4", "--shard-s", str(shard_s))
    ledger = Ledger(tmp_path)
    before_s, code = timed(source, clean, *options)
    assert code == 0
    poisoned_s, code = timed(source, out, *options, hook="poison", env=ledger.env)
    assert code == 3
    after_s, _ = timed(source, tmp_path / "again", *options)

    rows, wanted = described(out), described(clean)
    assert checked(out).n_rows == len(rows) == n
    failed = {track: row for track, row in rows.items() if row["status"] != "ok"}
    assert len(failed) == OF_EACH * len(CHARGES)
    for kind, (reason, words) in CHARGES.items():
        charged = [row for track, row in failed.items() if kind in track]
        assert [row["reason"] for row in charged] == [reason] * OF_EACH
        assert all(words in row["error"] for row in charged), charged
    assert {track: row for track, row in rows.items() if track not in failed} == {
        track: row for track, row in wanted.items() if track not in failed
    }
    ours, theirs = audio_of(out), audio_of(clean)
    lost = [track for track in theirs if track not in failed and not np.array_equal(ours.get(track), theirs[track])]

    limits_s = OF_EACH * 2 * STALL_S
    clean_s = max(before_s, after_s)
    fault = f"poison: 3 crashing, 3 hanging (limit {STALL_S:.0f} s), 3 memory-eating files of {n}"
    extra = f"{max(0.0, poisoned_s - clean_s):.1f} s more than {clean_s:.1f} s, {ledger.n_again} tracks again"
    record(fault, "local", len(failed), len(lost), extra)
    assert lost == []
    assert ledger.n_again == 2 * OF_EACH, "crashes and hangs are tried twice, memory is not"
    assert poisoned_s <= 1.5 * clean_s + limits_s
