"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real audio; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CORPUSDIFF_CORPORA", REPOSITORY.parent / "shared" / "corpora"))
    if not folder.is_dir():
        pytest.skip(f"no real audio at {folder}: set CORPUSDIFF_CORPORA")
    return folder
