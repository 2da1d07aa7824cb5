"""A long recording takes no more memory than a short one: it waits on the disk."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf

#: Resident memory that no process may pass, in MiB.
MOST_MIB = 400

SR = 44100


def write_long(path: Path, hours: float) -> None:
    """A stereo FLAC of tones whose level wanders."""
    minute = 0.2 * np.sin(2 * np.pi * np.outer(np.arange(60 * SR), [220, 331]) / SR)
    with sf.SoundFile(path, "w", SR, 2, "PCM_16", format="FLAC") as file:
        for i in range(round(60 * hours)):
            file.write(minute * (0.2 + 0.8 * (i % 7) / 7))


def peak_resident_mib(command: list[str], cwd: Path) -> dict[str, int]:
    """Highest resident memory of the command and of each of its descendants, by command line."""
    peaks: dict[str, int] = {}
    run = subprocess.Popen(command, cwd=cwd)
    while run.poll() is None:
        try:
            processes = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for process in processes:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                name = f"{process.pid} {' '.join(process.cmdline())[-60:]}"
            except (OSError, psutil.Error):
                continue  # it has just ended
            found = [line for line in status.splitlines() if line.startswith("VmHWM")]
            if found:
                peaks[name] = max(peaks.get(name, 0), int(found[0].split()[1]) // 1024)
        time.sleep(0.1)
    assert run.wait() == 0
    return peaks


@pytest.mark.parametrize(
    "hours", [0.25, pytest.param(3.0, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])], ids=["short", "3 hours"]
)
def test_no_process_passes_the_limit(tmp_path, hours):
    """Neither the driver nor a worker nor its child, at any length."""
    write_long(tmp_path / "long.flac", hours)
    command = [str(Path(sys.executable).parent / "corpusdiff"), "run", "long.flac", "out", "--workers", "1"]
    peaks = peak_resident_mib([*command, "--spool", str(tmp_path)], tmp_path)
    assert max(peaks.values()) < MOST_MIB, peaks
    assert any("corpusdiff.child" in name for name in peaks)
