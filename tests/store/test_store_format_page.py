"""FORMAT.md says enough: its reader, which knows nothing of the package, finds what the package finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
from readme_blocks import blocks

import corpusdiff
from corpusdiff import store

PAGE = Path(store.__file__).with_name("FORMAT.md")


def test_the_reader_of_the_page(tmp_path):
    """Every id and status, and every sample by its sum; a silent and a long track among them."""
    rng = np.random.default_rng(2)
    (tmp_path / "in").mkdir()
    for name, n in {"a": 3000, "long": 400_000, "silent": 5000}.items():
        sf.write(tmp_path / "in" / f"{name}.wav", (name != "silent") * 0.1 * rng.standard_normal((n, 2)), 8000)
    (tmp_path / "in" / "broken.wav").write_bytes(b"RIFF")
    corpus = corpusdiff.run(str(tmp_path / "in"), str(tmp_path / "out"), job="codec-lossless", cluster="none")
    (block,) = [block for block in blocks(PAGE.read_text()) if block.file_name == "reader.py"]
    (tmp_path / "reader.py").write_text(block.text)
    command = [sys.executable, "-W", "error", str(tmp_path / "reader.py"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    expected = [
        [item.id, item.status, str(int(np.abs(item.samples().astype(np.int64)).sum())) if item.status == "ok" else "-"]
        for item in corpus
    ]
    assert found == expected
    assert {status for _, status, _ in found} == {"ok", "failed"}
